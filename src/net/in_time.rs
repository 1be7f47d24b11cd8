//! Calls that can block longer than the caller wants to wait.
//!
//! `std` has no timeout for the look-up of a host name, nor for a connection to a Unix socket. So a
//! helper thread makes the call, and the caller waits for the thread.
//!
//! If the caller gives up, the thread is left behind in its call. The next caller that wants the same
//! takes over that thread and starts no other. So however often you try, there are never more threads
//! for one address than callers at the same time. A result that nobody waits for is dropped.

use std::io::{self, ErrorKind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// All calls of one kind in the process. `K` is what is asked for, `T` the result.
#[derive(Debug)]
pub(super) struct InTime<K, T> {
    calls: Mutex<Calls<K, T>>,
    answered: Condvar,
}

#[derive(Debug)]
struct Calls<K, T> {
    /// The number of the next call.
    next: u64,
    /// Calls that nobody waits for.
    left: Vec<(K, u64)>,
    /// Results that their callers have not taken yet.
    results: Vec<(u64, io::Result<T>)>,
}

impl<K, T> InTime<K, T>
where
    K: PartialEq + Clone + Send + 'static,
    T: Send + 'static,
{
    pub(super) const fn new() -> Self {
        Self {
            calls: Mutex::new(Calls {
                next: 0,
                left: Vec::new(),
                results: Vec::new(),
            }),
            answered: Condvar::new(),
        }
    }

    /// Makes this call, or takes over one for the same key, and waits for its result, for at most
    /// this time.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::TimedOut`] if it takes longer, or the call's own error.
    pub(super) fn call(
        &'static self,
        key: K,
        timeout: Duration,
        make: impl FnOnce(K) -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let mut calls = self.lock();
        let number = match calls.left.iter().position(|(left, _)| *left == key) {
            Some(place) => calls.left.swap_remove(place).1,
            None => self.start(&mut calls, key.clone(), make)?,
        };

        let is_waiting = |calls: &mut Calls<K, T>| calls.place_of(number).is_none();
        let waited = self.answered.wait_timeout_while(calls, timeout, is_waiting);
        let (mut calls, _) = waited.unwrap_or_else(PoisonError::into_inner);

        if let Some(place) = calls.place_of(number) {
            return calls.results.swap_remove(place).1;
        }
        calls.left.push((key, number));
        Err(io::Error::new(ErrorKind::TimedOut, "no answer in time"))
    }

    fn start(
        &'static self,
        calls: &mut Calls<K, T>,
        key: K,
        make: impl FnOnce(K) -> io::Result<T> + Send + 'static,
    ) -> io::Result<u64> {
        let number = calls.next;
        calls.next += 1;

        thread::Builder::new()
            .name("helper".to_owned())
            .spawn(move || self.answer(number, make(key)))?;

        Ok(number)
    }

    /// Hands over a result, or drops it if nobody waits for it.
    fn answer(&self, number: u64, result: io::Result<T>) {
        let mut calls = self.lock();
        match calls.left.iter().position(|(_, left)| *left == number) {
            Some(place) => drop(calls.left.swap_remove(place)),
            None => calls.results.push((number, result)),
        }
        drop(calls);
        self.answered.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Calls<K, T>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K, T> Calls<K, T> {
    /// The place of this call's result.
    fn place_of(&self, number: u64) -> Option<usize> {
        self.results.iter().position(|(other, _)| *other == number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(5);

    #[test]
    fn a_call_that_is_in_time_gives_its_result_or_its_error() {
        static CALLS: InTime<u8, u8> = InTime::new();

        assert_eq!(CALLS.call(1, LONG, |key| Ok(key + 1)).unwrap(), 2);
        let error = CALLS.call(1, LONG, |_| Err(ErrorKind::NotFound.into()));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn calls_that_are_given_up_share_one_thread() {
        static CALLS: InTime<u8, u8> = InTime::new();
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let (answer, answered) = mpsc::channel();
        let mut answered = Some(answered);

        for _ in 0..100 {
            let answered = answered.take();
            let call = CALLS.call(1, SHORT, move |_| {
                STARTED.fetch_add(1, Ordering::SeqCst);
                Ok(answered.unwrap().recv().unwrap())
            });
            assert_eq!(call.unwrap_err().kind(), ErrorKind::TimedOut);
        }
        assert_eq!(STARTED.load(Ordering::SeqCst), 1);

        // Another address has a thread of its own, and the first one gets its answer in the end.
        assert_eq!(CALLS.call(2, LONG, Ok).unwrap(), 2);
        answer.send(7).unwrap();
        let late = CALLS.call(1, LONG, |_| Ok(7));
        assert_eq!(late.unwrap(), 7);
    }

    #[test]
    fn a_result_that_nobody_waits_for_is_dropped() {
        static CALLS: InTime<u8, mpsc::Sender<()>> = InTime::new();
        let (result, is_dropped) = mpsc::channel();
        let (answer, answered) = mpsc::channel();

        let call = CALLS.call(1, SHORT, move |_| {
            let () = answered.recv().unwrap();
            Ok(result)
        });
        assert!(call.is_err());
        answer.send(()).unwrap();

        let end = is_dropped.recv_timeout(LONG);
        assert_eq!(end, Err(mpsc::RecvTimeoutError::Disconnected));
        assert!(CALLS.lock().left.is_empty());
    }
}
