//! Every limit of a conversation, its default, and why that number.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::scanner::DEFAULT_CAPACITY;

/// What one connection may use. Made whole or from the defaults: `Limits { max_message: 512,
/// ..Limits::default() }`.
///
/// The timeouts hold on sockets, each within 100 ms; [`converse`](crate::converse) over other
/// streams knows none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in bytes, its terminator not counted; one of exactly this length
    /// passes. It bounds what a handler collects, so it is part of the memory that a connection can
    /// use. Default: 64 KiB, the largest line that the usual text protocols come near to. Without a
    /// terminator there are no messages and it does not apply.
    pub max_message: u64,
    /// What happens at a longer message. Default: [`TooLong::Close`].
    pub too_long: TooLong,
    /// How many bytes are read at a time. Default: 64 KiB less 256 bytes; asynchat's
    /// `ac_in_buffer_size` is 64 KiB. Memory is taken up only as far as it is used: a connection
    /// that sends short lines touches one page.
    pub input_buffer: NonZeroUsize,
    /// How many bytes may wait to be sent while input is at hand, before the conversation waits for
    /// its peer to take them. The last callback's pushes go on top. Default: 64 KiB, asynchat's
    /// `ac_out_buffer_size`. Larger batches save system calls, but no longer measurably.
    pub max_queued: usize,
    /// How long the peer may be silent between two messages, or, without a terminator, between two
    /// reads. `None`: for ever. Default: 5 minutes. At it, as at the next one, the handler may say a
    /// last word ([`Handler::timed_out`](crate::Handler::timed_out)), and the conversation ends.
    pub idle_timeout: Option<Duration>,
    /// How long a message may take, from its first byte to its terminator. It is not prolonged by
    /// bytes that arrive, so that a peer that sends one a second cannot hold a connection. `None`:
    /// for ever. Default: 30 s.
    pub message_timeout: Option<Duration>,
    /// How long the peer may take to accept what is written at once: the queued bytes, or a chunk of
    /// a producer. `None`: for ever. Default: 30 s.
    pub write_timeout: Option<Duration>,
    /// How long a server may take to accept a connection that [`connect`](crate::connect) makes, at
    /// each of its addresses. Default: 30 s.
    pub connect_timeout: Duration,
    /// How long to wait, at most, for a peer to stop sending when this side ends the conversation.
    /// Without that wait the kernel answers unread input with a reset, which can destroy the last
    /// reply. Default: 2 s.
    pub linger_time: Duration,
    /// How many bytes of such input to read and drop, at most. Default: 16 MiB, more than the
    /// kernel's buffers hold.
    pub linger_bytes: u64,
}

/// What happens at a message that is longer than [`Limits::max_message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TooLong {
    /// The conversation ends: [`CloseReason::MessageTooLong`](crate::CloseReason::MessageTooLong).
    Close,
    /// The message is dropped up to its terminator and counted, and the conversation goes on.
    Discard,
}

impl Limits {
    /// The most memory, in bytes, that a conversation takes up beyond its thread's stack: the read
    /// buffer, a message that is collected, the queue up to its bound, and a message on top of it as
    /// the last callback's reply. A handler that keeps or pushes more than a message adds to it.
    pub fn memory(&self) -> u64 {
        let buffers = (self.input_buffer.get() as u64).saturating_add(self.max_queued as u64);
        buffers.saturating_add(self.max_message.saturating_mul(2))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 64 * 1024,
            too_long: TooLong::Close,
            input_buffer: DEFAULT_CAPACITY,
            max_queued: 64 * 1024,
            idle_timeout: Some(Duration::from_secs(300)),
            message_timeout: Some(Duration::from_secs(30)),
            write_timeout: Some(Duration::from_secs(30)),
            connect_timeout: Duration::from_secs(30),
            linger_time: Duration::from_secs(2),
            linger_bytes: 16 * 1024 * 1024,
        }
    }
}
