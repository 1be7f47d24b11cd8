//! The server: accepts connections, and gives each a thread for its conversation.
//!
//! A thread per connection, blocking, is the simplest thing that is concurrent: the kernel's
//! scheduler is the event loop, and a conversation is ordinary code. It costs about 14 KiB of
//! resident memory a connection and a context switch a message, so it is right up to some thousand
//! connections, and wrong for a hundred thousand.

use std::any::Any;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::address::Address;
use crate::backoff::{Backoff, Hardship};
use crate::close_reason::CloseReason;
use crate::connection::{Connection, Summary};
use crate::error::Error;
use crate::handler::Handler;
use crate::limits::Limits;
use crate::net::{Listener, Peer, Stream};
use crate::options::ServerOptions;
use crate::registry::{Refusal, Registry, Slot};
use crate::report::Report;

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
    pub fn from_listener(self, listener: impl Into<Listener>) -> Result<Server, Error> {
        let listener = listener.into();
        let address = listener.local_addr().unwrap_or(Address::Inherited);
        listener
            .listen(self.request_queue_size)
            .and_then(|()| Server::new(self, listener))
            .map_err(|source| Error::Bind { address, source })
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
    /// Makes [`serve_forever`](Server::serve_forever) stop listening, let each conversation answer
    /// what it has received, and return. Does not wait for that. Stopping twice is stopping once.
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
    pub fn from_listener(listener: impl Into<Listener>) -> Result<Self, Error> {
        ServerOptions::new().from_listener(listener)
    }

    fn new(options: ServerOptions, listener: Listener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        log::info!("bind: address={address}");
        log::info!("listen: backlog={}", options.request_queue_size);
        let registry = Arc::new(Registry::new(listener.waker()?));
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
        while !self.registry.is_stopping() {
            let accepted = self.listener.accept(None);
            if self.registry.is_stopping() {
                break;
            }
            let Err(error) = accepted
                .and_then(|(stream, peer)| self.process_request(stream, peer, &make_handler))
            else {
                backoff.recover();
                continue;
            };
            match Hardship::of(&error) {
                Hardship::Passing => {}
                Hardship::Lasting => self.registry.wait_for_change(backoff.pause(&error)),
                Hardship::Final => {
                    return Err(Error::Accept {
                        address: self.address,
                        source: error,
                    });
                }
            }
        }
        drop(self.listener);
        Ok(self.registry.drain(self.options.grace))
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
            .spawn(move || drop(serve(&slot, &peer, |peer| make_handler(peer), &limits)))
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
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        while !self.registry.is_stopping() {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match self.listener.accept(left) {
                Ok((stream, peer)) => {
                    return Ok(self.verify_request(&peer).then(|| {
                        serve(
                            &self.registry.enter(stream),
                            &peer,
                            make_handler,
                            &self.options.limits,
                        )
                    }));
                }
                Err(_) if self.registry.is_stopping() => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(error) if Hardship::of(&error) == Hardship::Passing => {}
                Err(source) => {
                    return Err(Error::Accept {
                        address: self.address.clone(),
                        source,
                    });
                }
            }
        }
        Ok(None)
    }

    /// Asks the option of this name, and notes a refusal.
    fn verify_request(&self, peer: &Peer) -> bool {
        let accepted =
            catch_unwind(AssertUnwindSafe(|| (self.options.verify_request)(peer))).unwrap_or(false);
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

/// The life of one connection, on its thread: made, talked over, closed. A panic of the handler
/// ends no more than that.
fn serve<H: Handler>(
    slot: &Slot,
    peer: &Peer,
    make_handler: impl FnOnce(&Peer) -> H,
    limits: &Limits,
) -> Summary {
    let started = Instant::now();
    slot.begin();
    log::info!("conn_made: client_address={peer}");
    let socket = slot.stream().socket();
    let mut connection = Connection::new(socket, socket, limits);
    let mut handler = None;
    let talked = catch_unwind(AssertUnwindSafe(|| {
        connection.talk(handler.insert(make_handler(peer)))
    }));
    let reason = slot.judge(talked.unwrap_or_else(|panic| {
        connection.flush_what_is_left();
        CloseReason::HandlerPanic(panic_message(&*panic))
    }));
    // The handler may panic once more, here or when it is dropped.
    let closed = catch_unwind(AssertUnwindSafe(|| {
        if let Some(mut handler) = handler {
            handler.handle_close(&reason);
        }
    }));
    if closed.is_err() {
        log::warn!("a handler panicked in handle_close: client_address={peer}");
    }
    let summary = Summary {
        reason,
        traffic: connection.traffic,
    };
    drop(connection);
    if summary.reason.leaves_peer_talking() {
        slot.stream().finish(limits);
    }
    slot.conclude(&summary);
    let (Summary { reason, traffic }, seconds) = (&summary, started.elapsed().as_secs_f64());
    log::info!(
        "conn_closed: client_address={peer} reason={reason} {traffic} duration={seconds:.6}"
    );
    summary
}

fn panic_message(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("of an unknown kind")
        .to_owned()
}
