//! Signals as values: what the operator asks of the process, received by a thread that waits.
//!
//! A handler may do next to nothing, so it counts the signal and writes a byte into a socket; the
//! thread that waits at the other end does the work. Signals are the process's, not a server's, so
//! a library never catches them by itself: the program does, and calls
//! [`Handle::stop`](crate::ServerHandle::stop).

use std::ffi::c_int;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::sys;

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// SIGTERM or SIGINT: to end.
    Stop,
    /// SIGUSR1: to say how things are.
    Report,
}

/// The signals that come to the process, in place of their default actions. As process 1 of a
/// container, too, where SIGTERM has no default action.
///
/// ```no_run
/// use std::time::Duration;
/// use synchat::{Echo, Server, Signal, Signals, Terminator};
///
/// let mut signals = Signals::catch().expect("nobody else catches them");
/// let server = Server::bind("127.0.0.1:7007")?;
/// let handle = server.handle();
/// std::thread::spawn(move || loop {
///     match signals.wait(Duration::from_secs(3600)) {
///         Some(Signal::Stop) => handle.stop(),
///         Some(Signal::Report) => println!("{}", handle.report()),
///         None => {}
///     }
/// });
/// let report = server.serve_forever(|_peer| Echo::new(Terminator::CRLF))?;
/// println!("{report}");
/// # Ok::<(), synchat::Error>(())
/// ```
#[derive(Debug)]
pub struct Signals(UnixStream);

/// Numbers on all systems that `std` supports, except where noted.
const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
/// Linux's; on MIPS, and on the BSDs and their kin, it is another.
const SIGUSR1: c_int = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
    16
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    10
} else {
    30
};

impl Signals {
    /// How long to rest when waiting fails: without, it would be tried a million times a second.
    const REST: Duration = Duration::from_millis(100);

    /// Catches SIGTERM, SIGINT and SIGUSR1 from now on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`] if they are caught already: the process has one set of
    /// handlers. Otherwise the system's, for want of descriptors.
    pub fn catch() -> io::Result<Self> {
        let (receiver, wake) = UnixStream::pair()?;
        sys::note_signals(&[SIGINT, SIGTERM, SIGUSR1], wake)?;
        Ok(Self(receiver))
    }

    /// Waits for a signal, at most so long. A stop comes before a report, if both have come; two
    /// stops are two.
    pub fn wait(&mut self, at_most: Duration) -> Option<Signal> {
        let started = Instant::now();
        loop {
            if sys::take_signal(SIGTERM) || sys::take_signal(SIGINT) {
                return Some(Signal::Stop);
            }
            if sys::take_signal(SIGUSR1) {
                return Some(Signal::Report);
            }
            let left = at_most.saturating_sub(started.elapsed());
            if left.is_zero() {
                return None;
            }
            let can_wait = self.0.set_read_timeout(Some(left));
            match can_wait.and_then(|()| self.0.read(&mut [0])) {
                Ok(_) => sys::rearm_wake(),
                Err(error) if is_no_failure(error.kind()) => {}
                // Then signals are noticed a little late.
                Err(_) => thread::sleep(left.min(Self::REST)),
            }
        }
    }
}

/// Whether a read returned because its time was up, or for a signal.
fn is_no_failure(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
