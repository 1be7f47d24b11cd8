//! Lets other threads run after a reply, where this brings more.
//!
//! Often the next message has arrived by the time a thread has its turn again, which saves a sleep and
//! a wake-up. Fifty busy conversations answer half as much again. But beside programs that compute, a
//! thread that yields loses whole time slices, and the same conversations are ten times slower. How
//! long one yield takes cannot tell the two apart: in both the others run for a while.
//!
//! So the server tries. While it is busy, it compares now and then how many messages all conversations
//! get through in a few milliseconds with yielding, and without. Between two trials it watches whether
//! the rate stays as it was.
//!
//! The cost of a reply is two counters, and every sixteenth time a look at the clock. A server that is
//! idle tries nothing. A trial takes 90 ms, and half of it is spent in the worse way. The longer the
//! answer stays the same, the rarer the trials are.

use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// A conversation takes part after this many replies, because a short one has too little to gain. From
/// then on it tells its messages, and looks at the clock, once in this many replies.
const SOME: u64 = 16;

/// The length of one side of a comparison.
const SIDE: Duration = Duration::from_millis(15);

/// How many times each side has its turn in a trial.
const TURNS: u32 = 3;

/// A side that takes longer ends the trial. Either each yield costs a time slice, or there is little to
/// do. Both are reasons not to yield.
const TOO_LONG: Duration = Duration::from_millis(60);

/// The time from one trial to the next. It doubles while the answer stays the same.
const SHORTEST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(8);

/// How long the rate is watched before it is compared with that of the trial.
const WATCH: Duration = Duration::from_millis(100);

/// Decides for all conversations of a server whether they yield.
#[derive(Debug, Default)]
pub(super) struct Yielding {
    /// Conversations yield now.
    is_on: AtomicBool,
    /// The messages of all conversations, nearly.
    messages: AtomicU64,
    /// Locked by the thread that decides. No other waits for it.
    governor: Mutex<Governor>,
}

/// The part of one conversation in this.
#[derive(Debug)]
pub(super) struct Turns<'a> {
    yielding: &'a Yielding,
    replies: u64,
    /// How many of the conversation's messages were told.
    told: u64,
}

impl<'a> Turns<'a> {
    pub(super) fn new(yielding: &'a Yielding) -> Self {
        Self {
            yielding,
            replies: 0,
            told: 0,
        }
    }

    /// Yields, perhaps. Call it between a reply and the wait for the next message. The number is that
    /// of the conversation's messages so far.
    #[inline]
    pub(super) fn after_reply(&mut self, messages: u64) {
        self.replies += 1;
        if self.replies.is_multiple_of(SOME) {
            // Without a terminator there are no messages, but replies all the same.
            let new = messages - mem::replace(&mut self.told, messages);
            self.yielding.look(new.max(SOME));
        }

        if self.replies > SOME && self.yielding.is_on.load(Ordering::Relaxed) {
            thread::yield_now();
        }
    }
}

impl Yielding {
    /// Adds messages, and decides anew if it is time.
    fn look(&self, messages: u64) {
        self.messages.fetch_add(messages, Ordering::Relaxed);

        let mut governor = match self.governor.try_lock() {
            Ok(governor) => governor,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        // Both are read under the lock, so that neither goes backwards.
        let (now, all) = (Instant::now(), self.messages.load(Ordering::Relaxed));
        self.is_on.store(governor.look(now, all), Ordering::Relaxed);
    }
}

/// Compares the two ways.
#[derive(Debug, Default)]
struct Governor {
    /// The way that was better in the last trial.
    is_on: bool,
    /// The messages per second in that way, if the trial could tell.
    rate: Option<f64>,
    rest: Duration,
    /// When the present side or the present watch began, and the number of messages at that time.
    since: Option<(Instant, u64)>,
    state: State,
}

#[derive(Debug)]
enum State {
    /// A trial: the sides that are over, and the sums of their rates, without and with yielding.
    Trial { sides: u32, rates: [f64; 2] },
    /// The better way, until this time.
    Rest { until: Instant },
}

impl Default for State {
    fn default() -> Self {
        Self::Trial {
            sides: 0,
            rates: [0.0; 2],
        }
    }
}

impl Governor {
    /// Takes note of the time and of the number of messages so far. Returns true if conversations shall
    /// yield from now on.
    fn look(&mut self, now: Instant, messages: u64) -> bool {
        let (since, before) = *self.since.get_or_insert((now, messages));
        let time = now.saturating_duration_since(since);
        let rate = (messages - before) as f64 / time.as_secs_f64();

        match &mut self.state {
            State::Trial { .. } if time > TOO_LONG => self.conclude(now, messages, false, None),
            State::Trial { sides, rates } if time >= SIDE => {
                rates[usize::from(is_on_side(*sides))] += rate;
                let (sides, rates) = (*sides + 1, *rates);
                if sides < 2 * TURNS {
                    self.begin((now, messages), State::Trial { sides, rates });
                } else {
                    // Yielding must bring something, and is kept for as long as it does no harm.
                    let [without, with] = rates.map(|sum| sum / f64::from(TURNS));
                    let is_on = with > without * if self.is_on { 1.0 } else { 1.05 };
                    let rate = if is_on { with } else { without };
                    self.conclude(now, messages, is_on, Some(rate));
                }
            }
            State::Rest { until } if time >= WATCH => {
                let is_other = |before| rate < before / 2.0 || rate > before * 2.0;
                let has_changed = self.rate.is_some_and(is_other);
                if has_changed {
                    self.rest = Duration::ZERO;
                }
                match has_changed || now >= *until {
                    true => self.begin((now, messages), State::default()),
                    false => self.since = Some((now, messages)),
                }
            }
            _ => {}
        }

        match self.state {
            State::Trial { sides, .. } => is_on_side(sides),
            State::Rest { .. } => self.is_on,
        }
    }

    fn begin(&mut self, since: (Instant, u64), state: State) {
        self.since = Some(since);
        self.state = state;
    }

    /// Ends a trial.
    fn conclude(&mut self, now: Instant, messages: u64, is_on: bool, rate: Option<f64>) {
        let was_on = mem::replace(&mut self.is_on, is_on);

        self.rate = rate;
        self.rest = match was_on == is_on {
            true => (self.rest * 2).clamp(SHORTEST_REST, LONGEST_REST),
            false => SHORTEST_REST,
        };
        let until = now + self.rest;
        self.begin((now, messages), State::Rest { until });
    }
}

/// The sides alternate, and their order, too: off, on, on, off, off, on.
fn is_on_side(sides: u32) -> bool {
    matches!(sides % 4, 1 | 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with these rates, in messages per second, without and with yielding.
    struct World {
        governor: Governor,
        now: Instant,
        messages: f64,
        rates: [f64; 2],
        is_on: bool,
    }

    impl World {
        const STEP: Duration = Duration::from_millis(1);

        fn new(rates: [f64; 2]) -> Self {
            Self {
                governor: Governor::default(),
                now: Instant::now(),
                messages: 0.0,
                rates,
                is_on: false,
            }
        }

        fn steps(&mut self, step: Duration) {
            self.now += step;
            self.messages += self.rates[usize::from(self.is_on)] * step.as_secs_f64();
            self.is_on = self.governor.look(self.now, self.messages as u64);
        }

        /// Returns the part of this time in which it yields.
        fn runs(&mut self, time: Duration) -> f64 {
            let steps = time.as_millis() as usize;
            let mut on = 0;
            for _ in 0..steps {
                on += usize::from(self.is_on);
                self.steps(Self::STEP);
            }
            on as f64 / steps as f64
        }
    }

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn it_yields_where_this_brings_more() {
        let mut world = World::new([50_000.0, 80_000.0]);
        world.runs(SECOND);
        assert!(world.runs(60 * SECOND) > 0.98);

        let mut world = World::new([40_000.0, 5_000.0]);
        world.runs(SECOND);
        assert!(world.runs(60 * SECOND) < 0.02);
    }

    #[test]
    fn a_small_gain_begins_nothing_and_a_small_one_ends_nothing() {
        let mut world = World::new([50_000.0, 51_000.0]);
        world.runs(SECOND);
        assert!(world.runs(10 * SECOND) < 0.1);

        world.rates = [50_000.0, 60_000.0];
        world.runs(10 * SECOND);
        world.rates = [50_000.0, 51_000.0];
        assert!(world.runs(20 * SECOND) > 0.9);
    }

    #[test]
    fn when_the_world_changes_it_tries_again_at_once() {
        let mut world = World::new([50_000.0, 80_000.0]);
        world.runs(60 * SECOND);

        // Two programs begin to compute.
        world.rates = [40_000.0, 5_000.0];
        assert!(world.runs(SECOND) < 0.3);
        world.runs(60 * SECOND);
        world.rates = [90_000.0, 150_000.0];
        assert!(world.runs(SECOND) > 0.7);
    }

    #[test]
    fn a_server_with_little_to_do_does_not_yield() {
        let mut world = World::new([500.0, 1000.0]);
        for _ in 0..1000 {
            world.steps(2 * TOO_LONG);
            assert!(!world.is_on);
        }
    }

    #[test]
    fn a_pause_within_a_trial_ends_it_without_yielding() {
        let mut world = World::new([50_000.0, 80_000.0]);
        world.runs(SIDE + World::STEP);
        assert!(world.is_on, "this is the first side with yielding");
        world.steps(2 * TOO_LONG);
        assert!(world.runs(SHORTEST_REST) < 0.01);
        world.runs(SECOND);
        assert!(world.runs(SECOND) > 0.8);
    }

    #[test]
    fn short_conversations_are_not_counted_and_do_not_look() {
        let yielding = Yielding::default();
        let mut turns = Turns::new(&yielding);
        (1..SOME).for_each(|reply| turns.after_reply(reply));
        assert_eq!(yielding.messages.load(Ordering::Relaxed), 0);

        turns.after_reply(64);
        assert_eq!(yielding.messages.load(Ordering::Relaxed), 64);
        (0..SOME).for_each(|_| turns.after_reply(64));
        assert_eq!(yielding.messages.load(Ordering::Relaxed), 64 + SOME);
    }
}
