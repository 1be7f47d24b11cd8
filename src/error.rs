//! What can go wrong around conversations: what goes wrong in one is its [`CloseReason`](crate::CloseReason).

use std::fmt;
use std::io;

use crate::address::Address;

/// An error of setting up or running a server, or of connecting to one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// This text is not an address.
    BadAddress {
        /// The text.
        text: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The server could not take this address, or not listen on it.
    Bind {
        /// The address.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// No connection to this address could be made.
    Connect {
        /// The address.
        address: Address,
        /// Why.
        source: io::Error,
    },
    /// The listening socket fails for good: no connection can be accepted on it any more.
    Accept {
        /// Where the socket listens.
        address: Address,
        /// Why.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress { text, problem } => {
                write!(f, "{text:?} is not an address: {problem}")
            }
            Self::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Connect { address, source } => write!(f, "cannot connect to {address}: {source}"),
            Self::Accept { address, source } => write!(f, "cannot accept on {address}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadAddress { .. } => None,
            Self::Bind { source, .. }
            | Self::Connect { source, .. }
            | Self::Accept { source, .. } => Some(source),
        }
    }
}
