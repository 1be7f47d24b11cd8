//! Not a peer: returns bytes unread, over epoll on one thread.
//!
//! Hardly any server can read and write at a lower cost, so its figures show the limit of the
//! generator. It has no queue of turns, which a real server would need: it serves a connection
//! until nothing is left to read. A connection that never paused would keep all others waiting. The
//! generator's connections do pause.

mod common;

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;

use common::{PAUSE, READ};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};

const LISTENER: Token = Token(usize::MAX);

fn main() -> io::Result<()> {
    let listener = common::listen()?;
    listener.set_nonblocking(true)?;
    let mut listener = TcpListener::from_std(listener);
    let mut poll = Poll::new()?;
    poll.registry()
        .register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut connections: Vec<Option<Connection>> = Vec::new();
    let mut buffer = vec![0; READ];
    let mut acceptable = false;
    loop {
        // If accepting failed, no new event will come. Try again after a pause.
        match poll.poll(&mut events, acceptable.then_some(PAUSE)) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            let Token(place) = event.token();
            if event.token() == LISTENER {
                acceptable = true;
            } else if let Some(Some(connection)) = connections.get_mut(place) {
                let ended = event.is_read_closed() || event.is_error();
                if connection.reflect(ended, &mut buffer).is_err() {
                    connections[place] = None;
                }
            }
        }
        while acceptable {
            match listener.accept() {
                Ok((stream, _)) => {
                    // A connection that cannot be registered is closed.
                    let _ = add(&mut connections, stream, poll.registry());
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => acceptable = false,
                Err(_) => break,
            }
        }
    }
}

/// Puts a connection at the place of its descriptor, a small number that no other shares.
fn add(
    connections: &mut Vec<Option<Connection>>,
    mut stream: TcpStream,
    registry: &Registry,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let place = stream.as_raw_fd() as usize;
    let interest = Interest::READABLE | Interest::WRITABLE;
    registry.register(&mut stream, Token(place), interest)?;
    if place >= connections.len() {
        connections.resize_with(place + 1, || None);
    }
    connections[place] = Some(Connection {
        stream,
        pending: Vec::new(),
        ended: false,
    });
    Ok(())
}

struct Connection {
    stream: TcpStream,
    /// Bytes that the socket has not accepted yet. Nothing is read while there are any.
    pending: Vec<u8>,
    /// True if the client has ended its stream. No further event will say that it is readable.
    ended: bool,
}

impl Connection {
    /// Reads and writes until either would wait. Returns an error at the end of the stream, too.
    fn reflect(&mut self, ended: bool, buffer: &mut [u8]) -> io::Result<()> {
        self.ended |= ended;
        if !self.pending.is_empty() {
            let sent = ready(self.stream.write(&self.pending))?;
            self.pending.drain(..sent);
        }
        while self.pending.is_empty() {
            let read = match self.stream.read(buffer) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                read => ready(read)?,
            };
            if read > 0 {
                let sent = ready(self.stream.write(&buffer[..read]))?;
                self.pending.extend_from_slice(&buffer[sent..read]);
            }
            // A short read has emptied the socket. The next event comes with the next bytes.
            if read < buffer.len() && !self.ended {
                break;
            }
        }
        Ok(())
    }
}

/// Turns "would wait" into no bytes.
fn ready(done: io::Result<usize>) -> io::Result<usize> {
    match done {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(0),
        done => done,
    }
}
