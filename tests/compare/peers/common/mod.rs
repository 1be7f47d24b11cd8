//! The code that the peers in Rust share: listening, and turning bytes into lines and their echo.
//! The peers differ only in their input and output.
//!
//! [`Lines`] looks for `\n`, then at the byte before it, which may have come with an earlier read.
//! A line within one read is answered directly from the read buffer. Only a line that is cut is
//! copied together first. So every byte is looked at once, and most bytes are copied once, into the
//! replies.

#![allow(dead_code, reason = "each peer uses its part of it")]

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use memchr::memchr_iter;
use socket2::{Domain, Socket, Type};

/// The longest line, without its terminator. A peer that sends a longer one is disconnected.
pub const LIMIT: usize = 64 * 1024;

/// The size of one read.
pub const READ: usize = 64 * 1024;

/// The most connections that can wait to be accepted.
pub const BACKLOG: i32 = 4096;

/// The pause after a connection could not be accepted, for lack of descriptors or memory. Trying
/// again at once would only waste processor time.
pub const PAUSE: Duration = Duration::from_millis(10);

/// Reads the address from the program's first argument.
pub fn address() -> io::Result<SocketAddr> {
    std::env::args()
        .nth(1)
        .and_then(|address| address.parse().ok())
        .ok_or_else(|| io::Error::other("give an address to listen on, as in 127.0.0.1:7008"))
}

/// Listens on [`address`].
pub fn listen() -> io::Result<TcpListener> {
    let address = address()?;
    listen_on(address).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {address}: {error}"))
    })
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Takes bytes and returns the echo of whole lines, without any input or output. It stores the
/// beginning of a line whose end has not come.
#[derive(Default)]
pub struct Lines {
    /// At most [`LIMIT`] bytes, and perhaps a `\r` that may begin the terminator.
    partial: Vec<u8>,
}

/// The error for a line longer than [`LIMIT`].
#[derive(Debug)]
pub struct TooLong;

impl From<TooLong> for io::Error {
    fn from(_: TooLong) -> Self {
        Self::other("a line is too long")
    }
}

impl Lines {
    /// Appends the echo of each line that `bytes` complete to `replies`.
    ///
    /// # Errors
    ///
    /// Returns an error if a line is too long. The lines before it are in `replies`.
    pub fn echo(&mut self, bytes: &[u8], replies: &mut Vec<u8>) -> Result<(), TooLong> {
        let mut begin = 0;
        for newline in memchr_iter(b'\n', bytes) {
            let piece = &bytes[begin..newline];
            if self.partial.is_empty() {
                match piece.strip_suffix(b"\r") {
                    None => continue, // A single `\n` is data.
                    Some(line) if line.len() > LIMIT => return Err(TooLong),
                    Some(line) => found_line(line, replies),
                }
            } else {
                if piece.last().or(self.partial.last()) != Some(&b'\r') {
                    continue;
                }
                self.keep(piece)?;
                self.partial.pop();
                found_line(&self.partial, replies);
                self.partial.clear();
            }
            begin = newline + 1;
        }
        self.keep(&bytes[begin..])
    }

    /// Stores a piece of a line until its end comes.
    fn keep(&mut self, piece: &[u8]) -> Result<(), TooLong> {
        let carriage_return = piece.last().or(self.partial.last()) == Some(&b'\r');
        if self.partial.len() + piece.len() > LIMIT + usize::from(carriage_return) {
            return Err(TooLong);
        }
        self.partial.extend_from_slice(piece);
        Ok(())
    }
}

/// The application. It gets each line without its terminator, and answers with the same line.
fn found_line(line: &[u8], replies: &mut Vec<u8>) {
    replies.extend_from_slice(line);
    replies.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::{LIMIT, Lines};

    /// Returns the replies to an input that is read in these pieces, and true if all was accepted.
    fn echo<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, bool) {
        let (mut lines, mut replies) = (Lines::default(), Vec::new());
        let taken = pieces
            .into_iter()
            .all(|piece| lines.echo(piece, &mut replies).is_ok());
        assert!(lines.partial.len() <= LIMIT + 1, "it holds too much");
        (replies, taken)
    }

    /// Tries the input whole, byte by byte, and cut in two near its beginning, middle and end.
    fn however_it_is_cut(input: &[u8], replies: &[u8], taken: bool) {
        let wanted = (replies.to_vec(), taken);
        assert!(echo([input]) == wanted, "whole");
        assert!(echo(input.chunks(1)) == wanted, "byte by byte");
        let length = input.len();
        let near = |at: usize| at.saturating_sub(9)..=(at + 9).min(length);
        for cut in near(0).chain(near(length / 2)).chain(near(length)) {
            let (first, second) = input.split_at(cut);
            assert!(echo([first, second]) == wanted, "cut at {cut}");
        }
    }

    /// Returns the input up to its last terminator, which is the correct echo.
    fn oracle(input: &[u8]) -> &[u8] {
        let end = (2..=input.len())
            .rev()
            .find(|&end| input[..end].ends_with(b"\r\n"));
        &input[..end.unwrap_or(0)]
    }

    #[test]
    fn every_short_input_is_echoed_however_it_is_cut() {
        let mut inputs = vec![Vec::new()];
        for _ in 0..7 {
            inputs = inputs
                .iter()
                .flat_map(|input| b"a\r\n".map(|byte| [input.as_slice(), &[byte]].concat()))
                .collect();
            for input in &inputs {
                // The input is cut after each byte whose bit in `cuts` is set.
                for cuts in 0..1_u32 << (input.len() - 1) {
                    let mut pieces = vec![Vec::new()];
                    for (at, &byte) in input.iter().enumerate() {
                        pieces.last_mut().expect("there is one").push(byte);
                        if cuts >> at & 1 == 1 {
                            pieces.push(Vec::new());
                        }
                    }
                    let (replies, taken) = echo(pieces.iter().map(Vec::as_slice));
                    assert!(taken);
                    assert_eq!(replies, oracle(input), "{pieces:?}");
                }
            }
        }
    }

    #[test]
    fn a_line_of_the_limit_passes() {
        for last in *b"x\r\n" {
            let mut input = vec![b'x'; LIMIT - 1];
            input.extend([last, b'\r', b'\n']);
            however_it_is_cut(&input, &input, true);
        }
    }

    #[test]
    fn a_longer_line_does_not_and_those_before_it_are_answered() {
        for last in *b"x\r\n" {
            let mut input = b"one\r\n".to_vec();
            input.resize(5 + LIMIT, b'x');
            input.extend([last, b'\r', b'\n']);
            however_it_is_cut(&input, b"one\r\n", false);
        }
    }

    #[test]
    fn a_line_too_long_is_noticed_before_it_ends() {
        let line = vec![b'x'; LIMIT];
        assert!(echo([&line[..]]).1);
        assert!(echo([&line[..], b"\r"]).1);
        assert!(!echo([&line[..], b"x"]).1);
        assert!(!echo([&line[..], b"\rx"]).1);
        assert!(!echo([&line[..], b"\r", b"\r"]).1);
    }

    #[test]
    fn whole_lines_are_not_copied_together() {
        let (mut lines, mut replies) = (Lines::default(), Vec::new());
        for _ in 0..3 {
            lines
                .echo(b"one\r\n\r\ntwo\n\r\n", &mut replies)
                .expect("short lines");
        }
        assert_eq!(lines.partial.capacity(), 0);
    }
}
