//! A peer on a real socket. Its test reads as a transcript: sends, expects, expects the end.
//!
//! Every wait is bounded. A reply that does not come in ten seconds fails the test, and the message
//! shows what came instead.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use synchat::Address;

use super::time_limit;

/// The longest time that a test waits for anything.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// A connected client.
pub(crate) struct Peer(Socket);

enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Peer {
    pub(crate) fn connects(address: &Address) -> Self {
        time_limit::begins();
        let socket = match address {
            Address::Tcp(address) => {
                let stream = TcpStream::connect(address).expect("a server listens");
                stream.set_nodelay(true).unwrap();
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                Socket::Tcp(stream)
            }
            Address::Unix(path) => {
                let stream = UnixStream::connect(path).expect("a server listens");
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                stream.set_write_timeout(Some(PATIENCE)).unwrap();
                Socket::Unix(stream)
            }
            Address::Host { .. } | Address::Inherited => {
                panic!("{address} cannot be connected to by a test")
            }
        };

        Self(socket)
    }

    /// Returns a second handle, for another thread.
    pub(crate) fn clone(&self) -> Self {
        Self(match &self.0 {
            Socket::Tcp(stream) => Socket::Tcp(stream.try_clone().unwrap()),
            Socket::Unix(stream) => Socket::Unix(stream.try_clone().unwrap()),
        })
    }

    pub(crate) fn sends(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.tries_to_send(bytes)
            .expect("the server takes what is sent");
        self
    }

    /// Sends to a server that may have closed.
    pub(crate) fn tries_to_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        match &mut self.0 {
            Socket::Tcp(stream) => stream.write_all(bytes.as_ref()),
            Socket::Unix(stream) => stream.write_all(bytes.as_ref()),
        }
    }

    pub(crate) fn half_closes(&mut self) -> &mut Self {
        match &self.0 {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
        .unwrap();
        self
    }

    /// Expects exactly these bytes next.
    pub(crate) fn expects(&mut self, expected: impl AsRef<[u8]>) -> &mut Self {
        let expected = expected.as_ref();
        let mut received = Vec::new();
        while received.len() < expected.len() {
            let mut buffer = vec![0; (expected.len() - received.len()).min(1 << 16)];
            match self.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => received.extend_from_slice(&buffer[..length]),
                Err(error) => panic!("{error}, after {}", Shown(&received)),
            }
        }
        assert!(
            received == expected,
            "received {}\nexpected {}",
            Shown(&received),
            Shown(expected)
        );

        self
    }

    /// Expects an orderly end of the stream: no more bytes, and no reset.
    pub(crate) fn expects_eof(&mut self) {
        let rest = self.reads_to_the_end();
        assert!(rest.is_empty(), "received more: {}", Shown(&rest));
    }

    /// Returns all that comes before an orderly end.
    pub(crate) fn reads_to_the_end(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match self.read(&mut buffer) {
                Ok(0) => return rest,
                Ok(length) => rest.extend_from_slice(&buffer[..length]),
                Err(error) => panic!("{error}, after {}", Shown(&rest)),
            }
        }
    }

    /// Reads once. The kernel does not resume a read with a timeout that a signal has interrupted,
    /// but this does.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let result = match &mut self.0 {
                Socket::Tcp(stream) => stream.read(buffer),
                Socket::Unix(stream) => stream.read(buffer),
            };
            match result {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

/// The beginning of bytes that can be many.
struct Shown<'a>(&'a [u8]);

impl std::fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let first = &self.0[..self.0.len().min(200)];
        write!(f, "{} bytes: {}", self.0.len(), first.escape_ascii())
    }
}
