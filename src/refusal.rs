//! Connections that are turned away: why, what they are told, and how they are let go.
//!
//! A refusal costs no thread: the accept loop writes one line into the empty send buffer of the new
//! socket, which cannot block. But closed at once, with input unread, the socket would send a reset
//! that can overtake that line; so the last few refused sockets are kept for up to a second, and
//! what they still send is dropped. In a flood the oldest go first.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::net::Stream;

/// Why a connection was closed before its conversation began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// [`verify_request`](crate::ServerOptions::verify_request) said no.
    NotAllowed,
    /// As many connections as [`max_connections`](crate::ServerOptions::max_connections) were open.
    Full {
        /// The limit.
        limit: usize,
    },
    /// The peer's address had [`max_per_address`](crate::ServerOptions::max_per_address) connections
    /// open.
    AddressFull {
        /// The limit.
        limit: usize,
    },
    /// No thread could be started.
    NoThread,
}

impl Refusal {
    /// The names of all refusals, in the order of [`index`](Self::index).
    pub(crate) const NAMES: [&str; 4] = [
        "refused-not-allowed",
        "refused-full",
        "refused-address-full",
        "refused-no-thread",
    ];

    /// The place of this refusal in [`NAMES`](Self::NAMES).
    pub(crate) fn index(self) -> usize {
        match self {
            Self::NotAllowed => 0,
            Self::Full { .. } => 1,
            Self::AddressFull { .. } => 2,
            Self::NoThread => 3,
        }
    }

    /// The refusal's name, without its limit: a fixed word such as `refused-full`.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }
}

/// In words that a peer may see.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("not allowed from this address"),
            Self::Full { limit } => write!(f, "too many connections, the limit is {limit}"),
            Self::AddressFull { limit } => write!(
                f,
                "too many connections from this address, the limit is {limit}"
            ),
            Self::NoThread => f.write_str("too busy, try again later"),
        }
    }
}

/// Refused connections that may not have read why.
#[derive(Debug, Default)]
pub(crate) struct Farewells(VecDeque<(Arc<Stream>, Instant)>);

impl Farewells {
    /// Few: each holds a descriptor.
    const MOST: usize = 16;
    const LONGEST: Duration = Duration::from_secs(1);

    /// Tells a connection why it is refused, without waiting for it.
    pub(crate) fn bid(&mut self, stream: Arc<Stream>, line: &[u8]) {
        stream.dismiss(line);
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back((stream, Instant::now() + Self::LONGEST));
    }

    /// Closes those that are done or have had their time. Says how soon this should be done again.
    pub(crate) fn tend(&mut self) -> Option<Duration> {
        if self.0.is_empty() {
            return None;
        }
        let now = Instant::now();
        self.0
            .retain(|(stream, until)| now < *until && stream.drop_input());
        Some(Self::LONGEST / 10)
    }
}

/// Lets one log line in a second through, and counts the others.
#[derive(Debug, Default)]
pub(crate) struct Sparing {
    last: Option<Instant>,
    held_back: u64,
}

impl Sparing {
    const PAUSE: Duration = Duration::from_secs(1);

    /// Calls `log` with the number of lines that were held back before, or holds this one back.
    pub(crate) fn log(&mut self, now: Instant, log: impl FnOnce(u64)) {
        if self
            .last
            .is_some_and(|last| now.duration_since(last) < Self::PAUSE)
        {
            self.held_back += 1;
            return;
        }
        self.last = Some(now);
        log(std::mem::take(&mut self.held_back));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_that_is_repeated_is_logged_once_a_second_with_the_number_of_the_others() {
        let (mut sparing, start) = (Sparing::default(), Instant::now());
        let mut logged = Vec::new();
        for tenths in 0..25 {
            let now = start + Duration::from_millis(100 * tenths);
            sparing.log(now, |held_back| logged.push((tenths, held_back)));
        }
        assert_eq!(logged, [(0, 0), (10, 9), (20, 9)]);
    }
}
