//! The pauses after failures of `accept`.
//!
//! Without a pause, a server that is out of descriptors spins: `accept` fails a million times in half
//! a second.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::log_target::SERVER;

/// Pauses of 5 ms, doubled with each failure up to 1 s, and 5 ms again after a success.
///
/// An episode of failures is logged once. It ends when nothing has failed for ten seconds, since a
/// server at the limit of its descriptors fails and succeeds by turns.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    /// The last pause since the last success.
    pause: Option<Duration>,
    /// The time of the last failure in this episode.
    failed: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);
    /// How long an episode outlasts its last failure.
    const QUIET: Duration = Duration::from_secs(10);

    /// Returns how long to pause after this failure.
    pub(super) fn pause(&mut self, failure: &dyn Display, now: Instant) -> Duration {
        if self.failed.replace(now).is_none() {
            log::warn!(target: SERVER, "accept: failing; retrying until it succeeds: {failure}");
        }

        let pause = self
            .pause
            .map_or(Self::FIRST, |last| Self::LONGEST.min(last * 2));
        self.pause = Some(pause);
        pause
    }

    /// Notes a success. Reads the clock only in an episode.
    pub(super) fn succeed(&mut self, now: impl FnOnce() -> Instant) {
        self.pause = None;

        if self
            .failed
            .is_some_and(|failed| now().duration_since(failed) >= Self::QUIET)
        {
            self.failed = None;
            log::warn!(target: SERVER, "accept: succeeding again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let pause = |backoff: &mut Backoff| backoff.pause(&"out of files", now).as_millis();
        let pauses: Vec<_> = (0..10).map(|_| pause(&mut backoff)).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.succeed(|| now);
        assert_eq!(pause(&mut backoff), 5);
    }

    #[test]
    fn an_episode_ends_after_a_quiet_time() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.pause(&"out of files", now);
        backoff.succeed(|| now + Backoff::QUIET / 2);
        assert!(backoff.failed.is_some());
        backoff.succeed(|| now + Backoff::QUIET);
        assert!(backoff.failed.is_none());
        backoff.succeed(|| panic!("the clock was read outside of an episode"));
    }
}
