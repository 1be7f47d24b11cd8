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
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::arrivals;
use super::sys::{self, Action};

/// A request from the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Signal {
    /// Stop: SIGTERM or SIGINT.
    Stop,
    /// SIGHUP: the log file was moved away, or the terminal is gone. Your program knows which.
    Hangup,
    /// Log the report: SIGUSR1.
    Report,
}

/// Receives the signals of the process, in place of their default actions.
///
/// This also works for process 1 of a container, where SIGTERM has no default action. When you drop
/// it, the signals get the actions back that they had before.
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
///         Some(Signal::Stop | Signal::Hangup) => handle.stop(),
///         Some(Signal::Report) => println!("{}", handle.report()),
///         _ => {}
///     }
/// });
/// let report = server.serve_forever(|_peer| Echo::new(Terminator::CRLF))?;
/// println!("{report}");
/// # Ok::<(), synchat::Error>(())
/// ```
#[derive(Debug)]
pub struct Signals {
    receiver: &'static UnixStream,
    /// The signals whose action was changed, with the action before.
    before: Vec<(c_int, Action)>,
}

// The same number on every system that `std` supports.
const SIGHUP: c_int = 1;
const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;

/// Differs between Linux, Linux on MIPS, and the BSDs.
const SIGUSR1: c_int = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
    16
} else if cfg!(any(target_os = "linux", target_os = "android")) {
    10
} else {
    30
};

/// A write went past `RLIMIT_FSIZE`. The default action ends the process.
const SIGXFSZ: c_int = if cfg!(any(target_arch = "mips", target_arch = "mips64")) {
    31
} else {
    25
};

const CAUGHT: [c_int; 4] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1];

/// A `Signals` exists.
static IS_CAUGHT: AtomicBool = AtomicBool::new(false);

impl Signals {
    /// The pause after a wait that failed. Without it, a failing wait would spin.
    const REST: Duration = Duration::from_millis(100);

    /// Catches SIGTERM, SIGINT, SIGHUP and SIGUSR1 from now on.
    ///
    /// - A terminal sends SIGINT and SIGHUP to every process in it. So if one of these two is
    ///   ignored at this time, it stays ignored. `nohup` relies on this, and so do the background
    ///   jobs of scripts. SIGTERM and SIGUSR1 are always caught, since nobody sends them by
    ///   accident.
    /// - A parent can leave signals blocked. They are unblocked for the calling thread, so call this
    ///   before you start other threads.
    /// - SIGXFSZ is ignored. A write past the limit of a file's size (`RLIMIT_FSIZE`) then returns an
    ///   error and does not end the process.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::AlreadyExists`] if they are caught already, since a process has one set of
    /// handlers. Any other error comes from the system, for example when descriptors run out.
    pub fn catch() -> io::Result<Self> {
        let receiver = arrivals::wake_receiver()?;
        if IS_CAUGHT.swap(true, Ordering::SeqCst) {
            let problem = "signals are caught already";
            return Err(io::Error::new(ErrorKind::AlreadyExists, problem));
        }
        // From here on an error drops it, which undoes what was done.
        let mut signals = Self {
            receiver,
            before: Vec::with_capacity(CAUGHT.len() + 1),
        };

        for number in CAUGHT {
            arrivals::forget_signal(number);
            signals.set_action(number, Action::note())?;
            signals.leave_ignored(number)?;
        }
        signals.set_action(SIGXFSZ, Action::IGNORE)?;
        sys::unblock(&CAUGHT)?;

        Ok(signals)
    }

    fn set_action(&mut self, number: c_int, action: Action) -> io::Result<()> {
        let before = sys::set_action(number, action)?;
        self.before.push((number, before));
        Ok(())
    }

    /// Ignores a signal of the terminal again that was ignored before.
    fn leave_ignored(&mut self, number: c_int) -> io::Result<()> {
        let is_of_terminal = matches!(number, SIGINT | SIGHUP);
        if is_of_terminal
            && self
                .before
                .pop_if(|(_, action)| *action == Action::IGNORE)
                .is_some()
        {
            sys::set_action(number, Action::IGNORE)?;
            // It can have come in between.
            arrivals::forget_signal(number);
        }

        Ok(())
    }

    /// Waits for a signal, for at most this time.
    ///
    /// If several have come, a stop is returned first, then a hangup. Two stops are returned one
    /// after the other.
    pub fn wait(&mut self, at_most: Duration) -> Option<Signal> {
        let started = Instant::now();

        loop {
            if arrivals::take_signal(SIGTERM) || arrivals::take_signal(SIGINT) {
                return Some(Signal::Stop);
            }
            if arrivals::take_signal(SIGHUP) {
                return Some(Signal::Hangup);
            }
            if arrivals::take_signal(SIGUSR1) {
                return Some(Signal::Report);
            }

            let left = at_most.saturating_sub(started.elapsed());
            if left.is_zero() {
                return None;
            }

            let can_wait = self.receiver.set_read_timeout(Some(left));
            match can_wait.and_then(|()| self.receiver.read(&mut [0])) {
                Ok(_) => arrivals::rearm_wake(),
                Err(error) if is_no_failure(error.kind()) => {}
                // Signals are then noticed a little late.
                Err(_) => thread::sleep(left.min(Self::REST)),
            }
        }
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for &(number, action) in &self.before {
            let _ = sys::set_action(number, action);
        }
        IS_CAUGHT.store(false, Ordering::SeqCst);
    }
}

/// Returns true if a read ended because its time was up or a signal came.
fn is_no_failure(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
