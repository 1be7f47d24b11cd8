//! Lines echoed by compio: a task for each connection, on one thread over `io_uring`.
//!
//! Here the kernel is not asked what is ready: it is handed a buffer and says when it has filled or
//! sent it. So buffers are given away for a call and come back with its result, and each
//! connection holds one, also while it is idle. It is built without compio's other driver: where
//! there is no `io_uring`, there is no server.

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
        "built for io_uring alone"
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

/// Serves one connection to its end. An error is its end, too, and no one's concern but its own.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(READ);
    let mut lines = Lines::default();
    let mut replies = Vec::new();
    loop {
        // A read fills the buffer from its beginning, but never makes it shorter.
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
