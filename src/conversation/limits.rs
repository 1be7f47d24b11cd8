//! The limits of one conversation: what each bounds, its default, and why it has that number.

use std::num::NonZeroUsize;
use std::time::Duration;

use crate::framing::READ_SIZE;

/// The limits of one conversation. Give all of them, or start from the defaults:
/// `Limits { max_message: 512, ..Limits::default() }`.
///
/// The timeouts hold on sockets, each within 100 ms. [`converse`](crate::converse) over other streams
/// has no timeouts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The longest message, in bytes, without its terminator. A message of exactly this length
    /// passes. This bounds what a handler collects, so it is part of the memory that a connection can
    /// use. Default: 64 KiB, more than lines of text protocols usually need. Without a terminator
    /// there are no messages, and it does not apply.
    pub max_message: u64,
    /// The policy for a longer message. Default: [`TooLong::Close`].
    pub too_long: TooLong,
    /// The largest size of a read, in bytes. The first one has 1 KiB, and the size grows eightfold when
    /// a read fills the buffer. Default: 64 KiB less 256 bytes; asynchat's `ac_in_buffer_size` is
    /// 64 KiB.
    pub input_buffer: NonZeroUsize,
    /// How many bytes of output can be queued while input is at hand. When there are more, the
    /// conversation stops reading and waits for its peer. The pushes of the last callback come on
    /// top. Default: 64 KiB, asynchat's `ac_out_buffer_size`; larger batches save no measurable time.
    pub max_queued: usize,
    /// How long the peer can be silent between two messages, or between two reads if there is no
    /// terminator. `None` means for ever. Default: 5 minutes. When this timeout or the next one
    /// expires, the handler can push a last message ([`Handler::timed_out`](crate::Handler::timed_out)),
    /// and the conversation ends.
    pub idle_timeout: Option<Duration>,
    /// How long a message can take, from its first byte to its terminator. Bytes that arrive do not
    /// extend it, so a peer that sends one byte a second cannot hold a connection. `None` means for
    /// ever. Default: 30 s.
    pub message_timeout: Option<Duration>,
    /// How long the peer can take to accept one batch of output: the queued bytes, or one chunk of a
    /// producer. `None` means for ever. Default: 30 s.
    pub write_timeout: Option<Duration>,
    /// How long [`connect`](crate::connect) waits at each address of a server. Default: 30 s.
    pub connect_timeout: Duration,
    /// How long to wait for the peer to stop sending, when this side ends the conversation. Without
    /// that wait the kernel answers unread input with a reset, which can destroy the last reply.
    /// Default: 2 s.
    pub linger_time: Duration,
    /// How many bytes of such input to read and drop. Default: 16 MiB, more than the kernel's buffers
    /// hold.
    pub linger_bytes: u64,
}

/// The policy for a message that is longer than [`Limits::max_message`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TooLong {
    /// The conversation ends with
    /// [`CloseReason::MessageTooLong`](crate::CloseReason::MessageTooLong).
    Close,
    /// The message is dropped up to its terminator and counted. The conversation goes on.
    Discard,
}

impl Limits {
    /// Returns the most memory, in bytes, that a conversation needs beside the stack of its thread:
    /// the read buffer, the queue up to its bound, and three messages. One is being collected, one is
    /// the reply of the last callback, and one is for copies that buffers leave behind as they grow. A
    /// message counts as at least one read, because without a terminator a handler gets all that was
    /// read.
    ///
    /// A handler that keeps or pushes more than one message adds to it. So does a terminator of more
    /// than 2 KiB: about 14 times its length, most of it for the search.
    pub fn memory(&self) -> u64 {
        let read = self.input_buffer.get() as u64;
        let buffers = read.saturating_add(self.max_queued as u64);
        let message = self.max_message.max(read);

        buffers.saturating_add(message.saturating_mul(3))
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_message: 64 * 1024,
            too_long: TooLong::Close,
            input_buffer: READ_SIZE,
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
