//! What a server has done: counts that can be held against each other.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::close_reason::CloseReason;
use crate::connection::Traffic;
use crate::refusal::Refusal;

/// The counts of a server since its start: a snapshot ([`Handle::report`](crate::Handle::report)),
/// or at the end of [`serve_forever`](crate::Server::serve_forever).
///
/// Every accepted connection is open or has one ending, so `accepted` is the sum of `open` and of
/// [`endings`](Self::endings).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections whose conversation began.
    pub accepted: u64,
    /// Conversations that have not ended. At the end of a server: those that could not be ended,
    /// though their sockets were shut down, since a handler does not return.
    pub open: u64,
    /// The most connections that were held at once.
    pub most_at_once: u64,
    /// What has passed, in the conversations that have ended and in those that are open.
    pub traffic: Traffic,
    endings: [u64; CloseReason::NAMES.len()],
    refusals: [u64; Refusal::NAMES.len()],
}

impl Report {
    /// How many conversations ended for each reason, with its [name](CloseReason::name).
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CloseReason::NAMES.into_iter().zip(self.endings)
    }

    /// How many connections were refused for each cause, with its [name](Refusal::name). They are
    /// not among the accepted.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Refusal::NAMES.into_iter().zip(self.refusals)
    }

    /// Whether every accepted connection is accounted for.
    pub(crate) fn adds_up(&self) -> bool {
        self.accepted == self.endings.iter().sum::<u64>() + self.open
    }

    /// Counts the ending of a conversation, for the reason of this index.
    pub(crate) fn add(&mut self, reason: usize, traffic: Traffic) {
        self.endings[reason] += 1;
        self.traffic += traffic;
    }

    pub(crate) fn add_refusal(&mut self, refusal: Refusal) {
        self.refusals[refusal.index()] += 1;
    }
}

/// One line: `accepted=3 … end-of-stream=2 reset-by-peer=1`, without the reasons that did not
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

/// `messages=… too_long=… bytes_in=… bytes_out=…`
impl fmt::Display for Traffic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            messages,
            too_long,
            bytes_in,
            bytes_out,
        } = self;
        write!(
            f,
            "messages={messages} too_long={too_long} bytes_in={bytes_in} bytes_out={bytes_out}"
        )
    }
}

/// What has passed so far in a conversation that is open: published by its thread before each read,
/// looked at by others.
#[derive(Debug, Default)]
pub(crate) struct LiveTraffic([AtomicU64; 4]);

impl LiveTraffic {
    /// Four plain stores, to memory that no other thread writes.
    #[inline]
    pub(crate) fn publish(&self, traffic: &Traffic) {
        let numbers = [
            traffic.messages,
            traffic.too_long,
            traffic.bytes_in,
            traffic.bytes_out,
        ];
        for (published, number) in self.0.iter().zip(numbers) {
            published.store(number, Ordering::Relaxed);
        }
    }

    pub(crate) fn look(&self) -> Traffic {
        let [messages, too_long, bytes_in, bytes_out] =
            [0, 1, 2, 3].map(|index: usize| self.0[index].load(Ordering::Relaxed));
        Traffic {
            messages,
            too_long,
            bytes_in,
            bytes_out,
        }
    }
}
