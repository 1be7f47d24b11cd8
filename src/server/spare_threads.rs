//! Threads that have ended a conversation and wait for the next one.
//!
//! To start a thread and to end it is most of the cost of a short connection: twenty system calls, and
//! the page faults of a new stack. So a thread without work stays for a few seconds.
//!
//! A thread becomes spare before its connection gives its place back, and a thread is started only when
//! none is spare. So those that serve and those that wait are together never more than the places, and
//! spare threads need no room of their own. A thread that is about to end comes on top, with spare
//! threads and without.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

/// The spare threads of a server. Each waits for work of type `T`.
#[derive(Debug)]
pub(super) struct SpareThreads<T> {
    /// At most this many threads wait.
    most: usize,
    /// The seats of those that wait, or `None` once no thread may wait any more. The last one gets the
    /// next work: its stack is still in the cache, and those that nobody needs come to their end.
    waiting: Mutex<Option<Vec<Arc<Seat<T>>>>>,
}

/// The place where one thread waits, and where its work is put.
#[derive(Debug)]
pub(super) struct Seat<T> {
    thread: Thread,
    /// It is only set while `waiting` is locked.
    work: Mutex<Option<T>>,
}

impl<T> SpareThreads<T> {
    /// How long a thread waits.
    const PATIENCE: Duration = Duration::from_secs(5);

    pub(super) fn new(most: usize) -> Self {
        let waiting = Mutex::new(Some(Vec::new()));
        Self { most, waiting }
    }

    /// Gives work to a spare thread. If there is none, gives the work back.
    pub(super) fn hand_over(&self, work: T) -> Result<(), T> {
        let mut waiting = lock(&self.waiting);
        let Some(seat) = waiting.as_mut().and_then(Vec::pop) else {
            return Err(work);
        };
        *lock(&seat.work) = Some(work);
        drop(waiting);

        seat.thread.unpark();
        Ok(())
    }

    /// Returns true if a thread waits.
    pub(super) fn has_any(&self) -> bool {
        let waiting = lock(&self.waiting);
        waiting.as_ref().is_some_and(|waiting| !waiting.is_empty())
    }

    #[cfg(test)]
    pub(super) fn is_closed(&self) -> bool {
        lock(&self.waiting).is_none()
    }

    /// Makes the thread of this seat spare. Returns false if enough threads wait, or none may. Otherwise
    /// it must [wait](Self::wait) next.
    #[inline(never)]
    pub(super) fn join(&self, seat: &Arc<Seat<T>>) -> bool {
        match &mut *lock(&self.waiting) {
            Some(waiting) if waiting.len() < self.most => {
                waiting.push(Arc::clone(seat));
                true
            }
            _ => false,
        }
    }

    /// Waits for work, on the thread of this seat. Returns `None` if the thread must end.
    #[inline(never)]
    pub(super) fn wait(&self, seat: &Arc<Seat<T>>) -> Option<T> {
        let until = Instant::now() + Self::PATIENCE;

        loop {
            thread::park_timeout(until.saturating_duration_since(Instant::now()));

            if let Some(work) = lock(&seat.work).take() {
                return Some(work);
            }
            if self.leaves(seat, Instant::now() >= until) {
                return lock(&seat.work).take();
            }
        }
    }

    /// Takes the seat off the list, if the time is over. Returns true if it is not on the list then.
    fn leaves(&self, seat: &Arc<Seat<T>>, is_over: bool) -> bool {
        match &mut *lock(&self.waiting) {
            Some(waiting) if is_over => {
                waiting.retain(|other| !Arc::ptr_eq(other, seat));
                true
            }
            waiting => waiting.is_none(),
        }
    }

    /// Ends the threads that wait. From now on none may.
    pub(super) fn close(&self) {
        let waiting = lock(&self.waiting).take();

        for seat in waiting.into_iter().flatten() {
            seat.thread.unpark();
        }
    }
}

impl<T> Seat<T> {
    pub(super) fn of_this_thread() -> Arc<Self> {
        Arc::new(Self {
            thread: thread::current(),
            work: Mutex::new(None),
        })
    }
}

/// Locks, also after a panic of another thread: nothing here panics half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Starts a thread that sends its number back for each work, and waits until it is spare.
    fn starts(spares: &Arc<SpareThreads<mpsc::Sender<u32>>>, number: u32) {
        let before = lock(&spares.waiting).as_ref().unwrap().len();
        let own = Arc::clone(spares);
        thread::spawn(move || {
            let seat = Seat::of_this_thread();
            while own.join(&seat)
                && let Some(work) = own.wait(&seat)
            {
                work.send(number).unwrap();
            }
        });
        while lock(&spares.waiting).as_ref().unwrap().len() == before {
            thread::yield_now();
        }
    }

    #[test]
    fn the_last_to_come_is_the_first_to_work() {
        let spares = Arc::new(SpareThreads::new(3));
        (0..3).for_each(|number| starts(&spares, number));

        let (sender, receiver) = mpsc::channel();
        assert!(spares.hand_over(sender.clone()).is_ok());
        assert_eq!(receiver.recv(), Ok(2));
    }

    #[test]
    fn no_more_wait_than_may() {
        let spares = Arc::new(SpareThreads::new(1));
        starts(&spares, 0);
        assert!(!spares.join(&Seat::of_this_thread()));

        let none = SpareThreads::<()>::new(0);
        assert!(!none.join(&Seat::of_this_thread()));
    }

    #[test]
    fn work_without_a_spare_thread_comes_back() {
        let spares = SpareThreads::new(1);
        assert_eq!(spares.hand_over("work"), Err("work"));
    }

    #[test]
    fn closing_ends_those_who_wait_and_lets_no_other_wait() {
        let spares = Arc::new(SpareThreads::new(2));
        starts(&spares, 0);
        spares.close();
        assert!(!spares.join(&Seat::of_this_thread()));

        while Arc::strong_count(&spares) > 1 {
            thread::yield_now();
        }
    }

    #[test]
    fn work_given_before_the_wait_or_at_the_close_is_done() {
        let (spares, seat) = (SpareThreads::new(1), Seat::of_this_thread());
        assert!(spares.join(&seat));
        assert_eq!(spares.hand_over("work"), Ok(()));
        spares.close();
        assert_eq!(spares.wait(&seat), Some("work"));

        let spares = SpareThreads::<&str>::new(1);
        assert!(spares.join(&seat));
        spares.close();
        assert_eq!(spares.wait(&seat), None);
    }

    #[test]
    fn nobody_waits_for_long() {
        let (spares, seat) = (SpareThreads::<()>::new(1), Seat::of_this_thread());
        assert!(spares.join(&seat));
        let started = Instant::now();
        assert_eq!(spares.wait(&seat), None);
        assert!(started.elapsed() >= SpareThreads::<()>::PATIENCE);
        assert!(!spares.has_any());
    }
}
