//! The accept loop: accepts connections, and gives each to a thread for its conversation.
//!
//! One blocking thread per connection is the simplest design that is concurrent. The kernel's
//! scheduler is the event loop, and a conversation is ordinary code. The cost is about 11 KiB of
//! resident memory per connection and a context switch per message. This is right for some thousand
//! connections, and wrong for a hundred thousand.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::accept_failure::AcceptFailure;
use super::backoff::Backoff;
use super::config::Overload;
use super::door::Door;
use super::listening::Listening;
use super::open_connections::Connection;
use super::place::Admitted;
use super::refusal::Refusal;
use super::worker::{Task, Workers};
use crate::conversation::{Handler, guarded};
use crate::error::Error;
use crate::net::{Peer, Stream};

/// How often the accept loop has a turn, at least.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(1);

/// Accepts connections for a server.
pub(super) struct AcceptLoop<'a, F> {
    listening: &'a Listening,
    pub(super) make_handler: Arc<F>,
    pub(super) door: Door,
    workers: Workers<F>,
    /// The pauses after a failed `accept`.
    backoff: Backoff,
    /// The pauses after a thread that could not be started.
    thread_backoff: Backoff,
    no_threads: Option<NoThreads>,
}

/// The shortage of threads, from the first failure to the next success.
#[derive(Clone, Copy)]
struct NoThreads {
    /// Until this time no thread is tried, unless a connection ends.
    until: Instant,
    /// How many connections had ended at the last failure.
    departed: u64,
}

impl<'a, H, F> AcceptLoop<'a, F>
where
    H: Handler,
    F: Fn(&Peer) -> H + Send + Sync + 'static,
{
    pub(super) fn new(listening: &'a Listening, door: Door, make_handler: F) -> Self {
        let config = &listening.config;
        let workers = Workers::new(
            config.stack_size,
            config.spare_threads,
            config.limits.clone(),
        );
        Self {
            listening,
            make_handler: Arc::new(make_handler),
            door,
            workers,
            backoff: Backoff::default(),
            thread_backoff: Backoff::default(),
            no_threads: None,
        }
    }

    /// Accepts connections until the server must stop. An error means that the listening socket fails
    /// for good.
    pub(super) fn serve_until_stopped(&mut self) -> Result<(), Error> {
        let served = self.serve();

        if served.is_ok() {
            let _ = guarded(|| self.accept_queued());
        }
        self.workers.close();
        served
    }

    fn serve(&mut self) -> Result<(), Error> {
        while let Some(departed) = self.listening.registry.begin_turn() {
            // If the program's logger panics, that costs one connection, not the server.
            guarded(|| self.accept_one(departed)).unwrap_or(Ok(()))?;
        }
        Ok(())
    }

    /// Accepts one connection, or waits a while for one.
    fn accept_one(&mut self, departed: u64) -> Result<(), Error> {
        let listening = self.listening;
        let soon = self.door.tend().unwrap_or(HEARTBEAT);

        // All places are taken: leave the next connection in the queue.
        if listening.config.overload == Overload::Wait && listening.registry.is_full(listening.room)
        {
            self.door.note_full(listening.room.connections);
            listening.registry.wait_for_change(departed, soon);
            return Ok(());
        }

        let error = match listening.accept(soon) {
            Ok(accepted) => {
                self.backoff.succeed(Instant::now);
                if let Some((stream, peer)) = accepted {
                    self.process_request(stream, peer);
                }
                return Ok(());
            }
            Err(error) => error,
        };

        match AcceptFailure::of(&error) {
            AcceptFailure::Transient => {}
            AcceptFailure::Shortage => {
                let pause = self.backoff.pause(&error, Instant::now());
                listening.registry.wait_for_change(departed, pause);
            }
            AcceptFailure::Fatal => return Err(listening.accept_error(error)),
        }
        Ok(())
    }

    /// On shutdown, serves the connections that are still in the accept queue, because closing the
    /// listening socket would reset them. A shared socket is left to the others.
    fn accept_queued(&mut self) {
        let listening = self.listening;
        if listening.listener.is_shared() {
            return;
        }
        listening.listener.close_queue();

        // The other half of the grace period is for the conversations.
        let (started, most) = (Instant::now(), listening.config.grace / 2);
        while started.elapsed() <= most {
            match listening.listener.accept_queued() {
                Ok(Some((stream, peer))) => self.process_request(stream, peer),
                Ok(None) => return,
                Err(error) => match AcceptFailure::of(&error) {
                    AcceptFailure::Transient => {}
                    AcceptFailure::Shortage => thread::sleep(Duration::from_millis(5)),
                    AcceptFailure::Fatal => return,
                },
            }
        }
    }

    /// Gives a connection to a thread, or refuses it.
    fn process_request(&mut self, stream: Stream, peer: Peer) {
        let listening = self.listening;
        let connection = Arc::new(Connection::from(stream));

        let started = match self.has_no_thread() {
            true => Err(Refusal::NoThread),
            false => listening
                .admit(Arc::clone(&connection), &peer)
                .and_then(|admitted| self.start(admitted, peer.clone())),
        };

        if let Err(refusal) = started {
            listening.refuse(&mut self.door, connection, &peer, refusal);
        }
    }

    /// Returns true if no thread is spare, and it is too early to try to start one.
    fn has_no_thread(&self) -> bool {
        let registry = &self.listening.registry;
        self.no_threads.is_some_and(|short| {
            registry.departed() == short.departed
                && Instant::now() < short.until
                && !self.workers.has_spare()
        })
    }

    /// Finds a thread for a connection.
    fn start(&mut self, admitted: Admitted, peer: Peer) -> Result<(), Refusal> {
        let task = Task {
            admitted,
            peer,
            make_handler: Arc::clone(&self.make_handler),
        };

        match self.workers.carry_out(task) {
            Ok(false) => Ok(()),
            Ok(true) => {
                self.no_threads = None;
                self.thread_backoff.succeed(Instant::now);
                Ok(())
            }
            Err(error) => {
                let now = Instant::now();
                let pause = self.thread_backoff.pause(&error, now);
                // After a first failure the next connection may have more luck.
                let until = if self.no_threads.is_some() {
                    now + pause
                } else {
                    now
                };
                // This connection has left its place. That does not free a thread.
                let departed = self.listening.registry.departed();
                self.no_threads = Some(NoThreads { until, departed });
                Err(Refusal::NoThread)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Shutdown, TcpStream};
    use std::os::fd::AsFd;

    use super::*;
    use crate::framing::Terminator;
    use crate::handlers::Echo;

    #[test]
    fn a_server_whose_socket_fails_ends_its_spare_threads() {
        let listening =
            Listening::bind(Default::default(), &"127.0.0.1:0".parse().unwrap()).unwrap();
        let socket = listening.listener.as_fd().try_clone_to_owned().unwrap();
        let make_echo = |_: &Peer| Echo::new(Terminator::CRLF);
        let mut accept_loop = AcceptLoop::new(&listening, Door::default(), make_echo);

        TcpStream::from(socket).shutdown(Shutdown::Both).unwrap();
        assert!(accept_loop.serve_until_stopped().is_err());
        assert!(accept_loop.workers.are_closed());
    }
}
