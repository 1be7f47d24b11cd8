//! The server: accepts connections, and gives each a thread for its conversation.
//!
//! A thread per connection, blocking, is the simplest thing that is concurrent: the kernel's
//! scheduler is the event loop, and a conversation is ordinary code. It costs about 14 KiB of
//! resident memory a connection and a context switch a message, so it is right up to some thousand
//! connections, and wrong for a hundred thousand.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::backoff::{Backoff, Hardship};
use crate::connection::Summary;
use crate::error::Error;
use crate::handle::Handle;
use crate::handler::Handler;
use crate::net::{Listener, Peer, Stream};
use crate::options::{Overload, ServerOptions};
use crate::refusal::{Farewells, Refusal, Sparing};
use crate::registry::{Registry, Room, Slot};
use crate::report::Report;
use crate::session::{guarded, serve};

impl ServerOptions {
    /// A server that listens on this address.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`], if the address cannot be had, [`Error::Capacity`].
    pub fn bind(self, address: &Address) -> Result<Server, Error> {
        let room = self.room()?;
        Listener::bind(address, self.request_queue_size)
            .and_then(|listener| Server::new(self, room, listener))
            .map_err(|source| Error::Bind {
                address: address.clone(),
                source,
            })
    }

    /// A server on a socket that is bound already. While it lives the socket, also that of others
    /// who share it, is non-blocking.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`], if the socket cannot listen, [`Error::Capacity`].
    pub fn from_listener(self, listener: impl Into<OwnedFd>) -> Result<Server, Error> {
        let room = self.room()?;
        Listener::take_over(listener.into(), self.request_queue_size)
            .and_then(|listener| Server::new(self, room, listener))
            .map_err(|source| Error::Bind {
                address: Address::Inherited,
                source,
            })
    }
}

/// A listening server: the article's `EchoServer`, for any [`Handler`].
#[derive(Debug)]
pub struct Server {
    options: ServerOptions,
    room: Room,
    listener: Listener,
    address: Address,
    registry: Arc<Registry>,
}

impl Server {
    /// A server with the default options. The address is text, as in [`Address`].
    ///
    /// # Errors
    ///
    /// [`Error::BadAddress`], [`Error::Bind`].
    pub fn bind(address: &str) -> Result<Self, Error> {
        ServerOptions::new().bind(&address.parse::<Address>()?)
    }

    /// A server with the default options, on a socket that is bound already.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`].
    pub fn from_listener(listener: impl Into<OwnedFd>) -> Result<Self, Error> {
        ServerOptions::new().from_listener(listener)
    }

    fn new(options: ServerOptions, room: Room, listener: Listener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        log::info!("bind: address={address}");
        log::info!("listen: backlog={}", options.request_queue_size);
        let registry = Arc::new(Registry::new()?);
        Ok(Self {
            options,
            room,
            listener,
            address,
            registry,
        })
    }

    /// Where the server listens. If it was bound to port 0 this has the port that it got.
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// How many connections may be open at once: as many as asked for, or the default, or less if
    /// the system cannot hold that.
    pub fn max_connections(&self) -> usize {
        self.room.connections
    }

    /// The most memory, in bytes, that the connections take up: see [`ServerOptions::memory`].
    pub fn memory(&self) -> u64 {
        self.options.memory(self.room.connections)
    }

    /// What stops the server.
    pub fn handle(&self) -> Handle {
        Handle::of(&self.registry)
    }

    /// How often the accept loop has a turn, at least.
    const HEARTBEAT: Duration = Duration::from_secs(1);

    /// How long there must have been room before it is logged anew that there is none.
    const QUIET: Duration = Duration::from_secs(10);

    /// Accepts connections until [stopped](Handle::stop), each with a thread and a handler of its
    /// own, made on that thread by `make_handler`. Returns when all conversations have ended, or
    /// the grace period has.
    ///
    /// # Errors
    ///
    /// [`Error::Accept`], if the listening socket fails for good. Shortages of descriptors, memory
    /// or threads are waited out instead.
    pub fn serve_forever<H, F>(self, make_handler: F) -> Result<Report, Error>
    where
        H: Handler,
        F: Fn(&Peer) -> H + Send + Sync + 'static,
    {
        let make_handler = Arc::new(make_handler);
        let mut backoff = Backoff::default();
        let mut door = Door::default();
        let mut outcome = Ok(());
        while let Some(departed) = self.registry.serving() {
            let soon = door.farewells.tend().unwrap_or(Self::HEARTBEAT);
            if self.is_to_wait(&mut door) {
                self.registry.wait_for_change(departed, soon);
                continue;
            }
            let accepted = self.listener.accept(self.registry.stop_event(), soon);
            let processed = accepted.and_then(|accepted| match accepted {
                None => Ok(()),
                Some((stream, peer)) => {
                    self.process_request(stream, peer, &make_handler, &mut door)
                }
            });
            let Err(error) = processed else {
                backoff.succeed(Instant::now);
                continue;
            };
            match Hardship::of(&error) {
                Hardship::Passing => {}
                Hardship::Lasting => {
                    let pause = backoff.pause(&error, Instant::now());
                    // Those who were refused for it have left by now, and free nothing.
                    let departed = self.registry.serving().unwrap_or(departed);
                    self.registry.wait_for_change(departed, pause);
                }
                Hardship::Final => {
                    outcome = Err(Error::Accept {
                        address: self.address.clone(),
                        source: error,
                    });
                    break;
                }
            }
        }
        if outcome.is_ok() {
            self.process_those_who_wait(&make_handler, &mut door);
        }
        drop(self.listener);
        let report = self.registry.drain(self.options.grace);
        outcome.map(|()| report)
    }

    /// Whether nobody is to be accepted before a connection has ended.
    fn is_to_wait(&self, door: &mut Door) -> bool {
        let is_to_wait =
            self.options.overload == Overload::Wait && self.registry.is_full(self.room);
        if is_to_wait {
            let now = Instant::now();
            let before = door.full.replace(now);
            if before.is_none_or(|before| now.duration_since(before) > Self::QUIET) {
                let limit = self.room.connections;
                log::warn!("accept: waiting until one of max_connections={limit} has ended");
            }
        }
        is_to_wait
    }

    /// When the server is to stop: accepts those whom the kernel has accepted already, at most as
    /// many as may wait, since what they have sent would be lost with the listening socket. A socket
    /// that others share is left to them.
    fn process_those_who_wait<H, F>(&self, make_handler: &Arc<F>, door: &mut Door)
    where
        H: Handler,
        F: Fn(&Peer) -> H + Send + Sync + 'static,
    {
        if self.listener.is_shared() {
            return;
        }
        for _ in 0..=self.options.request_queue_size {
            let accepted = self
                .listener
                .accept(self.registry.stop_event(), Duration::ZERO);
            let Ok(Some((stream, peer))) = accepted else {
                return;
            };
            if self
                .process_request(stream, peer, make_handler, door)
                .is_err()
            {
                return;
            }
        }
    }

    /// Starts a conversation on a thread of its own. An error means that there can be no more
    /// threads.
    fn process_request<H, F>(
        &self,
        stream: Stream,
        peer: Peer,
        make_handler: &Arc<F>,
        door: &mut Door,
    ) -> io::Result<()>
    where
        H: Handler,
        F: Fn(&Peer) -> H + Send + Sync + 'static,
    {
        let stream = Arc::new(stream);
        let name = peer.to_string();
        let slot = match self.admit(&stream, &peer) {
            Ok(slot) => slot,
            Err(refusal) => {
                self.refuse(stream, &name, refusal, door);
                return Ok(());
            }
        };
        let limits = self.options.limits.clone();
        let make_handler = Arc::clone(make_handler);
        thread::Builder::new()
            .name(name.clone())
            .stack_size(self.options.stack_size)
            .spawn(move || drop(serve(slot, &peer, |peer| make_handler(peer), &limits)))
            .map(drop)
            .map_err(|error| {
                self.refuse(stream, &name, Refusal::NoThread, door);
                // Whatever it is, it is no failure of the listening socket.
                io::Error::other(error)
            })
    }

    /// A place for this connection, if it may have one.
    fn admit(&self, stream: &Arc<Stream>, peer: &Peer) -> Result<Slot, Refusal> {
        if !guarded(|| (self.options.verify_request)(peer)).unwrap_or(false) {
            return Err(Refusal::NotAllowed);
        }
        self.registry.enter(Arc::clone(stream), peer, self.room)
    }

    fn refuse(&self, stream: Arc<Stream>, peer: &str, refusal: Refusal, door: &mut Door) {
        self.registry.count_refusal(refusal);
        door.refusals[refusal.index()].log(Instant::now(), |others| {
            log::warn!("{refusal}: client_address={peer} not_logged_before={others}");
        });
        let line = guarded(|| (self.options.refusal_line)(refusal)).unwrap_or_default();
        door.farewells.bid(stream, &line);
    }

    /// Serves one connection, on this thread, and returns how it went: `None` if none came in time,
    /// if the one that came was [refused](Refusal), or if the server is stopped.
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
        let stop = self.registry.stop_event();
        while self.registry.serving().is_some() {
            let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
            match self.listener.accept(stop, left.unwrap_or(Self::HEARTBEAT)) {
                Ok(Some((stream, peer))) => {
                    let stream = Arc::new(stream);
                    return match self.admit(&stream, &peer) {
                        Ok(slot) => {
                            drop(stream);
                            Ok(Some(serve(slot, &peer, make_handler, &self.options.limits)))
                        }
                        Err(refusal) => {
                            self.refuse(stream, &peer.to_string(), refusal, &mut Door::default());
                            Ok(None)
                        }
                    };
                }
                Ok(None) if left.is_some_and(|left| left.is_zero()) => return Ok(None),
                Ok(None) => {}
                Err(error) if Hardship::of(&error) == Hardship::Passing => {}
                Err(source) => {
                    let address = self.address.clone();
                    return Err(Error::Accept { address, source });
                }
            }
        }
        Ok(None)
    }
}

/// What the accept loop keeps of those whom it does not let in.
#[derive(Debug, Default)]
struct Door {
    farewells: Farewells,
    /// The log lines about them, by cause.
    refusals: [Sparing; Refusal::NAMES.len()],
    /// When all places were taken, last.
    full: Option<Instant>,
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
