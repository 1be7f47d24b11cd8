//! The requests that a callback can make of its conversation.
//!
//! A [`Chat`] holds neither socket nor scanner. It only notes what the callbacks ask for. So no
//! callback can re-enter the loop that called it, and requests take effect in one place, the loop.

use std::error::Error;
use std::fmt;

use super::excerpt::Excerpt;
use super::output_queue::OutputQueue;
use super::producer::Producer;
use crate::framing::Terminator;
use crate::log_target::CONVERSATION;

/// A conversation as its [`Handler`](crate::Handler) sees it: a terminator for the input, a queue for
/// the output.
///
/// Invariant: `has_requests` is true while the loop does not know of a request yet. A callback that
/// only pushes makes none.
#[derive(Debug, Default)]
pub struct Chat {
    pub(super) queue: OutputQueue,
    /// The terminator in force. The scanner does not know it yet if `has_new_terminator`.
    pub(super) terminator: Terminator,
    pub(super) has_requests: bool,
    pub(super) has_new_terminator: bool,
    /// A callback has asked to drop the unread input. The scanner has not done it yet.
    pub(super) discards_input: bool,
    /// `close_when_done` was called. Nothing more is read, parsed or queued.
    pub(super) is_closing: bool,
}

/// The error of a push after [`Chat::close_when_done`]. The bytes were not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushAfterClose;

impl Chat {
    /// Sets the terminator, from the very next byte on, also within bytes that were read already.
    ///
    /// As in asynchat, a count holds for one message. A byte string holds until you set another
    /// terminator. A count of 0 is an empty message: `found_terminator` follows at once.
    pub fn set_terminator(&mut self, terminator: impl Into<Terminator>) {
        self.terminator = terminator.into();
        self.has_new_terminator = true;
        self.has_requests = true;
    }

    /// Returns the terminator in force. For a count, this is the number of bytes that are still to
    /// come after the data of this callback.
    pub fn get_terminator(&self) -> &Terminator {
        &self.terminator
    }

    /// Queues a copy of these bytes, behind everything that was pushed before.
    ///
    /// It never blocks. If more than [`Limits::max_queued`](crate::Limits::max_queued) bytes are
    /// queued when the callback returns, the conversation waits until the peer has taken them.
    ///
    /// # Errors
    ///
    /// [`PushAfterClose`].
    #[inline]
    pub fn push(&mut self, data: impl AsRef<[u8]>) -> Result<(), PushAfterClose> {
        if self.is_closing {
            return Err(PushAfterClose);
        }

        log::debug!(target: CONVERSATION, "sending: [{}]", Excerpt(data.as_ref()));
        self.queue.push(data.as_ref());
        Ok(())
    }

    /// Queues all bytes of a buffer and leaves it empty, as [`Vec::append`] does, behind everything that
    /// was pushed before. If nothing is queued, it gives you another buffer instead of copying.
    ///
    /// # Errors
    ///
    /// [`PushAfterClose`]. The buffer is as it was.
    #[inline]
    pub fn append(&mut self, data: &mut Vec<u8>) -> Result<(), PushAfterClose> {
        if self.is_closing {
            return Err(PushAfterClose);
        }

        log::debug!(target: CONVERSATION, "sending: [{}]", Excerpt(data));
        self.queue.append(data);
        Ok(())
    }

    /// Queues a producer, behind everything that was pushed before.
    ///
    /// Until the producer is at its end, the conversation only writes and does not read.
    ///
    /// # Errors
    ///
    /// [`PushAfterClose`].
    pub fn push_with_producer(
        &mut self,
        producer: impl Producer + 'static,
    ) -> Result<(), PushAfterClose> {
        if self.is_closing {
            return Err(PushAfterClose);
        }

        self.queue.push_with_producer(Box::new(producer));
        Ok(())
    }

    /// Ends the conversation once everything that was pushed is sent. Input that was read already is
    /// not parsed any further: after this callback comes only
    /// [`handle_close`](crate::Handler::handle_close).
    pub fn close_when_done(&mut self) {
        self.is_closing = true;
        self.has_requests = true;
    }

    /// Drops queued output and unread input. "Emergencies only!", says asynchat. Output that was
    /// written already cannot be taken back. A close that you asked for, and the terminator, stay.
    pub fn discard_buffers(&mut self) {
        self.queue.clear();
        self.discards_input = true;
        self.has_requests = true;
    }
}

impl fmt::Display for PushAfterClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("push after close_when_done: nothing more is sent on this connection")
    }
}

impl Error for PushAfterClose {}
