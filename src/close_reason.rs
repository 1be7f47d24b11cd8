//! Why a conversation ended: a closed list, so that endings can be counted and the counts compared.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a conversation ended. Every conversation has exactly one.
///
/// It is handed to [`Handler::handle_close`](crate::Handler::handle_close), logged, and counted in
/// the server's [`Report`](crate::Report). Its `Display` is the form in which it is logged.
#[derive(Debug)]
pub enum CloseReason {
    /// The peer ended its stream between messages, or with no terminator set.
    EndOfStream,
    /// The peer ended its stream inside a message.
    MidMessage {
        /// How many bytes of the message had come. They were collected, but are no message.
        unterminated: u64,
    },
    /// The handler called [`close_when_done`](crate::Chat::close_when_done), and all that it had
    /// pushed was sent.
    ClosedByHandler,
    /// The peer reset the connection, or was gone when it was written to.
    ResetByPeer,
    /// The peer sent a longer message than the limit, which is given in bytes.
    MessageTooLong {
        /// The limit.
        limit: u64,
    },
    /// The peer was silent between messages for longer than
    /// [`Limits::idle_timeout`](crate::Limits::idle_timeout).
    Idle {
        /// The limit.
        limit: Duration,
    },
    /// A message was not whole by its deadline,
    /// [`Limits::message_timeout`](crate::Limits::message_timeout) after its first byte.
    MessageDeadline {
        /// The limit.
        limit: Duration,
    },
    /// The peer did not take what was written within
    /// [`Limits::write_timeout`](crate::Limits::write_timeout).
    WriteStall,
    /// A callback, or a producer, returned this error.
    HandlerError(Box<dyn Error + Send + Sync>),
    /// A callback, or a producer, panicked with this message. Only a server catches that.
    HandlerPanic(String),
    /// Reading or writing failed for another reason than the peer's.
    TransportError(io::Error),
    /// The server was stopped: what had been received was answered first.
    Drained,
    /// The server was stopped, and the conversation was not over by the end of the grace period.
    Forced,
}

impl CloseReason {
    /// The names of all reasons, in the order of [`index`](Self::index).
    pub(crate) const NAMES: [&str; 13] = [
        "end-of-stream",
        "mid-message",
        "closed-by-handler",
        "reset-by-peer",
        "message-too-long",
        "idle",
        "message-deadline",
        "write-stall",
        "handler-error",
        "handler-panic",
        "transport-error",
        "drained",
        "forced",
    ];

    /// What a failed read or write means.
    pub(crate) fn from_io(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};
        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected => Self::ResetByPeer,
            _ => Self::TransportError(error),
        }
    }

    /// The place of this reason in [`NAMES`](Self::NAMES).
    pub(crate) fn index(&self) -> usize {
        match self {
            Self::EndOfStream => 0,
            Self::MidMessage { .. } => 1,
            Self::ClosedByHandler => 2,
            Self::ResetByPeer => 3,
            Self::MessageTooLong { .. } => 4,
            Self::Idle { .. } => 5,
            Self::MessageDeadline { .. } => 6,
            Self::WriteStall => 7,
            Self::HandlerError(_) => 8,
            Self::HandlerPanic(_) => 9,
            Self::TransportError(_) => 10,
            Self::Drained => 11,
            Self::Forced => 12,
        }
    }

    /// The reason's name alone, without its particulars: a fixed word such as `end-of-stream`.
    pub fn name(&self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// Whether the peer may still be sending, so that closing at once could reset the connection
    /// and destroy the last reply on its way (RFC 1122, section 4.2.2.13).
    pub(crate) fn leaves_peer_talking(&self) -> bool {
        match self {
            Self::ClosedByHandler
            | Self::MessageTooLong { .. }
            | Self::Idle { .. }
            | Self::MessageDeadline { .. }
            | Self::HandlerError(_)
            | Self::HandlerPanic(_)
            | Self::Drained => true,
            Self::EndOfStream
            | Self::MidMessage { .. }
            | Self::ResetByPeer
            | Self::TransportError(_)
            | Self::WriteStall
            | Self::Forced => false,
        }
    }
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::MidMessage { unterminated } => write!(f, " unterminated={unterminated}"),
            Self::MessageTooLong { limit } => write!(f, " limit={limit}"),
            Self::Idle { limit } | Self::MessageDeadline { limit } => write!(f, " limit={limit:?}"),
            Self::HandlerError(error) => write!(f, " error={:?}", error.to_string()),
            Self::HandlerPanic(message) => write!(f, " panic={message:?}"),
            Self::TransportError(error) => write!(f, " error={:?}", error.to_string()),
            Self::EndOfStream
            | Self::ClosedByHandler
            | Self::ResetByPeer
            | Self::WriteStall
            | Self::Drained
            | Self::Forced => Ok(()),
        }
    }
}
