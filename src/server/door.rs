//! Refuses connections: tells the peer, logs for the operator.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::config::Config;
use super::farewells::Farewells;
use super::open_connections::Connection;
use super::rate_limited_log::RateLimitedLog;
use super::refusal::Refusal;
use super::registry::Registry;
use crate::conversation::guarded;
use crate::log_target::SERVER;
use crate::net::Peer;

/// The accept loop's memory of the connections that it did not let in.
#[derive(Debug, Default)]
pub(super) struct Door {
    farewells: Farewells,
    /// One log per kind of refusal.
    logs: [RateLimitedLog; Refusal::NAMES.len()],
    /// The last time at which all places were taken.
    full: Option<Instant>,
}

impl Door {
    /// How long places must have been free before the log says again that there are none.
    const QUIET: Duration = Duration::from_secs(10);

    /// Refuses a connection: counts it, logs it, tells the peer why.
    pub(super) fn refuse(
        &mut self,
        connection: Arc<Connection>,
        peer: &Peer,
        refusal: Refusal,
        config: &Config,
        registry: &Registry,
    ) {
        registry.count_refusal(refusal);
        self.logs[refusal.index()].log(Instant::now(), |others| {
            log::warn!(
                target: SERVER,
                "{refusal}: client_address={peer} not_logged_before={others}"
            );
        });

        let line = guarded(|| (config.refusal_line)(refusal)).unwrap_or_default();
        self.farewells.begin(connection, &line);
    }

    /// Notes that all places are taken, so that the next connection must wait.
    pub(super) fn note_full(&mut self, limit: usize) {
        if self.was_quiet(Instant::now()) {
            log::warn!(
                target: SERVER,
                "accept: waiting until one of max_connections={limit} has ended"
            );
        }
    }

    /// Notes the time at which all places are taken. Returns true if it was not so for a while.
    fn was_quiet(&mut self, now: Instant) -> bool {
        let before = self.full.replace(now);
        before.is_none_or(|before| now.duration_since(before) > Self::QUIET)
    }

    /// Closes refused connections whose time is over. Returns how soon this must be called again, if
    /// any are left.
    pub(super) fn tend(&mut self) -> Option<Duration> {
        self.farewells.tend()
    }

    /// Waits until all refused connections are closed, for a second at most. Once every peer has its
    /// line, a moment is enough: a peer that goes on sending then finds no reset before the line.
    pub(super) fn close(mut self) {
        const OFTEN: Duration = Duration::from_millis(10);
        const MOMENT: Duration = Duration::from_millis(100);

        let started = Instant::now();
        while self.tend().is_some() {
            if started.elapsed() >= MOMENT && !self.farewells.has_unsent() {
                return;
            }
            thread::sleep(OFTEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::net::Stream;

    #[test]
    fn a_full_server_is_news_only_after_a_quiet_time() {
        let (mut door, now) = (Door::default(), Instant::now());
        let more = Duration::from_millis(1);
        assert!(door.was_quiet(now));
        assert!(!door.was_quiet(now + Door::QUIET));
        assert!(!door.was_quiet(now + Door::QUIET * 2));
        assert!(door.was_quiet(now + Door::QUIET * 3 + more));
    }

    /// Refuses a peer, and returns how long the close of the door then takes.
    fn closes(reads_its_line: bool) -> Duration {
        let (stream, mut peer) = UnixStream::pair().unwrap();
        let (mut door, started) = (Door::default(), Instant::now());
        let connection = Arc::new(Connection::from(Stream::from(stream)));
        door.farewells.begin(connection, b"no\r\n");

        if reads_its_line {
            peer.read_exact(&mut [0; 4]).unwrap();
        }
        door.close();
        started.elapsed()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_close_waits_a_second_for_a_peer_that_has_not_read_its_line() {
        assert!(closes(false) >= Duration::from_secs(1));
    }

    #[test]
    fn a_close_waits_a_moment_for_a_peer_that_has_read_its_line() {
        assert!(closes(true) >= Duration::from_millis(100));
    }
}
