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
use crate::handler::Handler;
use crate::net::{Listener, Peer, Stream};
use crate::options::ServerOptions;
use crate::registry::{Refusal, Registry};
use crate::report::Report;
use crate::session::{guarded, serve};

impl ServerOptions {
    /// A server that listens on this address.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`], if the address cannot be had.
    pub fn bind(self, address: &Address) -> Result<Server, Error> {
        Listener::bind(address, self.request_queue_size)
            .and_then(|listener| Server::new(self, listener))
            .map_err(|source| Error::Bind {
                address: address.clone(),
                source,
            })
    }

    /// A server on a socket that is bound already.
    ///
    /// # Errors
    ///
    /// [`Error::Bind`], if the socket cannot listen.
    pub fn from_listener(self, listener: impl Into<OwnedFd>) -> Result<Server, Error> {
        Listener::take_over(listener.into(), self.request_queue_size)
            .and_then(|listener| Server::new(self, listener))
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
    listener: Listener,
    address: Address,
    registry: Arc<Registry>,
}

/// Stops a server, from any thread.
#[derive(Debug, Clone)]
pub struct Handle(Arc<Registry>);

impl Handle {
    /// Makes [`serve_forever`](Server::serve_forever) stop listening within 200 ms, let each
    /// conversation answer what it has received, and return. Does not wait for that. Stopping twice
    /// is stopping once.
    ///
    /// Conversations are ended by shutting down their sockets for reading. A peer that goes on
    /// sending after that may be reset by the kernel before it has read its last replies.
    pub fn stop(&self) {
        self.0.stop();
    }
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

    fn new(options: ServerOptions, listener: Listener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        log::info!("bind: address={address}");
        log::info!("listen: backlog={}", options.request_queue_size);
        let registry = Arc::default();
        Ok(Self {
            options,
            listener,
            address,
            registry,
        })
    }

    /// Where the server listens. If it was bound to port 0 this has the port that it got.
    pub fn local_addr(&self) -> &Address {
        &self.address
    }

    /// What stops the server.
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.registry))
    }

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
        let mut outcome = Ok(());
        while let Some(departed) = self.registry.serving() {
            let accepted = self.listener.accept(Listener::TICK);
            if self.registry.serving().is_none() {
                break;
            }
            let processed = accepted.and_then(|accepted| match accepted {
                None => Ok(()),
                Some((stream, peer)) => self.process_request(stream, peer, &make_handler),
            });
            let Err(error) = processed else {
                backoff.succeed(Instant::now);
                continue;
            };
            match Hardship::of(&error) {
                Hardship::Passing => {}
                Hardship::Lasting => {
                    let pause = backoff.pause(&error, Instant::now());
                    self.registry.wait_for_change(departed, pause);
                }
                Hardship::Final => {
                    outcome = Err(Error::Accept {
                        address: self.address,
                        source: error,
                    });
                    break;
                }
            }
        }
        drop(self.listener);
        let report = self.registry.drain(self.options.grace);
        outcome.map(|()| report)
    }

    /// Starts a conversation on a thread of its own. An error means that there can be no more
    /// threads.
    fn process_request<H, F>(
        &self,
        stream: Stream,
        peer: Peer,
        make_handler: &Arc<F>,
    ) -> io::Result<()>
    where
        H: Handler,
        F: Fn(&Peer) -> H + Send + Sync + 'static,
    {
        if !self.verify_request(&peer) {
            return Ok(());
        }
        let slot = self.registry.enter(stream);
        let limits = self.options.limits.clone();
        let make_handler = Arc::clone(make_handler);
        let name = peer.to_string();
        thread::Builder::new()
            .name(name.clone())
            .stack_size(self.options.stack_size)
            .spawn(move || drop(serve(slot, &peer, |peer| make_handler(peer), &limits)))
            .map(drop)
            .inspect_err(|error| {
                self.registry.count_refusal(Refusal::ForWantOfAThread);
                log::debug!("conn_refused: client_address={name} cause=no-thread error={error}");
            })
    }

    /// Serves one connection, on this thread, and returns how it went: `None` if none came in time,
    /// if the one that came was refused by [`verify_request`](ServerOptions::verify_request), or if
    /// the server is stopped.
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
        while self.registry.serving().is_some() {
            let left = timeout.map(|timeout| timeout.saturating_sub(started.elapsed()));
            match self.listener.accept(left.unwrap_or(Listener::TICK)) {
                Ok(Some((stream, peer))) => {
                    return Ok(self.verify_request(&peer).then(|| {
                        let slot = self.registry.enter(stream);
                        serve(slot, &peer, make_handler, &self.options.limits)
                    }));
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

    /// Asks the option of this name, and notes a refusal.
    fn verify_request(&self, peer: &Peer) -> bool {
        let accepted = guarded(|| (self.options.verify_request)(peer)).unwrap_or(false);
        if !accepted {
            self.registry.count_refusal(Refusal::ByVerify);
            log::info!("conn_refused: client_address={peer} cause=verify_request");
        }
        accepted
    }
}

impl AsFd for Server {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
