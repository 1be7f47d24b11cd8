//! The connections are made, before the load: so many at once as no usual backlog is too short for,
//! since one that does not fit there waits a second for its next try.
//!
//! Those that are to be idle come first and echo one line each, so that the server has surely taken
//! them; the others do so on demand. What cannot be made is counted and not tried again.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};

use super::clock;
use super::connection::Fault;
use super::crowd::{Crowd, Pace};

/// Connections in the making at one time.
const AT_ONCE: usize = 128;

/// All are made within this time, or not at all.
const LIMIT: u64 = 30_000_000_000;

/// Connections begin so many lines apart: a prime, so that they are spread over the script.
pub const APART: u64 = 7919;

struct Opening {
    /// So many, the first ones, echo a line.
    greeting: usize,
    /// The number of this thread's first connection among all threads'.
    first: u64,
    next: usize,
    /// By number: whether it is in the making.
    making: Vec<bool>,
    count: usize,
}

/// Makes `count` connections, the first `greeting` of which echo a line.
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
                // Those that greet are there before the others.
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
