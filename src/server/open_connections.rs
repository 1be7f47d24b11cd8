//! The table of open connections, as plain data: no lock, and no waiting.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::capacity::Room;
use super::ip_network::IpNetwork;
use super::refusal::Refusal;
use super::report::Report;
use crate::conversation::LiveTraffic;
use crate::net::Stream;

/// The open connections of a server, and the counts of those that have ended.
///
/// Invariants:
/// - `per_host` has the number of entries in `open` for each host, and no entry with 0.
/// - `begun` is the number of entries in `open` that have begun, and `ending` of those that end.
/// - `report` does not include the open connections.
#[derive(Debug, Default)]
pub(super) struct OpenConnections {
    pub(super) open: HashMap<Key, Entry>,
    per_host: HashMap<IpNetwork, usize>,
    begun: u64,
    /// The key of the next connection.
    next: Key,
    /// How many connections have ended. A connection that ends before a wait begins ends that wait.
    pub(super) departed: u64,
    /// How many threads wait for a change.
    pub(super) waiters: usize,
    /// Until this time a place is about to become free: a peer has just been sent the end of its
    /// stream.
    pub(super) ending_until: Option<Instant>,
    /// How many of the open connections are that far.
    pub(super) ending: usize,
    /// The grace period is over, and the sockets were shut down.
    pub(super) is_forcing: bool,
    pub(super) report: Report,
}

/// Names a connection in the registry.
pub(super) type Key = u64;

/// A connection, for its own thread and for the threads that look at it or end it.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) stream: Stream,
    pub(super) traffic: LiveTraffic,
}

/// A connection in the table.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) connection: Arc<Connection>,
    /// Its host, if connections are limited per host.
    pub(super) host: Option<IpNetwork>,
    /// It was counted as accepted.
    pub(super) has_begun: bool,
    /// Its peer is sent the end of its stream.
    pub(super) is_ending: bool,
}

impl From<Stream> for Connection {
    fn from(stream: Stream) -> Self {
        let traffic = LiveTraffic::default();
        Self { stream, traffic }
    }
}

impl OpenConnections {
    /// Enters a connection, if there is room for it.
    pub(super) fn enter(
        &mut self,
        connection: &Arc<Connection>,
        host: Option<IpNetwork>,
        room: Room,
    ) -> Result<Key, Refusal> {
        let limit = room.connections;
        if self.open.len() >= limit {
            return Err(Refusal::Full { limit });
        }

        if let Some(host) = host {
            let connections = self.per_host.entry(host).or_default();
            let limit = room.per_address;
            if *connections >= limit {
                return Err(Refusal::AddressFull { limit });
            }
            *connections += 1;
        }

        let key = self.next;
        self.next += 1;
        let entry = Entry {
            connection: Arc::clone(connection),
            host,
            has_begun: false,
            is_ending: false,
        };
        self.open.insert(key, entry);
        Ok(key)
    }

    /// Counts a connection as accepted.
    pub(super) fn begin(&mut self, key: Key) {
        if let Some(entry) = self.open.get_mut(&key) {
            entry.has_begun = true;
            self.begun += 1;
            self.report.accepted += 1;
            self.report.most_at_once = self.report.most_at_once.max(self.begun);
        }
    }

    /// Removes a connection, and its host's count.
    pub(super) fn leave(&mut self, key: Key) -> Option<Entry> {
        let entry = self.open.remove(&key)?;

        if let Some(host) = entry.host
            && let Some(connections) = self.per_host.get_mut(&host)
        {
            *connections -= 1;
            if *connections == 0 {
                self.per_host.remove(&host);
            }
        }

        self.begun -= u64::from(entry.has_begun);
        self.ending -= usize::from(entry.is_ending);
        self.departed += 1;
        Some(entry)
    }
}

impl Entry {
    pub(super) fn abort(&self) {
        self.connection.stream.abort();
    }
}
