//! The records of a run: one JSON value per line of `raw-TIME.jsonl`, in the order in which they
//! became known.
//!
//! The raw file is the source of everything else. It grows as the run goes on, so an end at any
//! moment loses nothing. The reports are made from it, now or later (`compare report`). Times are
//! in nanoseconds and sizes in bytes, unless a name says otherwise.

use std::fmt::{self, Display};
use std::io::{BufRead, Write};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Increase this whenever a name or a meaning below changes.
pub const SCHEMA: u32 = 1;

/// A line of the raw file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The first record: the plan and the machine.
    Run(Run),
    /// A server and its check. All servers come before any measurement.
    Server(Server),
    /// One server under one workload, once.
    Measurement(Measurement),
    /// The last record, only of a complete run.
    End {
        /// RFC 3339, UTC.
        finished: String,
    },
}

/// The plan of a run, and the machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub schema: u32,
    /// RFC 3339, UTC.
    pub started: String,
    /// The command as it was typed.
    pub command: String,
    /// The commit of synchat, with `-dirty` if files differ from it.
    pub commit: String,
    /// Names and values in the order of the report: processor, kernel, limits, versions.
    pub machine: Vec<(String, String)>,
    pub rounds: usize,
    /// The length of each measurement. In the open loop it is three times as long.
    pub seconds: f64,
    /// The length of the load before each measurement, in seconds.
    pub warm_up: f64,
    /// The growth of `warm_up` for each connection, in seconds.
    pub warm_up_each: f64,
    /// The number of the generator's threads.
    pub threads: usize,
    pub workloads: Vec<Workload>,
    pub variants: Vec<Variant>,
}

/// A workload, as the report names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// The short, fixed name, as in `ping-pong-50`.
    pub name: String,
    /// A description, as in `50 connections, one 32-byte line at a time on each`.
    pub what: String,
    pub kind: Kind,
    /// The number of connections that carry the load.
    pub connections: usize,
    /// The number of further connections that are open and silent.
    pub idle: usize,
}

/// The kind of a workload. It decides the figure that counts, and the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One short line at a time on each connection. The figure is lines per second.
    PingPong,
    /// Many lines in flight on each connection. The figure is lines per second.
    Pipelined,
    /// Long lines, or mixed lengths. The figure is lines per second.
    Lengths,
    /// Connect, one line, close. The figure is connections per second.
    Connects,
    /// Few active connections among many silent ones. The figures are latency and memory.
    Idle,
    /// Lines at a fixed rate. The figure is latency, from the time a line was due.
    Open,
}

/// A placement of the server and the generator on the cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Both run on all cores, scheduled by the kernel.
    Shared,
    /// As `Shared`, with the server under `chrt -b 0`.
    Batch,
    /// The server runs on the first core, the generator on the others.
    OneCore,
}

/// A server and its check.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// The short, fixed name, as in `tokio`.
    pub name: String,
    /// A description, as in `tokio, multi-threaded`.
    pub title: String,
    /// The way in which it waits for its connections.
    pub model: Model,
    /// The parts of the server, with versions.
    pub version: String,
    /// The path of its source in this package, or its address if it was already running.
    pub source: String,
    /// The command that starts it.
    pub start: String,
    /// The reason why it could not be measured here.
    pub absent: Option<String>,
    /// The rows of the check, in their order. Empty for an absent server and for the reflector.
    pub check: Vec<Row>,
}

/// The way in which a server waits for its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// A blocking thread for each connection.
    Threads,
    /// One event loop on one thread.
    Loop,
    /// Several event loops on several threads.
    Loops,
    /// Unknown, because the server was already running.
    Unknown,
    /// Not a peer. Returns bytes unread, to show the limit of the generator.
    Reflector,
}

/// One row of the check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub passed: bool,
    /// If the row failed, the observation that made it fail.
    pub seen: String,
}

/// One server under one workload, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    pub server: String,
    pub workload: String,
    pub variant: Variant,
    /// The number of the round, from 0.
    pub round: usize,
    pub outcome: Outcome,
}

/// The figures of a measurement, or the reason why there are none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Figures(Box<Figures>),
    /// The server died, did not start, or served nothing. The text names the first fault.
    Failed(String),
    /// Not tried. The text says what this machine, this server or this workload lacks.
    Skipped(String),
}

/// The figures of one measurement.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    pub load: Sample,
    /// `None` for a server that was already running.
    pub server: Option<ServerUse>,
    pub generator: GeneratorUse,
    /// The share of this machine's processor time that was not idle and that neither the server nor
    /// the generator used: other programs, interrupts, the host. `None` for a server that was
    /// already running, and if the kernel does not say.
    pub others: Option<f64>,
}

/// The load and its answers within the measured time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// The length of the measured time.
    pub seconds: f64,
    /// The number of lines that were answered correctly. If each connection carries one line, the
    /// number of connections.
    pub done: u64,
    /// The same count from the first connection on, with set-up and warm-up.
    pub total: u64,
    /// `done` per second.
    pub rate: f64,
    /// In the open loop, the rate that was asked for.
    pub intended_rate: Option<f64>,
    pub latency: Latency,
    pub errors: Errors,
}

/// The latencies of lines. A latency begins when the line was written (closed loop), when it was
/// due (open loop), or when its connection was begun (a connection for each line).
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
    /// The whole curve for drawing: quantiles from 0 to 1, each with its latency.
    pub quantiles: Vec<(f64, u64)>,
}

/// The counts of everything that was not a correct answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// Connections that got an unexpected byte. Each is given up at that byte.
    pub wrong: u64,
    /// Connections that the server closed.
    pub closed: u64,
    /// Connections that could not be made.
    pub refused: u64,
    /// Lines that were still unanswered some time after the end.
    pub unanswered: u64,
}

impl Errors {
    pub fn total(&self) -> u64 {
        self.wrong + self.closed + self.refused + self.unanswered
    }
}

impl Display for Errors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            wrong,
            closed,
            refused,
            unanswered,
        } = self;
        write!(
            f,
            "{wrong} wrong, {closed} closed, {refused} refused, {unanswered} unanswered"
        )
    }
}

/// The server's use of the machine: counts within the measured time, sizes at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerUse {
    pub cpu: u64,
    /// The voluntary and involuntary switches of all threads, from the start of the process to its
    /// end. Divide it by [`Sample::total`].
    pub context_switches: u64,
    /// Counted under strace in runs of their own, in the usual placement.
    pub system_calls_per_line: Option<f64>,
    pub threads: u64,
    pub resident: u64,
    /// Resident memory before the first connection.
    pub resident_before: u64,
    /// The size of the page tables.
    pub page_tables: u64,
    pub page_tables_before: u64,
    /// Threads before the first connection.
    pub threads_before: u64,
    /// The size of all mapped addresses. Most have no memory behind them.
    pub virtual_size: u64,
}

/// The generator's use of the machine in the measured time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct GeneratorUse {
    pub threads: usize,
    /// The processor time of all its threads.
    pub cpu: u64,
    /// The share of the measured time in which its busiest thread ran.
    pub busy: f64,
    /// The share in which that thread was ready to run but had no processor, because server threads
    /// used them all. If both shares add up to 1, the generator never waited for the server.
    pub starved: f64,
}

impl Record {
    /// Writes the record as one line, and flushes it.
    pub fn append(&self, mut file: impl Write) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');

        file.write_all(&line)?;
        file.flush()?;
        Ok(())
    }

    /// Reads the records of a raw file. A last line that is cut is left out, because a run may end
    /// anywhere.
    pub fn read_all(mut file: impl BufRead) -> anyhow::Result<Vec<Self>> {
        let mut records = Vec::new();
        let mut line = String::new();

        while file.read_line(&mut line)? > 0 {
            if !line.ends_with('\n') {
                break;
            }

            let record = serde_json::from_str(&line)
                .with_context(|| format!("line {} is not a record", records.len() + 1))?;
            if let Self::Run(Run { schema, .. }) = &record
                && *schema != SCHEMA
            {
                bail!("the file has schema {schema}, but this program reads schema {SCHEMA}");
            }

            records.push(record);
            line.clear();
        }

        if !matches!(records.first(), Some(Self::Run(_))) {
            bail!("the file does not begin with the record of a run");
        }

        Ok(records)
    }
}
