//! Lets refused peers read why they are refused.
//!
//! A refusal needs no thread. The accept loop writes one line into the empty send buffer of the new
//! socket, which cannot block. But if the socket were closed at once, with input unread, the kernel
//! would send a reset that can overtake that line. So the last few refused sockets are kept for up to
//! a second, and their input is dropped. In a flood the oldest are closed first.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::open_connections::Connection;

/// Refused connections whose peers may not have read why.
#[derive(Debug, Default)]
pub(super) struct Farewells(VecDeque<(Arc<Connection>, Instant)>);

impl Farewells {
    /// Few, since each holds a descriptor.
    const MOST: usize = 16;
    const LONGEST: Duration = Duration::from_secs(1);

    /// Sends a line to a refused connection, without waiting, and keeps it for a while.
    pub(super) fn begin(&mut self, connection: Arc<Connection>, line: &[u8]) {
        connection.stream.dismiss(line);

        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        let until = Instant::now() + Self::LONGEST;
        self.0.push_back((connection, until));
    }

    /// Returns true if a peer does not have its line yet.
    pub(super) fn has_unsent(&self) -> bool {
        self.0
            .iter()
            .any(|(connection, _)| connection.stream.has_unsent())
    }

    /// Closes the connections whose peers are done, or whose time is over. Returns how soon this must
    /// be called again, if any are left.
    pub(super) fn tend(&mut self) -> Option<Duration> {
        if self.0.is_empty() {
            return None;
        }

        let now = Instant::now();
        self.0
            .retain(|(connection, until)| now < *until && connection.stream.drop_input());
        Some(Self::LONGEST / 10)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::net::Stream;

    #[test]
    fn nothing_is_unsent_once_the_peer_has_its_line() {
        let (stream, mut peer) = UnixStream::pair().unwrap();
        let mut farewells = Farewells::default();
        farewells.begin(Arc::new(Stream::from(stream).into()), b"no\r\n");

        peer.read_exact(&mut [0; 4]).unwrap();
        assert!(!farewells.has_unsent());
    }
}
