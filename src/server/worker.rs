//! The thread of a connection, and of others after it.

use std::io;
use std::sync::Arc;
use std::thread;

use super::place::Admitted;
use super::session::serve;
use super::spare_threads::{Seat, SpareThreads};
use crate::conversation::{Handler, Limits};
use crate::net::Peer;

/// The work of a thread: one connection.
pub(super) struct Task<F> {
    pub(super) admitted: Admitted,
    pub(super) peer: Peer,
    pub(super) make_handler: Arc<F>,
}

/// The threads of a server.
pub(super) struct Workers<F> {
    stack_size: usize,
    shared: Arc<Shared<F>>,
}

/// What all threads need.
struct Shared<F> {
    limits: Limits,
    spare_threads: SpareThreads<Task<F>>,
}

impl<H, F> Workers<F>
where
    H: Handler,
    F: Fn(&Peer) -> H + Send + Sync + 'static,
{
    pub(super) fn new(stack_size: usize, spare_threads: usize, limits: Limits) -> Self {
        let spare_threads = SpareThreads::new(spare_threads);
        let shared = Arc::new(Shared {
            limits,
            spare_threads,
        });
        Self { stack_size, shared }
    }

    /// Returns true if a thread need not be started for the next task.
    pub(super) fn has_spare(&self) -> bool {
        self.shared.spare_threads.has_any()
    }

    /// Gives a task to a spare thread, or else starts one. Returns true if it has started one.
    pub(super) fn carry_out(&self, task: Task<F>) -> io::Result<bool> {
        let Err(task) = self.shared.spare_threads.hand_over(task) else {
            return Ok(false);
        };

        let shared = Arc::clone(&self.shared);
        thread::Builder::new()
            .name("connection".to_owned())
            .stack_size(self.stack_size)
            .spawn(move || shared.work(task))
            .map(|_| true)
    }

    #[cfg(test)]
    pub(super) fn are_closed(&self) -> bool {
        self.shared.spare_threads.is_closed()
    }

    /// Ends the spare threads. The others end with their tasks.
    pub(super) fn close(&self) {
        self.shared.spare_threads.close();
    }
}

impl<H, F> Shared<F>
where
    H: Handler,
    F: Fn(&Peer) -> H,
{
    /// Carries out a task, and then others for as long as they come. Nothing is carried over from one
    /// conversation to the next.
    fn work(&self, first: Task<F>) {
        let seat = Seat::of_this_thread();
        let mut task = first;

        loop {
            // The closure is given back as soon as there is a handler.
            let make_handler = task.make_handler;
            let make_handler = move |peer: &Peer| make_handler(peer);
            serve(&mut task.admitted, &task.peer, make_handler, &self.limits);

            // In this order, the next connection that gets the place finds the thread, too.
            let is_spare = self.spare_threads.join(&seat);
            drop(task.admitted);
            if !is_spare {
                return;
            }
            match self.spare_threads.wait(&seat) {
                Some(next) => task = next,
                None => return,
            }
        }
    }
}
