//! After a reply whoever else is ready goes first: often the next message has come by then, and a
//! sleep and a wake-up are saved.
//!
//! That pays among threads that want the processor for microseconds each. Beside programs that
//! compute, a thread that gives way loses time slices: two busy loops on two cores made eight
//! conversations twenty times slower. So it is timed now and then, and left alone for a while where
//! more than one time in nine is as long as a slice. What it costs: a system call for each reply, two
//! looks at the clock for one in four, and evenness, since a few messages wait longer.

use std::thread;
use std::time::{Duration, Instant};

/// One in so many is timed.
const TIMED: u32 = 4;

/// Longer than this is a time slice: 2 to 4 ms, by the kernel's settings. Among fifty busy
/// conversations one time in a hundred is as long; among hundreds most are, and nothing is gained.
const LONG: Duration = Duration::from_millis(2);

/// Each long time counts so much, and each short one takes 1 back...
const WEIGHT: u32 = 8;

/// ...until it is enough.
const ENOUGH: u32 = 5 * WEIGHT;

/// For so many replies then nobody is let go first.
const REST: u32 = 16 * 1024;

/// A conversation of fewer replies has too little to gain.
const SHORT: u32 = 16;

/// When a conversation lets others go first.
#[derive(Debug)]
pub(crate) struct Courtesy {
    /// How much long times count, against short ones.
    score: u32,
    rests: bool,
    /// So many replies until it is timed again.
    untimed: u32,
}

impl Default for Courtesy {
    fn default() -> Self {
        Self {
            score: 0,
            rests: true,
            untimed: SHORT,
        }
    }
}

impl Courtesy {
    /// To be called between a reply and the wait for the next message.
    pub(crate) fn give_way(&mut self) {
        if self.untimed > 0 {
            self.untimed -= 1;
            if !self.rests {
                thread::yield_now();
            }
            return;
        }
        let begun = Instant::now();
        thread::yield_now();
        self.took(begun.elapsed());
    }

    fn took(&mut self, time: Duration) {
        self.score = match time > LONG {
            true => self.score + WEIGHT,
            false => self.score.saturating_sub(1),
        };
        self.rests = self.score >= ENOUGH;
        if self.rests {
            // After the rest one more long time is enough.
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
    fn a_conversation_begins_without() {
        let mut courtesy = Courtesy::default();
        for _ in 0..SHORT {
            assert!(courtesy.rests);
            courtesy.give_way();
        }
        assert_eq!(courtesy.untimed, 0, "the next one is timed");
        courtesy.took(LONG);
        assert!(!courtesy.rests);
        assert_eq!(courtesy.untimed, TIMED - 1);
    }

    #[test]
    fn where_it_takes_long_it_is_left_alone_for_a_while_and_tried_again() {
        let mut courtesy = Courtesy::default();
        let slices = (1..100).find(|_| {
            courtesy.took(SLICE);
            courtesy.rests
        });
        assert_eq!(slices, Some(5));
        for _ in 0..REST {
            assert!(courtesy.rests);
            courtesy.give_way();
        }
        assert_eq!(courtesy.untimed, 0);
        courtesy.took(SLICE);
        assert!(courtesy.rests, "one more is enough after a rest");
        courtesy.took(LONG);
        assert!(!courtesy.rests);
    }

    #[test]
    fn a_long_time_among_short_ones_is_no_reason() {
        let mut courtesy = Courtesy::default();
        for _ in 0..100 {
            courtesy.took(SLICE);
            for _ in 0..WEIGHT {
                courtesy.took(LONG);
                assert!(!courtesy.rests, "{courtesy:?}");
            }
        }
    }
}
