//! What other threads may do with a server while it serves: stop it, and ask how it is.
//!
//! It is apart from the server because [`serve_forever`](crate::Server::serve_forever) takes that
//! one whole; so a handle may outlive its server, and then stops nothing.

use std::sync::Arc;

use crate::registry::Registry;
use crate::report::Report;

/// Stops a server, and says how it is, from any thread.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Registry>);

impl Handle {
    pub(crate) fn of(registry: &Arc<Registry>) -> Self {
        Self(Arc::clone(registry))
    }

    /// Makes [`serve_forever`](crate::Server::serve_forever) stop listening at once, let each conversation
    /// answer what has arrived, and return. Does not wait for that. Stopping twice is stopping once.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// The counts as they are now.
    pub fn report(&self) -> Report {
        self.0.report()
    }

    /// A number that changes at least once in two seconds while the accept loop does its work, for a
    /// watchdog. Not while [`serve_forever`](crate::Server::serve_forever) waits for conversations to end.
    pub fn heartbeat(&self) -> u64 {
        self.0.heartbeat()
    }
}
