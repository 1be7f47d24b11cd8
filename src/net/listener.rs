//! A listening socket of either family.
//!
//! It does not block in `accept` but in `poll`, which also ends when the server must stop. Other ways
//! to end a blocked `accept` do harm. A shutdown of the socket ends it for every process that shares
//! it, and a connection to ourselves may not get through a full backlog. A time limit alone does not
//! end it either: `std` begins again after each signal.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use super::address::Address;
use super::peer::Peer;
use super::shared_socket::{SharedSocket, leave_standard_streams};
use super::stop_event::StopEvent;
use super::stream::Stream;
use super::sys;
use super::unix_name;
use super::unix_path::OwnedPath;

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    /// The path that we bound it to. It is removed first: while somebody listens, no other server
    /// takes the path for left over.
    _path: Option<OwnedPath>,
    socket: Socket,
    /// Somebody else has bound it, and can have kept it.
    shared: Option<SharedSocket>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds a socket and listens. `backlog` connections can wait to be accepted. The mode is for the
    /// path of a Unix socket.
    pub(crate) fn bind(address: &Address, backlog: u32, mode: Option<u32>) -> io::Result<Self> {
        let (socket, path) = match address {
            Address::Tcp(_) | Address::Host { .. } => {
                (Socket::Tcp(bind_to_first(&address.resolve()?)?), None)
            }
            Address::Unix(name) if unix_name::is_abstract(name) => {
                (Socket::Unix(unix_name::bind(name)?), None)
            }
            Address::Unix(path) => {
                let (listener, path) = OwnedPath::bind(path, mode)?;
                (Socket::Unix(listener), Some(path))
            }
            Address::Inherited => return Self::inherit(backlog),
        };
        Self::new(socket, path, backlog)
    }

    /// Takes over the listening socket on our standard input, and leaves an empty one.
    fn inherit(backlog: u32) -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;

        let listener = Self::take_over(stdin, backlog).map_err(|error| {
            let problem = format!("standard input must be a bound or listening socket: {error}");
            io::Error::new(ErrorKind::Unsupported, problem)
        })?;

        leave_standard_streams(listener.as_fd());
        Ok(listener)
    }

    /// Takes over a socket of either family that is bound already.
    pub(crate) fn take_over(descriptor: OwnedFd, backlog: u32) -> io::Result<Self> {
        if !sys::is_stream(descriptor.as_fd())? {
            let problem = "this one is of datagrams or packets, and not a stream socket";
            return Err(io::Error::new(ErrorKind::Unsupported, problem));
        }
        let tcp = TcpListener::from(descriptor);

        let socket = match tcp.local_addr() {
            Ok(address) if address.port() == 0 => return Err(ErrorKind::NotConnected.into()),
            Ok(_) => Socket::Tcp(tcp),
            // A Unix socket's address is not one that a TcpListener knows.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                Socket::Unix(OwnedFd::from(tcp).into())
            }
            Err(error) => return Err(error),
        };

        let mut listener = Self::new(socket, None, backlog)?;
        listener.shared = Some(SharedSocket::new(listener.as_fd())?);
        Ok(listener)
    }

    fn new(socket: Socket, path: Option<OwnedPath>, backlog: u32) -> io::Result<Self> {
        sys::listen(socket.as_fd(), backlog)?;
        match &socket {
            Socket::Tcp(listener) => listener.set_nonblocking(true)?,
            Socket::Unix(listener) => listener.set_nonblocking(true)?,
        }
        // Telnet sends urgent data. An echo sends back all data.
        let _ = sys::receive_urgent_data_inline(socket.as_fd());

        Ok(Self {
            _path: path,
            socket,
            shared: None,
        })
    }

    /// Lets no further connection into the accept queue, but for one. Those in it stay.
    pub(crate) fn close_queue(&self) {
        let _ = sys::listen(self.as_fd(), 0);
    }

    /// Returns true if others may go on using the socket. It takes some time to find out.
    pub(crate) fn is_shared(&self) -> bool {
        self.shared.as_ref().is_some_and(SharedSocket::is_of_others)
    }

    /// Returns the address of the socket, with the real port if it was bound to port 0.
    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::from),
            Socket::Unix(listener) => {
                let name = unix_name::of_address(&listener.local_addr()?);
                Ok(Address::Unix(name.unwrap_or_default()))
            }
        }
    }

    /// Accepts a connection. If none waits, waits for one, for the order to stop or for the timeout, and
    /// can return `None`. Call it again then.
    pub(crate) fn accept(
        &self,
        stop: &StopEvent,
        timeout: Duration,
    ) -> io::Result<Option<(Stream, Peer)>> {
        if let Some(shared) = &self.shared {
            shared.prepare_accept()?;
        }

        let waited = sys::wait_readable([self.as_fd(), stop.as_fd()], timeout);
        if matches!(waited, Ok(false)) || stop.is_set() {
            return Ok(None);
        }
        // If the kernel cannot wait, a connection may still be there.
        match self.accept_ready()? {
            None => waited.map(|_| None),
            accepted => Ok(accepted),
        }
    }

    /// Accepts a connection from the queue, without waiting. Returns `None` if none is there.
    pub(crate) fn accept_queued(&self) -> io::Result<Option<(Stream, Peer)>> {
        if let Some(shared) = &self.shared {
            shared.prepare_accept()?;
        }
        self.accept_ready()
    }

    fn accept_ready(&self) -> io::Result<Option<(Stream, Peer)>> {
        match self.accept_one() {
            Ok((stream, peer)) => Ok(self.prepare(&stream).is_ok().then_some((stream, peer))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Gives a new connection its mode. If that cannot be changed, the connection is dead already.
    ///
    /// Its other options come from its conversation. On Linux it could inherit them from this socket. But
    /// others can have that, and a connection can come before they are set.
    fn prepare(&self, stream: &Stream) -> io::Result<()> {
        if !self.passes_on_urgent_data() {
            let _ = sys::receive_urgent_data_inline(stream.socket().as_fd());
        }
        // On some systems the new socket inherits the mode of the listener.
        stream.socket().set_nonblocking(false)
    }

    /// Returns true if the sockets that it accepts receive urgent data as it does.
    fn passes_on_urgent_data(&self) -> bool {
        matches!(self.socket, Socket::Tcp(_))
            && cfg!(any(target_os = "linux", target_os = "android"))
    }

    fn accept_one(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => listener.accept().map(|(stream, mut address)| {
                address.set_ip(address.ip().to_canonical());
                (stream.into(), Peer::Tcp(address))
            }),
            Socket::Unix(listener) => listener.accept().map(|(stream, address)| {
                let name = unix_name::of_address(&address);
                (stream.into(), Peer::Unix(name))
            }),
        }
    }
}

/// Binds to the first of these addresses that this machine has.
///
/// If that one is taken, it does not try the next: a second server would then serve beside the first,
/// and clients would find only one of them. `std` tries the next one after every error.
fn bind_to_first(addresses: &[SocketAddr]) -> io::Result<TcpListener> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");

    for address in addresses {
        match TcpListener::bind(address) {
            Err(error) if is_not_of_this_machine(&error) => last = error,
            bound => return bound,
        }
    }
    Err(last)
}

/// Returns true if this machine does not have the address, or the family of the address.
fn is_not_of_this_machine(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = match () {
        () if cfg!(any(target_arch = "mips", target_arch = "mips64")) => 124,
        () if cfg!(any(target_os = "linux", target_os = "android")) => 97,
        () => 47,
    };

    error.kind() == ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
