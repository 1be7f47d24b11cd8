//! Sockets: TCP over IPv4 and IPv6 and Unix stream sockets, behind one `Listener`, `Stream` and
//! `Peer`.
//!
//! A connected stream socket is read, written, timed and shut down by the same system calls
//! whatever its family, so a Unix stream's descriptor is simply moved into a `TcpStream` once it is
//! connected. A wrapper of our own around both would cost memory, too: only `std`'s types read into
//! a `BufReader` without zeroing it first, and that touches all its 64 KiB.

use std::fmt;
use std::io::{self, ErrorKind, Read};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::limits::Limits;
use crate::sys;
use crate::unix_path::OwnedPath;

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP address and port. An IPv4 address that came in through an IPv6 socket is an IPv4
    /// address here.
    Tcp(SocketAddr),
    /// A process of this machine, through a Unix socket. Clients seldom have a path of their own.
    Unix(Option<PathBuf>),
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            // A path is the peer's choice, and this is logged.
            Self::Unix(Some(path)) => write!(
                f,
                "unix:{}",
                path.as_os_str().as_encoded_bytes().escape_ascii()
            ),
            Self::Unix(None) => f.write_str("unix:unnamed"),
        }
    }
}

/// A connected stream socket.
#[derive(Debug)]
pub(crate) struct Stream(TcpStream);

impl Stream {
    /// Connects, to the first address of a host that answers.
    pub(crate) fn connect(address: &Address) -> io::Result<Self> {
        match address {
            Address::Unix(path) => UnixStream::connect(path).map(Self::from),
            Address::Inherited => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a listening socket is not a peer",
            )),
            Address::Tcp(_) | Address::Host { .. } => {
                TcpStream::connect(&*address.resolve()?).map(Self::from)
            }
        }
    }

    /// The socket, to be read and written through a shared reference.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.0
    }

    /// Makes every read of this connection, also one that waits now, come to an end of stream
    /// behind what has arrived.
    pub(crate) fn end_input(&self) {
        // It fails if the peer is gone already, and then reads end anyway.
        let _ = self.0.shutdown(Shutdown::Read);
    }

    /// Makes every read and write end, also those that wait now.
    pub(crate) fn abort(&self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }

    /// Ends our output, then reads and drops what the peer still sends until it ends its own,
    /// within the limits.
    ///
    /// Closed with unread input, a socket sends a reset, on which the peer's kernel may drop our
    /// last reply before the peer has read it.
    // Inlined, its scratch space would be a page of stack to every connection, though most never
    // get here.
    #[inline(never)]
    pub(crate) fn finish(&self, limits: &Limits) {
        if self.0.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let started = Instant::now();
        let mut dropped = 0;
        let mut scratch = [0; 4096];
        while dropped < limits.linger_bytes {
            let left = limits.linger_time.saturating_sub(started.elapsed());
            if left.is_zero() || self.0.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match (&self.0).read(&mut scratch) {
                Ok(0) => return,
                Ok(length) => dropped += length as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        // Replies leave in batches already: waiting for more, as Nagle's algorithm does, would only
        // delay them.
        let _ = stream.set_nodelay(true);
        Self(stream)
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        Self(OwnedFd::from(stream).into())
    }
}

/// A listening socket.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
    /// The same socket in the type that can set its timeout.
    as_stream: TcpStream,
    /// Whether it was bound by somebody else, who may go on using it.
    is_shared: bool,
    /// The path that we bound it to, removed with the listener.
    _path: Option<OwnedPath>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// How often a wait for connections ends so that its caller can see whether to go on waiting.
    ///
    /// Shutting the socket down would end a wait at once, but also the socket of whoever shares it;
    /// connecting to it would, too, unless the backlog is full or somebody else accepts.
    pub(crate) const TICK: Duration = Duration::from_millis(200);

    /// Binds a socket and listens, with room for `backlog` connections that wait to be accepted.
    pub(crate) fn bind(address: &Address, backlog: u32) -> io::Result<Self> {
        let (socket, path) = match address {
            Address::Tcp(_) | Address::Host { .. } => {
                (Socket::Tcp(TcpListener::bind(&*address.resolve()?)?), None)
            }
            Address::Unix(path) => {
                let (listener, path) = OwnedPath::bind(path)?;
                (Socket::Unix(listener), Some(path))
            }
            Address::Inherited => return Self::inherit(backlog),
        };
        Self::new(socket, path, backlog)
    }

    /// Takes over the listening socket that is our standard input.
    fn inherit(backlog: u32) -> io::Result<Self> {
        let stdin = io::stdin().as_fd().try_clone_to_owned()?;
        Self::take_over(stdin, backlog).map_err(|error| {
            let problem = format!("standard input is not a bound or listening socket: {error}");
            io::Error::new(ErrorKind::Unsupported, problem)
        })
    }

    /// Takes over a socket of either family that is bound already.
    pub(crate) fn take_over(descriptor: OwnedFd, backlog: u32) -> io::Result<Self> {
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
        listener.is_shared = true;
        Ok(listener)
    }

    fn new(socket: Socket, path: Option<OwnedPath>, backlog: u32) -> io::Result<Self> {
        let as_stream = TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        sys::listen(as_stream.as_fd(), backlog)?;
        as_stream.set_nonblocking(false)?;
        Ok(Self {
            socket,
            as_stream,
            is_shared: false,
            _path: path,
        })
    }

    /// Where the socket listens, with the real port if it was bound to port 0.
    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::from),
            Socket::Unix(listener) => {
                let address = listener.local_addr()?;
                Ok(Address::Unix(
                    address.as_pathname().map(PathBuf::from).unwrap_or_default(),
                ))
            }
        }
    }

    /// Waits for a connection, at most so long, and at most for one [`TICK`](Self::TICK). `None`:
    /// none came.
    ///
    /// `accept` obeys the socket's receive timeout (on Linux; elsewhere the wait may be longer). It
    /// is set every time, since whoever shares the socket may have changed it.
    pub(crate) fn accept(&self, at_most: Duration) -> io::Result<Option<(Stream, Peer)>> {
        let timeout = at_most.clamp(Duration::from_millis(1), Self::TICK);
        self.as_stream.set_read_timeout(Some(timeout))?;
        let accepted = self.accept_one();
        match accepted {
            // The timeout is inherited from the listener, as it was at the handshake. A connection
            // on which it cannot be changed is dead already.
            Ok((stream, peer)) => Ok(stream
                .0
                .set_read_timeout(None)
                .is_ok()
                .then_some((stream, peer))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn accept_one(&self) -> io::Result<(Stream, Peer)> {
        match &self.socket {
            Socket::Tcp(listener) => listener.accept().map(|(stream, mut address)| {
                address.set_ip(address.ip().to_canonical());
                (stream.into(), Peer::Tcp(address))
            }),
            Socket::Unix(listener) => listener.accept().map(|(stream, address)| {
                (
                    stream.into(),
                    Peer::Unix(address.as_pathname().map(PathBuf::from)),
                )
            }),
        }
    }
}

impl Drop for Listener {
    /// Leaves a socket that others may go on using without our timeout.
    fn drop(&mut self) {
        if self.is_shared {
            let _ = self.as_stream.set_read_timeout(None);
        }
    }
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
