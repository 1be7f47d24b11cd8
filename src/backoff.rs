//! How the accept loop meets failure: what passes is passed over, what lasts is waited out, what is
//! final is returned.
//!
//! Without a pause a server that is out of descriptors spins: `accept` fails a million times in
//! half a second.

use std::fmt::Display;
use std::io::{self, ErrorKind};
use std::time::Duration;

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

/// The pauses of one episode of lasting hardship: 5 ms, doubling up to 1 s. An episode is logged
/// once.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    /// The last pause; `None` outside of an episode.
    pause: Option<Duration>,
}

impl Backoff {
    const FIRST: Duration = Duration::from_millis(5);
    const LONGEST: Duration = Duration::from_secs(1);

    /// How long to pause after this failure.
    pub(crate) fn pause(&mut self, failure: &dyn Display) -> Duration {
        let pause = match self.pause {
            None => {
                log::warn!("accept: failing, tried again until it succeeds: {failure}");
                Self::FIRST
            }
            Some(last) => Self::LONGEST.min(last * 2),
        };
        self.pause = Some(pause);
        pause
    }

    /// Ends the episode, if there is one.
    pub(crate) fn recover(&mut self) {
        if self.pause.take().is_some() {
            log::warn!("accept: succeeding again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_second_and_begin_anew_after_a_success() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = (0..10)
            .map(|_| backoff.pause(&"out of files").as_millis())
            .collect();
        assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
        backoff.recover();
        assert_eq!(backoff.pause(&"out of files").as_millis(), 5);
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
