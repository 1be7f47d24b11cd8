//! How a server is configured: before it exists, so that nothing can be set too late.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::capacity::capacity;
use crate::error::Error;
use crate::limits::Limits;
use crate::net::Peer;
use crate::refusal::Refusal;
use crate::registry::Room;

/// The configuration of a server: the article's class attributes, and more.
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
#[derive(Clone)]
pub struct ServerOptions {
    /// `None`: the default, or what the system can hold, if that is less.
    pub(crate) max_connections: Option<usize>,
    pub(crate) overload: Overload,
    /// 0 is no limit.
    pub(crate) max_per_address: usize,
    pub(crate) refusal_line: Arc<dyn Fn(Refusal) -> Vec<u8> + Send + Sync>,
    pub(crate) request_queue_size: u32,
    pub(crate) stack_size: usize,
    pub(crate) grace: Duration,
    pub(crate) limits: Limits,
    pub(crate) verify_request: Arc<dyn Fn(&Peer) -> bool + Send + Sync>,
}

/// What happens when [`max_connections`](ServerOptions::max_connections) are open and one more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overload {
    /// It is told so, and closed.
    Refuse,
    /// It waits to be accepted, as many as
    /// [`request_queue_size`](ServerOptions::request_queue_size) of them, until one has ended.
    Wait,
}

impl ServerOptions {
    /// The default of [`max_connections`](Self::max_connections).
    pub const DEFAULT_MAX_CONNECTIONS: usize = 1024;
    /// The default of [`request_queue_size`](Self::request_queue_size). Of 3,000 connections made
    /// one after the other, 15 wait a second at `std`'s 128, and none at this.
    pub const DEFAULT_REQUEST_QUEUE_SIZE: u32 = 4096;
    /// The default of [`stack_size`](Self::stack_size), in bytes: an echo touches 8 KiB.
    pub const DEFAULT_STACK_SIZE: usize = 128 * 1024;
    /// The least [`stack_size`](Self::stack_size), in bytes. A thread that overflows its stack
    /// aborts the process.
    pub const LEAST_STACK_SIZE: usize = 64 * 1024;

    /// The defaults.
    pub fn new() -> Self {
        Self {
            max_connections: None,
            overload: Overload::Refuse,
            max_per_address: 0,
            refusal_line: Arc::new(|refusal| format!("error: {refusal}\r\n").into()),
            request_queue_size: Self::DEFAULT_REQUEST_QUEUE_SIZE,
            stack_size: Self::DEFAULT_STACK_SIZE,
            grace: Duration::from_secs(8),
            limits: Limits::default(),
            verify_request: Arc::new(|_| true),
        }
    }

    /// How many connections may be open at once, exactly; at least 1. Default: 1024, or as many as
    /// the system can hold, with a warning. If it cannot hold as many as are asked for here, to bind
    /// is an [`Error::Capacity`].
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.max_connections = Some(connections.max(1));
        self
    }

    /// What happens at the next one. Default: [`Overload::Refuse`].
    #[must_use]
    pub fn overload(mut self, overload: Overload) -> Self {
        self.overload = overload;
        self
    }

    /// How many connections may be open at once from one IPv4 address, or from the addresses of one
    /// IPv6 /64 network, which is what one host has. More are refused. 0, the default: no limit.
    /// Unix sockets have no addresses, and are not limited by this.
    #[must_use]
    pub fn max_per_address(mut self, connections: usize) -> Self {
        self.max_per_address = connections;
        self
    }

    /// What a connection is told that is refused: called by the accept loop; nothing is sent where
    /// it returns nothing, or panics. It should be a line or so: what does not fit into the socket's
    /// send buffer is lost. Default: `error: ` and the refusal's text, ended by CR LF.
    #[must_use]
    pub fn refusal_line(
        mut self,
        line: impl Fn(Refusal) -> Vec<u8> + Send + Sync + 'static,
    ) -> Self {
        self.refusal_line = Arc::new(line);
        self
    }

    /// The most memory, in bytes, that the process takes up for so many connections: the stack of
    /// each thread and [`Limits::memory`]. The kernel's socket buffers come on top.
    pub fn memory(&self, connections: usize) -> u64 {
        let each = self.limits.memory().saturating_add(self.stack_size as u64);
        each.saturating_mul(connections as u64)
    }

    /// How many connections may be open: as many as asked for, if the system can hold them.
    pub(crate) fn room(&self) -> Result<Room, Error> {
        let asked = self
            .max_connections
            .unwrap_or(Self::DEFAULT_MAX_CONNECTIONS);
        let mut room = Room {
            connections: asked,
            per_address: self.max_per_address,
        };
        if let Some(capacity) = capacity().filter(|capacity| capacity.connections < asked as u64) {
            let limit = format!("{} of {}", capacity.limit, capacity.value);
            let possible = capacity.connections;
            if self.max_connections.is_some() || possible == 0 {
                return Err(Error::Capacity {
                    asked,
                    possible,
                    limit,
                });
            }
            log::warn!(
                "max_connections lowered from {asked} to {possible}: {limit} allows no more"
            );
            room.connections = possible as usize;
        }
        Ok(room)
    }

    /// How many connections may wait to be accepted, the backlog of `listen(2)`. Default: 4096. The
    /// kernel caps it (on Linux `net.core.somaxconn`).
    #[must_use]
    pub fn request_queue_size(mut self, connections: u32) -> Self {
        self.request_queue_size = connections;
        self
    }

    /// Bytes of stack for each connection's thread. Default: 128 KiB; less than 64 KiB is taken as
    /// 64 KiB. Memory is taken up only as far as it is used.
    #[must_use]
    pub fn stack_size(mut self, bytes: usize) -> Self {
        self.stack_size = bytes.max(Self::LEAST_STACK_SIZE);
        self
    }

    /// How long conversations may go on after [`Handle::stop`](crate::Handle::stop), before they
    /// are ended by force. Default: 8 s, less than the 10 s after which container engines kill.
    #[must_use]
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }

    /// What one connection may use.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Whom to talk to: a connection for which this is false, or panics, is refused. Called
    /// by the accept loop, which does not go on before it returns. Default: everyone.
    #[must_use]
    pub fn verify_request(
        mut self,
        verify: impl Fn(&Peer) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.verify_request = Arc::new(verify);
        self
    }
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("max_connections", &self.max_connections)
            .field("overload", &self.overload)
            .field("max_per_address", &self.max_per_address)
            .field("request_queue_size", &self.request_queue_size)
            .field("stack_size", &self.stack_size)
            .field("grace", &self.grace)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
