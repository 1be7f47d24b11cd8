//! The reasons why a conversation ends. The list is closed, so that endings can be counted and the
//! counts compared.

use std::error::Error;
use std::fmt;
use std::io;
use std::time::Duration;

use super::names::names;
use super::output_queue::DrainError;

/// The reason why a conversation ended. Every conversation has exactly one.
///
/// It is passed to [`Handler::handle_close`](crate::Handler::handle_close), logged, and counted in
/// the server's [`Report`](crate::Report). Its `Display` is the form that is logged.
#[derive(Debug)]
pub enum CloseReason {
    /// The peer ended its stream between messages, or while no terminator was set.
    EndOfStream,
    /// The peer ended its stream inside a message.
    MidMessage {
        /// How many bytes of the message had come. They were collected, but are not a message.
        unterminated: u64,
    },
    /// The handler called [`close_when_done`](crate::Chat::close_when_done), and everything that it
    /// had pushed was sent.
    ClosedByHandler,
    /// The peer reset the connection, or was gone when we wrote to it.
    ResetByPeer,
    /// The peer sent a message that is longer than the limit.
    MessageTooLong {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The peer was silent between messages for longer than
    /// [`Limits::idle_timeout`](crate::Limits::idle_timeout).
    Idle {
        /// The limit.
        limit: Duration,
    },
    /// A message was not complete by its deadline,
    /// [`Limits::message_timeout`](crate::Limits::message_timeout) after its first byte.
    MessageDeadline {
        /// The limit.
        limit: Duration,
    },
    /// The peer did not accept our output within
    /// [`Limits::write_timeout`](crate::Limits::write_timeout).
    WriteStall,
    /// A callback, or a producer, returned this error.
    HandlerError(Box<dyn Error + Send + Sync>),
    /// A callback, or a producer, panicked with this message. Only a server catches panics.
    HandlerPanic(String),
    /// Reading or writing failed, and not because of the peer.
    TransportError(io::Error),
    /// The server was stopped. Everything that had been received was answered first.
    Drained,
    /// The server was stopped, and the conversation was still open at the end of the grace period.
    Forced,
}

names!(CloseReason {
    EndOfStream => "end-of-stream",
    MidMessage => "mid-message",
    ClosedByHandler => "closed-by-handler",
    ResetByPeer => "reset-by-peer",
    MessageTooLong => "message-too-long",
    Idle => "idle",
    MessageDeadline => "message-deadline",
    WriteStall => "write-stall",
    HandlerError => "handler-error",
    HandlerPanic => "handler-panic",
    TransportError => "transport-error",
    Drained => "drained",
    Forced => "forced",
});

impl CloseReason {
    /// Returns the reason for a failed read or write.
    pub(crate) fn from_io(error: io::Error) -> Self {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, NotConnected};

        match error.kind() {
            BrokenPipe | ConnectionAborted | ConnectionReset | NotConnected => Self::ResetByPeer,
            _ => Self::TransportError(error),
        }
    }

    /// Returns true if the peer was too slow, so that the handler can say a last word.
    pub(super) fn is_timeout(&self) -> bool {
        matches!(self, Self::Idle { .. } | Self::MessageDeadline { .. })
    }

    /// Returns true if the conversation ended because a read, a write or the handler failed.
    pub(super) fn is_failure(&self) -> bool {
        match self {
            Self::ResetByPeer
            | Self::WriteStall
            | Self::HandlerError(_)
            | Self::HandlerPanic(_)
            | Self::TransportError(_) => true,
            Self::EndOfStream
            | Self::MidMessage { .. }
            | Self::ClosedByHandler
            | Self::MessageTooLong { .. }
            | Self::Idle { .. }
            | Self::MessageDeadline { .. }
            | Self::Drained
            | Self::Forced => false,
        }
    }

    /// Returns how to part from the peer.
    pub(crate) fn parting(&self) -> Parting {
        match self {
            Self::ClosedByHandler
            | Self::MessageTooLong { .. }
            | Self::Idle { .. }
            | Self::MessageDeadline { .. }
            | Self::HandlerError(_)
            | Self::HandlerPanic(_)
            | Self::Drained => Parting::Linger,
            Self::EndOfStream | Self::MidMessage { .. } | Self::TransportError(_) => Parting::Leave,
            Self::ResetByPeer | Self::WriteStall | Self::Forced => Parting::GiveUp,
        }
    }
}

/// The way in which a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Parting {
    /// The peer may still be sending. To close at once could reset the connection and destroy the
    /// last reply on its way (RFC 1122, section 4.2.2.13).
    Linger,
    /// The peer has ended its output, but may still read ours.
    Leave,
    /// The peer does not take our output, so it is dropped.
    GiveUp,
}

impl From<Box<dyn Error + Send + Sync>> for CloseReason {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::HandlerError(error)
    }
}

impl From<DrainError> for CloseReason {
    fn from(error: DrainError) -> Self {
        match error {
            DrainError::Producer(error) => Self::HandlerError(error.into()),
            DrainError::Writer(error) if error.kind() == io::ErrorKind::WouldBlock => {
                Self::WriteStall
            }
            DrainError::Writer(error) => Self::from_io(error),
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
