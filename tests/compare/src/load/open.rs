//! The open loop: each line is sent when it is due, answered or not. Its latency counts from that
//! moment, so a stall shows on every line that was due during the stall.
//!
//! Line `i` of all threads is due at `start + i / rate`, on connection `i` mod their number. The
//! time of a line follows from its number, so nothing is stored for a line in flight. A kernel
//! timer wakes the thread for the next line, accurate to some microseconds. That costs two calls
//! per line more than the closed loop. A line that is due while its connection is not writable is
//! sent after the lines before it.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use mio::Interest;
use mio::unix::SourceFd;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

use super::crowd::{Crowd, Pace, TIMER};

/// The most lines that become due in one turn. At a rate that no machine reaches, the thread must
/// still notice a stop.
const AT_ONCE: usize = 1 << 16;

/// The connections of this thread among those of all threads.
#[derive(Clone, Copy)]
pub struct Part {
    pub before: usize,
    pub own: usize,
    pub all: usize,
}

pub struct Open {
    /// The time between two lines, in nanoseconds.
    interval: f64,
    part: Part,
    /// By place within this thread's part, the number of the connection.
    ids: Vec<usize>,
    /// By place, the number of lines that were answered.
    answered: Vec<u64>,
    /// By number of the connection, its place.
    places: Vec<usize>,
    /// The number of lines of this thread's part that were already due.
    due: u64,
    /// The time that the timer is set to.
    armed: u64,
    timer: TimerFd,
    to_flush: Vec<usize>,
}

impl Open {
    /// Sends on the existing connections, from the number `first` on.
    pub fn new(rate: f64, part: Part, first: usize, crowd: &Crowd<'_>) -> io::Result<Self> {
        // Each existing connection gets a place.
        let there = |&id: &usize| crowd.connections[id].is_some();
        let ids: Vec<usize> = (first..crowd.connections.len()).filter(there).collect();
        let mut places = vec![usize::MAX; crowd.connections.len()];
        for (place, &id) in ids.iter().enumerate() {
            places[id] = place;
        }

        // The poll hears of the timer.
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

    /// Returns the time at which this line of a connection is due.
    fn due_at(&self, start: u64, place: usize, number: u64) -> u64 {
        let index = number * self.part.all as u64 + (self.part.before + place) as u64;
        start + (index as f64 * self.interval) as u64
    }

    /// Returns the place of the connection for the next line, and the time at which it is due.
    fn next(&self, start: u64) -> (usize, u64) {
        let own = self.part.own as u64;
        let place = (self.due % own) as usize;
        (place, self.due_at(start, place, self.due / own))
    }

    /// Sets the timer to go off once at this time. It need not be read, because setting it clears
    /// it.
    fn arm(&mut self, at: u64) {
        if self.armed == at {
            return;
        }

        self.armed = at;
        let time = Expiration::OneShot(Duration::from_nanos(at).into());
        // If this fails, the wait's own timeout is at most a millisecond late.
        let _ = self.timer.set(time, TimerSetTimeFlags::TFD_TIMER_ABSTIME);
    }
}

impl Pace for Open {
    fn tick(&mut self, crowd: &mut Crowd<'_>, now: u64) -> u64 {
        let schedule = crowd.tally.schedule;
        if self.ids.is_empty() {
            return u64::MAX;
        }

        // Add the lines that are due by now.
        let mut late = 0;
        let next = loop {
            let (place, at) = self.next(schedule.start);
            if at > now || at >= schedule.end || late == AT_ONCE {
                break at;
            }

            let id = self.ids[place];
            if let Some(connection) = &crowd.connections[id] {
                // Late lines leave together, in one write.
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

    /// Counts the lines that were due in the measured time and never answered, on any connection,
    /// with their age as latency. Otherwise a server would look better the more lines it loses.
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
