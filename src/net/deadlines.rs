//! Deadlines for reading. A read that finishes quickly never looks at the clock.
//!
//! The kernel's receive timeout starts again with every byte. So a peer that drips a byte now and
//! then would hold a connection for ever. Deadlines are points in time instead, and are kept here.
//! The kernel's timeout is set once, to a [`GLANCE`]. Only a read that takes longer than that is
//! timed. It then waits in `poll`, which also ends when the server must stop.
//!
//! The peer is blamed only for what the peer did. The process can be paused, and a handler can take
//! long. So when a deadline has passed, input that has already arrived is still read. If we look much
//! too late, a message that goes on gets its time once more: the kernel's buffers can have been full,
//! and then the peer could not send.
//!
//! A glance that ends without input costs a wake-up. So if the last wait of a conversation was longer
//! than a glance, its next wait is timed from the start. The cost for such a conversation is one more
//! system call per message, and looks at the clock. Without this rule, five thousand busy
//! connections, each of which waits for 100 ms, had two thirds of the throughput of the same program
//! in C. With it they have five sixths.

use std::io::{self, ErrorKind, Read};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::stop_event::StopEvent;
use super::sys;
use crate::conversation::{CloseReason, FillScanner, Limits, Traffic};
use crate::framing::Scanner;

/// How long a read or a write can wait before it looks at the clock. It is half of the promised
/// accuracy of 100 ms: a signal can make us lose one glance, and the last one can be too long.
const GLANCE: Duration = Duration::from_millis(50);

/// A deadline is noticed later than this only if the process was paused, or busy with something else.
pub(super) const OUR_FAULT: Duration = Duration::from_millis(200);

/// Waits for the input of one conversation.
pub(crate) struct Deadlines<'a> {
    socket: &'a TcpStream,
    limits: &'a Limits,
    /// Once it is set, only input that has already arrived is read.
    stop: Option<&'a StopEvent>,
    /// The unfinished message that was waited for last.
    message: Option<Unfinished>,
    /// The last wait was longer than a glance. The next one is timed from its start.
    is_slow: bool,
    /// How many bytes were read after the stop.
    after_stop: u64,
}

/// A message that is not complete.
#[derive(Clone, Copy)]
struct Unfinished {
    /// Its number in the scanner.
    number: u64,
    /// The time of its first byte, or of a look that came much too late.
    since: Instant,
    /// How many of its bytes were read after its deadline.
    after_deadline: u64,
}

/// The most bytes that are read after the stop, or after the deadline of a message. It is more than
/// the kernel's buffers hold, so everything that had arrived is read. And a peer that sends without
/// end cannot go on for ever.
const ARRIVED: u64 = 16 * 1024 * 1024;

/// A point in time, and the reason to end the conversation when it passes.
struct Deadline {
    /// `None` is never: there is no limit, or the system's clock does not reach that far.
    at: Option<Instant>,
    reason: fn(Duration) -> CloseReason,
    limit: Duration,
}

impl<'a> Deadlines<'a> {
    /// Sets the socket's receive timeout.
    pub(crate) fn new(
        socket: &'a TcpStream,
        limits: &'a Limits,
        stop: Option<&'a StopEvent>,
    ) -> Self {
        // This can fail on a dead socket. Reading from that fails, too.
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

    /// Returns the deadline of the unfinished message, if there is one. Only then reads the clock.
    fn of_message<R: Read>(&mut self, scanner: &Scanner<R>) -> Option<Deadline> {
        let number = scanner.unfinished()?;

        let message = match self.message {
            Some(message) if message.number == number => message,
            _ => Unfinished {
                number,
                since: Instant::now(),
                after_deadline: 0,
            },
        };
        self.message = Some(message);

        Some(Deadline::new(
            message.since,
            self.limits.message_timeout,
            |limit| CloseReason::MessageDeadline { limit },
        ))
    }

    /// Returns the deadline for a peer that is silent between messages.
    fn of_idleness(&self, since: Instant) -> Deadline {
        let limit = self.limits.idle_timeout;
        Deadline::new(since, limit, |limit| CloseReason::Idle { limit })
    }

    /// Waits for input, for the order to stop, or for the timeout. Returns true if a read makes sense.
    fn has_input(&self, timeout: Duration) -> bool {
        let socket = self.socket.as_fd();

        let is_ready = match self.stop {
            Some(stop) => sys::wait_readable([socket, stop.as_fd()], timeout),
            None => sys::wait_readable([socket], timeout),
        };

        // If the kernel cannot wait in `poll`, the read waits for a glance.
        is_ready.unwrap_or(true) && !self.stop.is_some_and(StopEvent::is_set)
    }

    /// Reads input that has arrived although its deadline has passed.
    fn fill_late<R: Read>(
        &mut self,
        scanner: &mut Scanner<R>,
        deadline: &Deadline,
        reason: CloseReason,
    ) -> Result<usize, CloseReason> {
        let is_our_fault = deadline.at.is_some_and(|at| at.elapsed() > OUR_FAULT);
        let mut of_idleness = 0;
        let read = match (&mut self.message, &reason) {
            (Some(message), CloseReason::MessageDeadline { .. }) => &mut message.after_deadline,
            _ => &mut of_idleness,
        };

        let bytes = fill_arrived(scanner, self.socket, read, reason)?;
        if let Some(message) = self.message.as_mut().filter(|_| is_our_fault) {
            message.since = Instant::now();
        }
        Ok(bytes)
    }
}

/// Reads once, without waiting. Returns the reason if no input has arrived, or if too much was read in
/// this way already.
fn fill_arrived<R: Read>(
    scanner: &mut Scanner<R>,
    socket: &TcpStream,
    read: &mut u64,
    reason: CloseReason,
) -> Result<usize, CloseReason> {
    let has_arrived =
        *read < ARRIVED && sys::wait_readable([socket.as_fd()], Duration::ZERO).unwrap_or(true);
    if !has_arrived {
        return Err(reason);
    }

    match scanner.fill_once() {
        Ok(bytes) => {
            *read += bytes as u64;
            Ok(bytes)
        }
        Err(error) if is_no_failure(&error) => Err(reason),
        Err(error) => Err(CloseReason::from_io(error)),
    }
}

impl<R: Read> FillScanner<R> for Deadlines<'_> {
    /// Reads once. Waits until input comes, a deadline passes or the server must stop.
    fn fill(&mut self, scanner: &mut Scanner<R>, _: &Traffic) -> Result<usize, CloseReason> {
        use CloseReason::Drained;

        let started = self.is_slow.then(Instant::now);
        let of_message = self.of_message(scanner);
        let mut deadline = of_message.or_else(|| started.map(|since| self.of_idleness(since)));
        let mut is_timed = self.is_slow;

        loop {
            if self.stop.is_some_and(StopEvent::is_set) {
                return fill_arrived(scanner, self.socket, &mut self.after_stop, Drained);
            }

            // Wait in `poll` if this may take longer than a glance.
            if let Some(deadline) = &deadline {
                let left = match deadline.left() {
                    Ok(left) => left,
                    Err(reason) => return self.fill_late(scanner, deadline, reason),
                };
                if (is_timed || left < GLANCE) && !self.has_input(left) {
                    continue;
                }
            }

            // Usually the input is there already, or comes within a glance.
            match scanner.fill_once() {
                Err(error) if is_no_failure(&error) => {}
                result => {
                    self.is_slow = started.map_or(is_timed, |started| started.elapsed() > GLANCE);
                    return result.map_err(CloseReason::from_io);
                }
            }

            // It did not. From here on the wait is timed, the glance included.
            is_timed = true;
            deadline.get_or_insert_with(|| {
                let (now, glance) = (Instant::now(), glance(self.limits.idle_timeout));
                self.of_idleness(now.checked_sub(glance).unwrap_or(now))
            });
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

    /// Returns the time that is left. When there is none, the error is the reason to end.
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

/// Returns a glance, or the limit if that is shorter. It is never 0, which the kernel takes for no
/// timeout.
pub(super) fn glance(limit: Option<Duration>) -> Duration {
    let glance = limit.map_or(GLANCE, |limit| GLANCE.min(limit));
    glance.max(Duration::from_millis(1))
}

/// Returns true if a call returned because its timeout expired, or because of a signal.
pub(super) fn is_no_failure(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::num::NonZeroUsize;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::framing::Terminator;

    const READ: NonZeroUsize = NonZeroUsize::new(1024).unwrap();
    const MOST: u64 = 16 * 1024 * 1024;

    /// Reads input from this reader until the end. There is always a byte in the socket, so the reader
    /// is always asked. Returns the number of bytes, and the reason.
    fn reads_all(input: impl Read, limits: &Limits, is_stopping: bool) -> (u64, CloseReason) {
        let (stream, mut peer) = UnixStream::pair().unwrap();
        peer.write_all(b"x").unwrap();
        // The calls are the same for both kinds of sockets.
        let socket = TcpStream::from(OwnedFd::from(stream));
        let stop = StopEvent::new().unwrap();
        if is_stopping {
            stop.set();
        }

        let mut deadlines = Deadlines::new(&socket, limits, Some(&stop));
        let mut scanner = Scanner::with_capacity(READ, u64::MAX, input);
        scanner.set_terminator(&Terminator::CRLF);
        let mut bytes = 0;
        while bytes < 2 * MOST {
            while scanner.next_event().is_some() {}
            match deadlines.fill(&mut scanner, &Traffic::default()) {
                Ok(read) => bytes += read as u64,
                Err(reason) => return (bytes, reason),
            }
        }
        panic!("it reads without end");
    }

    #[test]
    fn after_the_stop_16_mib_are_read_and_no_more() {
        let (bytes, reason) = reads_all(io::repeat(b'x'), &Limits::default(), true);
        assert_eq!((bytes, reason.name()), (MOST, "drained"));
    }

    #[test]
    fn after_the_deadline_of_a_message_16_mib_are_read_and_no_more() {
        let limits = Limits {
            message_timeout: Some(Duration::ZERO),
            ..Limits::default()
        };
        let (bytes, reason) = reads_all(io::repeat(b'x'), &limits, false);
        // The first read begins the message.
        let most = READ.get() as u64 + MOST;
        assert_eq!((bytes, reason.name()), (most, "message-deadline"));
    }

    /// Fails each time.
    struct Fails(ErrorKind);

    impl Read for Fails {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
    }

    #[test]
    fn after_the_stop_a_reset_is_still_a_reset() {
        let reason = |kind| reads_all(Fails(kind), &Limits::default(), true).1.name();
        assert_eq!(reason(ErrorKind::ConnectionReset), "reset-by-peer");
        assert_eq!(reason(ErrorKind::WouldBlock), "drained");
    }
}
