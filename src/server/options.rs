//! Configures a server before it exists, so that nothing can be set too late.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use super::config::{Config, Overload};
use super::refusal::Refusal;
use super::server::Server;
use crate::conversation::Limits;
use crate::error::Error;
use crate::net::{Address, Peer};

/// The options of a server: the class attributes of the article's server, and more.
///
/// ```
/// use synchat::{Limits, Peer, ServerOptions};
///
/// let server = ServerOptions::new()
///     .request_queue_size(5)
///     .limits(Limits { max_message: 512, ..Limits::default() })
///     .verify_request(|peer| matches!(peer, Peer::Tcp(address) if address.ip().is_loopback()))
///     .bind(&"127.0.0.1:0".parse()?)?;
/// # Ok::<(), synchat::Error>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct ServerOptions(Config);

impl ServerOptions {
    /// The default of [`max_connections`](Self::max_connections).
    pub const DEFAULT_MAX_CONNECTIONS: usize = Config::MAX_CONNECTIONS;
    /// The default of [`request_queue_size`](Self::request_queue_size). Of 3,000 connections that are
    /// made one after the other, 15 wait a second at `std`'s 128, and none at this.
    pub const DEFAULT_REQUEST_QUEUE_SIZE: u32 = Config::BACKLOG;
    /// The default of [`stack_size`](Self::stack_size), in bytes. An echo touches 8 KiB.
    pub const DEFAULT_STACK_SIZE: usize = Config::STACK_SIZE;
    /// The default of [`spare_threads`](Self::spare_threads).
    pub const DEFAULT_SPARE_THREADS: usize = Config::SPARE_THREADS;
    /// The least [`stack_size`](Self::stack_size), in bytes. A thread that overflows its stack aborts
    /// the process.
    pub const LEAST_STACK_SIZE: usize = 64 * 1024;

    /// Returns the defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// Makes a server that listens on this address.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`], if the address cannot be had. [`Error::Capacity`], if the system cannot hold
    /// the connections that you asked for.
    pub fn bind(self, address: &Address) -> Result<Server, Error> {
        Server::listen(self.0, address)
    }

    /// Makes a server on a socket that is bound already. The socket becomes non-blocking for all who
    /// share it, and stays so: after the server's end, others may still rely on it.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`], if the socket cannot listen. [`Error::Capacity`], if the system cannot hold
    /// the connections that you asked for.
    pub fn from_listener(self, listener: impl Into<OwnedFd>) -> Result<Server, Error> {
        Server::take_over(self.0, listener.into())
    }

    /// Sets how many connections can be open at once, exactly; at least 1. Default: 1024, or as many
    /// as the system can hold, with a warning. If the system cannot hold as many as you ask for here,
    /// [`bind`](Self::bind) returns [`Error::Capacity`].
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.0.max_connections = Some(connections.max(1));
        self
    }

    /// Sets the policy for one more connection. Default: [`Overload::Refuse`].
    #[must_use]
    pub fn overload(mut self, overload: Overload) -> Self {
        self.0.overload = overload;
        self
    }

    /// Sets how many connections can be open at once from one host. An IPv4 address is one host. So
    /// are all addresses of an IPv6 /64 network, which is the range that one host gets, but each
    /// link-local address is a host. More connections are refused. Default: 0, no limit. Unix sockets have no addresses and no such limit.
    #[must_use]
    pub fn max_per_address(mut self, connections: usize) -> Self {
        self.0.max_per_address = connections;
        self
    }

    /// Sets the line that a refused connection gets. The accept loop calls this. Nothing is sent if it
    /// returns nothing, or panics. Keep it to a line or so: bytes that do not fit into the socket's
    /// send buffer are lost. Default: `error: ` and the refusal's text, ended by CR LF.
    #[must_use]
    pub fn refusal_line(
        mut self,
        line: impl Fn(Refusal) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.0.refusal_line = Arc::new(line);
        self
    }

    /// Sets how many connections can wait to be accepted, the backlog of `listen(2)`. Default: 4096.
    /// The kernel caps it (on Linux with `net.core.somaxconn`).
    #[must_use]
    pub fn request_queue_size(mut self, connections: u32) -> Self {
        self.0.backlog = connections;
        self
    }

    /// Sets the mode of a Unix socket's path, such as `0o660`. To connect, a process needs the right to
    /// write. The path never has a right that this mode does not have. Default: the mode that the
    /// umask leaves. An abstract name has no mode.
    ///
    /// While the server binds the path, the umask of the process is stricter.
    #[must_use]
    pub fn socket_mode(mut self, mode: u32) -> Self {
        self.0.socket_mode = Some(mode & 0o777);
        self
    }

    /// Sets the stack of each connection's thread, in bytes. Default: 128 KiB. Less than 64 KiB is
    /// taken as 64 KiB. A thread uses memory only for the part of its stack that it touches.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.0.stack_size = bytes.max(Self::LEAST_STACK_SIZE);
        self
    }

    /// Sets how many threads can be spare. A thread that has ended its conversation waits some seconds
    /// for the next one, because to start a thread is most of the cost of a connection. It needs no room
    /// beside [`max_connections`](Self::max_connections). Default: 64. With 0, each connection has a new
    /// thread.
    ///
    /// Your handler starts anew for each connection. Only a `thread_local!` of your own keeps its value
    /// from one conversation of a thread to the next.
    #[must_use]
    pub fn spare_threads(mut self, threads: usize) -> Self {
        self.0.spare_threads = threads;
        self
    }

    /// Sets how long conversations can go on after [`ServerHandle::stop`](crate::ServerHandle::stop),
    /// before they are ended by force. Default: 8 s. Container engines kill after 10 s.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.0.grace = grace;
        self
    }

    /// Sets the limits of each conversation.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.0.limits = limits;
        self
    }

    /// Sets a check of each peer. If it returns false, or panics, the connection is refused. The
    /// accept loop calls it, and waits for it. Default: every peer is allowed.
    #[must_use]
    pub fn verify_request(
        mut self,
        verify: impl Fn(&Peer) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.0.verify_request = Arc::new(verify);
        self
    }

    /// Returns the most memory, in bytes, that the process needs for this many connections: the stack
    /// of each thread, and [`Limits::memory`]. The kernel's socket buffers come on top.
    pub fn memory(&self, connections: usize) -> u64 {
        self.0.memory(connections)
    }
}
