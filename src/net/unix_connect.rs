//! Connecting to a Unix socket within a time limit.

use std::io::{self, ErrorKind};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Connects to a path. It blocks while the server's backlog is full, and a Unix socket has no timeout
/// for that. So another thread connects, and is left behind if it takes too long.
pub(super) fn connect(path: &Path, timeout: Duration) -> io::Result<UnixStream> {
    let (answer, answered) = mpsc::channel();
    let path = path.to_owned();

    thread::Builder::new().spawn(move || answer.send(UnixStream::connect(path)))?;

    answered
        .recv_timeout(timeout)
        .unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "no answer in time")))
}
