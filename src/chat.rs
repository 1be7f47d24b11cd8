//! All that a callback may do to its connection.
//!
//! A [`Chat`] holds neither socket nor scanner, only what the callbacks asked for: so no callback
//! can re-enter the loop that called it, and the loop is the one place where requests take effect.

use std::error::Error;
use std::fmt;

use crate::excerpt::Excerpt;
use crate::producer::Producer;
use crate::queue::ProducerQueue;
use crate::terminator::Terminator;

/// A connection as its [`Handler`](crate::Handler) sees it: a terminator for what comes in, a queue
/// for what goes out.
#[derive(Debug, Default)]
pub struct Chat {
    /// The terminator in force, or to be, if `terminator_is_new`.
    pub(crate) terminator: Terminator,
    /// A callback has set the terminator, and the scanner does not know of it yet.
    pub(crate) terminator_is_new: bool,
    pub(crate) queue: ProducerQueue,
    /// A callback has asked for unread input to be dropped, and the scanner does not know of it
    /// yet.
    pub(crate) input_is_unwanted: bool,
    /// `close_when_done` was called: nothing more is read, parsed or queued.
    pub(crate) is_closing: bool,
}

/// The error of a push after [`Chat::close_when_done`]: the bytes were not queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PushAfterClose;

impl Chat {
    /// Sets what ends the message, from the very next byte on, also within what was read already.
    ///
    /// As in asynchat a count holds for one message; a byte string holds until another terminator
    /// is set.
    pub fn set_terminator(&mut self, terminator: impl Into<Terminator>) {
        self.terminator = terminator.into();
        self.terminator_is_new = true;
    }

    /// The terminator in force. For a count: what is still to come of it, behind the data of this
    /// callback.
    pub fn get_terminator(&self) -> &Terminator {
        &self.terminator
    }

    /// Queues bytes to be sent, behind all that was pushed before. They are copied.
    ///
    /// Never blocks. When the callback returns and more than
    /// [`Limits::max_queued`](crate::Limits::max_queued) bytes are queued, the conversation waits
    /// until the peer has taken them.
    ///
    /// # Errors
    ///
    /// [`PushAfterClose`].
    #[inline]
    pub fn push(&mut self, data: impl AsRef<[u8]>) -> Result<(), PushAfterClose> {
        if self.is_closing {
            return Err(PushAfterClose);
        }
        log::debug!("sending: [{}]", Excerpt(data.as_ref()));
        self.queue.push(data.as_ref());
        Ok(())
    }

    /// Queues what the producer will yield, behind all that was pushed before.
    ///
    /// Until it is exhausted the conversation writes and does not read: an endless producer has the
    /// connection to itself.
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

    /// Ends the conversation once all that was pushed is sent. Input that was read already is not
    /// parsed further: no callback follows this one but
    /// [`handle_close`](crate::Handler::handle_close).
    pub fn close_when_done(&mut self) {
        self.is_closing = true;
    }

    /// Drops queued output and unread input. "Emergencies only!", says asynchat. What was written
    /// already cannot be taken back, a close that was asked for stays asked for, and the terminator
    /// stays.
    pub fn discard_buffers(&mut self) {
        self.queue.clear();
        self.input_is_unwanted = true;
    }
}

impl fmt::Display for PushAfterClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("push after close_when_done: nothing more is sent on this connection")
    }
}

impl Error for PushAfterClose {}
