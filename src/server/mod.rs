//! Threads: the accept loop, one thread per connection, limits, and an orderly end.
//!
//! Read the files in this order:
//!
//! 1. `server.rs` is the server as a program sees it. `accept_loop.rs` accepts connections and starts
//!    their threads. `listening.rs` is what both share.
//! 2. `worker.rs` is the thread of a connection, `spare_threads.rs` where it waits for the next one.
//!    `session.rs` is the life of one connection. `yielding.rs` decides when threads make way.
//! 3. `registry.rs` knows all open connections, and ends them; `open_connections.rs` is its table.
//!    `place.rs` is the place of one connection.
//! 4. `options.rs` is how you configure a server, `config.rs` the values. `ip_network.rs` is a range.
//! 5. `capacity.rs` finds out how many connections the system can hold, with the folder `capacity`.
//! 6. `door.rs` refuses connections: `refusal.rs` lists the reasons, `farewells.rs` lets the refused
//!    peer read why, `rate_limited_log.rs` keeps a flood out of the log.
//! 7. `accept_failure.rs` and `backoff.rs` decide what a failed `accept` means.
//! 8. `report.rs` counts, `server_handle.rs` controls a server from other threads.

mod accept_failure;
mod backoff;
mod ip_network;
mod rate_limited_log;
mod refusal;

mod config;

mod capacity;
mod report;
mod spare_threads;
mod yielding;

mod open_connections;

mod farewells;
mod registry;

mod door;
mod place;
mod server_handle;

mod listening;
mod session;
mod worker;

mod accept_loop;

#[allow(
    clippy::module_inception,
    reason = "the layer has the name of its most important type"
)]
mod server;

mod options;

pub use config::Overload;
pub use ip_network::{IpNetwork, IpNetworkError};
pub use options::ServerOptions;
pub use refusal::Refusal;
pub use report::Report;
pub use server::Server;
pub use server_handle::ServerHandle;
