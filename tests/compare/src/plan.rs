//! The plan: the workloads, their placements, the number of rounds and the length of a measurement.

use std::time::Duration;

use anyhow::bail;
use clap::ValueEnum;

use crate::check;
use crate::load::{Load, Shape};
use crate::record::{Kind, Variant, Workload};

/// All that a run measures.
pub struct Plan {
    pub rounds: usize,
    /// The length of each measurement.
    pub duration: Duration,
    /// The number of the generator's threads.
    pub threads: usize,
    pub workloads: Vec<Planned>,
    pub variants: Vec<Variant>,
    /// True if system calls are counted, too.
    pub counts_calls: bool,
}

/// A workload, and how the generator carries it out.
#[derive(Clone)]
pub struct Planned {
    pub workload: Workload,
    load: Load,
    /// True if the workload is also measured in the other placements.
    pub in_variants: bool,
}

/// The workload whose slowest server decides the rate of the open loop.
pub const CAPACITY: &str = "ping-pong-50";

/// The highest rate of the open loop, in lines per second. A single line costs the generator a
/// wait, a timer, a write and a read: about 25 µs. A generator that is late measures only its own
/// delay.
pub const MOST_OPEN: f64 = 20_000.0;

/// The length of the load before the measured time, and its growth for each connection. A server
/// may need some time to start the thread for a new connection.
pub const WARM_UP: Duration = Duration::from_millis(200);
pub const WARM_UP_EACH: Duration = Duration::from_micros(200);

/// The open loop is measured this many times as long, because its figure comes from the few slowest
/// lines.
const OPEN_LONGER: u32 = 3;

/// A short line, as in a chat.
const SHORT: usize = 32;
/// A long line, just below the limit.
const LONG: usize = 60_000;

impl Planned {
    /// Returns the load. In the open loop it has this `rate`.
    pub fn load(&self, rate: f64) -> Load {
        let mut load = self.load.clone();
        if let Shape::Open { .. } = load.shape {
            load.shape = Shape::Open { rate };
        }
        load
    }

    fn new(name: &str, what: &str, kind: Kind, connections: usize, shape: Shape) -> Self {
        Self {
            workload: Workload {
                name: name.to_owned(),
                what: what.to_owned(),
                kind,
                connections,
                idle: 0,
            },
            load: Load {
                connections,
                idle: 0,
                shape,
                lengths: vec![(SHORT, 1)],
                greets: true,
                warm_up: WARM_UP + WARM_UP_EACH * connections as u32,
                duration: Duration::ZERO,
                threads: 1,
            },
            in_variants: false,
        }
    }

    fn lengths(mut self, lengths: &[(usize, u32)]) -> Self {
        self.load.lengths = lengths.to_vec();
        self
    }

    fn idle(mut self, idle: usize) -> Self {
        self.workload.idle = idle;
        self.load.idle = idle;
        self
    }

    fn in_variants(mut self) -> Self {
        self.in_variants = true;
        self
    }
}

/// The size of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Extent {
    /// For results that you quote. Measures all workloads, and two of them in all placements, in
    /// three quarters of an hour.
    Full,
    /// For a first look. Measures one round of four workloads in less than two minutes.
    Quick,
}

impl Plan {
    /// Makes a plan of this extent. The generator has `threads` threads.
    pub fn new(extent: Extent, threads: usize) -> Self {
        let (rounds, duration) = match extent {
            Extent::Full => (5, Duration::from_millis(700)),
            Extent::Quick => (1, Duration::from_millis(250)),
        };

        let mut workloads = workloads();
        let mut variants = vec![Variant::Shared, Variant::Batch, Variant::OneCore];
        if extent == Extent::Quick {
            const FEW: [&str; 4] = ["ping-pong-1", CAPACITY, "pipelined-50x64", "open-50"];
            workloads.retain(|planned| FEW.contains(&planned.workload.name.as_str()));
            variants.truncate(1);
        }
        for Planned { load, .. } in &mut workloads {
            load.threads = threads;
        }

        let counts_calls = extent == Extent::Full;
        let mut plan = Self {
            rounds,
            duration,
            threads,
            workloads,
            variants,
            counts_calls,
        };
        plan.last(duration);
        plan
    }

    /// Returns the number of connections that a server must hold: those of the largest workload or
    /// of the check, and a few to spare.
    pub fn connections(&self) -> usize {
        let workloads = self.workloads.iter().map(|planned| &planned.workload);
        let most = workloads
            .map(|workload| workload.connections + workload.idle)
            .max();

        most.unwrap_or(0).max(check::MOST_CONNECTIONS) + 16
    }

    /// Sets the length of each measurement.
    pub fn last(&mut self, duration: Duration) {
        self.duration = duration;
        for Planned { load, .. } in &mut self.workloads {
            load.duration = match load.shape {
                Shape::Open { .. } => duration * OPEN_LONGER,
                _ => duration,
            };
        }
    }

    /// Keeps the workloads with these names, or all if no name is given. Drops those in `without`.
    ///
    /// # Errors
    ///
    /// Returns an error if a name is unknown, or if no workload is left.
    pub fn choose(&mut self, names: &[String], without: &[String]) -> anyhow::Result<()> {
        for name in names.iter().chain(without) {
            if self
                .workloads
                .iter()
                .all(|planned| planned.workload.name != *name)
            {
                let all: Vec<_> = self
                    .workloads
                    .iter()
                    .map(|planned| &planned.workload.name[..])
                    .collect();
                bail!(
                    "this plan has no workload {name}: choose from {}",
                    all.join(", ")
                );
            }
        }

        self.workloads.retain(|Planned { workload, .. }| {
            (names.is_empty() || names.contains(&workload.name))
                && !without.contains(&workload.name)
        });

        if self.workloads.is_empty() {
            bail!("no workload is left: --without leaves out all of --workloads");
        }
        Ok(())
    }
}

/// Returns all workloads, in the order of the report.
fn workloads() -> Vec<Planned> {
    use Kind::{Connects, Idle, Lengths, Open, PingPong, Pipelined};
    let one = Shape::Closed { depth: 1 };
    let mut all = Vec::new();

    for connections in [1, 8, 50, 500, 5000] {
        let planned = Planned::new(
            &format!("ping-pong-{connections}"),
            &match connections {
                1 => "1 connection, one 32-byte line at a time".to_owned(),
                _ => format!("{connections} connections, one 32-byte line at a time on each"),
            },
            PingPong,
            connections,
            one,
        );

        all.push(match connections {
            50 => planned.in_variants(),
            _ => planned,
        });
    }

    all.extend([
        Planned::new(
            "pipelined-1x256",
            "1 connection, 256 lines of 32 bytes in flight",
            Pipelined,
            1,
            Shape::Closed { depth: 256 },
        ),
        Planned::new(
            "pipelined-50x64",
            "50 connections, 64 lines of 32 bytes in flight on each",
            Pipelined,
            50,
            Shape::Closed { depth: 64 },
        )
        .in_variants(),
        Planned::new(
            "long-1",
            "1 connection, one line of 60,000 bytes at a time",
            Lengths,
            1,
            one,
        )
        .lengths(&[(LONG, 1)]),
        Planned::new(
            "long-50",
            "50 connections, one line of 60,000 bytes at a time on each",
            Lengths,
            50,
            one,
        )
        .lengths(&[(LONG, 1)]),
        Planned::new(
            "mixed-50x8",
            "50 connections, 8 lines in flight on each; of 13 lines ten have 32 bytes, two 512, one \
             8,000",
            Lengths,
            50,
            Shape::Closed { depth: 8 },
        )
        .lengths(&[(SHORT, 10), (512, 2), (8000, 1)]),
        Planned::new(
            "connects-8",
            "8 connections at a time, each new: connect, one line, close",
            Connects,
            8,
            Shape::Connects,
        ),
        Planned::new(
            "connects-1000",
            "1,000 connections at a time, each new: connect, one line, close",
            Connects,
            1000,
            Shape::Connects,
        ),
        Planned::new(
            "idle-10000",
            "1 connection, one line at a time, beside 10,000 silent connections",
            Idle,
            1,
            one,
        )
        .idle(10_000),
        Planned::new(
            "open-50",
            "50 connections, lines of 32 bytes at a fixed rate: half the rate of the slowest server \
             in ping-pong-50, at most 20,000 per second",
            Open,
            50,
            Shape::Open { rate: 0.0 },
        ),
    ]);
    all
}
