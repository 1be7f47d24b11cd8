//! The name of the other end of a connection.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP address and port. An IPv4 address that came in through an IPv6 socket is an IPv4
    /// address here.
    Tcp(SocketAddr),
    /// A process of this machine, on a Unix socket. Clients seldom have a path of their own. An
    /// abstract name begins with `@`.
    Unix(Option<PathBuf>),
}

impl Peer {
    /// Returns the IP address, if the peer has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Tcp(address) => Some(address.ip()),
            Self::Unix(_) => None,
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            // The peer chooses its path, and this is logged, so it is escaped.
            Self::Unix(Some(path)) => {
                let path = path.as_os_str().as_encoded_bytes();
                write!(f, "unix:{}", path.escape_ascii())
            }
            Self::Unix(None) => f.write_str("unix:unnamed"),
        }
    }
}
