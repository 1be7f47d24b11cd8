//! The load: connections that send lines to an echo and verify every byte that comes back.
//!
//! | file | idea |
//! |---|---|
//! | `script.rs` | what is sent, and so what has to come back |
//! | `connection.rs` | one connection: what it has yet to send, what it expects |
//! | `crowd.rs` | the connections of one thread, and its loop |
//! | `closed.rs`, `open.rs`, `connects.rs` | when the next line is sent |
//! | `opening.rs` | the connections are made, before the load |
//! | `tally.rs` | what is counted |
//! | `room.rs`, `clock.rs` | what the machine allows for, and its time |
//!
//! This file starts the threads and keeps the time. Server and generator mostly share a machine, so
//! what the generator takes, the server lacks: [`GeneratorUse`] says how much that was, and where
//! `busy` is near 1, the figures are the generator's and not the server's.

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

/// For so long after the end answers are waited for, if any are missing.
const GRACE: u64 = 2_000_000_000;

/// From the moment that all is ready to the first line.
const RUN_UP: u64 = 1_000_000;

/// So long the calling thread sleeps before it looks around.
const NAP: Duration = Duration::from_millis(20);

/// What to send, and for how long.
#[derive(Clone, Debug)]
pub struct Load {
    /// That carry the load.
    pub connections: usize,
    /// That are opened before those, echo one line each, and then say nothing.
    pub idle: usize,
    pub shape: Shape,
    /// Those that carry the load echo a line before it, too, so that the server has surely taken
    /// them: a connection may be made long before.
    pub greets: bool,
    /// Lengths of lines, without terminator, each with its weight.
    pub lengths: Vec<(usize, u32)>,
    /// Load that is not yet measured.
    pub warm_up: Duration,
    /// Of the measured time.
    pub duration: Duration,
    /// Of the generator; each drives its share of the connections.
    pub threads: usize,
}

/// When the next line is sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// As soon as an answer came, so that `depth` lines are in flight on each connection.
    Closed { depth: usize },
    /// At its time, whatever was answered: so many a second, on all connections together.
    Open { rate: f64 },
    /// Each connection is made, carries one line, and is closed; then the next.
    Connects,
}

/// Hears of the edges of the measured time, to read the server's counters there, under load. Both
/// are called once and in this order, on the calling thread, whenever [`run`] returns a sample.
pub trait Window {
    fn begins(&mut self) {}
    fn ends(&mut self) {}
}

/// Nothing is to be read.
impl Window for () {}

/// Puts the load on the server at `address`. Ends early, with what it has, once `stop` is set, or
/// once every connection that carries the load was given up.
///
/// In the closed loop, and where each connection carries one line, the latencies are those of lines
/// that were begun within the measured time; in the open loop, of lines that were due in it.
/// [`Sample::done`] are always the lines that were answered in it.
///
/// # Errors
///
/// Where nothing can be measured: no connection can be made, or this machine does not allow for so
/// many. What goes wrong on single connections is counted in [`Sample::errors`].
pub fn run(
    address: SocketAddr,
    load: &Load,
    stop: &AtomicBool,
    window: &mut dyn Window,
) -> anyhow::Result<(Sample, GeneratorUse)> {
    let threads = load.threads.clamp(1, load.connections.max(1));
    room::make(load.connections + load.idle, threads, address)?;
    let script = Script::new(&load.lengths);
    let workers = open_all(address, load, threads, &script, stop)?;

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
    // Until here their connections were open, and the server as it was under load.
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

/// Makes the connections, each thread its share.
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
    let refusal = workers
        .iter_mut()
        .find_map(|worker| worker.crowd.refusal.take());
    Err(match refusal {
        Some(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            anyhow!("nothing listens at {address}: {error}")
        }
        Some(error) => anyhow!("no connection to {address} can be made: {error}"),
        None => anyhow!("no connection to {address} lived until the load began"),
    })
}

fn spawn<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    part: impl FnOnce() -> T + Send + 'scope,
) -> anyhow::Result<ScopedJoinHandle<'scope, T>> {
    let builder = Builder::new().name("load".to_owned());
    builder
        .spawn_scoped(scope, part)
        .context("a thread for the load")
}

/// What the thread returned; its panic, if it has one, is this one's.
fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Returns at that time, or once all threads have ended.
fn sleep_until<T>(time: u64, running: &[ScopedJoinHandle<'_, T>]) {
    loop {
        let left = Duration::from_nanos(time.saturating_sub(clock::now()));
        if left.is_zero() || running.iter().all(ScopedJoinHandle::is_finished) {
            return;
        }
        thread::sleep(left.min(NAP));
    }
}

/// One thread's part.
struct Worker<'a> {
    crowd: Crowd<'a>,
    /// So many connections, the first ones, say nothing.
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
        let before = |all: usize| all * thread / threads;
        let own = |all: usize| all * (thread + 1) / threads - before(all);
        let (idle, connections) = (own(load.idle), own(load.connections));
        let mut crowd = Crowd::new(address, script, idle + connections)?;
        let first = (before(load.idle) + before(load.connections)) as u64;
        // Where connections are what is measured, one is made to see that there is a server.
        let count = match load.shape {
            Shape::Connects => idle + 1,
            _ => idle + connections,
        };
        let greeting = if load.greets { count } else { idle };
        opening::open(&mut crowd, greeting, count, first, stop)?;
        Ok(Self { crowd, idle, first })
    }

    /// How many of its connections carry the load.
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
                // The one that only showed that there is a server.
                self.crowd.close(self.idle);
                let line = self.first * opening::APART;
                self.drive(&mut Connects::new(self.idle, connections, line), stop)?;
            }
        }
        Ok(self)
    }

    /// Lets the pace send until the end, and then waits for what is not answered.
    fn drive<P: Pace>(&mut self, pace: &mut P, stop: &AtomicBool) -> anyhow::Result<()> {
        let crowd = &mut self.crowd;
        let end = crowd.tally.schedule.end;
        loop {
            let now = clock::now();
            let edge = crowd.tally.watch(now);
            // Even past the end: what was due before it may be late.
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
