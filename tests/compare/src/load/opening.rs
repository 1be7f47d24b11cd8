//! Makes the connections before the load. It begins only so many at once that they fit into any
//! usual backlog. A connection that does not fit waits a second for its next try.
//!
//! The idle connections come first and echo one line each, which shows that the server has accepted
//! them. The others do so on demand. A connection that cannot be made is counted and not tried
//! again.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock;
use super::connection::Fault;
use super::crowd::{Crowd, Pace};

/// The most connections that are being made at one time.
const AT_ONCE: usize = 128;

/// The timeout for all connections together, in nanoseconds.
const LIMIT: u64 = 30_000_000_000;

/// The distance between the first lines of two connections. It is a prime, which spreads the
/// connections over the script.
pub const APART: u64 = 7919;

struct Opening {
    /// The number of connections, from the first one on, that echo a line.
    greeting: usize,
    /// The number of this thread's first connection among those of all threads.
    first: u64,
    next: usize,
    /// By number, true while the connection is being made.
    making: Vec<bool>,
    count: usize,
}

/// Makes `count` connections. The first `greeting` of them echo a line.
pub fn open(
    crowd: &mut Crowd<'_>,
    greeting: usize,
    count: usize,
    first: u64,
    stop: &AtomicBool,
) -> anyhow::Result<()> {
    let mut opening = Opening {
        greeting,
        first,
        next: 0,
        making: vec![false; count],
        count: 0,
    };

    // Make them, until the deadline.
    let deadline = clock::now() + LIMIT;
    loop {
        let now = clock::now();
        opening.tick(crowd, now);
        if opening.count == 0 || now >= deadline {
            break;
        }
        if stop.load(Ordering::Relaxed) {
            return Ok(());
        }
        crowd.wait(&mut opening, now, deadline)?;
    }

    // Give up those that are not ready by now.
    for id in (0..count).filter(|&id| id >= opening.next || opening.making[id]) {
        match crowd.connections[id].as_ref().map_or(0, |made| made.owed) {
            0 => crowd.give_up(id, Fault::Refused(io::ErrorKind::TimedOut.into())),
            owed => {
                crowd.tally.errors.unanswered += owed as u64;
                crowd.close(id);
            }
        }
    }
    Ok(())
}

impl Opening {
    fn ready(&mut self, id: usize) {
        if std::mem::take(&mut self.making[id]) {
            self.count -= 1;
        }
    }
}

impl Pace for Opening {
    fn tick(&mut self, crowd: &mut Crowd<'_>, _now: u64) -> u64 {
        while self.count < AT_ONCE && self.next < self.making.len() {
            let id = self.next;
            if id == self.greeting && self.count > 0 {
                // The connections that echo a line must be ready before the others begin.
                break;
            }
            self.next += 1;

            if crowd.dial(id, (self.first + id as u64).wrapping_mul(APART)) {
                self.making[id] = true;
                self.count += 1;
            }
        }
        u64::MAX
    }

    fn connected(&mut self, crowd: &mut Crowd<'_>, id: usize) {
        let echoes = id < self.greeting && crowd.send(id, 1);
        if !echoes {
            self.ready(id);
        }
    }

    fn answered(&mut self, _crowd: &mut Crowd<'_>, id: usize, _lines: usize, _now: u64) {
        self.ready(id);
    }

    fn lost(&mut self, _crowd: &mut Crowd<'_>, id: usize, _now: u64) {
        self.ready(id);
    }
}
