//! One connection: what of the script it has yet to send, and what it expects back.
//!
//! It never blocks and keeps no bytes of its own. What the kernel does not take stays unsent, as a
//! range of the script, until the socket is writable again; what comes is compared in the one
//! buffer that all connections of a thread share. It knows no times: they are the pace's business.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr};

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Socket, Type};

use super::script::Script;

/// So many addresses of this machine are connected from, where the server is on it as well: each
/// has ports of its own, and a connection that is over keeps its port for a while.
pub const SOURCES: u8 = 32;

pub struct Connection {
    pub stream: TcpStream,
    pub connected: bool,
    /// The server has ended its stream: it is read to that end.
    pub ending: bool,
    /// It waits for its turn to be read again.
    pub queued: bool,
    /// Lines to be sent or sent, and not yet answered.
    pub owed: usize,
    /// The line after those to be sent.
    next_line: usize,
    /// Where the next byte to be sent is, and how many are.
    unsent_at: usize,
    unsent: usize,
    /// Where the next byte to come back is, in which line, and how many are to come.
    expected_at: usize,
    expected_line: usize,
    expected: usize,
}

/// Why a connection is given up.
pub enum Fault {
    /// A byte other than the one expected.
    Wrong,
    /// The server ended it.
    Closed,
    /// It was never made.
    Refused(io::Error),
}

/// What one read brought.
pub struct Received {
    /// So many lines are now whole.
    pub lines: usize,
    /// The buffer was filled, so there may be more.
    pub full: bool,
}

impl Connection {
    /// Begins to connect, and to send with `line`. The source addresses take turns by `turn`.
    pub fn dial(server: SocketAddr, turn: u8, script: &Script, line: usize) -> io::Result<Self> {
        let kind = Type::STREAM.nonblocking();
        let socket = Socket::new(Domain::for_address(server), kind, None)?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source(server, turn) {
            // The kernel then chooses the port when it knows the whole pair of addresses, and may
            // choose one that is in use with another address.
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

    /// Whether it is connected by now.
    ///
    /// # Errors
    ///
    /// Where it never will be.
    pub fn is_connected(&mut self) -> Result<bool, Fault> {
        if !self.connected {
            if let Some(error) = self.stream.take_error().unwrap_or_else(Some) {
                return Err(Fault::Refused(error));
            }
            self.connected = self.stream.peer_addr().is_ok();
        }
        Ok(self.connected)
    }

    /// So many more lines are to be sent.
    pub fn add(&mut self, script: &Script, lines: usize) {
        let (next_line, bytes) = script.skip(self.next_line, lines);
        self.next_line = next_line;
        self.unsent += bytes;
        self.owed += lines;
    }

    /// Whether there is something to send.
    pub fn has_unsent(&self) -> bool {
        self.unsent > 0
    }

    /// Sends what the kernel takes: one write, or two at the end of the script.
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

    /// Reads once, and compares. None where there is nothing to read.
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

    /// Compares bytes with the script; how many lines they end.
    fn verify(&mut self, script: &Script, mut bytes: &[u8]) -> Result<usize, Fault> {
        // What was never sent cannot be its echo, whatever it says.
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

/// The address to connect from; where the server is elsewhere, the kernel knows best.
fn source(server: SocketAddr, turn: u8) -> Option<SocketAddr> {
    match server {
        SocketAddr::V4(server) if server.ip().is_loopback() => {
            let host = Ipv4Addr::new(127, 0, 0, 1 + turn % SOURCES);
            Some((host, 0).into())
        }
        _ => None,
    }
}
