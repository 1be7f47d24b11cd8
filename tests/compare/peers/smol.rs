//! A line echo on smol: a task for each connection, on its global executor.
//!
//! That executor has one thread, unless the environment variable `SMOL_THREADS` asks for more. The
//! main thread accepts. Each task holds its own read buffer, even while it is idle.

mod common;

use std::io;

use common::{Lines, PAUSE, READ};
use smol::Timer;
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};

fn main() -> io::Result<()> {
    smol::block_on(serve())
}

async fn serve() -> io::Result<()> {
    let listener = TcpListener::try_from(common::listen()?)?;
    loop {
        match listener.accept().await {
            Ok((stream, _)) => smol::spawn(echo(stream)).detach(),
            Err(_) => {
                Timer::after(PAUSE).await;
            }
        }
    }
}

/// Serves one connection to its end. An error ends only this connection.
async fn echo(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = vec![0; READ];
    let mut lines = Lines::default();
    let mut replies = Vec::new();
    loop {
        let read = stream.read(&mut buffer).await?;
        if read == 0 {
            return Ok(());
        }
        let echoed = lines.echo(&buffer[..read], &mut replies);
        stream.write_all(&replies).await?;
        replies.clear();
        echoed?;
    }
}
