//! The amount of traffic in a conversation: counted by its thread, published for others to read.

use std::fmt;
use std::ops::AddAssign;
use std::sync::atomic::{AtomicU64, Ordering};

/// The traffic of one conversation, or of all conversations of a server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Complete messages, passed to [`Handler::found_terminator`](crate::Handler::found_terminator).
    pub messages: u64,
    /// Messages that were longer than the limit.
    pub too_long: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent. If a write fails, its bytes are not counted, though some may have been sent.
    pub bytes_out: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.too_long += other.too_long;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
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

/// The traffic of an open conversation: its thread publishes it before each read, other threads read
/// it.
#[derive(Debug, Default)]
pub(crate) struct LiveTraffic([AtomicU64; 4]);

impl LiveTraffic {
    /// Costs four plain stores, to memory that no other thread writes.
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

    /// Returns the traffic as it was last published.
    pub(crate) fn load(&self) -> Traffic {
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

#[cfg(test)]
mod tests {
    use super::*;

    const TRAFFIC: Traffic = Traffic {
        messages: 3,
        too_long: 5,
        bytes_in: 7,
        bytes_out: 11,
    };

    #[test]
    fn the_traffic_of_two_conversations_is_added() {
        let mut traffic = TRAFFIC;
        traffic += TRAFFIC;
        assert_eq!(
            traffic.to_string(),
            "messages=6 too_long=10 bytes_in=14 bytes_out=22"
        );
    }

    #[test]
    fn another_thread_sees_what_was_published() {
        let live = LiveTraffic::default();
        live.publish(&TRAFFIC);
        assert_eq!(live.load(), TRAFFIC);
    }
}
