//! Addresses as text: `HOST:PORT`, `[V6]:PORT`, `unix:PATH`, `unix:@NAME` or `fd:0`.
//!
//! People write addresses in many forms. If a text is in another one, the error shows the right one.

use std::error::Error;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::unix_name;
use super::zone::with_zone_number;

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
    /// A TCP port of a host, by name. A client tries all addresses of the host, in the order that the
    /// resolver gives. A server listens on the first one that this machine has.
    Host {
        /// The name. `localhost` always means `127.0.0.1`, and then `::1`.
        name: String,
        /// The port.
        port: u16,
    },
    /// The path of a Unix socket. On Linux, a path that begins with `@` is an abstract name instead,
    /// which is no file.
    Unix(PathBuf),
    /// The listening socket that the process inherited as standard input, from systemd or another
    /// supervisor. The server takes it over, and leaves an empty standard input.
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

    /// Returns the path, if this is the path of a Unix socket. An abstract name has none.
    pub fn as_path(&self) -> Option<&Path> {
        match self {
            Self::Unix(path) if !unix_name::is_abstract(path) => Some(path),
            _ => None,
        }
    }
}

/// The error for a text that is no [`Address`]. It names the text and the problem.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddressError {
    text: String,
    problem: String,
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
        let parsed = match (after(text, "unix:"), after(text, "fd:")) {
            (Some(""), _) => Err("no path after unix:".to_owned()),
            (Some("@"), _) => Err("no name after unix:@".to_owned()),
            (Some(path), _) => Ok(Self::Unix(path.into())),
            (None, Some("0")) => Ok(Self::Inherited),
            (None, Some(_)) => Err("only descriptor 0 can be inherited, as in fd:0".to_owned()),
            (None, None) => parse_tcp(text),
        };

        parsed.map_err(|problem| AddressError {
            text: text.to_owned(),
            // A problem can quote the text.
            problem: problem.replace(char::is_control, "?"),
        })
    }
}

/// Returns the text behind a prefix, which can be in any case.
fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Parses `HOST:PORT` or `[V6]:PORT`. An error is the problem, with the right form if it is clear.
fn parse_tcp(text: &str) -> Result<Address, String> {
    if let Some(hint) = other_form(text) {
        return Err(hint);
    }
    let parts = text.rsplit_once(':').filter(|_| !text.ends_with(']'));
    let (host, port) = parts.ok_or_else(|| no_port(text))?;

    // The last part of an IPv6 address can look like a port.
    if host.contains(':') && !host.starts_with('[') {
        return Err(brackets(text));
    }
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port: u16 = match port.parse() {
        Ok(port) if is_number => port,
        _ => return Err("the port is not a number up to 65535".to_owned()),
    };

    let host = with_zone_number(host)?;
    if let Ok(address) = format!("{host}:{port}").parse() {
        return Ok(Address::Tcp(address));
    }
    match host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
    {
        Some(name) if is_name(name) => Err(format!(
            "only an IPv6 address is in brackets; write {name}:{port}"
        )),
        _ if host.contains(['[', ']']) => Err(brackets(text)),
        _ if host.is_empty() => Err(format!(
            "no host; 0.0.0.0 and [::] mean all addresses of this machine, as in 0.0.0.0:{port}"
        )),
        _ if host == "*" => Err(format!(
            "for all addresses of this machine write 0.0.0.0:{port} or [::]:{port}"
        )),
        _ if host.contains(|c: char| c.is_ascii_whitespace() || c.is_ascii_control()) => {
            Err("the host is not a name".to_owned())
        }
        _ => Ok(Address::Host { name: host, port }),
    }
}

/// Returns a hint for a text that is not meant as `HOST:PORT`: a URL, a path, or two words.
fn other_form(text: &str) -> Option<String> {
    const SCHEMES: &[&str] = &[
        "tcp:", "tcp4:", "tcp6:", "http:", "https:", "telnet:", "udp:",
    ];
    let simple = SCHEMES.iter().find_map(|scheme| after(text, scheme));
    let url = text.split_once("://").map(|(_, rest)| rest);

    if let Some(rest) = url.or(simple) {
        let scheme = &text[..text.len() - rest.len()];
        let host_and_port = rest.trim_start_matches('/').split('/').next()?;
        return Some(if is_host_and_port(host_and_port) {
            format!("write it without {scheme}, as {host_and_port}")
        } else {
            format!("write it without {scheme}, as HOST:PORT")
        });
    }

    if text.starts_with(['/', '.', '~']) && text.contains('/') {
        return Some(format!("for a Unix socket write unix:{text}"));
    }
    let (host_and_port, _) = text.split_once('/').unwrap_or((text, ""));
    let joined = host_and_port
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(":");
    let is_other = joined != text && is_host_and_port(&joined);
    is_other.then(|| format!("write {joined}"))
}

fn is_host_and_port(text: &str) -> bool {
    let is_name_and_port =
        |(name, port): (&str, &str)| is_name(name) && port.parse::<u16>().is_ok();
    text.parse::<SocketAddr>().is_ok() || text.rsplit_once(':').is_some_and(is_name_and_port)
}

fn no_port(text: &str) -> String {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let is_v6 = format!("{text}:0").parse::<SocketAddr>().is_ok();

    if is_number {
        format!("no port; for port {text} write 127.0.0.1:{text}")
    } else if is_v6 || is_name(text) {
        format!("no port; write {text}:7007, for instance")
    } else {
        "no port".to_owned()
    }
}

/// Returns the hint to put brackets around an IPv6 address: around the one in the text, if it has
/// one.
fn brackets(text: &str) -> String {
    let is_v6 = |host: &str| {
        let address = host.split('%').next().unwrap_or_default();
        address.parse::<Ipv6Addr>().is_ok()
    };

    let example = match text.rsplit_once(':') {
        Some((host, port)) if is_v6(host) => format!("[{host}]:{port}"),
        _ if is_v6(text) => format!("[{text}]:7007"),
        _ => "[::1]:7007".to_owned(),
    };
    format!("write an IPv6 address in brackets, as in {example}")
}

/// Returns true if the text can be the name of a host, or an IPv4 address.
fn is_name(text: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || "-._".contains(c);
    !text.is_empty() && text.chars().all(is_part)
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
            "unix:@a name",
            "fd:0",
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_says_why_and_shows_the_right_form() {
        let bad = [
            ("", "no port"),
            ("localhost", "no port; write localhost:7007"),
            ("127.0.0.1", "no port; write 127.0.0.1:7007"),
            ("7007", "write 127.0.0.1:7007"),
            ("[::1]", "no port; write [::1]:7007"),
            (":7007", "no host; 0.0.0.0 and [::] mean"),
            ("*:7007", "write 0.0.0.0:7007 or [::]:7007"),
            ("127.0.0.1:", "not a number up to 65535"),
            ("127.0.0.1:65536", "not a number up to 65535"),
            ("127.0.0.1:-1", "not a number up to 65535"),
            ("127.0.0.1:+1", "not a number up to 65535"),
            ("::1:7007", "in brackets, as in [::1]:7007"),
            ("::1", "in brackets, as in [::1]:7007"),
            ("::", "in brackets, as in [::]:7007"),
            ("fe80::1%2:7", "in brackets, as in [fe80::1%2]:7"),
            ("1:2:3", "in brackets, as in [::1]:7007"),
            ("[::1:7007", "in brackets"),
            ("[localhost]:7007", "brackets; write localhost:7007"),
            ("[127.0.0.1]:7007", "brackets; write 127.0.0.1:7007"),
            ("[::1%nowhere]:7007", "no network interface \"nowhere\""),
            ("[::1%]:7007", "no network interface \"\""),
            ("tcp://127.0.0.1:0", "without tcp://, as 127.0.0.1:0"),
            ("TCP:[::1]:0", "without TCP:, as [::1]:0"),
            ("http://localhost:80/a", "without http://, as localhost:80"),
            ("https://localhost", "without https://, as HOST:PORT"),
            ("localhost:7007/a", "write localhost:7007"),
            ("localhost 7007", "write localhost:7007"),
            ("/run/s", "write unix:/run/s"),
            ("./a:1", "write unix:./a:1"),
            ("two words:7007", "not a name"),
            ("unix:", "no path"),
            ("unix:@", "no name"),
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

    #[test]
    fn unix_and_fd_are_read_in_any_case() {
        let path = "UNIX:/Run/S".parse();
        assert_eq!(path, Ok(Address::Unix("/Run/S".into())));
        assert_eq!("FD:0".parse(), Ok(Address::Inherited));
        assert_eq!("Unix:a".parse(), Ok(Address::Unix("a".into())));
    }
}
