//! One connection: the part of the script that it must still send, and the part that it expects
//! back.
//!
//! It never blocks and stores no bytes. Bytes that the kernel does not accept stay unsent, as a
//! range of the script, until the socket is writable again. Bytes that arrive are compared in one
//! buffer that all connections of a thread share. A connection knows no times; the pace keeps them.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::script::Script;

/// To a server on loopback, connections come from this many addresses. Each address has its own
/// ports, and a connection that has ended keeps its port for a while.
pub const SOURCES: u8 = 32;

pub struct Connection {
    pub stream: TcpStream,
    pub connected: bool,
    /// The server has ended its stream. The connection is read up to that end.
    pub ending: bool,
    /// The connection waits for its next turn to be read.
    pub queued: bool,
    /// The number of lines that are not yet answered, sent or not.
    pub owed: usize,
    /// The line after those to be sent.
    next_line: usize,
    /// The place of the next byte to send in the script.
    unsent_at: usize,
    /// The number of bytes to send.
    unsent: usize,
    /// The place of the next byte to come back, and its line.
    expected_at: usize,
    expected_line: usize,
    /// The number of bytes that were sent and have not come back.
    expected: usize,
}

/// The reason why a connection is given up.
pub enum Fault {
    /// An unexpected byte came.
    Wrong,
    /// The server closed the connection.
    Closed,
    /// The connection could not be made.
    Refused(io::Error),
}

/// The result of one read.
pub struct Received {
    /// The number of lines that this read completed.
    pub lines: usize,
    /// True if the buffer was filled. Then there may be more to read.
    pub full: bool,
}

impl Connection {
    /// Begins to connect. The first line to send is `line`. `turn` selects the source address.
    pub fn dial(server: SocketAddr, turn: u8, script: &Script, line: usize) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(server), kind, None)?;
        socket.set_tcp_nodelay(true)?;

        if let Some(source) = source(server, turn) {
            // With this option the kernel chooses the port when it knows both addresses. So it can
            // choose a port that is in use with another address.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            socket.bind(&source.into())?;
        }

        match socket.connect(&server.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => Err(error),
            _ => Ok(Self {
                stream: TcpStream::from_std(socket.into()),
                connected: false,
                ending: false,
                queued: false,
                owed: 0,
                next_line: line,
                unsent_at: script.beginning(line),
                unsent: 0,
                expected_at: script.beginning(line),
                expected_line: line,
                expected: 0,
            }),
        }
    }

    /// Returns true if the connection has been made by now.
    ///
    /// # Errors
    ///
    /// Returns an error if the connection could not be made.
    pub fn is_connected(&mut self) -> Result<bool, Fault> {
        if !self.connected {
            if let Some(error) = self.stream.take_error().unwrap_or_else(Some) {
                return Err(Fault::Refused(error));
            }
            self.connected = self.stream.peer_addr().is_ok();
        }
        Ok(self.connected)
    }

    /// Adds lines to send.
    pub fn add(&mut self, script: &Script, lines: usize) {
        let (next_line, bytes) = script.skip(self.next_line, lines);

        self.next_line = next_line;
        self.unsent += bytes;
        self.owed += lines;
    }

    /// Returns true if there are bytes to send.
    pub fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Sends as much as the kernel accepts, in one write, or in two at the end of the script.
    pub fn send(&mut self, script: &Script) -> Result<(), Fault> {
        while self.unsent > 0 {
            let slice = script.slice(self.unsent_at, self.unsent);
            match self.stream.write(slice) {
                Ok(sent) => {
                    self.connected = true;
                    self.unsent_at = script.wrap(self.unsent_at + sent);
                    self.unsent -= sent;
                    self.expected += sent;
                }
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => break,
                    ErrorKind::Interrupted => {}
                    _ => return Err(self.ended(error)),
                },
            }
        }
        Ok(())
    }

    /// Reads once and compares the bytes. Returns `None` if there is nothing to read.
    pub fn receive(
        &mut self,
        script: &Script,
        buffer: &mut [u8],
    ) -> Result<Option<Received>, Fault> {
        let length = loop {
            match self.stream.read(buffer) {
                Ok(0) => return Err(Fault::Closed),
                Ok(length) => break length,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return Ok(None),
                    ErrorKind::Interrupted => {}
                    _ => return Err(self.ended(error)),
                },
            }
        };

        let lines = self.verify(script, &buffer[..length])?;
        let full = length == buffer.len();
        Ok(Some(Received { lines, full }))
    }

    /// Compares bytes with the script. Returns the number of lines that they complete.
    fn verify(&mut self, script: &Script, mut bytes: &[u8]) -> Result<usize, Fault> {
        // A byte that was never sent cannot be an echo, even if it matches.
        if bytes.len() > self.expected {
            return Err(Fault::Wrong);
        }
        self.expected -= bytes.len();

        let mut lines = 0;
        while !bytes.is_empty() {
            let slice = script.slice(self.expected_at, bytes.len());
            if bytes[..slice.len()] != *slice {
                return Err(Fault::Wrong);
            }

            let until = self.expected_at + slice.len();
            let ended = script.ended(self.expected_line, self.owed - lines, until);
            lines += ended;
            self.expected_line = script.skip(self.expected_line, ended).0;
            self.expected_at = script.wrap(until);
            bytes = &bytes[slice.len()..];
        }
        self.owed -= lines;
        Ok(lines)
    }

    fn ended(&self, error: io::Error) -> Fault {
        if self.connected {
            Fault::Closed
        } else {
            Fault::Refused(error)
        }
    }
}

/// Returns the address to connect from. If the server is on another machine, the kernel chooses.
fn source(server: SocketAddr, turn: u8) -> Option<SocketAddr> {
    match server {
        SocketAddr::V4(server) if server.ip().is_loopback() => {
            let host = Ipv4Addr::new(127, 0, 0, 1 + turn % SOURCES);
            Some((host, 0).into())
        }
        _ => None,
    }
}
