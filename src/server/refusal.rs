//! The reasons to close a connection before its conversation begins.

use std::fmt;

use crate::conversation::names;

/// The reason why a connection was closed before its conversation began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// [`verify_request`](crate::ServerOptions::verify_request) returned false.
    NotAllowed,
    /// As many connections as [`max_connections`](crate::ServerOptions::max_connections) were open.
    Full {
        /// The limit.
        limit: usize,
    },
    /// The peer's address had [`max_per_address`](crate::ServerOptions::max_per_address) connections
    /// open.
    AddressFull {
        /// The limit.
        limit: usize,
    },
    /// No thread could be started.
    NoThread,
    /// The server was stopped while the connection waited for a place.
    Stopping,
}

names!(Refusal {
    NotAllowed => "refused-not-allowed",
    Full => "refused-full",
    AddressFull => "refused-address-full",
    NoThread => "refused-no-thread",
    Stopping => "refused-stopping",
});

/// Prints words that a peer can see.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAllowed => f.write_str("not allowed from this address"),
            Self::Full { limit } => write!(f, "too many connections, the limit is {limit}"),
            Self::AddressFull { limit } => write!(
                f,
                "too many connections from this address, the limit is {limit}"
            ),
            Self::NoThread => f.write_str("too busy, try again later"),
            Self::Stopping => f.write_str("the server is stopping, try again later"),
        }
    }
}
