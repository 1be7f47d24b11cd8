//! The trait of a protocol. The conversation calls it as data comes in.

use std::error::Error;

use super::chat::Chat;
use super::close_reason::CloseReason;

/// The result of a callback. You can pass on any error with `?`. It ends the conversation.
pub type HandlerResult = Result<(), Box<dyn Error + Send + Sync>>;

/// One side of a protocol, for one conversation: asynchat's `async_chat` without the socket.
///
/// You must write [`collect_incoming_data`](Self::collect_incoming_data) and
/// [`found_terminator`](Self::found_terminator). The others have defaults. The conversation calls
/// them one at a time, on one thread, in this order:
///
/// 1. [`handle_connect`](Self::handle_connect), once, before anything is read.
/// 2. For each message `collect_incoming_data`, any number of times, then `found_terminator`, or
///    [`message_too_long`](Self::message_too_long) in its place.
/// 3. [`timed_out`](Self::timed_out), if the peer was too slow.
/// 4. [`handle_close`](Self::handle_close), once, whatever happened. (Outside of a server a panic
///    goes to the caller instead.)
///
/// A callback talks to its peer through a [`Chat`]. Everything that it pushes is sent before the
/// conversation waits for input. If a callback returns an error, only `handle_close` follows, and the
/// output that was pushed before is still sent. In a server, a panic also ends only its own
/// conversation, in the same way.
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
    /// Called once, when the connection is made. Set the first terminator here; until then there is
    /// none. You can also push a greeting.
    ///
    /// # Errors
    ///
    /// An error ends the conversation with [`CloseReason::HandlerError`], here and in every callback.
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        let _ = chat;
        Ok(())
    }

    /// Called with the next piece of a message. `data` is never empty and never contains terminator
    /// bytes. Only the concatenation of the pieces is guaranteed.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult;

    /// Called when the message is complete, since its terminator has arrived. For an empty message,
    /// only this is called. If the terminator was a count, there is none until you set one.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult;

    /// Called in place of `found_terminator`, when the message is longer than `limit` bytes. Forget the
    /// pieces that you collected of it, and tell the peer, if the protocol has words for it.
    ///
    /// With [`TooLong::Close`](crate::TooLong::Close) it is called at once, and the conversation ends.
    /// With [`TooLong::Discard`](crate::TooLong::Discard) it is called at the end of the message.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn message_too_long(&mut self, limit: u64, chat: &mut Chat) -> HandlerResult {
        let _ = (limit, chat);
        Ok(())
    }

    /// Called when the peer was silent for too long ([`CloseReason::Idle`]) or too slow with a message
    /// ([`CloseReason::MessageDeadline`]). Tell the peer, if the protocol has words for it. Only
    /// `handle_close` follows.
    ///
    /// # Errors
    ///
    /// See [`handle_connect`](Self::handle_connect).
    fn timed_out(&mut self, reason: &CloseReason, chat: &mut Chat) -> HandlerResult {
        let _ = (reason, chat);
        Ok(())
    }

    /// Called once at the end, with the reason. Nothing more is sent after it.
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
