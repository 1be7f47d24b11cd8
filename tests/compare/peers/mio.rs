//! A line echo by hand: one thread over epoll, as in Python's `asyncore`, but in Rust with mio.
//!
//! The plan: wait for events, and note for each connection what it can do. Then give each
//! connection that can do something one turn: send the pending output, read once, answer. A
//! connection with more to read gets its next turn after all others had theirs.
//!
//! An event comes once for each change (edge-triggered). So a connection remembers that it is
//! readable until a read comes back short, which saves the reads that would find nothing. It does
//! not read while output is pending, so a client that does not read costs only the replies to one
//! read. The price is this file: every state that a thread keeps on its stack needs a field here.

mod common;

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::mem;
use std::os::fd::AsRawFd;
use std::time::Duration;

use common::{Lines, PAUSE, READ};
use mio::event::Event;
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

/// The token of the listener. The token of a connection is its place.
const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut events = Events::with_capacity(1024);
    let mut server = Server::listen(poll.registry().try_clone()?)?;
    loop {
        match poll.poll(&mut events, server.patience()) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            server.note(event);
        }
        server.accept();
        server.take_turns();
    }
}

struct Server {
    registry: Registry,
    listener: TcpListener,
    /// True if connections may be waiting to be accepted.
    acceptable: bool,
    /// Each connection is at the place of its descriptor, a small number that no other shares.
    connections: Vec<Option<Connection>>,
    /// The places of the connections that can do something, each once.
    turns: VecDeque<usize>,
    buffer: Vec<u8>,
    replies: Vec<u8>,
}

impl Server {
    fn listen(registry: Registry) -> io::Result<Self> {
        let listener = common::listen()?;
        listener.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(listener);
        registry.register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            registry,
            listener,
            acceptable: false,
            connections: Vec::new(),
            turns: VecDeque::new(),
            buffer: vec![0; READ],
            replies: Vec::new(),
        })
    }

    /// Returns how long to wait for events. `None` means without a limit.
    fn patience(&self) -> Option<Duration> {
        if !self.turns.is_empty() {
            Some(Duration::ZERO)
        } else {
            // Accepting failed, and no new event will come. Try again after a pause.
            self.acceptable.then_some(PAUSE)
        }
    }

    fn note(&mut self, event: &Event) {
        if event.token() == LISTENER {
            self.acceptable = true;
            return;
        }
        let Token(place) = event.token();
        if let Some(connection) = &mut self.connections[place] {
            connection.ended |= event.is_read_closed() || event.is_error();
            connection.readable |= event.is_readable() || connection.ended;
            if !mem::replace(&mut connection.has_turn, true) {
                self.turns.push_back(place);
            }
        }
    }

    /// Accepts all waiting connections. After an error, such as no free descriptor, the rest must
    /// wait.
    fn accept(&mut self) {
        while self.acceptable {
            match self.listener.accept() {
                Ok((stream, _)) => {
                    // A connection that cannot be registered is closed.
                    let _ = self.add(stream);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => self.acceptable = false,
                Err(_) => break,
            }
        }
    }

    fn add(&mut self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let place = stream.as_raw_fd() as usize;
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.registry
            .register(&mut stream, Token(place), interest)?;
        if place >= self.connections.len() {
            self.connections.resize_with(place + 1, || None);
        }
        self.connections[place] = Some(Connection::new(stream));
        Ok(())
    }

    fn take_turns(&mut self) {
        for _ in 0..self.turns.len() {
            let Some(place) = self.turns.pop_front() else {
                break;
            };
            let Some(connection) = &mut self.connections[place] else {
                continue;
            };
            match connection.turn(&mut self.buffer, &mut self.replies) {
                Ok(Turn::Again) => self.turns.push_back(place),
                Ok(Turn::Wait) => connection.has_turn = false,
                Ok(Turn::End) | Err(_) => self.connections[place] = None,
            }
        }
    }
}

/// The need of a connection after its turn.
enum Turn {
    /// Another turn.
    Again,
    /// An event.
    Wait,
    /// To be closed.
    End,
}

struct Connection {
    stream: TcpStream,
    lines: Lines,
    /// Replies that the socket has not accepted yet.
    pending: Vec<u8>,
    readable: bool,
    /// True if the client has ended its stream. No further event will say that it is readable.
    ended: bool,
    /// True if it is among the server's turns.
    has_turn: bool,
}

impl Connection {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            lines: Lines::default(),
            pending: Vec::new(),
            readable: false,
            ended: false,
            has_turn: false,
        }
    }

    fn turn(&mut self, buffer: &mut [u8], replies: &mut Vec<u8>) -> io::Result<Turn> {
        if !self.pending.is_empty() {
            let pending = mem::take(&mut self.pending);
            self.send(&pending)?;
        }
        if !self.pending.is_empty() || !self.readable {
            return Ok(Turn::Wait);
        }
        let read = match self.stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            Ok(0) => return Ok(Turn::End),
            read => read?,
        };
        self.readable = read == buffer.len() || self.ended;
        replies.clear();
        let echoed = self.lines.echo(&buffer[..read], replies);
        self.send(replies)?;
        echoed?;
        Ok(if self.readable {
            Turn::Again
        } else {
            Turn::Wait
        })
    }

    /// Sends as much as the socket accepts, and stores the rest.
    fn send(&mut self, replies: &[u8]) -> io::Result<()> {
        if replies.is_empty() {
            return Ok(());
        }
        let sent = match self.stream.write(replies) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        self.pending.extend_from_slice(&replies[sent..]);
        Ok(())
    }
}
