//! The connections of one thread, and the loop that waits for them.
//!
//! Sockets are registered once, for both directions and by edges, so that a line costs one read and
//! one write and no other call but its share of the wait: a read that did not fill the buffer has
//! emptied the socket, and writable is heard of only where a write was cut. The road not taken is a
//! thread for each connection, which would take the processor from the server to be measured.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::time::Duration;

use mio::event::Event;
use mio::{Events, Interest, Poll, Token};

use super::clock;
use super::connection::{Connection, Fault};
use super::script::Script;
use super::tally::Tally;

/// The token of a pace's timer; the others are connections' numbers.
pub const TIMER: Token = Token(usize::MAX);

/// As much is read at once, by all connections in turn.
const BUFFER: usize = 128 * 1024;

/// So many events are taken from one wait.
const EVENTS: usize = 1024;

/// No wait is longer, so that a stop is seen soon.
const LONGEST_WAIT: u64 = 50_000_000;

/// What happens on connections, for the one who decides what is sent next. All but the first two
/// may be left as they are.
pub trait Pace {
    /// Whether the load goes on where no connection is left.
    const REDIALS: bool = false;

    /// Called before each wait. Returns when to be called again at the latest.
    fn tick(&mut self, crowd: &mut Crowd<'_>, now: u64) -> u64;

    /// So many more lines were answered, and right, on a connection.
    fn answered(&mut self, crowd: &mut Crowd<'_>, id: usize, lines: usize, now: u64);

    /// A connection that was dialed is made.
    fn connected(&mut self, _crowd: &mut Crowd<'_>, _id: usize) {}

    /// A connection was given up, and counted.
    fn lost(&mut self, _crowd: &mut Crowd<'_>, _id: usize, _now: u64) {}

    /// The load is over: counts the lines that were not answered, even in the time after it.
    fn count_missing(&mut self, crowd: &mut Crowd<'_>, _now: u64) {
        crowd.tally.errors.unanswered += crowd.owed as u64;
    }
}

pub struct Crowd<'a> {
    pub script: &'a Script,
    pub tally: Tally,
    /// By number; none where it is not made yet, or given up.
    pub connections: Vec<Option<Connection>>,
    /// Lines that were to be sent and are not answered, of all connections.
    pub owed: usize,
    /// Why a connection could not be made, the last time.
    pub refusal: Option<io::Error>,
    pub poll: Poll,
    events: Option<Events>,
    /// Connections that may have more to be read, and get no event for it.
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

    /// Begins to connect, to send with `line`. Whether that could be begun; if not, it is counted.
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

    /// Sends so many more lines, now or as soon as the kernel takes them. Whether the connection is
    /// still there afterwards.
    pub fn send(&mut self, id: usize, lines: usize) -> bool {
        self.add(id, lines);
        self.flush(id)
    }

    /// So many more lines are to be sent at the next flush.
    pub fn add(&mut self, id: usize, lines: usize) {
        if let Some(connection) = &mut self.connections[id] {
            connection.add(self.script, lines);
            self.owed += lines;
        }
    }

    /// Sends what is to be sent, as far as the kernel takes it.
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

    /// Closes a connection, for no fault of its.
    pub fn close(&mut self, id: usize) {
        if let Some(connection) = self.connections[id].take() {
            self.owed -= connection.owed;
        }
    }

    /// Closes a connection and counts why.
    pub fn give_up(&mut self, id: usize, fault: Fault) {
        self.close(id);
        self.tally.fault(&fault);
        if let Fault::Refused(error) = fault {
            self.refusal = Some(error);
        }
    }

    /// Waits until something happens, at most until the time `until`, and deals with it.
    pub fn wait(&mut self, pace: &mut impl Pace, now: u64, until: u64) -> io::Result<()> {
        let unread = std::mem::take(&mut self.unread);
        let longest = if unread.is_empty() { LONGEST_WAIT } else { 0 };
        let wait = Duration::from_nanos(until.saturating_sub(now).min(longest));
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
        if !connection.connected {
            if !connection.is_connected()? {
                return Ok(());
            }
            pace.connected(self, id);
        }
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

    /// Reads once. Where there may be more, the others come first: one connection that never runs
    /// dry must not keep the thread from them, nor from the time.
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
