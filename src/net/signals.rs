//! Signals as values, for a thread that waits for them.
//!
//! A signal handler can do very little. Ours counts the signal and writes a byte into a socket. A
//! thread waits at the other end and does the work.
//!
//! Signals belong to the process, not to a server, so the library never catches them by itself. Your
//! program catches them and calls [`ServerHandle::stop`](crate::ServerHandle::stop).

use std::ffi::c_int;
use std::io::{self, ErrorKind, Read};
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::{Duration, Instant};

use super::sys;

/// A request from the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Stop: SIGTERM or SIGINT.
    Stop,
    /// Log the report: SIGUSR1.
    Report,
}

/// Receives the signals of the process, in place of their default actions.
///
/// This also works for process 1 of a container, where SIGTERM has no default action.
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

/// The same number on every system that `std` supports.
const SIGINT: c_int = 2;
/// The same number on every system that `std` supports.
const SIGTERM: c_int = 15;
/// Differs between Linux, Linux on MIPS, and the BSDs.
const SIGUSR1: c_int = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
    16
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    10
} else {
    30
};

impl Signals {
    /// The pause after a wait that failed. Without it, a failing wait would spin.
    const REST: Duration = Duration::from_millis(100);

    /// Catches SIGTERM, SIGINT and SIGUSR1 from now on.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`] if they are caught already, since a process has one set of
    /// handlers. Any other error comes from the system, for example when descriptors run out.
    pub fn catch() -> io::Result<Self> {
        let (receiver, wake) = UnixStream::pair()?;

        sys::note_signals(&[SIGINT, SIGTERM, SIGUSR1], wake)?;

        Ok(Self(receiver))
    }

    /// Waits for a signal, for at most this time.
    ///
    /// A stop is returned before a report. Two stops are returned one after the other.
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
                // Signals are then noticed a little late.
                Err(_) => thread::sleep(left.min(Self::REST)),
            }
        }
    }
}

/// Returns whether a read ended because its time was up or a signal came.
fn is_no_failure(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
