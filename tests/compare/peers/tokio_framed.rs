//! A line echo on tokio with `Framed` and `LinesCodec`, as most people would begin to write it: the
//! codec returns lines, and each is sent back.
//!
//! This peer cannot pass every row of the check. The codec ends a line at `\n`, with or without
//! `\r`. It returns an unterminated tail as a line when the stream ends. It accepts only UTF-8. It
//! notices a line that is too long one byte late. And `send` flushes, so there is a write for each
//! line, however many lines came in one read.

mod common;

use std::io;

use common::{LIMIT, PAUSE};
use futures_util::{SinkExt, StreamExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio_util::codec::{Framed, LinesCodec, LinesCodecError};

fn main() -> io::Result<()> {
    let mut runtime = Builder::new_multi_thread();
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

async fn echo(stream: TcpStream) -> Result<(), LinesCodecError> {
    stream.set_nodelay(true)?;
    // The codec counts the `\r` and removes it. It writes only `\n`.
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(LIMIT + 1));
    while let Some(line) = lines.next().await {
        let mut line = line?;
        line.push('\r');
        lines.send(line).await?;
    }
    Ok(())
}
