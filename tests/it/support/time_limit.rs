//! A time limit for every test. A test that hangs ends the whole run, and the message names it.
//!
//! `cargo test` waits without end for a test that hangs. Therefore the support code sets a deadline
//! for each test that uses it, and one thread watches all deadlines. When a deadline passes, this
//! thread writes the name of the test, kills the processes that the tests have started, and ends
//! the test program with the exit code of a failed run.
//!
//! The harness runs each test in a thread of its own, named after the test. The deadline goes when
//! that thread ends. Other threads have no such name and need no deadline: their test has one.

use std::cell::RefCell;
use std::io::{self, Write};
use std::process;
use std::sync::{Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use super::process::send;

/// A failed run has this exit code, as the harness has it.
const FAILED: i32 = 101;

/// A test that runs, with its deadline.
struct Test {
    thread: ThreadId,
    name: String,
    limit: Duration,
    deadline: Instant,
}

/// All that runs now.
struct Run {
    tests: Vec<Test>,
    /// The processes to kill when the run is ended.
    children: Vec<u32>,
}

static RUN: Mutex<Run> = Mutex::new(Run {
    tests: Vec::new(),
    children: Vec::new(),
});

/// Signals that a test has begun.
static BEGUN: Condvar = Condvar::new();

thread_local! {
    static LIMIT: RefCell<Option<Limit>> = const { RefCell::new(None) };
}

/// The limit of this thread's test. It ends with the thread.
struct Limit;

impl Drop for Limit {
    fn drop(&mut self) {
        let thread = thread::current().id();
        run().tests.retain(|test| test.thread != thread);
    }
}

/// Gives the running test its usual limit, unless it has one already.
pub(crate) fn begins() {
    if LIMIT.with_borrow(Option::is_none) {
        begins_with(crate::TIME_LIMIT);
    }
}

/// Gives the running test this limit, from now on.
pub(crate) fn begins_with(limit: Duration) {
    let thread = thread::current();
    let Some(name) = thread.name().filter(|name| name.contains("::")) else {
        return;
    };

    // A limit that the test had before is dropped here, and its deadline goes.
    LIMIT.set(None);
    LIMIT.set(Some(Limit));
    run().tests.push(Test {
        thread: thread.id(),
        name: name.to_owned(),
        limit,
        deadline: Instant::now() + limit,
    });

    static WATCH: Once = Once::new();
    WATCH.call_once(|| drop(thread::spawn(watch)));
    BEGUN.notify_one();
}

/// Kills this process too when the run is ended.
pub(crate) fn has_child(id: u32) {
    run().children.push(id);
}

/// This process has ended.
pub(crate) fn has_lost_child(id: u32) {
    run().children.retain(|child| *child != id);
}

fn run() -> MutexGuard<'static, Run> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for the next deadline, again and again.
fn watch() {
    let mut run = run();
    loop {
        let next = run.tests.iter().min_by_key(|test| test.deadline);
        let wait = next.map(|test| test.deadline.saturating_duration_since(Instant::now()));

        run = match wait {
            None => BEGUN.wait(run).unwrap_or_else(PoisonError::into_inner),
            Some(Duration::ZERO) => end(&run),
            Some(time) => {
                let waited = BEGUN.wait_timeout(run, time);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

/// Ends the run.
fn end(run: &Run) -> ! {
    let now = Instant::now();
    let mut message = String::from("\n");
    for test in &run.tests {
        let Test { name, limit, .. } = test;
        message += &if test.deadline <= now {
            format!("time limit: {name} has not ended within {limit:?}\n")
        } else {
            format!("time limit: {name} runs too, and is ended with it\n")
        };
    }

    // Unlike `eprintln!`, this is not kept for the end of a test that has none.
    let _ = io::stderr().write_all(message.as_bytes());
    for child in &run.children {
        send("KILL", *child);
    }
    process::exit(FAILED)
}
