//! What a protocol is to this crate: a [`Handler`], called by the conversation as data comes in.

use std::error::Error;

use crate::chat::Chat;
use crate::close_reason::CloseReason;

/// What a callback returns. Any error may be passed on with `?`; it ends the conversation.
pub type HandlerResult = Result<(), Box<dyn Error + Send + Sync>>;

/// One side of a protocol, for one connection: asynchat's `async_chat` without the socket.
///
/// Write [`collect_incoming_data`](Self::collect_incoming_data) and
/// [`found_terminator`](Self::found_terminator); the others have defaults. The conversation calls
/// them one at a time, on one thread, in this order:
///
/// 1. [`handle_connect`](Self::handle_connect), once, before anything is read.
/// 2. For each message `collect_incoming_data`, any number of times, then `found_terminator`, or
///    [`message_too_long`](Self::message_too_long) in its place.
/// 3. [`timed_out`](Self::timed_out), if the peer was too slow.
/// 4. [`handle_close`](Self::handle_close), once, whatever happened. (Outside of a server a panic
///    goes to the caller instead.)
///
/// A callback speaks to its connection through the [`Chat`] that it is given. What it pushes is
/// sent at the latest when the conversation is about to wait for input. If a callback returns an
/// error, no other follows but `handle_close`; what was pushed before is still sent. Panics in a
/// server end that connection alone, in the same way.
///
/// ```
/// use synchat::{Chat, Handler, HandlerResult, Terminator};
///
/// /// Answers each line with its length.
/// #[derive(Default)]
/// struct Length(usize);
///
/// impl Handler for Length {
///     fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
///         chat.set_terminator(Terminator::CRLF);
///         Ok(())
///     }
///     fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
///         self.0 += data.len();
///         Ok(())
///     }
///     fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
///         chat.push(format!("{}\r\n", std::mem::take(&mut self.0)))?;
///         Ok(())
///     }
/// }
///
/// let mut replies = Vec::new();
/// synchat::converse(&b"four\r\n\r\n"[..], &mut replies, &mut Length::default(), &Default::default());
/// assert_eq!(replies, b"4\r\n0\r\n");
/// ```
pub trait Handler {
    /// The connection stands: set the first terminator here (until then there is none), and push a
    /// greeting.
    ///
    /// # Errors
    ///
    /// An error ends the conversation with [`CloseReason::HandlerError`]. So it does in every
    /// callback.
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        let _ = chat;
        Ok(())
    }

    /// Bytes of a message have come: keep them, or deal with them. They are never none and never
    /// belong to the terminator. How a message is cut into pieces is chance; only their
    /// concatenation is promised.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult;

    /// The message is whole: its terminator has come. An empty message is this call alone. If the
    /// terminator was a count, there is none now until one is set.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult;

    /// The message was longer than `limit` bytes: forget what was collected of it, and tell the
    /// peer, if the protocol has words for it. Called in place of `found_terminator`: at once if
    /// such a message ends the conversation ([`TooLong::Close`](crate::TooLong::Close)), at the end
    /// of the message if it is passed over.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn message_too_long(&mut self, limit: u64, chat: &mut Chat) -> HandlerResult {
        let _ = (limit, chat);
        Ok(())
    }

    /// The conversation is to end because the peer was silent for too long
    /// ([`CloseReason::Idle`]) or too slow with a message ([`CloseReason::MessageDeadline`]): tell
    /// it, if the protocol has words for it. Only `handle_close` follows.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn timed_out(&mut self, reason: &CloseReason, chat: &mut Chat) -> HandlerResult {
        let _ = (reason, chat);
        Ok(())
    }

    /// The conversation is over, for this reason. All output has been sent that will be.
    fn handle_close(&mut self, reason: &CloseReason) {
        let _ = reason;
    }
}

impl<H: Handler + ?Sized> Handler for Box<H> {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        (**self).handle_connect(chat)
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        (**self).collect_incoming_data(data, chat)
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        (**self).found_terminator(chat)
    }

    fn message_too_long(&mut self, limit: u64, chat: &mut Chat) -> HandlerResult {
        (**self).message_too_long(limit, chat)
    }

    fn timed_out(&mut self, reason: &CloseReason, chat: &mut Chat) -> HandlerResult {
        (**self).timed_out(reason, chat)
    }

    fn handle_close(&mut self, reason: &CloseReason) {
        (**self).handle_close(reason);
    }
}
