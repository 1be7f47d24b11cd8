//! What a server has done: counts that can be held against each other.

use std::fmt;

use crate::close_reason::CloseReason;
use crate::connection::Traffic;

/// The counts of a server, from its start to the end of
/// [`serve_forever`](crate::Server::serve_forever).
///
/// Every accepted connection has one ending, so `accepted` is the sum of [`endings`](Self::endings)
/// and `still_open`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Connections whose conversation began.
    pub accepted: u64,
    /// Connections that were closed at once, because
    /// [`verify_request`](crate::ServerOptions::verify_request) said no.
    pub refused_by_verify: u64,
    /// Connections that were closed at once, because no thread could be started for them.
    pub refused_for_want_of_a_thread: u64,
    /// Conversations that did not end by the end, though their sockets were shut down: a handler
    /// does not return.
    pub still_open: u64,
    /// What has passed in the conversations that have ended.
    pub traffic: Traffic,
    endings: [u64; CloseReason::NAMES.len()],
}

impl Report {
    /// How many conversations ended for each reason, with its [name](CloseReason::name).
    pub fn endings(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        CloseReason::NAMES.into_iter().zip(self.endings)
    }

    /// Whether every accepted connection is accounted for.
    pub(crate) fn adds_up(&self) -> bool {
        self.accepted == self.endings.iter().sum::<u64>() + self.still_open
    }

    /// Counts the ending of a conversation, for the reason of this index.
    pub(crate) fn add(&mut self, reason: usize, traffic: Traffic) {
        self.endings[reason] += 1;
        self.traffic.messages += traffic.messages;
        self.traffic.too_long += traffic.too_long;
        self.traffic.bytes_in += traffic.bytes_in;
        self.traffic.bytes_out += traffic.bytes_out;
    }
}

/// One line: `accepted=3 … end-of-stream=2 reset-by-peer=1`, without the reasons that did not
/// occur.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            accepted,
            refused_by_verify,
            refused_for_want_of_a_thread,
            still_open,
            traffic,
            ..
        } = self;
        write!(
            f,
            "accepted={accepted} refused_by_verify={refused_by_verify} \
             refused_for_want_of_a_thread={refused_for_want_of_a_thread} still_open={still_open} {traffic}"
        )?;
        self.endings()
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
