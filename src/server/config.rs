//! The configuration of a server, as plain values. You set them with [`ServerOptions`].
//!
//! [`ServerOptions`]: crate::ServerOptions

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::refusal::Refusal;
use crate::conversation::Limits;
use crate::net::Peer;

/// The policy when [`max_connections`](crate::ServerOptions::max_connections) are open and one more
/// comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Overload {
    /// The connection is told so, and closed.
    Refuse,
    /// The connection waits to be accepted until another one has ended. As many can wait as
    /// [`request_queue_size`](crate::ServerOptions::request_queue_size) says.
    Wait,
}

/// Decides about a peer.
type Verify = dyn Fn(&Peer) -> bool + Send + Sync;

/// Makes the line that a refused peer gets.
type RefusalLine = dyn Fn(Refusal) -> Vec<u8> + Send + Sync;

/// All values that configure a server.
#[derive(Clone)]
pub(super) struct Config {
    /// `None` is the default, or less if the system can hold only less.
    pub(super) max_connections: Option<usize>,
    pub(super) overload: Overload,
    /// 0 is no limit.
    pub(super) max_per_address: usize,
    /// How many connections can wait to be accepted.
    pub(super) backlog: u32,
    /// The mode of a Unix socket's path. `None` is the mode that the umask leaves.
    pub(super) socket_mode: Option<u32>,
    pub(super) stack_size: usize,
    pub(super) spare_threads: usize,
    pub(super) grace: Duration,
    pub(super) limits: Limits,
    pub(super) verify_request: Arc<Verify>,
    pub(super) refusal_line: Arc<RefusalLine>,
}

impl Config {
    pub(super) const MAX_CONNECTIONS: usize = 1024;
    pub(super) const BACKLOG: u32 = 4096;
    pub(super) const STACK_SIZE: usize = 128 * 1024;
    pub(super) const SPARE_THREADS: usize = 64;

    /// Returns the most memory, in bytes, that this many connections need.
    pub(super) fn memory(&self, connections: usize) -> u64 {
        let each = self.limits.memory().saturating_add(self.stack_size as u64);

        each.saturating_mul(connections as u64)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_connections: None,
            overload: Overload::Refuse,
            max_per_address: 0,
            backlog: Self::BACKLOG,
            socket_mode: None,
            stack_size: Self::STACK_SIZE,
            spare_threads: Self::SPARE_THREADS,
            grace: Duration::from_secs(8),
            limits: Limits::default(),
            verify_request: Arc::new(|_| true),
            refusal_line: Arc::new(|refusal| format!("error: {refusal}\r\n").into()),
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("max_connections", &self.max_connections)
            .field("overload", &self.overload)
            .field("max_per_address", &self.max_per_address)
            .field("backlog", &self.backlog)
            .field("socket_mode", &self.socket_mode)
            .field("stack_size", &self.stack_size)
            .field("spare_threads", &self.spare_threads)
            .field("grace", &self.grace)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
