//! The server: accepts connections, and gives each a thread for its conversation.
//!
//! One blocking thread per connection is the simplest design that is concurrent. The kernel's
//! scheduler is the event loop, and a conversation is ordinary code. The cost is about 14 KiB of
//! resident memory per connection and a context switch per message. This is right for some thousand
//! connections, and wrong for a hundred thousand.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::accept_failure::AcceptFailure;
use super::backoff::Backoff;
use super::capacity::Room;
use super::config::{Config, Overload};
use super::door::Door;
use super::guard::guarded;
use super::refusal::Refusal;
use super::registry::{Admitted, Connection, Registry};
use super::report::Report;
use super::server_handle::ServerHandle;
use super::session::serve;
use crate::conversation::{Handler, Summary};
use crate::error::Error;
use crate::log_target::SERVER;
use crate::net::{Address, Listener, Peer, Stream};

/// How often the accept loop has a turn, at least.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A listening server: the article's `EchoServer`, for any [`Handler`].
#[derive(Debug)]
pub struct Server {
    config: Config,
    room: Room,
    listener: Listener,
    address: Address,
    registry: Arc<Registry>,
}

impl Server {
    /// Makes a server with the default options. The address is text, as in [`Address`].
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`], [`Error::Bind`]. [`Error::Capacity`], if the system cannot hold a single
    /// connection.
    pub fn bind(address: &str) -> Result<Self, Error> {
        Self::listen(Config::default(), &address.parse()?)
    }

    /// Makes a server with the default options, on a socket that is bound already.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`]. [`Error::Capacity`], if the system cannot hold a single connection.
    pub fn from_listener(listener: impl Into<OwnedFd>) -> Result<Self, Error> {
        Self::take_over(Config::default(), listener.into())
    }

    pub(super) fn listen(config: Config, address: &Address) -> Result<Self, Error> {
        let room = Room::within_capacity(&config)?;

        Listener::bind(address, config.backlog)
            .and_then(|listener| Self::new(config, room, listener))
            .map_err(|source| Error::Bind {
                address: address.clone(),
                source,
            })
    }

    pub(super) fn take_over(config: Config, listener: OwnedFd) -> Result<Self, Error> {
        let room = Room::within_capacity(&config)?;

        Listener::take_over(listener, config.backlog)
            .and_then(|listener| Self::new(config, room, listener))
            .map_err(|source| Error::Bind {
                address: Address::Inherited,
                source,
            })
    }

    fn new(config: Config, room: Room, listener: Listener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        log::info!(target: SERVER, "bind: address={address}");
        log::info!(target: SERVER, "listen: backlog={}", config.backlog);

        let registry = Arc::new(Registry::new()?);
        Ok(Self {
            config,
            room,
            listener,
            address,
            registry,
        })
    }

    /// Returns the address of the server. If it was bound to port 0, this has the real port.
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// Returns how many connections can be open at once: the number that you asked for, or the
    /// default, or less if the system can hold only less.
    pub fn max_connections(&self) -> usize {
        self.room.connections
    }

    /// Returns the most memory, in bytes, that the connections need. See
    /// [`ServerOptions::memory`](crate::ServerOptions::memory).
    pub fn memory(&self) -> u64 {
        self.config.memory(self.room.connections)
    }

    /// Returns a handle that stops the server from other threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(&self.registry)
    }

    /// Serves connections until it is [stopped](ServerHandle::stop). Each has its own thread, and its
    /// own handler, which `make_handler` makes on that thread. Returns when all conversations have
    /// ended, or the grace period is over.
    ///
    /// # Errors
    ///
    /// [`Error::Accept`], if the listening socket fails for good. The server waits out a shortage of
    /// descriptors, memory or threads.
    pub fn serve_forever<H, F>(self, make_handler: F) -> Result<Report, Error>
    where
        H: Handler,
        F: Fn(&Peer) -> H + Send + Sync + 'static,
    {
        let served = AcceptLoop::new(&self, make_handler).serve_until_stopped();

        drop(self.listener);
        let report = self.registry.drain(self.config.grace);
        served.map(|()| report)
    }

    /// Serves one connection, on this thread, and returns its summary. Returns `None` if none came in
    /// time, if the one that came was [refused](Refusal), or if the server was stopped.
    ///
    /// # Errors
    ///
    /// [`Error::Accept`].
    pub fn handle_request<H: Handler>(
        &self,
        make_handler: impl FnOnce(&Peer) -> H,
        timeout: Option<Duration>,
    ) -> Result<Option<Summary>, Error> {
        let started = Instant::now();

        while self.registry.begin_turn().is_some() {
            let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));

            match self.accept(left.unwrap_or(HEARTBEAT)) {
                Ok(Some((stream, peer))) => {
                    let connection = Arc::new(Connection::from(stream));
                    return match self.admit(Arc::clone(&connection), &peer) {
                        Ok(admitted) => {
                            drop(connection);
                            Ok(Some(serve(
                                admitted,
                                &peer,
                                make_handler,
                                &self.config.limits,
                            )))
                        }
                        Err(refusal) => {
                            let name = peer.to_string();
                            self.refuse(&mut Door::default(), connection, &name, refusal);
                            Ok(None)
                        }
                    };
                }
                Ok(None) if left.is_some_and(|left| left.is_zero()) => return Ok(None),
                Ok(None) => {}
                Err(error) if AcceptFailure::of(&error) == AcceptFailure::Transient => {}
                Err(error) => return Err(self.accept_error(error)),
            }
        }
        Ok(None)
    }

    fn accept(&self, timeout: Duration) -> io::Result<Option<(Stream, Peer)>> {
        self.listener.accept(self.registry.stop_event(), timeout)
    }

    fn accept_error(&self, source: io::Error) -> Error {
        Error::Accept {
            address: self.address.clone(),
            source,
        }
    }

    /// Gives this connection a place, if it can have one.
    fn admit(&self, connection: Arc<Connection>, peer: &Peer) -> Result<Admitted, Refusal> {
        if !guarded(|| (self.config.verify_request)(peer)).unwrap_or(false) {
            return Err(Refusal::NotAllowed);
        }

        self.registry.admit(connection, peer, self.room)
    }

    fn refuse(&self, door: &mut Door, connection: Arc<Connection>, peer: &str, refusal: Refusal) {
        door.refuse(connection, peer, refusal, &self.config, &self.registry);
    }
}

/// Accepts connections for a server.
struct AcceptLoop<'a, F> {
    server: &'a Server,
    make_handler: Arc<F>,
    door: Door,
    backoff: Backoff,
}

impl<'a, H, F> AcceptLoop<'a, F>
where
    H: Handler,
    F: Fn(&Peer) -> H + Send + Sync + 'static,
{
    fn new(server: &'a Server, make_handler: F) -> Self {
        Self {
            server,
            make_handler: Arc::new(make_handler),
            door: Door::default(),
            backoff: Backoff::default(),
        }
    }

    /// Accepts connections until the server must stop. An error means that the listening socket fails
    /// for good.
    fn serve_until_stopped(mut self) -> Result<(), Error> {
        while let Some(departed) = self.server.registry.begin_turn() {
            self.accept_one(departed)?;
        }

        self.accept_queued();
        Ok(())
    }

    /// Accepts one connection, or waits a while for one.
    fn accept_one(&mut self, departed: u64) -> Result<(), Error> {
        let server = self.server;
        let soon = self.door.tend().unwrap_or(HEARTBEAT);

        // All places are taken: leave the next connection in the queue.
        if server.config.overload == Overload::Wait && server.registry.is_full(server.room) {
            self.door.note_full(server.room.connections);
            server.registry.wait_for_change(departed, soon);
            return Ok(());
        }

        let accepted = server.accept(soon).and_then(|accepted| match accepted {
            Some((stream, peer)) => self.process_request(stream, peer),
            None => Ok(()),
        });
        let Err(error) = accepted else {
            self.backoff.succeed(Instant::now);
            return Ok(());
        };

        match AcceptFailure::of(&error) {
            AcceptFailure::Transient => Ok(()),
            AcceptFailure::Shortage => {
                let pause = self.backoff.pause(&error, Instant::now());
                // The refused connection has ended since. Its end does not free anything.
                let departed = server.registry.begin_turn().unwrap_or(departed);
                server.registry.wait_for_change(departed, pause);
                Ok(())
            }
            AcceptFailure::Fatal => Err(server.accept_error(error)),
        }
    }

    /// On shutdown, serves the connections still in the accept queue: closing the listening socket
    /// would reset them. A shared socket is left to the others.
    fn accept_queued(&mut self) {
        if self.server.listener.is_shared() {
            return;
        }

        for _ in 0..=self.server.config.backlog {
            let Ok(Some((stream, peer))) = self.server.accept(Duration::ZERO) else {
                return;
            };
            if self.process_request(stream, peer).is_err() {
                return;
            }
        }
    }

    /// Starts a conversation on its own thread. An error means that no thread could be started.
    fn process_request(&mut self, stream: Stream, peer: Peer) -> io::Result<()> {
        let server = self.server;
        let connection = Arc::new(Connection::from(stream));
        let name = peer.to_string();

        let admitted = match server.admit(Arc::clone(&connection), &peer) {
            Ok(admitted) => admitted,
            Err(refusal) => {
                server.refuse(&mut self.door, connection, &name, refusal);
                return Ok(());
            }
        };

        let limits = server.config.limits.clone();
        let make_handler = Arc::clone(&self.make_handler);
        let serve = move || drop(serve(admitted, &peer, |peer| make_handler(peer), &limits));

        let spawned = thread::Builder::new()
            .name(name.clone())
            .stack_size(server.config.stack_size)
            .spawn(serve);
        spawned.map(drop).map_err(|error| {
            server.refuse(&mut self.door, connection, &name, Refusal::NoThread);
            // Whatever the error is, the listening socket has not failed.
            io::Error::other(error)
        })
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
