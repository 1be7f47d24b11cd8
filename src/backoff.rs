//! How the accept loop handles failure: what passes is passed over, what lasts is waited out, what
//! is final is returned.
//!
//! Without a pause a server that is out of descriptors spins: `accept` fails a million times in
//! half a second.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::time::{Duration, Instant};

/// What a failed `accept` is a sign of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hardship {
    /// This one connection has failed; the next may be fine.
    Passing,
    /// The system is short of something: descriptors, memory, threads.
    Lasting,
    /// The listening socket is no longer one.
    Final,
}

impl Hardship {
    /// Linux's number of "protocol error", which has no `ErrorKind`.
    const EPROTO: i32 = 71;

    /// The kind of a failed `accept`. What is not known is waited out: that can neither spin nor
    /// end the server.
    pub(crate) fn of(error: &io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionAborted | ErrorKind::Interrupted => Self::Passing,
            _ if error.raw_os_error() == Some(Self::EPROTO) => Self::Passing,
            ErrorKind::InvalidInput => Self::Final,
            _ => Self::Lasting,
        }
    }
}

/// The pauses after failures: 5 ms, doubling up to 1 s, and 5 ms again after a success.
///
/// An episode of failures is logged once, and its end when nothing has failed for ten seconds: a
/// server at the limit of its descriptors fails and succeeds with every connection.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// The last pause since the last success.
    pause: Option<Duration>,
    /// When it failed last in this episode.
    failed: Option<Instant>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);
    /// How long an episode outlasts its last failure.
    const QUIET: Duration = Duration::from_secs(10);

    /// How long to pause after this failure.
    pub(crate) fn pause(&mut self, failure: &dyn Display, now: Instant) -> Duration {
        if self.failed.replace(now).is_none() {
            log::warn!("accept: failing; retrying until it succeeds: {failure}");
        }
        let pause = self
            .pause
            .map_or(Self::FIRST, |last| Self::LONGEST.min(last * 2));
        self.pause = Some(pause);
        pause
    }

    /// Notes a success. Reads the clock only in an episode.
    pub(crate) fn succeed(&mut self, now: impl FnOnce() -> Instant) {
        self.pause = None;
        if self
            .failed
            .is_some_and(|failed| now().duration_since(failed) >= Self::QUIET)
        {
            self.failed = None;
            log::warn!("accept: succeeding again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_begin_anew_after_a_success() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        let pause = |backoff: &mut Backoff| backoff.pause(&"out of files", now).as_millis();
        let pauses: Vec<_> = (0..10).map(|_| pause(&mut backoff)).collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.succeed(|| now);
        assert_eq!(pause(&mut backoff), 5);
    }

    #[test]
    fn an_episode_ends_when_nothing_has_failed_for_a_while() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        backoff.pause(&"out of files", now);
        backoff.succeed(|| now + Backoff::QUIET / 2);
        assert!(backoff.failed.is_some());
        backoff.succeed(|| now + Backoff::QUIET);
        assert!(backoff.failed.is_none());
        backoff.succeed(|| panic!("the clock was read outside of an episode"));
    }

    #[test]
    fn a_shortage_is_waited_out_and_one_lost_connection_is_not() {
        let hardship = |number| Hardship::of(&io::Error::from_raw_os_error(number));
        let (emfile, enfile, enobufs, enomem) = (24, 23, 105, 12);
        assert!(
            [emfile, enfile, enobufs, enomem]
                .map(hardship)
                .iter()
                .all(|kind| *kind == Hardship::Lasting)
        );
        let (econnaborted, eintr, einval) = (103, 4, 22);
        assert!(
            [econnaborted, eintr, Hardship::EPROTO]
                .map(hardship)
                .iter()
                .all(|kind| *kind == Hardship::Passing)
        );
        assert_eq!(hardship(einval), Hardship::Final);
    }
}
