//! A connection for each line: connect, send, compare, close, and again.
//!
//! The line is sent before the connection is known to be made. On one machine it usually is; if
//! not, the socket reports it later. A connection that fails is tried again after a pause.
//! Otherwise a server that refuses would keep the generator busy all the time.

use std::collections::VecDeque;

use super::clock;
use super::crowd::{Crowd, Pace};

/// The pause between a fault and the next try, in nanoseconds.
const PAUSE: u64 = 10_000_000;

pub struct Connects {
    /// The number of the first connection, after the idle ones.
    first: usize,
    /// For each connection, the time at which it was begun.
    begun: Vec<u64>,
    /// The times of the next tries, in order, and their connections.
    waiting: VecDeque<(u64, usize)>,
    /// The line of the next connection.
    line: u64,
}

impl Connects {
    pub fn new(first: usize, connections: usize, line: u64) -> Self {
        Self {
            first,
            begun: vec![0; connections],
            // At first all connections wait for the beginning.
            waiting: (first..first + connections).map(|id| (0, id)).collect(),
            line,
        }
    }

    fn dial(&mut self, crowd: &mut Crowd<'_>, id: usize) {
        let now = clock::now();
        if now >= crowd.tally.schedule.end {
            return;
        }

        self.begun[id - self.first] = now;
        self.line += 1;
        if !(crowd.dial(id, self.line) && crowd.send(id, 1)) {
            self.waiting.push_back((now + PAUSE, id));
        }
    }
}

impl Pace for Connects {
    const REDIALS: bool = true;

    fn tick(&mut self, crowd: &mut Crowd<'_>, now: u64) -> u64 {
        if now < crowd.tally.schedule.start {
            return crowd.tally.schedule.start;
        }

        while let Some(&(at, id)) = self.waiting.front() {
            if at > now {
                return at;
            }
            self.waiting.pop_front();
            self.dial(crowd, id);
        }

        u64::MAX
    }

    fn answered(&mut self, crowd: &mut Crowd<'_>, id: usize, lines: usize, now: u64) {
        let Some(&begun) = id.checked_sub(self.first).map(|index| &self.begun[index]) else {
            return;
        };

        crowd.tally.done(now, lines);
        if crowd.tally.schedule.measures(begun) {
            crowd.tally.took(now - begun, lines);
        }

        crowd.close(id);
        self.dial(crowd, id);
    }

    /// Counts lines without an answer, with their age as latency, as in the closed loop.
    fn count_missing(&mut self, crowd: &mut Crowd<'_>, now: u64) {
        crowd.tally.errors.unanswered += crowd.owed as u64;

        let schedule = crowd.tally.schedule;
        for (index, &begun) in self.begun.iter().enumerate() {
            let connection = crowd.connections[self.first + index].as_ref();
            if schedule.measures(begun) && connection.is_some_and(|waits| waits.owed > 0) {
                crowd.tally.took(now - begun, 1);
            }
        }
    }

    fn lost(&mut self, _crowd: &mut Crowd<'_>, id: usize, now: u64) {
        if id >= self.first {
            self.waiting.push_back((now + PAUSE, id));
        }
    }
}
