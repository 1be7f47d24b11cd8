//! The connections that are open, and the way to end them all.
//!
//! One lock guards it, taken when a connection begins and when it ends, never in between and never
//! across a blocking call. A connection is in the registry as long as its [`Slot`] lives, and
//! leaves it by `Drop`, however its thread ends.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::close_reason::CloseReason;
use crate::connection::Summary;
use crate::net::{Stream, Waker};
use crate::report::Report;

#[derive(Debug)]
pub(crate) struct Registry {
    state: Mutex<State>,
    /// A connection has ended, or the server is to stop.
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    /// Wakes the accept loop, once.
    waker: Option<Waker>,
    open: HashMap<u64, Arc<Stream>>,
    /// The key of the next connection.
    next: u64,
    report: Report,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// Input has been ended; conversations end when they have answered what had come.
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

    pub(crate) fn new(waker: Waker) -> Self {
        let (open, report) = (HashMap::new(), Report::default());
        let state = State {
            phase: Phase::Serving,
            waker: Some(waker),
            open,
            next: 0,
            report,
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

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
        state.open.insert(key, Arc::clone(&stream));
        Slot {
            registry: Arc::clone(self),
            key,
            stream,
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
        let waker = state.waker.take();
        drop(state);
        self.changed.notify_all();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.lock().phase != Phase::Serving
    }

    /// Waits until a connection ends or the server is to stop, at most so long.
    pub(crate) fn wait_for_change(&self, at_most: Duration) {
        let state = self.lock();
        if state.phase == Phase::Serving {
            drop(self.changed.wait_timeout(state, at_most));
        }
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
            state.open.values().for_each(|stream| end(stream));
            let waited = self
                .changed
                .wait_timeout_while(state, patience, |state| !state.open.is_empty());
            (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        }
        let mut report = state.report.clone();
        report.still_open = state.open.len() as u64;
        if !report.adds_up() {
            log::error!("the counts of connections do not add up: {report}");
        }
        report
    }
}

/// A connection's place in the registry.
#[derive(Debug)]
pub(crate) struct Slot {
    registry: Arc<Registry>,
    key: u64,
    stream: Arc<Stream>,
}

impl Slot {
    pub(crate) fn stream(&self) -> &Stream {
        &self.stream
    }

    /// Counts the connection as accepted: from here on it will have an ending.
    pub(crate) fn begin(&self) {
        self.registry.lock().report.accepted += 1;
    }

    /// What a conversation's end means, seen from the server.
    pub(crate) fn judge(&self, reason: CloseReason) -> CloseReason {
        use CloseReason::{Drained, EndOfStream, Forced, MidMessage, ResetByPeer, TransportError};
        match (self.registry.lock().phase, reason) {
            (Phase::Draining, EndOfStream | MidMessage { .. }) => Drained,
            (Phase::Forcing, EndOfStream | MidMessage { .. } | ResetByPeer | TransportError(_)) => {
                Forced
            }
            (_, reason) => reason,
        }
    }

    /// Counts the ending.
    pub(crate) fn conclude(&self, summary: &Summary) {
        self.registry.lock().report.add(summary);
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.registry.lock().open.remove(&self.key);
        self.registry.changed.notify_all();
    }
}
