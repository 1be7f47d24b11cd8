//! Lines echoed by net-io: a thread for each connection, out of a pool that is started beforehand.
//!
//! A connection that finds no free thread is refused, and the pool has 4096 threads at most, each
//! with two descriptors beside its connection's: so many connections it can hold, fewer where the
//! process may not have the descriptors. All of them are there from the start, with their memory.
//! Its deadlines are set to an hour, since it does not go without.

mod common;

use std::io;
use std::time::Duration;

use common::{BACKLOG, Lines, READ};
use net_io::{
    AllowAll, Limits, ListenOptions, ListenerSpec, MinRate, NetError, PrefixPolicy, ServerBuilder,
    TcpConnection, TcpOptions,
};
use nix::sys::resource::{Resource, getrlimit};

/// As many as the crate allows.
const WORKERS: u64 = 4096;
/// Descriptors for all that is no connection.
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

/// Serves one connection to its end; returning closes it.
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
