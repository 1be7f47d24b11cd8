//! The connections of one thread, and the loop that waits for them.
//!
//! Sockets are registered once, edge-triggered, for both directions. So a line costs one read, one
//! write and its share of a wait, and no other call. A read that did not fill the buffer has
//! emptied the socket. A socket reports that it is writable only after a write was cut. The
//! alternative was a thread for each connection, but that would take processor time from the
//! measured server.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::clock;
use super::connection::{Connection, Fault};
use super::script::Script;
use super::tally::Tally;

/// The token of a pace's timer. All other tokens are numbers of connections.
pub const TIMER: Token = Token(usize::MAX);

/// The size of the buffer that all connections share, and so of one read.
const BUFFER: usize = 128 * 1024;

/// The most events of one wait.
const EVENTS: usize = 1024;

/// The longest wait, in nanoseconds. It is short, so a stop is noticed soon.
const LONGEST_WAIT: u64 = 50_000_000;

/// Decides when the next lines are sent. `tick` and `answered` are required.
pub trait Pace {
    /// True if the load goes on when no connection is left.
    const REDIALS: bool = false;

    /// Called before each wait. Returns the time of the next call at the latest.
    fn tick(&mut self, crowd: &mut Crowd<'_>, now: u64) -> u64;

    /// Called when lines were answered correctly on a connection.
    fn answered(&mut self, crowd: &mut Crowd<'_>, id: usize, lines: usize, now: u64);

    /// Called when a connection has been made.
    fn connected(&mut self, _crowd: &mut Crowd<'_>, _id: usize) {}

    /// Called when a connection was given up and counted.
    fn lost(&mut self, _crowd: &mut Crowd<'_>, _id: usize, _now: u64) {}

    /// Called when the load is over. Counts the lines that are still not answered.
    fn count_missing(&mut self, crowd: &mut Crowd<'_>, _now: u64) {
        crowd.tally.errors.unanswered += crowd.owed as u64;
    }
}

pub struct Crowd<'a> {
    pub script: &'a Script,
    pub tally: Tally,
    /// The connections by number. `None` if not begun yet, or given up.
    pub connections: Vec<Option<Connection>>,
    /// The number of lines of all connections that are not answered.
    pub owed: usize,
    /// The last reason why a connection could not be made.
    pub refusal: Option<io::Error>,
    pub poll: Poll,
    events: Option<Events>,
    /// Connections that may have more to read, without an event for it.
    unread: Vec<usize>,
    buffer: Vec<u8>,
    server: SocketAddr,
    dialed: u8,
}

impl<'a> Crowd<'a> {
    pub fn new(server: SocketAddr, script: &'a Script, size: usize) -> io::Result<Self> {
        Ok(Self {
            script,
            tally: Tally::new(),
            connections: (0..size).map(|_| None).collect(),
            owed: 0,
            refusal: None,
            poll: Poll::new()?,
            events: Some(Events::with_capacity(EVENTS)),
            unread: Vec::new(),
            buffer: vec![0; BUFFER],
            server,
            dialed: 0,
        })
    }

    /// Begins a connection whose first line is `line`. Counts a failure and then returns false.
    pub fn dial(&mut self, id: usize, line: u64) -> bool {
        self.dialed = self.dialed.wrapping_add(1);
        let line = self.script.line(line);
        let dialed = Connection::dial(self.server, self.dialed, self.script, line).and_then(
            |mut connection| {
                let both = Interest::READABLE | Interest::WRITABLE;
                let registry = self.poll.registry();
                registry.register(&mut connection.stream, Token(id), both)?;
                Ok(connection)
            },
        );

        match dialed {
            Ok(connection) => {
                self.connections[id] = Some(connection);
                true
            }
            Err(error) => {
                self.give_up(id, Fault::Refused(error));
                false
            }
        }
    }

    /// Sends lines, now or as soon as the kernel accepts them. Returns true if the connection is
    /// still there afterwards.
    pub fn send(&mut self, id: usize, lines: usize) -> bool {
        self.add(id, lines);
        self.flush(id)
    }

    /// Adds lines to be sent by the next flush.
    pub fn add(&mut self, id: usize, lines: usize) {
        if let Some(connection) = &mut self.connections[id] {
            connection.add(self.script, lines);
            self.owed += lines;
        }
    }

    /// Sends as much as the kernel accepts. Returns true if the connection is still there
    /// afterwards.
    pub fn flush(&mut self, id: usize) -> bool {
        let Some(connection) = &mut self.connections[id] else {
            return false;
        };

        match connection.send(self.script) {
            Ok(()) => true,
            Err(fault) => {
                self.give_up(id, fault);
                false
            }
        }
    }

    /// Closes a connection without a fault.
    pub fn close(&mut self, id: usize) {
        if let Some(connection) = self.connections[id].take() {
            self.owed -= connection.owed;
        }
    }

    /// Closes a connection and counts its fault.
    pub fn give_up(&mut self, id: usize, fault: Fault) {
        self.close(id);
        self.tally.fault(&fault);
        if let Fault::Refused(error) = fault {
            self.refusal = Some(error);
        }
    }

    /// Waits for events, at most until the time `until`, and handles them.
    pub fn wait(&mut self, pace: &mut impl Pace, now: u64, until: u64) -> io::Result<()> {
        // Do not sleep while connections may have more to read.
        let unread = std::mem::take(&mut self.unread);
        let longest = if unread.is_empty() { LONGEST_WAIT } else { 0 };
        let wait = Duration::from_nanos(until.saturating_sub(now).min(longest));

        // Events first, then the connections that were not read to their end before.
        let mut events = self.events.take().expect("a wait is not within another");
        let waited = self.poll.poll(&mut events, Some(wait));

        for event in events.iter().filter(|event| event.token() != TIMER) {
            let id = event.token().0;
            let followed = self.follow(pace, id, event);
            self.settle(pace, id, followed);
        }

        for id in unread {
            let received = self.receive(pace, id);
            self.settle(pace, id, received);
        }
        self.events = Some(events);

        waited.or_else(|error| match error.kind() {
            ErrorKind::Interrupted => Ok(()),
            _ => Err(error),
        })
    }

    fn settle(&mut self, pace: &mut impl Pace, id: usize, result: Result<(), Fault>) {
        if let Err(fault) = result {
            self.give_up(id, fault);
            pace.lost(self, id, clock::now());
        }
    }

    fn follow(&mut self, pace: &mut impl Pace, id: usize, event: &Event) -> Result<(), Fault> {
        let Some(connection) = &mut self.connections[id] else {
            return Ok(());
        };

        // The connection may have been made by now.
        if !connection.connected {
            if !connection.is_connected()? {
                return Ok(());
            }
            pace.connected(self, id);
        }

        // The pace may have given it up. If not, send and receive.
        let Some(connection) = &mut self.connections[id] else {
            return Ok(());
        };
        if connection.has_unsent() {
            connection.send(self.script)?;
        }
        connection.ending |= event.is_read_closed() || event.is_error();
        if event.is_readable() || connection.ending {
            self.receive(pace, id)?;
        }
        Ok(())
    }

    /// Reads once. If there may be more to read, the other connections come first. A connection
    /// that is always readable must not hold up the others, or the timer.
    fn receive(&mut self, pace: &mut impl Pace, id: usize) -> Result<(), Fault> {
        let Some(connection) = &mut self.connections[id] else {
            return Ok(());
        };
        connection.queued = false;
        let Some(received) = connection.receive(self.script, &mut self.buffer)? else {
            return Ok(());
        };

        if received.lines > 0 {
            self.owed -= received.lines;
            self.tally.total += received.lines as u64;
            pace.answered(self, id, received.lines, clock::now());
        }

        if let Some(connection) = &mut self.connections[id]
            && (received.full || connection.ending)
            && !std::mem::replace(&mut connection.queued, true)
        {
            self.unread.push(id);
        }
        Ok(())
    }
}
