//! The load generator: connections that send lines to an echo server and compare every byte that
//! comes back.
//!
//! | file | idea |
//! |---|---|
//! | `script.rs` | the lines that are sent, and must come back |
//! | `connection.rs` | one connection: bytes to send, bytes to expect |
//! | `crowd.rs` | the connections of one thread, and its loop |
//! | `closed.rs`, `open.rs`, `connects.rs` | three paces: the time of the next line |
//! | `opening.rs` | makes the connections before the load |
//! | `tally.rs` | the counts |
//! | `room.rs`, `clock.rs` | the limits of the machine, and its clocks |
//!
//! This file starts the threads and keeps the time. The server and the generator usually share a
//! machine, so the server lacks what the generator uses. [`GeneratorUse`] says how much that was.
//! If `busy` is near 1, the figures show the generator's limit, not the server's.

pub mod clock;
mod closed;
mod connection;
mod connects;
mod crowd;
mod open;
mod opening;
mod room;
mod script;
mod tally;

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Duration;

use anyhow::{Context, anyhow};

use crate::record::{GeneratorUse, Sample};
use closed::Closed;
use connects::Connects;
use crowd::{Crowd, Pace};
use open::{Open, Part};
pub use room::ports_on_loopback;
use script::Script;
use tally::Schedule;

/// How long to wait after the end for missing answers, in nanoseconds.
const GRACE: u64 = 2_000_000_000;

/// The time from the moment when all is ready to the first line, in nanoseconds.
const RUN_UP: u64 = 1_000_000;

/// The longest sleep of the calling thread.
const NAP: Duration = Duration::from_millis(20);

/// The lines to send, and their times.
#[derive(Clone, Debug)]
pub struct Load {
    /// The number of connections that carry the load.
    pub connections: usize,
    /// The number of connections that are opened first, echo one line each, and are then silent.
    pub idle: usize,
    pub shape: Shape,
    /// True if the connections that carry the load also echo a line before it. That shows that the
    /// server serves them. A connection can be made long before that.
    pub greets: bool,
    /// The lengths of lines, without terminator, each with its weight.
    pub lengths: Vec<(usize, u32)>,
    /// The length of the load that is not yet measured.
    pub warm_up: Duration,
    /// The length of the measured time.
    pub duration: Duration,
    /// The number of threads. Each drives its share of the connections.
    pub threads: usize,
}

/// Decides when the next line is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// When an answer comes, so that `depth` lines are in flight on each connection.
    Closed { depth: usize },
    /// At a fixed rate, answered or not. `rate` is in lines per second, on all connections
    /// together.
    Open { rate: f64 },
    /// On a new connection, which carries one line and is closed.
    Connects,
}

/// Called at the edges of the measured time, to read the server's counters under load. Whenever
/// [`run`] returns a sample, it has called both once, in this order, on the calling thread.
pub trait Window {
    fn begins(&mut self) {}
    fn ends(&mut self) {}
}

/// Reads nothing.
impl Window for () {}

/// Puts the load on the server at `address`. Ends early with a partial sample once `stop` is set,
/// or once all connections that carry the load were given up.
///
/// The latencies are those of lines that were begun within the measured time; in the open loop, of
/// lines that were due in it. [`Sample::done`] always counts the lines that were answered in it.
///
/// # Errors
///
/// Returns an error if nothing can be measured: no connection can be made, or this machine does not
/// allow enough of them. Faults of single connections are counted in [`Sample::errors`].
pub fn run(
    address: SocketAddr,
    load: &Load,
    stop: &AtomicBool,
    window: &mut dyn Window,
) -> anyhow::Result<(Sample, GeneratorUse)> {
    // Make the connections.
    let threads = load.threads.clamp(1, load.connections.max(1));
    room::make(load.connections + load.idle, threads, address)?;
    let script = Script::new(&load.lengths);
    let workers = open_all(address, load, threads, &script, stop)?;

    // Run the threads, and tell the window of the edges of the measured time.
    let start = clock::now() + RUN_UP;
    let begin = start + clock::nanoseconds(load.warm_up);
    let end = begin + clock::nanoseconds(load.duration);
    let schedule = Schedule { start, begin, end };
    let all = workers.iter().map(Worker::carrying).sum();
    let workers = thread::scope(|scope| {
        let mut before = 0;
        let mut running = Vec::with_capacity(threads);
        for worker in workers {
            let own = worker.carrying();
            let part = Part { before, own, all };
            before += own;
            running.push(spawn(scope, move || {
                worker.run(load.shape, schedule, part, stop)
            })?);
        }

        sleep_until(begin, &running);
        window.begins();
        sleep_until(end, &running);
        window.ends();

        running
            .into_iter()
            .map(joined)
            .collect::<Result<Vec<_>, _>>()
    })?;

    // The connections stay open up to here, so the window saw the server under load.
    let tallies: Vec<_> = workers
        .into_iter()
        .map(|worker| worker.crowd.tally)
        .collect();

    let (mut sample, generator) = tally::merge(&tallies, schedule);
    if let Shape::Open { rate } = load.shape {
        sample.intended_rate = Some(rate);
    }
    Ok((sample, generator))
}

/// Makes the connections. Each thread makes its share.
fn open_all<'a>(
    address: SocketAddr,
    load: &Load,
    threads: usize,
    script: &'a Script,
    stop: &AtomicBool,
) -> anyhow::Result<Vec<Worker<'a>>> {
    let mut workers = thread::scope(|scope| {
        let opening = (0..threads)
            .map(|thread| {
                spawn(scope, move || {
                    Worker::open(address, load, (thread, threads), script, stop)
                })
            })
            .collect::<Result<Vec<_>, _>>()?;
        opening
            .into_iter()
            .map(joined)
            .collect::<Result<Vec<_>, _>>()
    })?;

    let made = |worker: &Worker<'_>| worker.crowd.connections.iter().any(Option::is_some);
    if workers.iter().any(made) || stop.load(Ordering::Relaxed) {
        return Ok(workers);
    }

    // Not one connection was made. Say why.
    let refusal = workers
        .iter_mut()
        .find_map(|worker| worker.crowd.refusal.take());
    Err(match refusal {
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            anyhow!("nothing listens at {address}: {error}")
        }
        Some(error) => anyhow!("cannot connect to {address}: {error}"),
        None => anyhow!("{address} closed every connection before the load began"),
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    part: impl FnOnce() -> T + Send + 'scope,
) -> anyhow::Result<ScopedJoinHandle<'scope, T>> {
    let builder = Builder::new().name("load".to_owned());
    builder
        .spawn_scoped(scope, part)
        .context("cannot start a thread for the load")
}

/// Returns the result of the thread. A panic of the thread goes on here.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Sleeps until this time, or until all threads have ended.
fn sleep_until<T>(time: u64, running: &[ScopedJoinHandle<'_, T>]) {
    loop {
        let left = Duration::from_nanos(time.saturating_sub(clock::now()));
        if left.is_zero() || running.iter().all(ScopedJoinHandle::is_finished) {
            return;
        }
        thread::sleep(left.min(NAP));
    }
}

/// The part of one thread.
struct Worker<'a> {
    crowd: Crowd<'a>,
    /// The number of silent connections. They come first.
    idle: usize,
    /// The number of its first connection among those of all threads.
    first: u64,
}

impl<'a> Worker<'a> {
    fn open(
        address: SocketAddr,
        load: &Load,
        (thread, threads): (usize, usize),
        script: &'a Script,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        // This thread's share of all connections.
        let before = |all: usize| all * thread / threads;
        let own = |all: usize| all * (thread + 1) / threads - before(all);
        let (idle, connections) = (own(load.idle), own(load.connections));
        let mut crowd = Crowd::new(address, script, idle + connections)?;
        let first = (before(load.idle) + before(load.connections)) as u64;

        // If connections are measured, only one is made now, to see that there is a server.
        let count = match load.shape {
            Shape::Connects => idle + 1,
            _ => idle + connections,
        };
        let greeting = if load.greets { count } else { idle };
        opening::open(&mut crowd, greeting, count, first, stop)?;
        Ok(Self { crowd, idle, first })
    }

    /// Returns the number of its connections that carry the load.
    fn carrying(&self) -> usize {
        self.crowd.connections[self.idle..].iter().flatten().count()
    }

    fn run(
        mut self,
        shape: Shape,
        schedule: Schedule,
        part: Part,
        stop: &AtomicBool,
    ) -> anyhow::Result<Self> {
        self.crowd.tally.schedule = schedule;
        let connections = self.crowd.connections.len() - self.idle;

        match shape {
            Shape::Closed { depth } => {
                self.drive(&mut Closed::new(depth, self.idle, connections), stop)?;
            }
            Shape::Open { rate } => {
                let mut open = Open::new(rate, part, self.idle, &self.crowd)?;
                self.drive(&mut open, stop)?;
            }
            Shape::Connects => {
                // This connection only showed that there is a server.
                self.crowd.close(self.idle);
                let line = self.first * opening::APART;
                self.drive(&mut Connects::new(self.idle, connections, line), stop)?;
            }
        }
        Ok(self)
    }

    /// Lets the pace send until the end, then waits for missing answers.
    fn drive<P: Pace>(&mut self, pace: &mut P, stop: &AtomicBool) -> anyhow::Result<()> {
        let crowd = &mut self.crowd;
        let end = crowd.tally.schedule.end;
        loop {
            let now = clock::now();
            let edge = crowd.tally.watch(now);
            // The pace is asked even after the end, because lines that were due before may be late.
            let next = pace.tick(crowd, now);

            let answered = now >= end && (crowd.owed == 0 || now >= end + GRACE);
            let carrying = crowd.connections[self.idle..].iter().any(Option::is_some);
            let stopped = stop.load(Ordering::Relaxed);
            if stopped || answered || !(carrying || P::REDIALS) {
                crowd.tally.end(now);
                if !stopped {
                    pace.count_missing(crowd, now);
                }
                return Ok(());
            }

            crowd.wait(pace, now, next.min(edge).min(end + GRACE))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// When the edges were heard of.
    #[derive(Default)]
    struct Heard {
        begins: Vec<u64>,
        ends: Vec<u64>,
    }

    impl Window for Heard {
        fn begins(&mut self) {
            self.begins.push(clock::now());
        }

        fn ends(&mut self) {
            self.ends.push(clock::now());
        }
    }

    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                thread::spawn(move || {
                    let mut buffer = [0; 4096];
                    while let Ok(length @ 1..) = stream.read(&mut buffer) {
                        if stream.write_all(&buffer[..length]).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn load(shape: Shape) -> Load {
        Load {
            connections: 2,
            idle: 1,
            shape,
            greets: true,
            lengths: vec![(32, 1)],
            warm_up: Duration::from_millis(20),
            duration: Duration::from_millis(200),
            threads: 1,
        }
    }

    const SHAPES: [Shape; 3] = [
        Shape::Closed { depth: 2 },
        Shape::Open { rate: 1000.0 },
        Shape::Connects,
    ];

    #[test]
    fn the_window_is_as_long_as_the_measured_time() {
        for shape in SHAPES {
            let (began, mut heard) = (clock::now(), Heard::default());
            let stop = AtomicBool::new(false);
            let (sample, _) = run(echo(), &load(shape), &stop, &mut heard).expect("a sample");
            assert_eq!((heard.begins.len(), heard.ends.len()), (1, 1));
            assert!(heard.begins[0] >= began + 20_000_000);
            assert!(heard.ends[0] >= began + 220_000_000);
            assert_eq!((sample.seconds, sample.errors.total()), (0.2, 0));
        }
    }

    #[test]
    fn a_stop_before_the_load_still_gives_both_edges() {
        for shape in SHAPES {
            let mut heard = Heard::default();
            let stop = AtomicBool::new(true);
            let mut load = load(shape);
            load.warm_up = Duration::from_secs(30);
            let (sample, _) = run(echo(), &load, &stop, &mut heard).expect("a sample");
            assert_eq!((heard.begins.len(), heard.ends.len()), (1, 1));
            assert_eq!((sample.done, sample.errors.total()), (0, 0));
        }
    }
}
