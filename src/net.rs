//! Sockets: TCP over IPv4 and IPv6 and Unix stream sockets, behind one `Listener`, `Stream` and
//! `Peer`.
//!
//! A connected stream socket is read, written, timed and shut down by the same system calls
//! whatever its family, so a Unix stream's descriptor is simply moved into a `TcpStream` once it is
//! connected. A wrapper of our own around both would cost memory, too: only `std`'s types read into
//! a `BufReader` without zeroing it first, and that touches all its 64 KiB.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::limits::Limits;
use crate::stop_event::StopEvent;
use crate::sys;
use crate::unix_path::{self, OwnedPath};

/// Who is at the other end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Peer {
    /// An IP address and port. An IPv4 address that came in through an IPv6 socket is an IPv4
    /// address here.
    Tcp(SocketAddr),
    /// A process of this machine, through a Unix socket. Clients seldom have a path of their own.
    Unix(Option<PathBuf>),
}

impl Peer {
    /// The IP address, if the peer has one.
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
pub(crate) struct Stream {
    socket: TcpStream,
    /// It was shut down by force; but what had arrived before can still be read.
    is_aborted: AtomicBool,
}

impl Stream {
    /// Connects, to the first address of a host that answers within so long.
    pub(crate) fn connect(address: &Address, at_most: Duration) -> io::Result<Self> {
        match address {
            Address::Unix(path) => unix_path::connect(path, at_most).map(Self::from),
            Address::Inherited => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a listening socket is not a peer",
            )),
            Address::Tcp(_) | Address::Host { .. } => {
                let mut last = io::Error::new(ErrorKind::NotFound, "the host has no address");
                for address in address.resolve()? {
                    match TcpStream::connect_timeout(&address, at_most) {
                        Ok(stream) => return Ok(stream.into()),
                        Err(error) => last = error,
                    }
                }
                Err(last)
            }
        }
    }

    /// The socket, to be read and written through a shared reference.
    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Makes every read and write end, also those that wait now.
    pub(crate) fn abort(&self) {
        self.is_aborted.store(true, Ordering::Relaxed);
        let _ = self.socket.shutdown(Shutdown::Both);
    }

    /// Ends our output, then reads and drops what the peer still sends until it ends its own,
    /// within the limits.
    ///
    /// Closed with unread input, a socket sends a reset, on which the peer's kernel may drop our
    /// last reply before the peer has read it, and ours what it has not sent yet. So a peer that
    /// sends much faster than it reads is slowed down: the bytes of the limit last for its time.
    // Inlined, its scratch space would be a page of stack to every connection, though most never
    // get here.
    #[inline(never)]
    pub(crate) fn finish(&self, limits: &Limits) {
        if self.socket.shutdown(Shutdown::Write).is_err() {
            return;
        }
        let started = Instant::now();
        let slowest = limits.linger_time.min(Duration::from_secs(2));
        let mut dropped = 0;
        let mut scratch = [0; 4096];
        while dropped < limits.linger_bytes && !self.is_aborted.load(Ordering::Relaxed) {
            let left = limits.linger_time.saturating_sub(started.elapsed());
            if left.is_zero() || self.socket.set_read_timeout(Some(left)).is_err() {
                return;
            }
            match (&self.socket).read(&mut scratch) {
                Ok(0) => return,
                Ok(length) => dropped += length as u64,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return,
            }
            let pace = slowest.mul_f64((dropped as f64 / limits.linger_bytes as f64).min(1.0));
            let early = pace.saturating_sub(started.elapsed());
            thread::sleep(early.min(Duration::from_millis(50)));
        }
    }
}

impl Stream {
    /// Says a last line to a peer that was not talked to, and ends our output, without waiting for
    /// anything: a socket that was never written to has room for a line.
    pub(crate) fn dismiss(&self, line: &[u8]) {
        let _ = self.socket.set_nonblocking(true);
        let _ = (&self.socket).write(line);
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    /// Drops what a dismissed peer has sent, a bounded amount at a time. Says whether it may send
    /// more.
    pub(crate) fn drop_input(&self) -> bool {
        let mut scratch = [0; 4096];
        for _ in 0..16 {
            match (&self.socket).read(&mut scratch) {
                Ok(0) => return false,
                Ok(_) => {}
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Self {
        // Replies leave in batches already: waiting for more, as Nagle's algorithm does, would only
        // delay them.
        let _ = stream.set_nodelay(true);
        Self {
            socket: stream,
            is_aborted: AtomicBool::new(false),
        }
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Self {
        // It has no Nagle's algorithm, so that there is nothing to set.
        Self {
            socket: OwnedFd::from(stream).into(),
            is_aborted: AtomicBool::new(false),
        }
    }
}

/// A listening socket.
///
/// It does not block in `accept` but in `poll`, which also ends when the server is to stop. Other
/// ways to end a blocked `accept` do harm: to shut the socket down ends it for whoever shares it,
/// too, and a connection of our own may not get through a full backlog.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: Socket,
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
        sys::listen(socket.as_fd(), backlog)?;
        socket.set_nonblocking(true)?;
        Ok(Self {
            socket,
            is_shared: false,
            _path: path,
        })
    }

    /// Whether others may go on using the socket.
    pub(crate) fn is_shared(&self) -> bool {
        self.is_shared
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

    /// Accepts a connection that waits. If there is none, waits for one, the order to stop, or so
    /// long, and returns `None`, after which it is to be called again.
    pub(crate) fn accept(
        &self,
        stop: &StopEvent,
        at_most: Duration,
    ) -> io::Result<Option<(Stream, Peer)>> {
        if self.is_shared {
            // Whoever shares the socket may have changed that.
            self.socket.set_nonblocking(true)?;
        }
        match self.accept_one() {
            Ok((stream, peer)) => {
                // Inherited from the listener on some systems. A connection on which it cannot be
                // changed is dead already.
                let is_blocking = stream.socket.set_nonblocking(false);
                Ok(is_blocking.is_ok().then_some((stream, peer)))
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                sys::wait_readable([self.as_fd(), stop.as_fd()], at_most)?;
                Ok(None)
            }
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
    /// Leaves a socket that others may go on using as sockets usually are.
    fn drop(&mut self) {
        if self.is_shared {
            let _ = self.socket.set_nonblocking(false);
        }
    }
}

impl Socket {
    fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
        match self {
            Self::Tcp(listener) => listener.set_nonblocking(nonblocking),
            Self::Unix(listener) => listener.set_nonblocking(nonblocking),
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
