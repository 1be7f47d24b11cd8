//! The server, as a program sees it.

use std::mem;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::accept_failure::AcceptFailure;
use super::accept_loop::{AcceptLoop, HEARTBEAT};
use super::config::Config;
use super::door::Door;
use super::listening::Listening;
use super::open_connections::Connection;
use super::report::Report;
use super::server_handle::ServerHandle;
use super::session::serve;
use crate::conversation::{Handler, Summary};
use crate::error::Error;
use crate::net::{Address, Peer};

/// A listening server: the article's `EchoServer`, for any [`Handler`].
#[derive(Debug)]
pub struct Server {
    listening: Listening,
    /// The refused connections of [`handle_request`](Self::handle_request).
    door: Mutex<Door>,
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
        Listening::bind(config, address).map(Self::from)
    }

    pub(super) fn take_over(config: Config, listener: OwnedFd) -> Result<Self, Error> {
        Listening::take_over(config, listener).map(Self::from)
    }

    /// Returns the address of the server. If it was bound to port 0, this has the real port.
    pub fn local_addr(&self) -> &Address {
        &self.listening.address
    }

    /// Returns how many connections can be open at once: the number that you asked for, or the
    /// default, or less if the system can hold only less.
    pub fn max_connections(&self) -> usize {
        self.listening.room.connections
    }

    /// Returns the most memory, in bytes, that the connections need. See
    /// [`ServerOptions::memory`](crate::ServerOptions::memory).
    pub fn memory(&self) -> u64 {
        self.listening
            .config
            .memory(self.listening.room.connections)
    }

    /// Returns a handle that stops the server from other threads.
    pub fn handle(&self) -> ServerHandle {
        ServerHandle::new(&self.listening.registry)
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
        let door = mem::take(&mut *self.door());
        let mut accept_loop = AcceptLoop::new(&self.listening, door, make_handler);
        let served = accept_loop.serve_until_stopped();
        let AcceptLoop {
            door, make_handler, ..
        } = accept_loop;

        // Refused peers can read why until all conversations have ended.
        let Listening {
            listener,
            registry,
            config,
            ..
        } = self.listening;
        drop(listener);
        let report = registry.drain(config.grace);
        door.close();
        drop(make_handler);
        served.map(|()| report)
    }

    /// Serves one connection, on this thread, and returns its summary. Returns `None` if none came in
    /// time, if the one that came was [refused](crate::Refusal), or if the server was stopped.
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

        while self.listening.registry.begin_turn().is_some() {
            let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
            let soon = self.door().tend().unwrap_or(HEARTBEAT);

            match self
                .listening
                .accept(left.map_or(soon, |left| left.min(soon)))
            {
                Ok(Some((stream, peer))) => {
                    let connection = Arc::new(Connection::from(stream));
                    return Ok(match self.listening.admit(Arc::clone(&connection), &peer) {
                        Ok(mut admitted) => {
                            drop(connection);
                            Some(serve(
                                &mut admitted,
                                &peer,
                                make_handler,
                                &self.listening.config.limits,
                            ))
                        }
                        Err(refusal) => {
                            self.listening
                                .refuse(&mut self.door(), connection, &peer, refusal);
                            None
                        }
                    });
                }
                Ok(None) if left.is_some_and(|left| left.is_zero()) => return Ok(None),
                Ok(None) => {}
                Err(error) if AcceptFailure::of(&error) == AcceptFailure::Transient => {}
                Err(error) => return Err(self.listening.accept_error(error)),
            }
        }
        Ok(None)
    }

    /// Locks the door for [`handle_request`](Self::handle_request). Nothing waits while it is locked.
    fn door(&self) -> MutexGuard<'_, Door> {
        self.door.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl From<Listening> for Server {
    fn from(listening: Listening) -> Self {
        let door = Mutex::default();
        Self { listening, door }
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listening.listener.as_fd()
    }
}
