//! Adds advice to an error of a server or a client.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;

use synchat::{Address, Error};

/// Returns the error, with advice if there is some that fits the address.
pub(crate) fn advise(error: &Error) -> String {
    let advice = match error {
        Error::Bind { address, source } => on_listening(address, source),
        Error::Connect { address, source } => on_any_use(address, source),
        _ => "",
    };
    format!("{error}{advice}")
}

fn on_listening(address: &Address, source: &io::Error) -> &'static str {
    let is_unix = matches!(address, Address::Unix(_));
    match source.kind() {
        ErrorKind::AddrInUse if is_unix && address.as_path().is_none() => {
            "; stop what listens there, or choose another name"
        }
        ErrorKind::AddrInUse if is_unix => "; stop what listens there, or choose another path",
        ErrorKind::AddrInUse => {
            "; stop what listens there, or choose another address (port 0 is any free port)"
        }
        ErrorKind::AlreadyExists => "; choose another path, or move that file away",
        ErrorKind::PermissionDenied if is_unix => "; choose a path that you can write",
        ErrorKind::PermissionDenied => "; choose a port from 1024 up",
        ErrorKind::AddrNotAvailable => {
            "; choose an address of this machine, such as 127.0.0.1 or 0.0.0.0"
        }
        ErrorKind::NotFound if is_unix => "; make its directory first",
        _ => on_any_use(address, source),
    }
}

fn on_any_use(address: &Address, source: &io::Error) -> &'static str {
    match address {
        // Errors of the look-up have no number. A timeout has none either.
        Address::Host { .. }
            if source.raw_os_error().is_none() && source.kind() != ErrorKind::TimedOut =>
        {
            "; check the name, or write an IP address"
        }
        Address::Tcp(_) if needs_a_zone(address) && source.kind() == ErrorKind::InvalidInput => {
            "; a link-local address needs its zone, as in [fe80::1%2]:7007 or [fe80::1%eth0]:7007"
        }
        _ => "",
    }
}

fn needs_a_zone(address: &Address) -> bool {
    match address.as_socket_addr() {
        Some(SocketAddr::V6(address)) => {
            address.ip().is_unicast_link_local() && address.scope_id() == 0
        }
        _ => false,
    }
}
