//! The targets of the library's log lines.
//!
//! Operators filter by them, so they are fixed strings: a file that moves does not change them. A
//! test checks each of them.

/// Each callback, read and write of a conversation, at the levels debug and trace.
pub(crate) const CONVERSATION: &str = "synchat::conversation";

/// The life of each connection: `conn_made` and `conn_closed`.
pub(crate) const SESSION: &str = "synchat::session";

/// The listening socket, the accept loop, refusals and limits.
pub(crate) const SERVER: &str = "synchat::server";
