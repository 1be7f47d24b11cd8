//! Lets other threads run after a reply. Often the next message has arrived by then, which saves a
//! sleep and a wake-up.
//!
//! This pays among threads that need the processor for microseconds each. Beside programs that
//! compute, a thread that yields loses whole time slices: two busy loops on two cores made eight
//! conversations twenty times slower. So one yield in four is timed. When more than one in nine is as
//! long as a time slice, the conversation stops yielding for a while.
//!
//! The cost is one system call per reply, two looks at the clock in four replies, and less even
//! latency, because a few messages wait longer.

use std::thread;
use std::time::{Duration, Instant};

/// One yield in this many is timed.
const TIMED: u32 = 4;

/// A longer yield has cost a time slice, which is 2 to 4 ms, by the kernel's settings. Among fifty
/// busy conversations one yield in a hundred is as long. Among hundreds most are, and yielding gains
/// nothing.
const LONG: Duration = Duration::from_millis(2);

/// A long yield adds this to the score. A short one takes 1 from it.
const WEIGHT: u32 = 8;

/// At this score, the conversation stops yielding.
const ENOUGH: u32 = 5 * WEIGHT;

/// After that it does not yield for this many replies.
const REST: u32 = 16 * 1024;

/// A conversation does not yield in its first replies, because a short one has too little to gain.
const SHORT: u32 = 16;

/// Decides when a conversation yields.
#[derive(Debug)]
pub(super) struct Yielding {
    /// The weight of long yields, against short ones.
    score: u32,
    rests: bool,
    /// How many replies pass before a yield is timed again.
    untimed: u32,
}

impl Default for Yielding {
    fn default() -> Self {
        Self {
            score: 0,
            rests: true,
            untimed: SHORT,
        }
    }
}

impl Yielding {
    /// Yields, perhaps. Call it between a reply and the wait for the next message.
    pub(super) fn after_reply(&mut self) {
        if self.untimed > 0 {
            self.untimed -= 1;
            if !self.rests {
                thread::yield_now();
            }
            return;
        }

        let started = Instant::now();
        thread::yield_now();
        self.note(started.elapsed());
    }

    /// Notes how long a yield took.
    fn note(&mut self, time: Duration) {
        self.score = match time > LONG {
            true => self.score + WEIGHT,
            false => self.score.saturating_sub(1),
        };

        self.rests = self.score >= ENOUGH;
        if self.rests {
            // After the rest, one more long yield is enough.
            self.score = ENOUGH - WEIGHT;
        }
        self.untimed = if self.rests { REST } else { TIMED - 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLICE: Duration = Duration::from_millis(4);

    #[test]
    fn a_conversation_begins_without_yielding() {
        let mut yielding = Yielding::default();
        for _ in 0..SHORT {
            assert!(yielding.rests);
            yielding.after_reply();
        }
        assert_eq!(yielding.untimed, 0, "the next one is timed");
        yielding.note(LONG);
        assert!(!yielding.rests);
        assert_eq!(yielding.untimed, TIMED - 1);
    }

    #[test]
    fn long_yields_stop_it_for_a_while() {
        let mut yielding = Yielding::default();
        let slices = (1..100).find(|_| {
            yielding.note(SLICE);
            yielding.rests
        });
        assert_eq!(slices, Some(5));
        for _ in 0..REST {
            assert!(yielding.rests);
            yielding.after_reply();
        }
        assert_eq!(yielding.untimed, 0);
        yielding.note(SLICE);
        assert!(yielding.rests, "one more is enough after a rest");
        yielding.note(LONG);
        assert!(!yielding.rests);
    }

    #[test]
    fn a_rest_lasts_for_thousands_of_replies() {
        let mut yielding = Yielding::default();
        (0..5).for_each(|_| yielding.note(SLICE));
        assert!(yielding.rests && yielding.untimed >= 1000, "{yielding:?}");
    }

    #[test]
    fn a_long_yield_among_short_ones_does_not_stop_it() {
        let mut yielding = Yielding::default();
        for _ in 0..100 {
            yielding.note(SLICE);
            for _ in 0..WEIGHT {
                yielding.note(LONG);
                assert!(!yielding.rests, "{yielding:?}");
            }
        }
    }
}
