//! The open connections: who may join them, and the way to end them all.
//!
//! One lock guards it, taken when a connection begins and when it ends, never in between and never
//! across a blocking call. A connection is in the registry as long as its [`Slot`] lives, and
//! leaves it by `Drop`, however its thread ends.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::connection::{Summary, Traffic};
use crate::net::{Peer, Stream};
use crate::network::Network;
use crate::refusal::Refusal;
use crate::report::{LiveTraffic, Report};
use crate::stop_event::StopEvent;

/// All that the threads of one server share.
#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// A connection has ended, or the server is to stop.
    changed: Condvar,
    /// Conversations end when they have answered what had come.
    stop: StopEvent,
    /// Turns of the accept loop.
    heartbeat: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    open: HashMap<Key, Entry>,
    /// How many of them each host has, where that is limited.
    per_host: HashMap<Network, usize>,
    /// The key of the next connection.
    next: Key,
    /// How many connections have left, so that one that leaves before a wait ends it, too.
    departed: u64,
    /// The grace period is over, and sockets were shut down.
    is_forcing: bool,
    /// Without what is only known of open connections.
    report: Report,
}

type Key = u64;

#[derive(Debug)]
struct Entry {
    stream: Arc<Stream>,
    traffic: Arc<LiveTraffic>,
    host: Option<Network>,
    /// It was counted as accepted.
    has_begun: bool,
}

/// How many connections may be open.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) connections: usize,
    /// 0 is no limit.
    pub(crate) per_address: usize,
}

impl Registry {
    /// How long threads have to notice that their sockets were shut down.
    const FORCED_END: Duration = Duration::from_secs(1);

    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            stop: StopEvent::new()?,
            heartbeat: AtomicU64::new(0),
        })
    }

    /// Nothing in this file panics with the lock held, and if it did, the counts would show it: go
    /// on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection, if there is room for it.
    pub(crate) fn enter(
        self: &Arc<Self>,
        stream: Arc<Stream>,
        peer: &Peer,
        room: Room,
    ) -> Result<Slot, Refusal> {
        let host = (room.per_address > 0)
            .then(|| peer.ip().map(Network::of_host))
            .flatten();
        let traffic = Arc::<LiveTraffic>::default();
        let mut state = self.lock();
        if state.open.len() >= room.connections {
            let limit = room.connections;
            return Err(Refusal::Full { limit });
        }
        if let Some(host) = host {
            let connections = state.per_host.entry(host).or_default();
            if *connections >= room.per_address {
                let limit = room.per_address;
                return Err(Refusal::AddressFull { limit });
            }
            *connections += 1;
        }
        let key = state.next;
        state.next += 1;
        let entry = Entry {
            stream: Arc::clone(&stream),
            traffic: Arc::clone(&traffic),
            host,
            has_begun: false,
        };
        state.open.insert(key, entry);
        state.report.most_at_once = state.report.most_at_once.max(state.open.len() as u64);
        drop(state);
        Ok(Slot {
            stream,
            traffic,
            place: Place {
                registry: Arc::clone(self),
                key,
                ending: None,
            },
        })
    }

    pub(crate) fn count_refusal(&self, refusal: Refusal) {
        self.lock().report.add_refusal(refusal);
    }

    /// Whether a connection would be refused for want of room, whoever it is from.
    pub(crate) fn is_full(&self, room: Room) -> bool {
        self.lock().open.len() >= room.connections
    }

    /// Asks the accept loop and the conversations to end. Returns at once.
    pub(crate) fn stop(&self) {
        self.stop.set();
        // With the lock, so that it does not come between another thread's look and its wait.
        drop(self.lock());
        self.changed.notify_all();
    }

    /// The event of [`stop`](Self::stop).
    pub(crate) fn stop_event(&self) -> &StopEvent {
        &self.stop
    }

    /// Unless the server is to stop: how many connections have left, for
    /// [`wait_for_change`](Self::wait_for_change).
    pub(crate) fn serving(&self) -> Option<u64> {
        self.heartbeat.fetch_add(1, Ordering::Relaxed);
        (!self.stop.is_set()).then(|| self.lock().departed)
    }

    /// A number that changes while the accept loop runs.
    pub(crate) fn heartbeat(&self) -> u64 {
        self.heartbeat.load(Ordering::Relaxed)
    }

    /// Waits until more connections than these have left or the server is to stop, at most so long.
    pub(crate) fn wait_for_change(&self, departed: u64, at_most: Duration) {
        let unchanged = |state: &mut State| !self.stop.is_set() && state.departed == departed;
        drop(
            self.changed
                .wait_timeout_while(self.lock(), at_most, unchanged),
        );
    }

    /// Waits until all conversations have ended, and ends by force those that have not in this time.
    /// Returns the final counts.
    pub(crate) fn drain(&self, grace: Duration) -> Report {
        self.stop();
        let mut state = self.lock();
        for (is_forcing, patience) in [(false, grace), (true, Self::FORCED_END)] {
            if is_forcing && !state.open.is_empty() {
                state.is_forcing = true;
                state.open.values().for_each(|entry| entry.stream.abort());
            }
            let waited = self
                .changed
                .wait_timeout_while(state, patience, |state| !state.open.is_empty());
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        drop(state);
        self.report()
    }

    /// The counts as they are now.
    pub(crate) fn report(&self) -> Report {
        let state = self.lock();
        let mut report = state.report.clone();
        for entry in state.open.values().filter(|entry| entry.has_begun) {
            report.open += 1;
            report.traffic += entry.traffic.look();
        }
        drop(state);
        if !report.adds_up() {
            log::error!("the counts of connections do not add up: {report}");
        }
        report
    }
}

impl State {
    fn leave(&mut self, key: Key) -> Option<Entry> {
        let entry = self.open.remove(&key)?;
        if let Some(host) = entry.host
            && let Some(connections) = self.per_host.get_mut(&host)
        {
            *connections -= 1;
            if *connections == 0 {
                self.per_host.remove(&host);
            }
        }
        Some(entry)
    }
}

/// A connection that is in the registry.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Given up before `place`, which so holds the last reference to the socket.
    stream: Arc<Stream>,
    traffic: Arc<LiveTraffic>,
    place: Place,
}

/// Gives the connection's place in the registry back when it is dropped.
#[derive(Debug)]
struct Place {
    registry: Arc<Registry>,
    key: Key,
    /// The reason's index, and what has passed, once the conversation is over.
    ending: Option<(usize, Traffic)>,
}

impl Slot {
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Shows others what has passed so far.
    pub(crate) fn traffic(&self) -> &LiveTraffic {
        &self.traffic
    }

    /// The order at which the conversation is to end.
    pub(crate) fn stop_event(&self) -> &StopEvent {
        &self.place.registry.stop
    }

    /// Counts the connection as accepted: from here on it will have an ending.
    pub(crate) fn begin(&self) {
        let mut state = self.place.registry.lock();
        state.report.accepted += 1;
        if let Some(entry) = state.open.get_mut(&self.place.key) {
            entry.has_begun = true;
        }
    }

    /// Notes how the conversation ended, to be counted when the slot is given back.
    pub(crate) fn conclude(&mut self, summary: &Summary) {
        self.place.ending = Some((summary.reason.index(), summary.traffic));
    }

    /// What a conversation's end means, seen from the server: what ends once sockets were shut down
    /// was ended by that.
    pub(crate) fn judge(&self, reason: CloseReason) -> CloseReason {
        use CloseReason::{EndOfStream, Forced, MidMessage, ResetByPeer, TransportError};
        match (self.place.registry.lock().is_forcing, reason) {
            (true, EndOfStream | MidMessage { .. } | ResetByPeer | TransportError(_)) => Forced,
            (_, reason) => reason,
        }
    }
}

impl Drop for Place {
    /// Leaves, closes the socket, and tells: in that order, so that who is told finds a descriptor
    /// free.
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        let entry = state.leave(self.key);
        state.departed += 1;
        if let Some((reason, traffic)) = self.ending.take() {
            state.report.add(reason, traffic);
        }
        drop(state);
        drop(entry);
        self.registry.changed.notify_all();
    }
}
