//! The errors around conversations. A failure within one is its [`CloseReason`](crate::CloseReason).

use std::fmt;
use std::io;

use crate::net::{Address, AddressError};

/// An error of setting up or running a server, or of connecting to one.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The text is not an address.
    BadAddress(AddressError),
    /// The server cannot bind this address, or cannot listen on it.
    Bind {
        /// The address.
        address: Address,
        /// The error of the system.
        source: io::Error,
    },
    /// The system cannot hold as many connections as you asked for.
    Capacity {
        /// The [`max_connections`](crate::ServerOptions::max_connections) that you asked for.
        asked: usize,
        /// The number of connections that the system can hold.
        possible: u64,
        /// The limit of the system, and its value.
        limit: String,
    },
    /// The connection to this address failed.
    Connect {
        /// The address.
        address: Address,
        /// The error of the system.
        source: io::Error,
    },
    /// No connection could be accepted. From `serve_forever` this means that the listening socket fails
    /// for good.
    Accept {
        /// The address of the listening socket.
        address: Address,
        /// The error of the system.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadAddress(error) => error.fmt(f),
            Self::Bind { address, source } => write!(f, "cannot listen on {address}: {source}"),
            Self::Capacity {
                asked,
                possible,
                limit,
            } => write!(
                f,
                "cannot hold {asked} connections: {limit} allows {possible}"
            ),
            Self::Connect { address, source } => write!(f, "cannot connect to {address}: {source}"),
            Self::Accept { address, source } => write!(f, "cannot accept on {address}: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::BadAddress(error) => Some(error),
            Self::Capacity { .. } => None,
            Self::Bind { source, .. }
            | Self::Connect { source, .. }
            | Self::Accept { source, .. } => Some(source),
        }
    }
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Self {
        Self::BadAddress(error)
    }
}
