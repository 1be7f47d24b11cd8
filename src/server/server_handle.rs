//! Controls a server from other threads while it serves.
//!
//! It is apart from the server because [`serve_forever`](crate::Server::serve_forever) consumes that.
//! So a handle can outlive its server, and then stops nothing.

use std::sync::Arc;

use super::registry::Registry;
use super::report::Report;

/// Stops a server, and reports on it, from any thread.
#[derive(Debug, Clone)]
pub struct ServerHandle(Arc<Registry>);

impl ServerHandle {
    pub(super) fn new(registry: &Arc<Registry>) -> Self {
        Self(Arc::clone(registry))
    }

    /// Makes [`serve_forever`](crate::Server::serve_forever) stop listening at once, let each
    /// conversation answer the input that has arrived, and return. It does not wait for that. To call
    /// it again changes nothing.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// Returns the report as it is now.
    pub fn report(&self) -> Report {
        self.0.report()
    }

    /// Returns a number for a watchdog. It changes at least once in two seconds while the accept loop
    /// works. It does not change while [`serve_forever`](crate::Server::serve_forever) waits for
    /// conversations to end.
    pub fn heartbeat(&self) -> u64 {
        self.0.heartbeat()
    }
}
