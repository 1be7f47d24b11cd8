//! The place of a connection in the registry, given back by `Drop` however its thread ends.

use std::sync::Arc;

use super::capacity::Room;
use super::ip_network::IpNetwork;
use super::open_connections::{Connection, Key};
use super::refusal::Refusal;
use super::registry::Registry;
use super::report::Ending;
use super::yielding::Yielding;
use crate::net::{Peer, StopEvent};

/// A connection that has a place.
#[derive(Debug)]
pub(super) struct Admitted {
    /// It is dropped before `place`, so the registry then holds the last reference to the socket.
    connection: Arc<Connection>,
    place: Place,
}

/// Gives the place back when it is dropped.
#[derive(Debug)]
struct Place {
    registry: Arc<Registry>,
    key: Key,
    /// The end of the conversation, once it is over.
    ending: Option<Ending>,
}

impl Admitted {
    /// Admits a connection, if there is room for it.
    pub(super) fn new(
        registry: &Arc<Registry>,
        connection: Arc<Connection>,
        peer: &Peer,
        room: Room,
    ) -> Result<Self, Refusal> {
        let host = match peer {
            Peer::Tcp(address) if room.per_address > 0 => Some(IpNetwork::of_host(*address)),
            _ => None,
        };
        let key = registry.enter(&connection, host, room)?;

        let place = Place {
            registry: Arc::clone(registry),
            key,
            ending: None,
        };
        Ok(Self { connection, place })
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Returns the order at which the conversation must end.
    pub(super) fn stop_event(&self) -> &StopEvent {
        self.place.registry.stop_event()
    }

    pub(super) fn yielding(&self) -> &Yielding {
        self.place.registry.yielding()
    }

    /// Counts the connection as accepted. From here on it will have an ending.
    pub(super) fn begin(&self) {
        self.place.registry.begin(self.place.key);
    }

    /// Announces that the peer is about to be sent the end of its stream.
    pub(super) fn announce_end(&self) {
        self.place.registry.announce_end(self.place.key);
    }

    /// Returns true if the server has shut the sockets down.
    pub(super) fn is_forced(&self) -> bool {
        self.place.registry.is_forcing()
    }

    /// Notes the end of the conversation. It is counted when the place is given back.
    pub(super) fn end(&mut self, ending: Ending) {
        self.place.ending = Some(ending);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.leave(self.key, self.ending.take());
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
    use std::os::unix::net::UnixStream;
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;
    use crate::net::Stream;

    const ROOM: Room = Room {
        connections: 1000,
        per_address: 1,
    };

    fn enters(registry: &Arc<Registry>, last: u8) -> Result<Admitted, Refusal> {
        let (stream, _) = UnixStream::pair().unwrap();
        let connection = Arc::new(Connection::from(Stream::from(stream)));
        let peer = Peer::Tcp(SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 1)));

        Admitted::new(registry, connection, &peer, ROOM)
    }

    #[test]
    fn only_connections_that_have_ended_are_counted_as_departed() {
        let registry = Arc::new(Registry::new().unwrap());
        let (first, second) = (enters(&registry, 1), enters(&registry, 2));
        assert_eq!(registry.departed(), 0);
        drop(first);
        assert_eq!(registry.departed(), 1);
        drop(second);
        assert_eq!(registry.departed(), 2);
    }

    #[test]
    fn a_refusal_does_not_wait_for_an_end_that_is_over() {
        let registry = Arc::new(Registry::new().unwrap());
        let _full = enters(&registry, 0).unwrap();

        let before = Instant::now();
        for _ in 0..200 {
            let other = enters(&registry, 1).unwrap();
            other.announce_end();
            drop(other);
            assert!(enters(&registry, 0).is_err());
        }
        // To wait each time would take four seconds.
        assert!(before.elapsed() < Duration::from_secs(2));
    }

    #[test]
    fn a_refusal_of_one_host_does_not_wait_until_all_others_have_left() {
        let registry = Arc::new(Registry::new().unwrap());
        let _full = enters(&registry, 0).unwrap();
        let others: Vec<_> = (1..=200).map(|last| enters(&registry, last)).collect();

        let leaving = thread::spawn(|| {
            for other in others.into_iter().map(Result::unwrap) {
                other.announce_end();
                thread::sleep(Duration::from_millis(5));
                drop(other);
            }
        });
        thread::sleep(Duration::from_millis(20));

        assert!(enters(&registry, 0).is_err());
        assert!(!leaving.is_finished(), "it has waited for all of them");
        leaving.join().unwrap();
    }

    #[test]
    fn after_an_announced_end_a_connection_is_not_refused_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let registry = Arc::new(Registry::new().unwrap());
        let room = Room {
            connections: 1,
            per_address: 0,
        };
        let admit = || {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let connection = Arc::new(Connection::from(Stream::from(socket)));
            Admitted::new(&registry, connection, &Peer::Unix(None), room)
        };
        let first = admit().unwrap();

        // The place could become free within this time.
        let started = Instant::now();
        first.announce_end();
        assert_eq!(admit().err(), Some(Refusal::Full { limit: 1 }));
        assert!(started.elapsed() >= Duration::from_millis(20));

        drop(first);
        assert!(admit().is_ok());
    }
}
