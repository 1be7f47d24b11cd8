//! The connections that are open, and the way to end them all.
//!
//! One lock guards it, taken when a connection begins and when it ends, never in between and never
//! across a blocking call. A connection is in the registry as long as its [`Slot`] lives, and
//! leaves it by `Drop`, however its thread ends.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::connection::{Summary, Traffic};
use crate::net::Stream;
use crate::report::Report;

/// All that the threads of one server share.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// A connection has ended, or the server is to stop.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    open: HashMap<Key, Entry>,
    /// The key of the next connection.
    next: Key,
    /// How many connections have left, so that one that leaves before a wait ends it, too.
    departed: u64,
    report: Report,
}

type Key = u64;

#[derive(Debug)]
struct Entry {
    stream: Arc<Stream>,
    /// It was counted as accepted.
    has_begun: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Phase {
    #[default]
    Serving,
    /// Conversations end when they have answered what had come.
    Draining,
    /// The grace period is over, and sockets were shut down.
    Forcing,
}

/// Why a connection was closed before its conversation began.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Refusal {
    ByVerify,
    ForWantOfAThread,
}

impl Registry {
    /// How long threads have to notice that their sockets were shut down.
    const FORCED_END: Duration = Duration::from_secs(1);

    /// Nothing in this file panics with the lock held, and if it did, the counts would show it: go
    /// on.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a connection.
    pub(crate) fn enter(self: &Arc<Self>, stream: Stream) -> Slot {
        let stream = Arc::new(stream);
        let mut state = self.lock();
        let key = state.next;
        state.next += 1;
        let entry = Entry {
            stream: Arc::clone(&stream),
            has_begun: false,
        };
        state.open.insert(key, entry);
        Slot {
            stream,
            place: Place {
                registry: Arc::clone(self),
                key,
                ending: None,
            },
        }
    }

    pub(crate) fn count_refusal(&self, refusal: Refusal) {
        let report = &mut self.lock().report;
        match refusal {
            Refusal::ByVerify => report.refused_by_verify += 1,
            Refusal::ForWantOfAThread => report.refused_for_want_of_a_thread += 1,
        }
    }

    /// Asks the accept loop to end. Returns at once.
    pub(crate) fn stop(&self) {
        let mut state = self.lock();
        if state.phase == Phase::Serving {
            state.phase = Phase::Draining;
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Unless the server is to stop: how many connections have left, for
    /// [`wait_for_change`](Self::wait_for_change).
    pub(crate) fn serving(&self) -> Option<u64> {
        let state = self.lock();
        (state.phase == Phase::Serving).then_some(state.departed)
    }

    /// Waits until more connections than these have left or the server is to stop, at most so long.
    pub(crate) fn wait_for_change(&self, departed: u64, at_most: Duration) {
        let unchanged =
            |state: &mut State| state.phase == Phase::Serving && state.departed == departed;
        drop(
            self.changed
                .wait_timeout_while(self.lock(), at_most, unchanged),
        );
    }

    /// Ends all conversations: gracefully, and after the grace period by force. Returns the final
    /// counts.
    pub(crate) fn drain(&self, grace: Duration) -> Report {
        let mut state = self.lock();
        for (phase, end, patience) in [
            (Phase::Draining, Stream::end_input as fn(&Stream), grace),
            (Phase::Forcing, Stream::abort, Self::FORCED_END),
        ] {
            if state.open.is_empty() {
                break;
            }
            state.phase = phase;
            state.open.values().for_each(|entry| end(&entry.stream));
            let waited = self
                .changed
                .wait_timeout_while(state, patience, |state| !state.open.is_empty());
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let mut report = state.report.clone();
        report.still_open = state.open.values().filter(|entry| entry.has_begun).count() as u64;
        drop(state);
        if !report.adds_up() {
            log::error!("the counts of connections do not add up: {report}");
        }
        report
    }
}

/// A connection that is in the registry.
#[derive(Debug)]
pub(crate) struct Slot {
    /// Given up before `place`, which so holds the last reference to the socket.
    stream: Arc<Stream>,
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

    /// What a conversation's end means, seen from the server.
    pub(crate) fn judge(&self, reason: CloseReason) -> CloseReason {
        use CloseReason::{Drained, EndOfStream, Forced, MidMessage, ResetByPeer, TransportError};
        match (self.place.registry.lock().phase, reason) {
            (Phase::Draining, EndOfStream | MidMessage { .. }) => Drained,
            (Phase::Forcing, EndOfStream | MidMessage { .. } | ResetByPeer | TransportError(_)) => {
                Forced
            }
            (_, reason) => reason,
        }
    }
}

impl Drop for Place {
    /// Leaves, closes the socket, and tells: in that order, so that who is told finds a descriptor
    /// free.
    fn drop(&mut self) {
        let mut state = self.registry.lock();
        let entry = state.open.remove(&self.key);
        state.departed += 1;
        if let Some((reason, traffic)) = self.ending.take() {
            state.report.add(reason, traffic);
        }
        drop(state);
        drop(entry);
        self.registry.changed.notify_all();
    }
}
