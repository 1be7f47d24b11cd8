//! Lines echoed by a thread for each connection, with what the standard library has for it:
//! `BufReader::read_until` and a `BufWriter`, with the sizes that they have by themselves.
//!
//! What it takes beyond a dozen lines: `read_until` has no limit, so `take` gives it one; and what
//! is in the writer has to leave before the thread waits for more. Each line is copied three times,
//! and looked through twice.

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
                // Where there can be no thread, there is no answer: the connection is closed.
                let _ = thread::Builder::new().spawn(move || echo(&stream));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Serves one connection to its end. An error is its end, too, and no one's concern but its own.
fn echo(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream);
    let mut writer = BufWriter::new(stream);
    let mut line = Vec::new();
    while read_line(&mut reader, &mut line)? {
        writer.write_all(&line)?;
        // Without a whole line in the buffer, the next one has to be waited for.
        if memmem::find(reader.buffer(), b"\r\n").is_none() {
            writer.flush()?;
        }
    }
    Ok(())
}

/// Reads a line with its terminator; false where the stream ends without one.
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
