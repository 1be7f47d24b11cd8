//! Sends news to a service manager, in systemd's protocol (`sd_notify(3)`).
//!
//! Each piece of news is one datagram to the Unix socket that `NOTIFY_SOCKET` names. It is sent
//! without a connection and without waiting. So a slow manager costs no time, and a manager that was
//! restarted hears the next news. Without that variable nothing happens.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::LOG_TARGET;

/// The service manager, if there is one.
pub(crate) struct ServiceManager {
    socket: Option<(UnixDatagram, SocketAddr)>,
    /// The time without a sign of life after which it ends the server; `None` if it does not watch.
    patience: Option<Duration>,
    has_failed: AtomicBool,
}

impl ServiceManager {
    /// Finds it by the environment. Logs a variable that is wrong, and then ignores it.
    pub(crate) fn find(environment: impl Fn(&str) -> Option<OsString>) -> Self {
        let name = environment("NOTIFY_SOCKET");
        let socket = name.and_then(|name| match address(&name).and_then(open) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!(target: LOG_TARGET, "notify: NOTIFY_SOCKET={name:?} is ignored: {error}");
                None
            }
        });

        let patience = environment("WATCHDOG_USEC")
            .filter(|_| socket.is_some())
            .filter(|_| is_us(environment("WATCHDOG_PID").as_deref()))
            .and_then(|microseconds| {
                let patience = patience(&microseconds);
                if patience.is_none() {
                    log::warn!(target: LOG_TARGET, "notify: WATCHDOG_USEC={microseconds:?} is ignored: not a time");
                }
                patience
            });

        Self {
            socket,
            patience,
            has_failed: AtomicBool::new(false),
        }
    }

    /// Sends the news if the manager can take it now. Never waits, not even for the log.
    pub(crate) fn send(&self, news: &str) -> io::Result<()> {
        match &self.socket {
            Some((socket, address)) => socket.send_to_addr(news.as_bytes(), address).map(drop),
            None => Ok(()),
        }
    }

    /// Logs the first failure.
    pub(crate) fn warn_once(&self, error: &io::Error) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            log::warn!(target: LOG_TARGET, "notify: cannot reach the service manager: {error}");
        }
    }

    /// Returns the timer for signs of life, if the manager wants them.
    pub(crate) fn watchdog(&self, now: Instant) -> Option<Watchdog> {
        self.patience.map(|patience| Watchdog::new(patience, now))
    }
}

/// Decides when to send a sign of life.
pub(crate) struct Watchdog {
    interval: Duration,
    /// The next one is due at this time.
    next: Instant,
    heartbeat: u64,
    /// Up to this time the server counts as alive, even if its heartbeat does not change.
    trusted_until: Instant,
}

impl Watchdog {
    /// The longest time between two changes of the heartbeat of a server that is well. See
    /// [`ServerHandle::heartbeat`](synchat::ServerHandle::heartbeat).
    const BETWEEN_BEATS: Duration = Duration::from_secs(2);

    fn new(patience: Duration, now: Instant) -> Self {
        // `sd_watchdog_enabled(3)` advises half of the time. At least a millisecond prevents a spin.
        let interval = (patience / 2).max(Duration::from_millis(1));

        Self {
            interval,
            next: now + interval,
            heartbeat: 0,
            trusted_until: now + Self::BETWEEN_BEATS,
        }
    }

    /// Returns when to call [`is_due`](Self::is_due) again.
    pub(crate) fn next(&self) -> Instant {
        self.next
    }

    /// Counts the server as alive for this time. While it stops, it waits for its conversations, and
    /// its heartbeat does not change.
    pub(crate) fn trust_for(&mut self, time: Duration, now: Instant) {
        self.trusted_until = self.trusted_until.max(now + time);
    }

    /// Returns true if to send a sign of life now.
    pub(crate) fn is_due(&mut self, heartbeat: u64, now: Instant) -> bool {
        if now < self.next {
            return false;
        }

        self.next = now + self.interval;
        let is_alive = heartbeat != self.heartbeat;
        if is_alive {
            self.heartbeat = heartbeat;
            self.trust_for(Self::BETWEEN_BEATS, now);
        }

        is_alive || now < self.trusted_until
    }
}

fn open(address: SocketAddr) -> io::Result<(UnixDatagram, SocketAddr)> {
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// Parses a path, or `@` and the name of an abstract socket.
fn address(name: &OsStr) -> io::Result<SocketAddr> {
    match name.as_bytes() {
        [b'@', name @ ..] if !name.is_empty() => abstract_address(name),
        _ if Path::new(name).is_absolute() => SocketAddr::from_pathname(name),
        _ => Err(io::Error::other("not an absolute path, and not @NAME")),
    }
}

#[cfg(target_os = "linux")]
fn abstract_address(name: &[u8]) -> io::Result<SocketAddr> {
    <SocketAddr as std::os::linux::net::SocketAddrExt>::from_abstract_name(name)
}

#[cfg(not(target_os = "linux"))]
fn abstract_address(_: &[u8]) -> io::Result<SocketAddr> {
    Err(io::Error::other("only Linux has abstract sockets"))
}

/// Returns true if the watchdog is meant for this process and not for its parent.
fn is_us(watched: Option<&OsStr>) -> bool {
    watched.is_none_or(|id| *id == *process::id().to_string())
}

fn patience(microseconds: &OsStr) -> Option<Duration> {
    let number = microseconds.to_str()?.parse().ok()?;
    // The longest can still be added to the time of day. It is five hundred years.
    (1..=u64::MAX >> 10)
        .contains(&number)
        .then(|| Duration::from_micros(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_absolute_path_or_an_abstract_name() {
        let is_good = |name: &[u8]| address(OsStr::from_bytes(name)).is_ok();
        assert!(is_good(b"/run/notify") && is_good(b"/run/\xff"));
        assert_eq!(is_good(b"@name"), cfg!(target_os = "linux"));
        for bad in ["", "@", "notify", "./notify", "vsock:2:1234"] {
            assert!(!is_good(bad.as_bytes()), "{bad:?}");
        }
        assert!(!is_good(b"/a\0b") && !is_good(&[b'/'; 200]));
    }

    #[test]
    fn the_watchdogs_time_is_a_number_above_0() {
        let parsed = |text: &str| patience(OsStr::new(text));
        assert_eq!(parsed("30000000"), Some(Duration::from_secs(30)));
        for bad in ["", "0", "-1", "3s", "18446744073709551615"] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
        let own = process::id().to_string();
        assert!(is_us(None) && is_us(Some(OsStr::new(&own))));
        assert!(!is_us(Some(OsStr::new("1"))) && !is_us(Some(OsStr::new(""))));
    }

    #[test]
    fn signs_of_life_end_when_the_heart_stands_still() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new(Duration::from_secs(10), start);
        assert!(!watchdog.is_due(2, at(4)), "half of the time is not over");
        assert!(watchdog.is_due(3, at(5)));
        assert_eq!(watchdog.next(), at(10));
        assert!(!watchdog.is_due(3, at(10)));
        assert!(watchdog.is_due(4, at(15)), "it was slow, and lives");
    }

    #[test]
    fn a_heartbeat_slower_than_the_watchdog_is_alive() {
        let start = Instant::now();
        let mut watchdog = Watchdog::new(Duration::from_millis(500), start);
        for quarter in 1..40 {
            let now = start + Duration::from_millis(250 * quarter);
            assert!(watchdog.is_due(quarter / 4, now), "{quarter}");
        }

        // It has stood still since the ninth second.
        let end = start + Duration::from_secs(11);
        assert!(!watchdog.is_due(9, end));
    }

    #[test]
    fn the_heart_may_stand_still_while_the_server_drains() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut watchdog = Watchdog::new(Duration::from_secs(2), start);
        assert!(watchdog.is_due(1, at(1)));
        watchdog.trust_for(Duration::from_secs(8), at(1));
        assert!((2..9).all(|second| watchdog.is_due(1, at(second))));
        assert!(!watchdog.is_due(1, at(9)));
    }
}
