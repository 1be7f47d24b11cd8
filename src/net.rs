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
                "a listening socket is no peer",
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
    // Inlined, its scratch space would be a page of stack to every connection, though most never get
    // here.
    #[inline(never)]
    pub(crate) fn finish(&self, limits: &Limits) {
        if self.0.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let deadline = Instant::now() + limits.linger_time;
        let mut dropped = 0;
        let mut scratch = [0; 4096];
        while dropped < limits.linger_bytes {
            let left = deadline.saturating_duration_since(Instant::now());
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

/// A listening socket. Made from `std`'s by `From`.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    /// Whether nobody else can hold this socket, so that it may be shut down.
    is_ours: bool,
    /// The path that we bound it to, which goes when the listener does.
    _path: Option<OwnedPath>,
}

#[derive(Debug)]
enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    /// Binds a socket and listens, with room for `backlog` connections that wait to be accepted.
    pub(crate) fn bind(address: &Address, backlog: u32) -> io::Result<Self> {
        let listener = match address {
            Address::Tcp(_) | Address::Host { .. } => {
                let socket = Socket::Tcp(TcpListener::bind(&*address.resolve()?)?);
                Self {
                    socket,
                    is_ours: true,
                    _path: None,
                }
            }
            Address::Unix(path) => {
                let (socket, path) = OwnedPath::bind(path)?;
                Self {
                    socket: Socket::Unix(socket),
                    is_ours: true,
                    _path: Some(path),
                }
            }
            Address::Inherited => Self::inherit(backlog)?,
        };
        listener.listen(backlog)?;
        Ok(listener)
    }

    /// Takes over the listening socket that is our standard input.
    fn inherit(backlog: u32) -> io::Result<Self> {
        let tcp = TcpListener::from(io::stdin().as_fd().try_clone_to_owned()?);
        let listener = match tcp.local_addr() {
            Ok(address) if address.port() == 0 => Err(io::Error::from(ErrorKind::NotConnected)),
            Ok(_) => Ok(Self::from(tcp)),
            // A Unix socket's address is none that a TcpListener knows.
            Err(error) if error.kind() == ErrorKind::InvalidInput => {
                Ok(UnixListener::from(OwnedFd::from(tcp)).into())
            }
            Err(error) => Err(error),
        };
        listener
            .and_then(|listener| listener.listen(backlog).map(|()| listener))
            .map_err(|error| {
                let problem = format!("standard input is no bound or listening socket: {error}");
                io::Error::new(ErrorKind::Unsupported, problem)
            })
    }

    /// Changes the room for connections that wait to be accepted. The kernel caps it.
    pub(crate) fn listen(&self, backlog: u32) -> io::Result<()> {
        sys::listen(self.as_fd(), backlog)
    }

    /// Where the socket listens, with the real port if it was bound to port 0.
    pub(crate) fn local_addr(&self) -> io::Result<Address> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().map(Address::from),
            Socket::Unix(listener) => Ok(Address::Unix(
                listener
                    .local_addr()?
                    .as_pathname()
                    .map(PathBuf::from)
                    .unwrap_or_default(),
            )),
        }
    }

    /// Waits for a connection; with a timeout not longer than that, and then the error is of kind
    /// `WouldBlock`.
    pub(crate) fn accept(&self, timeout: Option<Duration>) -> io::Result<(Stream, Peer)> {
        let Some(timeout) = timeout else {
            return self.accept_one();
        };
        // `accept` obeys the socket's receive timeout, which only `std`'s streams know how to set,
        // and the accepted socket has the same one.
        let as_stream = self.duplicate()?;
        as_stream.set_read_timeout(Some(timeout.max(Duration::from_micros(1))))?;
        let accepted = self.accept_one();
        as_stream.set_read_timeout(None)?;
        let (stream, peer) = accepted?;
        stream.0.set_read_timeout(None)?;
        Ok((stream, peer))
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

    /// A second descriptor of the socket, in the type that can set its timeout and shut it down.
    fn duplicate(&self) -> io::Result<TcpStream> {
        self.as_fd().try_clone_to_owned().map(TcpStream::from)
    }

    /// What ends a wait in [`accept`](Self::accept).
    pub(crate) fn waker(&self) -> io::Result<Waker> {
        let knock_at = if self.is_ours {
            None
        } else {
            self.local_addr().ok()
        };
        Ok(Waker {
            socket: self.duplicate()?,
            knock_at,
        })
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.socket {
            Socket::Tcp(listener) => listener.as_fd(),
            Socket::Unix(listener) => listener.as_fd(),
        }
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self {
            socket: Socket::Tcp(listener),
            is_ours: false,
            _path: None,
        }
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self {
            socket: Socket::Unix(listener),
            is_ours: false,
            _path: None,
        }
    }
}

/// Ends a wait for connections, from another thread.
#[derive(Debug)]
pub(crate) struct Waker {
    socket: TcpStream,
    /// Where to knock, if the socket may be shared: shutting it down would end it for its other
    /// owners, too.
    knock_at: Option<Address>,
}

impl Waker {
    /// Makes a blocked `accept` return: with a connection from ourselves, or with an error.
    pub(crate) fn wake(&self) {
        let knocked = self
            .knock_at
            .as_ref()
            .is_some_and(|address| Stream::connect(address).is_ok());
        if !knocked {
            let _ = self.socket.shutdown(Shutdown::Both);
        }
    }
}
