//! Writing with a deadline. A write that finishes quickly never looks at the clock.
//!
//! The kernel's send timeout starts again with every call. So the deadline of a batch is a point in
//! time, and is kept here. The kernel's timeout is only a glance, as in `deadlines.rs`. A write that
//! takes longer waits in `poll` until the peer makes room.

use std::io::{self, ErrorKind, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::deadlines::{OUR_FAULT, glance, is_no_failure};
use super::sys;
use crate::conversation::Limits;

/// Writes the output of one conversation. The peer must accept each batch within the limit, or
/// the write fails with [`ErrorKind::WouldBlock`].
pub(crate) struct TimedWriter<'a> {
    socket: &'a TcpStream,
    limit: Option<Duration>,
}

impl<'a> TimedWriter<'a> {
    /// The most bytes for one call. A Unix socket's timeout starts again with each 32 KiB that it
    /// takes, so one call with megabytes for a slow reader would last for minutes.
    const AT_ONCE: usize = 64 * 1024;

    /// The most bytes that are written after the deadline: more than the kernel's buffers hold.
    const MOST_LATE: usize = 16 * 1024 * 1024;

    /// Sets the socket's send timeout.
    pub(crate) fn new(socket: &'a TcpStream, limits: &Limits) -> Self {
        let limit = limits.write_timeout;
        let _ = socket.set_write_timeout(limit.map(|limit| glance(Some(limit))));
        Self { socket, limit }
    }
}

impl Write for TimedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.write(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        let mut deadline = None;
        let mut after_deadline = 0;

        loop {
            let part = &rest[..rest.len().min(Self::AT_ONCE)];
            let written = match self.socket.write(part) {
                Ok(0) if !part.is_empty() => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => length,
                Err(error) if is_no_failure(&error) => 0,
                Err(error) => return Err(error),
            };
            rest = &rest[written..];
            // The usual case: everything at once.
            if rest.is_empty() {
                return Ok(());
            }

            // The deadline counts from the beginning of the first call, a glance ago.
            let Some(limit) = self.limit else { continue };
            let now = Instant::now();
            let at = *deadline
                .get_or_insert_with(|| now.checked_add(limit.saturating_sub(glance(Some(limit)))));
            let left = at.map_or(Duration::MAX, |at| at.saturating_duration_since(now));
            if left.is_zero() {
                after_deadline += written;
            }

            // One wait to the deadline. When it has passed, this is one look, and the peer is not
            // blamed if it has made room meanwhile: perhaps this process was paused.
            let has_room = sys::wait_writable(self.socket.as_fd(), left)?;
            if !has_room && left.is_zero() || after_deadline > Self::MOST_LATE {
                return Err(ErrorKind::WouldBlock.into());
            }

            // We look much too late, and the peer has made room: it gets its time once more.
            if has_room && at.is_some_and(|at| at.elapsed() > OUR_FAULT) {
                deadline = Some(Instant::now().checked_add(limit));
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
