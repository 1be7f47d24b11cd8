//! How a server is configured: before it exists, so that nothing can be set too late.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::limits::Limits;
use crate::net::Peer;

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
    pub(crate) request_queue_size: u32,
    pub(crate) stack_size: usize,
    pub(crate) grace: Duration,
    pub(crate) limits: Limits,
    pub(crate) verify_request: Arc<dyn Fn(&Peer) -> bool + Send + Sync>,
}

impl ServerOptions {
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
            request_queue_size: Self::DEFAULT_REQUEST_QUEUE_SIZE,
            stack_size: Self::DEFAULT_STACK_SIZE,
            grace: Duration::from_secs(8),
            limits: Limits::default(),
            verify_request: Arc::new(|_| true),
        }
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

    /// Whom to talk to: a connection for which this is false, or panics, is closed at once. Called
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
            .field("request_queue_size", &self.request_queue_size)
            .field("stack_size", &self.stack_size)
            .field("grace", &self.grace)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
