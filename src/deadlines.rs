//! How long a conversation waits: each read and write of a socket has an end, and none of the
//! deadlines costs anything before it matters.
//!
//! A receive timeout of the kernel begins anew with every byte, and a send timeout with every call:
//! a peer that drips a byte now and then would hold a connection for ever. So deadlines are points
//! in time, kept here. The kernel's timeouts are set once, to a [`GLANCE`]: a read or a write that
//! is over within that time has never seen the clock. Only one that is not is timed, and waits on in
//! `poll`, which also ends when the server is to stop.
//!
//! A glance in vain costs a wake-up, so a conversation whose last wait was longer is timed from the
//! start the next time. The cost: to such a conversation a call more for each message, and looks at
//! the clock. Without that, five thousand busy connections, each of which waits for 100 ms, had two
//! thirds of the throughput of the same in C; with it, five sixths.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::close_reason::CloseReason;
use crate::limits::Limits;
use crate::scanner::Scanner;
use crate::stop_event::StopEvent;
use crate::sys;

/// How long a read or write may wait before the clock is looked at. Half of the accuracy that is
/// promised of deadlines: a signal can make us lose one glance, and the last one can be too long.
const GLANCE: Duration = Duration::from_millis(50);

/// The waiting of one conversation for input.
pub(crate) struct Deadlines<'a> {
    socket: &'a TcpStream,
    limits: &'a Limits,
    /// What makes it go on with what is at hand alone.
    stop: Option<&'a StopEvent>,
    /// The unfinished message that was waited for last, by its number, and since when.
    message: Option<(u64, Instant)>,
    /// The last wait was longer than a glance, and so will be the next: it is timed from its start.
    is_slow: bool,
    /// Bytes that came after the stop.
    after_stop: u64,
}

/// A point in time, if the system can name it, and what it means to reach it.
struct Deadline {
    at: Option<Instant>,
    reason: fn(Duration) -> CloseReason,
    limit: Duration,
}

impl<'a> Deadlines<'a> {
    /// Sets the socket's timeout for reading.
    pub(crate) fn new(
        socket: &'a TcpStream,
        limits: &'a Limits,
        stop: Option<&'a StopEvent>,
    ) -> Self {
        // That can fail on a dead socket, from which reading fails, too.
        let _ = socket.set_read_timeout(Some(glance(limits.idle_timeout)));
        Self {
            socket,
            limits,
            stop,
            message: None,
            is_slow: false,
            after_stop: 0,
        }
    }

    /// Reads once, and waits for it until input comes, a deadline passes or the server is to stop.
    /// The error is why the conversation ends.
    pub(crate) fn fill<R: Read>(&mut self, scanner: &mut Scanner<R>) -> Result<usize, CloseReason> {
        let begun = self.is_slow.then(Instant::now);
        let of_message = self.of_message(scanner);
        let mut deadline = of_message.or_else(|| begun.map(|since| self.of_idleness(since)));
        let mut is_timed = self.is_slow;
        loop {
            if self.stop.is_some_and(StopEvent::is_set) {
                return self.fill_from_what_is_at_hand(scanner);
            }
            if let Some(deadline) = &deadline {
                let left = deadline.left()?;
                if (is_timed || left < GLANCE) && !self.has_input(left) {
                    continue;
                }
            }
            match scanner.fill_once() {
                Err(error) if is_no_failure(&error) => {}
                result => {
                    self.is_slow = begun.map_or(is_timed, |begun| begun.elapsed() > GLANCE);
                    return result.map_err(CloseReason::from_io);
                }
            }
            is_timed = true;
            deadline.get_or_insert_with(|| {
                let (now, glance) = (Instant::now(), glance(self.limits.idle_timeout));
                self.of_idleness(now.checked_sub(glance).unwrap_or(now))
            });
        }
    }

    /// When the unfinished message has to be whole, if there is one. Reads the clock only then.
    fn of_message<R: Read>(&mut self, scanner: &Scanner<R>) -> Option<Deadline> {
        let number = scanner.unfinished()?;
        let since = match self.message {
            Some((waited_for, since)) if waited_for == number => since,
            _ => Instant::now(),
        };
        self.message = Some((number, since));
        Some(Deadline::new(since, self.limits.message_timeout, |limit| {
            CloseReason::MessageDeadline { limit }
        }))
    }

    /// How long the peer may be silent between messages.
    fn of_idleness(&self, since: Instant) -> Deadline {
        let limit = self.limits.idle_timeout;
        Deadline::new(since, limit, |limit| CloseReason::Idle { limit })
    }

    /// Waits for input, for the order to stop, or so long; says whether to read.
    fn has_input(&self, at_most: Duration) -> bool {
        let socket = self.socket.as_fd();
        let is_ready = match self.stop {
            Some(stop) => sys::wait_readable([socket, stop.as_fd()], at_most),
            None => sys::wait_readable([socket], at_most),
        };
        // Where the kernel cannot wait, it is for the read to wait for a glance.
        is_ready.unwrap_or(true) && !self.stop.is_some_and(StopEvent::is_set)
    }

    /// When the server is to stop, what the kernel has received is still read, up to a bound that is
    /// larger than its buffers, so that a peer that never stops sending does not hold the server.
    fn fill_from_what_is_at_hand<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
    ) -> Result<usize, CloseReason> {
        let is_at_hand = self.after_stop < self.limits.linger_bytes
            && sys::wait_readable([self.socket.as_fd()], Duration::ZERO).unwrap_or(true);
        if !is_at_hand {
            return Err(CloseReason::Drained);
        }
        match scanner.fill_once() {
            Ok(bytes) => {
                self.after_stop += bytes as u64;
                Ok(bytes)
            }
            Err(error) if is_no_failure(&error) => Err(CloseReason::Drained),
            Err(error) => Err(CloseReason::from_io(error)),
        }
    }
}

impl Deadline {
    fn new(since: Instant, limit: Option<Duration>, reason: fn(Duration) -> CloseReason) -> Self {
        Self {
            at: limit.and_then(|limit| since.checked_add(limit)),
            reason,
            limit: limit.unwrap_or(Duration::MAX),
        }
    }

    /// The time that is left, or what it means that there is none.
    fn left(&self) -> Result<Duration, CloseReason> {
        let left = self.at.map_or(Duration::MAX, |at| {
            at.saturating_duration_since(Instant::now())
        });
        match left {
            Duration::ZERO => Err((self.reason)(self.limit)),
            left => Ok(left),
        }
    }
}

/// A glance, or the limit if that is shorter. The kernel takes a timeout of 0 for none.
fn glance(limit: Option<Duration>) -> Duration {
    let glance = limit.map_or(GLANCE, |limit| GLANCE.min(limit));
    glance.max(Duration::from_millis(1))
}

/// Whether a call returned because its time was up, or for a signal.
fn is_no_failure(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The writing side of a conversation: what is written at once has to be taken within the limit, or
/// writing fails with [`ErrorKind::WouldBlock`].
pub(crate) struct TimedWriter<'a> {
    socket: &'a TcpStream,
    limit: Option<Duration>,
}

impl<'a> TimedWriter<'a> {
    /// The most that one call is given. A Unix socket's timeout begins anew with each 32 KiB that
    /// it takes, so that a call with megabytes for a slow reader would last for minutes.
    const AT_ONCE: usize = 64 * 1024;

    /// Sets the socket's timeout for writing.
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
        while !rest.is_empty() {
            let part = &rest[..rest.len().min(Self::AT_ONCE)];
            match self.socket.write(part) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(length) => {
                    rest = &rest[length..];
                    // The usual case: all of it, at once.
                    if rest.is_empty() {
                        return Ok(());
                    }
                }
                Err(error) if is_no_failure(&error) => {}
                Err(error) => return Err(error),
            }
            let Some(limit) = self.limit else { continue };
            let now = Instant::now();
            let at = *deadline
                .get_or_insert_with(|| now.checked_add(limit.saturating_sub(glance(Some(limit)))));
            if at.is_some_and(|at| now >= at) {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
