//! The open loop: each line is sent when it is due, whatever was answered, and its latency counts
//! from that moment, so that a stall shows on every line that was due in it.
//!
//! Line `i` of all threads is due at `start + i / rate`, on connection `i` mod their number: the
//! time of each line follows from its number, and nothing is kept of one in flight. A timer of the
//! kernel's wakes the thread for the next line, to some microseconds, which costs two calls a line
//! more than the closed loop. A line that is due while its connection cannot be written to is sent
//! after those before it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::crowd::{Crowd, Pace, TIMER};

/// So many lines are made due in one turn, so that a rate that no machine reaches does not keep the
/// thread from a stop.
const AT_ONCE: usize = 1 << 16;

/// The connections of this thread among those of all.
#[derive(Clone, Copy)]
pub struct Part {
    pub before: usize,
    pub own: usize,
    pub all: usize,
}

pub struct Open {
    /// Nanoseconds from line to line.
    interval: f64,
    part: Part,
    /// By place within this thread's part: the connection's number, and how many lines were
    /// answered on it.
    ids: Vec<usize>,
    answered: Vec<u64>,
    /// By the connection's number: its place.
    places: Vec<usize>,
    /// How many lines of this thread's part were due already.
    due: u64,
    /// What the timer is set to.
    armed: u64,
    timer: TimerFd,
    to_flush: Vec<usize>,
}

impl Open {
    /// Lines on the connections from the number `first` on that are there.
    pub fn new(rate: f64, part: Part, first: usize, crowd: &Crowd<'_>) -> io::Result<Self> {
        let there = |&id: &usize| crowd.connections[id].is_some();
        let ids: Vec<usize> = (first..crowd.connections.len()).filter(there).collect();
        let mut places = vec![usize::MAX; crowd.connections.len()];
        for (place, &id) in ids.iter().enumerate() {
            places[id] = place;
        }
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, TimerFlags::TFD_CLOEXEC)?;
        let descriptor = timer.as_fd().as_raw_fd();
        let registry = crowd.poll.registry();
        registry.register(&mut SourceFd(&descriptor), TIMER, Interest::READABLE)?;
        Ok(Self {
            interval: 1e9 / rate,
            part,
            answered: vec![0; ids.len()],
            ids,
            places,
            due: 0,
            armed: 0,
            timer,
            to_flush: Vec::new(),
        })
    }

    /// When a connection's line by this number is due.
    fn due_at(&self, start: u64, place: usize, number: u64) -> u64 {
        let index = number * self.part.all as u64 + (self.part.before + place) as u64;
        start + (index as f64 * self.interval) as u64
    }

    /// The next line of all: its connection's place, and when it is due.
    fn next(&self, start: u64) -> (usize, u64) {
        let own = self.part.own as u64;
        let place = (self.due % own) as usize;
        (place, self.due_at(start, place, self.due / own))
    }

    /// The timer goes off once at that time. It need not be read: to set it is to begin anew.
    fn arm(&mut self, at: u64) {
        if self.armed == at {
            return;
        }
        self.armed = at;
        let time = Expiration::OneShot(Duration::from_nanos(at).into());
        // Should it fail, the wait's own limit is a millisecond late at most.
        let _ = self.timer.set(time, TimerSetTimeFlags::TFD_TIMER_ABSTIME);
    }
}

impl Pace for Open {
    fn tick(&mut self, crowd: &mut Crowd<'_>, now: u64) -> u64 {
        let schedule = crowd.tally.schedule;
        if self.ids.is_empty() {
            return u64::MAX;
        }
        let mut late = 0;
        let next = loop {
            let (place, at) = self.next(schedule.start);
            if at > now || at >= schedule.end || late == AT_ONCE {
                break at;
            }
            let id = self.ids[place];
            if let Some(connection) = &crowd.connections[id] {
                // Lines that are late leave together, in one write.
                if !connection.has_unsent() {
                    self.to_flush.push(id);
                }
                crowd.add(id, 1);
            }
            self.due += 1;
            late += 1;
        };
        for id in self.to_flush.drain(..) {
            crowd.flush(id);
        }
        if next < schedule.end {
            self.arm(next);
        }
        next
    }

    fn answered(&mut self, crowd: &mut Crowd<'_>, id: usize, lines: usize, now: u64) {
        let place = self.places[id];
        if place == usize::MAX {
            return;
        }
        crowd.tally.done(now, lines);
        let schedule = crowd.tally.schedule;
        for _ in 0..lines {
            let due = self.due_at(schedule.start, place, self.answered[place]);
            if schedule.measures(due) {
                crowd.tally.took(now.saturating_sub(due), 1);
            }
            self.answered[place] += 1;
        }
    }

    /// Lines due in the measured time that were never answered, on whatever connection: they count,
    /// and so does their age, or the figures would be better the more lines are lost.
    fn count_missing(&mut self, crowd: &mut Crowd<'_>, now: u64) {
        let schedule = crowd.tally.schedule;
        for place in 0..self.ids.len() {
            let mut number = self.answered[place];
            loop {
                let due = self.due_at(schedule.start, place, number);
                if due >= crowd.tally.over {
                    break;
                }
                if due >= schedule.begin {
                    crowd.tally.errors.unanswered += 1;
                    crowd.tally.took(now - due, 1);
                }
                number += 1;
            }
        }
    }
}
