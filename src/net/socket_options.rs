//! The options of a conversation's socket.

use std::net::TcpStream;
use std::time::Duration;

use crate::conversation::Limits;

/// How long a read or a write can wait before it looks at the clock. It is half of the promised
/// accuracy of 100 ms: a signal can make us lose one glance, and the last one can be too long.
pub(super) const GLANCE: Duration = Duration::from_millis(50);

/// Returns a glance, or the limit if that is shorter. It is never 0, which the kernel takes for no
/// timeout.
pub(super) fn glance(limit: Option<Duration>) -> Duration {
    let glance = limit.map_or(GLANCE, |limit| GLANCE.min(limit));
    glance.max(Duration::from_millis(1))
}

/// Sets how long a read and a write wait, and that replies leave at once: they come in batches
/// already, and Nagle's algorithm would wait for more.
///
/// The calls can fail on a dead socket. Reading from that fails, too.
pub(crate) fn set_socket_options(socket: &TcpStream, limits: &Limits) {
    let _ = socket.set_read_timeout(Some(glance(limits.idle_timeout)));
    let _ = socket.set_write_timeout(limits.write_timeout.map(|limit| glance(Some(limit))));
    // A Unix socket has no Nagle's algorithm, and says so.
    let _ = socket.set_nodelay(true);
}
