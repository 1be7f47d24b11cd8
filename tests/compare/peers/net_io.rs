//! A line echo on net-io: a thread for each connection, from a pool that is started beforehand.
//!
//! A connection that finds no free thread is refused. The pool has at most 4096 threads, each with
//! two descriptors besides its connection's. So it holds at most 4096 connections, and fewer if the
//! process may not open enough descriptors. All threads and their memory exist from the start. The
//! timeouts are set to an hour, because net-io does not work without them.

mod common;

use std::io;
use std::time::Duration;

use common::{BACKLOG, Lines, READ};
use net_io::{
    AllowAll, Limits, ListenOptions, ListenerSpec, MinRate, NetError, PrefixPolicy, ServerBuilder,
    TcpConnection, TcpOptions,
};
use nix::sys::resource::{Resource, getrlimit};

/// The most threads that the crate allows.
const WORKERS: u64 = 4096;
/// Descriptors for everything that is not a connection.
const RESERVED: u64 = 64;
const NEVER: Duration = Duration::from_secs(3600);

fn main() -> io::Result<()> {
    let (descriptors, _) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let workers = (descriptors.saturating_sub(RESERVED) / 3).clamp(1, WORKERS) as u16;
    serve(workers).map_err(|error| io::Error::other(error.to_string()))
}

fn serve(workers: u16) -> Result<(), NetError> {
    let options = ListenOptions::new()
        .backlog(BACKLOG as u32)
        .tcp_options(TcpOptions::new().nodelay(true));
    let limits = Limits::builder()
        .max_connections(workers.into())
        .max_per_source(workers.into(), PrefixPolicy::DEFAULT)
        .idle_timeout(NEVER)
        .read_timeout(NEVER)
        .write_timeout(NEVER)
        .min_rate(MinRate::off())
        .buffer_budget(1 << 30)
        .build()?;
    let server = ServerBuilder::new()
        .listener(ListenerSpec::tcp_with(common::address()?, options))
        .workers(workers)
        .limits(limits)
        .handler(echo)
        .gate(AllowAll)
        .build()?;
    server.open_door()?;
    server.wait_for_stop();
    Ok(())
}

/// Serves one connection to its end. Returning closes it.
fn echo(connection: &mut TcpConnection) -> Result<(), NetError> {
    let mut buffer = vec![0; READ];
    let mut lines = Lines::default();
    let mut replies = Vec::new();
    loop {
        let read = connection.recv(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        let echoed = lines.echo(&buffer[..read], &mut replies);
        connection.send_all(&replies)?;
        replies.clear();
        if echoed.is_err() {
            return Ok(());
        }
    }
}
