//! A line echo on tokio: a task for each connection, on a runtime with a thread for each core. With
//! `current-thread` as the second argument, the runtime has one thread.
//!
//! Each task reads what has come, answers all whole lines in it, and writes the answers at once. It
//! does not read while it writes, so it does not read from a client that does not read. Each task
//! holds its own read buffer, even while it is idle. The unused part of a buffer costs no memory,
//! only addresses.

mod common;

use std::io;

use common::{Lines, PAUSE, READ};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

fn main() -> io::Result<()> {
    let mut runtime = match std::env::args().nth(2).as_deref() {
        None => Builder::new_multi_thread(),
        Some("current-thread") => Builder::new_current_thread(),
        Some(_) => {
            return Err(io::Error::other(
                "argument 2 must be current-thread, or absent",
            ));
        }
    };
    runtime.enable_all().build()?.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let listener = common::listen()?;
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(echo(stream));
            }
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Serves one connection to its end. An error ends only this connection.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(READ);
    let mut lines = Lines::default();
    let mut replies = Vec::new();
    loop {
        buffer.clear();
        if stream.read_buf(&mut buffer).await? == 0 {
            return Ok(());
        }
        let echoed = lines.echo(&buffer, &mut replies);
        stream.write_all(&replies).await?;
        replies.clear();
        echoed?;
    }
}
