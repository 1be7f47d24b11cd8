//! The open connections of a server: admits them, counts them, and ends them all.
//!
//! One lock guards the registry. It is taken when a connection begins and when it ends, never in
//! between and never across a blocking call. `open_connections.rs` is the data behind it, and `place.rs`
//! the connection's side.

use std::io;
use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::capacity::Room;
use super::ip_network::IpNetwork;
use super::open_connections::{Connection, Entry, Key, OpenConnections};
use super::refusal::Refusal;
use super::report::{Ending, Report};
use super::yielding::Yielding;
use crate::log_target::SERVER;
use crate::net::StopEvent;

/// The state that all threads of one server share.
#[derive(Debug)]
pub(super) struct Registry {
    state: Mutex<OpenConnections>,
    /// A connection has ended, or the server must stop.
    changed: Condvar,
    /// Once it is set, conversations answer the input that has arrived, and end.
    stop: StopEvent,
    /// Decides whether conversations yield.
    yielding: Yielding,
    /// Counts the turns of the accept loop.
    heartbeat: AtomicU64,
}

impl Registry {
    /// How long a new connection waits for the place of one whose peer has just been sent the end of
    /// its stream. Usually it is free within microseconds.
    const END: Duration = Duration::from_millis(20);

    /// How long threads have to notice that their sockets were shut down.
    const FORCED_END: Duration = Duration::from_secs(1);

    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            stop: StopEvent::new()?,
            yielding: Yielding::default(),
            heartbeat: AtomicU64::new(0),
        })
    }

    /// Locks the state, also after a panic of another thread: nothing here panics half-way.
    fn lock(&self) -> MutexGuard<'_, OpenConnections> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection, if there is room for it. It must [leave](Self::leave) later.
    ///
    /// It waits for a place once, however many other connections end meanwhile: perhaps none of them
    /// is of this host, and the accept loop has others to serve.
    pub(super) fn enter(
        &self,
        connection: &Arc<Connection>,
        host: Option<IpNetwork>,
        room: Room,
    ) -> Result<Key, Refusal> {
        let mut state = self.lock();
        let mut until = None;

        loop {
            match state.enter(connection, host, room) {
                Ok(key) => return Ok(key),
                Err(refusal) => {
                    let until = *until.get_or_insert(state.ending_until);
                    match time_until(until.filter(|_| state.ending > 0)) {
                        None => return Err(refusal),
                        Some(time) => state = self.wait_for_an_end(state, time),
                    }
                }
            }
        }
    }

    /// Counts a connection as accepted. From here on it will have an ending.
    pub(super) fn begin(&self, key: Key) {
        self.lock().begin(key);
    }

    /// Announces that a peer is about to be sent the end of its stream. It can then come again before
    /// its place is free.
    pub(super) fn announce_end(&self, key: Key) {
        let mut state = self.lock();
        state.ending_until = Some(Instant::now() + Self::END);

        let entry = state.open.get_mut(&key);
        let is_new = entry.is_some_and(|entry| !mem::replace(&mut entry.is_ending, true));
        state.ending += usize::from(is_new);
    }

    /// Returns true if the sockets were shut down by force.
    pub(super) fn is_forcing(&self) -> bool {
        self.lock().is_forcing
    }

    /// Removes a connection, counts its ending, closes its socket if this was the last user of it, and
    /// notifies, in that order: whoever is notified finds a free descriptor.
    pub(super) fn leave(&self, key: Key, ending: Option<Ending>) {
        let mut state = self.lock();
        let entry = state.leave(key);

        let is_awaited = state.waiters > 0;

        // Every connection that has begun has an ending, also if its thread panics.
        let begun = entry.as_ref().filter(|entry| entry.has_begun);
        let of_panic = begun.map(|entry| Ending::of_panic(entry.connection.traffic.load()));
        if let Some(ending) = ending.or(of_panic) {
            state.report.add(ending);
        }
        drop(state);

        drop(entry);
        // To notify nobody would be a system call.
        if is_awaited {
            self.changed.notify_all();
        }
    }

    /// Waits until a connection has ended, or the time is over.
    fn wait_for_an_end<'a>(
        &self,
        state: MutexGuard<'a, OpenConnections>,
        time: Duration,
    ) -> MutexGuard<'a, OpenConnections> {
        let departed = state.departed;
        let unchanged = |state: &mut OpenConnections| state.departed == departed;

        self.wait_while(state, time, unchanged)
    }

    /// Waits for as long as the condition holds, or until the time is over.
    fn wait_while<'a>(
        &self,
        mut state: MutexGuard<'a, OpenConnections>,
        time: Duration,
        condition: impl FnMut(&mut OpenConnections) -> bool,
    ) -> MutexGuard<'a, OpenConnections> {
        state.waiters += 1;
        let waited = self.changed.wait_timeout_while(state, time, condition);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.waiters -= 1;
        state
    }

    pub(super) fn count_refusal(&self, refusal: Refusal) {
        self.lock().report.add_refusal(refusal);
    }

    /// Returns true if all places are taken.
    pub(super) fn is_full(&self, room: Room) -> bool {
        self.lock().open.len() >= room.connections
    }

    /// Asks the accept loop and the conversations to end. Returns at once.
    pub(super) fn stop(&self) {
        self.stop.set();

        // With the lock, this cannot come between another thread's look and its wait.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// Returns the event of [`stop`](Self::stop).
    pub(super) fn stop_event(&self) -> &StopEvent {
        &self.stop
    }

    pub(super) fn yielding(&self) -> &Yielding {
        &self.yielding
    }

    /// Begins a turn of the accept loop. Returns the number of connections that have ended, for
    /// [`wait_for_change`](Self::wait_for_change), or `None` once the server must stop.
    pub(super) fn begin_turn(&self) -> Option<u64> {
        self.heartbeat.fetch_add(1, Ordering::Relaxed);

        (!self.stop.is_set()).then(|| self.lock().departed)
    }

    /// Returns the number of connections that have ended.
    pub(super) fn departed(&self) -> u64 {
        self.lock().departed
    }

    /// Returns a number that changes while the accept loop runs.
    pub(super) fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }

    /// Waits until more connections than `departed` have ended, the server must stop, or the timeout
    /// expires.
    pub(super) fn wait_for_change(&self, departed: u64, timeout: Duration) {
        let unchanged =
            |state: &mut OpenConnections| !self.stop.is_set() && state.departed == departed;

        drop(self.wait_while(self.lock(), timeout, unchanged));
    }

    /// Waits until all conversations have ended. After the grace period, ends the others by force.
    /// Returns the final report.
    pub(super) fn drain(&self, grace: Duration) -> Report {
        self.stop();

        let mut state = self.lock();
        for (is_forcing, patience) in [(false, grace), (true, Self::FORCED_END)] {
            if is_forcing && !state.open.is_empty() {
                state.is_forcing = true;
                state.open.values().for_each(Entry::abort);
            }

            let has_open = |state: &mut OpenConnections| !state.open.is_empty();
            state = self.wait_while(state, patience, has_open);
        }
        drop(state);

        self.report()
    }

    /// Returns the report as it is now.
    pub(super) fn report(&self) -> Report {
        let state = self.lock();
        let mut report = state.report.clone();
        for entry in state.open.values().filter(|entry| entry.has_begun) {
            report.open += 1;
            report.traffic += entry.connection.traffic.load();
        }
        drop(state);

        if !report.adds_up() {
            log::error!(target: SERVER, "the counts of connections do not add up: {report}");
        }
        report
    }
}

/// Returns the time that is left, if any is.
fn time_until(at: Option<Instant>) -> Option<Duration> {
    let left = at?.checked_duration_since(Instant::now());
    left.filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_a_beat_and_a_wait_lasts_until_a_connection_has_ended() {
        let registry = Registry::new().unwrap();
        assert!(registry.begin_turn().is_some() && registry.begin_turn().is_some());
        assert_eq!(registry.heartbeat(), 2);
        let (time, started) = (Duration::from_millis(30), Instant::now());
        registry.wait_for_change(registry.departed(), time);
        assert!(started.elapsed() >= time, "nothing has changed");

        registry.wait_for_change(registry.departed() + 1, Duration::from_secs(60));
        assert!(started.elapsed() < Duration::from_secs(30));
    }
}
