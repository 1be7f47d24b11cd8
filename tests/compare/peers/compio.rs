//! A line echo on compio: a task for each connection, on one thread over `io_uring`.
//!
//! The program does not ask the kernel which socket is ready. It hands the kernel a buffer, and the
//! kernel says when the buffer is filled or sent. So a call takes the buffer away and returns it
//! with its result, and each connection holds a buffer even while it is idle. This peer is built
//! without compio's other driver. Without `io_uring` it does not run.

mod common;

use std::io;

use common::{Lines, PAUSE, READ};
use compio::BufResult;
use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::Runtime;

fn main() -> io::Result<()> {
    let runtime = Runtime::new()
        .map_err(|error| io::Error::new(error.kind(), format!("io_uring: {error}")))?;
    assert!(
        runtime.driver_type().is_iouring(),
        "this peer needs io_uring"
    );
    runtime.block_on(serve())
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::from_std(common::listen()?)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => compio::runtime::spawn(echo(stream)).detach(),
            Err(_) => compio::time::sleep(PAUSE).await,
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
        // A read fills the buffer from its beginning and never makes it shorter.
        buffer.clear();
        let read;
        BufResult(read, buffer) = stream.read(buffer).await;
        if read? == 0 {
            return Ok(());
        }
        let echoed = lines.echo(&buffer, &mut replies);
        let written;
        BufResult(written, replies) = stream.write_all(replies).await;
        written?;
        replies.clear();
        echoed?;
    }
}
