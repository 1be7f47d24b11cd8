//! Connecting to an address. Every step has a time limit, and a socket that meets itself is no server.

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::address::Address;
use super::in_time::InTime;
use super::sys;
use super::unix_name;

/// Connects to the path or the abstract name of a Unix socket, within this time. `connect` blocks while the server's
/// backlog is full, and `std` has no timeout for that.
pub(super) fn connect_to_path(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    static CONNECTIONS: InTime<PathBuf, UnixStream> = InTime::new();

    let stream = CONNECTIONS.call(path.to_owned(), timeout, |path| unix_name::connect(&path))?;
    let _ = sys::receive_urgent_data_inline(stream.as_fd());
    Ok(stream)
}

/// The look-ups of host names.
static LOOK_UPS: InTime<Address, Vec<SocketAddr>> = InTime::new();

/// Connects to the first address of a host that answers. The look-up of the name gets this time, and
/// so does each address.
pub(super) fn connect_to_host(address: &Address, timeout: Duration) -> io::Result<TcpStream> {
    let addresses = match address {
        Address::Tcp(address) => vec![*address],
        _ => LOOK_UPS.call(address.clone(), timeout, |address| address.resolve())?,
    };

    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match connect_to_another(&address, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Connects, but not to itself.
///
/// If nobody listens on a port that the kernel gives to clients, the kernel can choose the same port
/// for our own end, and then TCP connects the socket to itself. An echo of everything would be
/// certain. Such a connection counts as refused.
fn connect_to_another(address: &SocketAddr, timeout: Duration) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(address, timeout)?;

    if stream.local_addr()? == stream.peer_addr()? {
        reset(stream, timeout);
        return Err(ErrorKind::ConnectionRefused.into());
    }

    let _ = sys::receive_urgent_data_inline(stream.as_fd());
    Ok(stream)
}

/// Closes a socket that is connected to itself, and gives its port back at once.
///
/// An orderly end would keep the port for a minute, and the server that should have it could not
/// start. A socket that is closed with unread input is reset.
fn reset(mut stream: TcpStream, timeout: Duration) {
    let _ = stream.set_read_timeout(Some(timeout));
    let _ = stream.write(&[0]);
    let _ = stream.peek(&mut [0]);
}
