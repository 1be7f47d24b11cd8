//! The closed loop: for each answered line a connection sends a new one, all in one write. So the
//! number of lines in flight stays the same.
//!
//! It shows the highest rate of a server. It hides stalls, because a server that does not answer
//! gets no new lines. `open.rs` shows stalls.

use std::collections::VecDeque;

use super::crowd::{Crowd, Pace};

pub struct Closed {
    depth: usize,
    /// The number of the first connection, after the idle ones.
    first: usize,
    begun: bool,
    /// For each connection, the writes whose lines are not all answered, oldest first.
    writes: Vec<VecDeque<Write>>,
}

struct Write {
    at: u64,
    lines: usize,
}

impl Closed {
    pub fn new(depth: usize, first: usize, connections: usize) -> Self {
        Self {
            depth,
            first,
            begun: false,
            writes: (0..connections).map(|_| VecDeque::new()).collect(),
        }
    }

    fn begin(&mut self, crowd: &mut Crowd<'_>, now: u64) {
        for (index, writes) in self.writes.iter_mut().enumerate() {
            let lines = self.depth;
            writes.push_back(Write { at: now, lines });
            crowd.send(self.first + index, lines);
        }
    }
}

impl Pace for Closed {
    fn tick(&mut self, crowd: &mut Crowd<'_>, now: u64) -> u64 {
        if now < crowd.tally.schedule.start {
            return crowd.tally.schedule.start;
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.begin(crowd, now);
        }
        u64::MAX
    }

    fn answered(&mut self, crowd: &mut Crowd<'_>, id: usize, lines: usize, now: u64) {
        let Some(writes) = id.checked_sub(self.first).map(|of| &mut self.writes[of]) else {
            return;
        };
        crowd.tally.done(now, lines);

        // The answers belong to the oldest writes.
        let mut left = lines;
        while left > 0
            && let Some(write) = writes.front_mut()
        {
            let of_it = left.min(write.lines);
            if crowd.tally.schedule.measures(write.at) {
                crowd.tally.took(now - write.at, of_it);
            }

            left -= of_it;
            write.lines -= of_it;
            if write.lines == 0 {
                writes.pop_front();
            }
        }

        // Send as many lines again.
        if now < crowd.tally.schedule.end {
            writes.push_back(Write { at: now, lines });
            crowd.send(id, lines);
        }
    }

    /// Counts lines without an answer, with their age as latency. Otherwise the longest latencies
    /// would be missing.
    fn count_missing(&mut self, crowd: &mut Crowd<'_>, now: u64) {
        crowd.tally.errors.unanswered += crowd.owed as u64;

        let schedule = crowd.tally.schedule;
        for (index, writes) in self.writes.iter().enumerate() {
            if crowd.connections[self.first + index].is_none() {
                continue;
            }
            for write in writes.iter().filter(|write| schedule.measures(write.at)) {
                crowd.tally.took(now - write.at, write.lines);
            }
        }
    }
}
