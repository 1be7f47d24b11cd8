//! The report of a server: counts that must add up.

use std::fmt;

use super::refusal::Refusal;
use crate::conversation::{CloseReason, Summary, Traffic};

/// The counts of a server since its start. [`ServerHandle::report`](crate::ServerHandle::report)
/// returns them at any time, [`serve_forever`](crate::Server::serve_forever) at the end.
///
/// Every accepted connection is open or has exactly one ending. So `accepted` is the sum of `open`
/// and of all [`endings`](Self::endings).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections whose conversation began.
    pub accepted: u64,
    /// Conversations that have not ended. At the end of a server, these are conversations whose handler
    /// does not return, although their sockets were shut down.
    pub open: u64,
    /// The most connections that were held at once.
    pub most_at_once: u64,
    /// The traffic of all conversations, ended and open.
    pub traffic: Traffic,
    endings: [u64; CloseReason::NAMES.len()],
    refusals: [u64; Refusal::NAMES.len()],
}

impl Report {
    /// Returns the [name](CloseReason::name) of each reason, and how many conversations ended for it.
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CloseReason::NAMES.into_iter().zip(self.endings)
    }

    /// Returns the [name](Refusal::name) of each refusal, and how many connections were refused for it.
    /// They are not among the accepted ones.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refusal::NAMES.into_iter().zip(self.refusals)
    }

    /// Returns true if every accepted connection is open or has an ending.
    pub(super) fn adds_up(&self) -> bool {
        self.accepted == self.endings.iter().sum::<u64>() + self.open
    }

    /// Counts the end of a conversation.
    pub(super) fn add(&mut self, ending: Ending) {
        self.endings[ending.reason] += 1;
        self.traffic += ending.traffic;
    }

    /// Counts a refused connection.
    pub(super) fn add_refusal(&mut self, refusal: Refusal) {
        self.refusals[refusal.index()] += 1;
    }
}

/// The end of a conversation, as it is counted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    /// The index of its reason.
    reason: usize,
    traffic: Traffic,
}

impl Ending {
    /// The end of a conversation whose thread has panicked.
    pub(super) fn of_panic(traffic: Traffic) -> Self {
        let reason = CloseReason::HandlerPanic(String::new()).index();
        Self { reason, traffic }
    }
}

impl From<&Summary> for Ending {
    fn from(summary: &Summary) -> Self {
        Self {
            reason: summary.reason.index(),
            traffic: summary.traffic,
        }
    }
}

/// Prints one line, `accepted=3 … end-of-stream=2 reset-by-peer=1`, without the reasons that did not
/// occur.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            open,
            most_at_once,
            traffic,
            ..
        } = self;
        write!(
            f,
            "accepted={accepted} open={open} most_at_once={most_at_once} {traffic}"
        )?;

        self.endings()
            .chain(self.refusals())
            .filter(|&(_, count)| count > 0)
            .try_for_each(|(name, count)| write!(f, " {name}={count}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_an_ending_does_not_add_up() {
        let mut report = Report::default();
        assert!(report.adds_up());

        report.accepted = 2;
        report.open = 1;
        assert!(!report.adds_up());

        report.add(Ending::of_panic(Traffic::default()));
        assert!(report.adds_up());
    }

    #[test]
    fn reasons_that_did_not_occur_are_not_printed() {
        let mut report = Report::default();
        report.add(Ending::of_panic(Traffic::default()));
        report.add_refusal(Refusal::NoThread);
        report.add_refusal(Refusal::NoThread);
        assert_eq!(
            report.to_string(),
            "accepted=0 open=0 most_at_once=0 messages=0 too_long=0 bytes_in=0 bytes_out=0 \
             handler-panic=1 refused-no-thread=2"
        );
    }
}
