//! Addresses as text: `HOST:PORT`, `[V6]:PORT`, `unix:PATH` or `fd:0`.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;

/// An address to listen on or to connect to. [`FromStr`] parses it, and `Display` prints the same
/// form.
///
/// ```
/// use synchat::Address;
///
/// let address: Address = "[::1]:7007".parse()?;
/// assert_eq!(address.to_string(), "[::1]:7007");
/// assert!("localhost".parse::<Address>().is_err()); // no port
/// # Ok::<(), synchat::AddressError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A TCP port of an IP address. Port 0 means any free port.
    Tcp(SocketAddr),
    /// A TCP port of a host, by name. synchat tries all addresses of the host in the order that the
    /// resolver gives.
    Host {
        /// The name. `localhost` always means `127.0.0.1` and `::1`.
        name: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
    /// The listening socket that the process inherited as standard input, from systemd or another
    /// supervisor.
    Inherited,
}

impl Address {
    /// Returns the IP addresses of a TCP address, and none for other addresses.
    pub(crate) fn resolve(&self) -> io::Result<Vec<SocketAddr>> {
        match self {
            Self::Tcp(address) => Ok(vec![*address]),
            // A static glibc resolves no names. This one needs no resolver.
            Self::Host { name, port } if name.eq_ignore_ascii_case("localhost") => Ok(vec![
                (Ipv4Addr::LOCALHOST, *port).into(),
                (Ipv6Addr::LOCALHOST, *port).into(),
            ]),
            Self::Host { name, port } => Ok((name.as_str(), *port).to_socket_addrs()?.collect()),
            Self::Unix(_) | Self::Inherited => Ok(Vec::new()),
        }
    }

    /// Returns the IP address and port, if this is a TCP address without a name.
    pub fn as_socket_addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Host { .. } | Self::Unix(_) | Self::Inherited => None,
        }
    }
}

/// The error for a text that is no [`Address`]. It names the text and the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: &'static str,
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not an address: {}", self.text, self.problem)
    }
}

impl Error for AddressError {}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let bad = |problem| AddressError {
            text: text.to_owned(),
            problem,
        };

        if let Some(path) = text.strip_prefix("unix:") {
            return if path.is_empty() {
                Err(bad("no path after unix:"))
            } else {
                Ok(Self::Unix(path.into()))
            };
        }

        if let Some(descriptor) = text.strip_prefix("fd:") {
            return if descriptor == "0" {
                Ok(Self::Inherited)
            } else {
                Err(bad("only descriptor 0 can be inherited"))
            };
        }

        let parts = text.rsplit_once(':').filter(|_| !text.ends_with(']'));
        let (host, port) = parts.ok_or_else(|| bad("no port"))?;
        let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port
            .parse()
            .ok()
            .filter(|_| is_number)
            .ok_or_else(|| bad("the port is not a number up to 65535"))?;

        if let Ok(address) = format!("{host}:{port}").parse() {
            return Ok(Self::Tcp(address));
        }

        match host {
            "" => Err(bad(
                "no host; 0.0.0.0 and [::] mean all addresses of this machine",
            )),
            _ if host.contains(['[', ']', ':']) => {
                Err(bad("write an IPv6 address in brackets, as in [::1]:7007"))
            }
            _ if host
                .bytes()
                .any(|byte| byte.is_ascii_whitespace() || byte.is_ascii_control()) =>
            {
                Err(bad("the host is not a name"))
            }
            _ => Ok(Self::Host {
                name: host.to_owned(),
                port,
            }),
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Host { name, port } => write!(f, "{name}:{port}"),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
            Self::Inherited => f.write_str("fd:0"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_prints_as_it_was_written() {
        for text in [
            "127.0.0.1:7007",
            "[::1]:0",
            "[::]:80",
            "localhost:7007",
            "an.example:1",
            "unix:/run/s",
            "fd:0",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        let bad = [
            ("", "no port"),
            ("localhost", "no port"),
            ("7007", "no port"),
            ("[::1]", "no port"),
            (":7007", "no host"),
            ("127.0.0.1:", "not a number up to 65535"),
            ("127.0.0.1:65536", "not a number up to 65535"),
            ("127.0.0.1:-1", "not a number up to 65535"),
            ("127.0.0.1:+1", "not a number up to 65535"),
            ("::1:7007", "in brackets"),
            ("[::1:7007", "in brackets"),
            ("[localhost]:7007", "in brackets"),
            ("two words:7007", "not a name"),
            ("unix:", "no path"),
            ("fd:1", "only descriptor 0"),
        ];
        for (text, problem) in bad {
            let error = text.parse::<Address>().expect_err(text).to_string();
            assert!(
                error.contains(problem) && error.contains(text),
                "{text}: {error}"
            );
        }
    }
}
