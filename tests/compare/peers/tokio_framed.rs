//! Lines echoed by tokio with `Framed` and `LinesCodec`, the way most would begin to write it: the
//! codec gives lines, each is sent back.
//!
//! What that is not: the codec ends a line at `\n`, with or without `\r`, gives out an unterminated
//! tail as a line when the stream ends, takes UTF-8 alone, and notices a line that is too long one
//! byte late; so this peer cannot pass every row of the check. And `send` flushes, which is a write
//! for each line, however many came in one read.

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
    // The codec counts the `\r`, and takes it away; it writes `\n` alone.
    let mut lines = Framed::new(stream, LinesCodec::new_with_max_length(LIMIT + 1));
    while let Some(line) = lines.next().await {
        let mut line = line?;
        line.push('\r');
        lines.send(line).await?;
    }
    Ok(())
}
