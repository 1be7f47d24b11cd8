//! A line echo with a thread for each connection, written with the standard library only:
//! `BufReader::read_until` and a `BufWriter`, with their default sizes.
//!
//! Two things need more than a dozen lines. `read_until` has no limit, so `take` gives it one. And
//! the writer must be flushed before the thread waits for more input. Each line is copied three
//! times and searched twice.

mod common;

use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::net::TcpStream;
use std::thread;

use common::{LIMIT, PAUSE};
use memchr::memmem;

fn main() -> io::Result<()> {
    let listener = common::listen()?;
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // If no thread can be started, the connection is closed without an answer.
                let _ = thread::Builder::new().spawn(move || echo(&stream));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Serves one connection to its end. An error ends only this connection.
fn echo(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::new(stream);
    let mut line = Vec::new();
    while read_line(&mut reader, &mut line)? {
        writer.write_all(&line)?;
        // If the buffer holds no whole line, the next read may wait. Send the replies first.
        if memmem::find(reader.buffer(), b"\r\n").is_none() {
            writer.flush()?;
        }
    }
    Ok(())
}

/// Reads a line with its terminator. Returns false if the stream ends without one.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    line.clear();
    while !line.ends_with(b"\r\n") {
        let room = match line.len() {
            length @ 0..=LIMIT => LIMIT + 1 - length,
            length if length == LIMIT + 1 && line.ends_with(b"\r") => 1,
            _ => return Err(common::TooLong.into()),
        };
        if reader.take(room as u64).read_until(b'\n', line)? == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}
