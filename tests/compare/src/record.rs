//! What is measured, as it is written down: one JSON value a line in `raw-TIME.jsonl`, in the order
//! in which it came to be known.
//!
//! The raw file is the truth: it is appended to as the run goes on, so an end at any moment loses
//! nothing, and the reports are made of it, now or later (`compare report`). Times are nanoseconds,
//! sizes bytes, unless the name says otherwise.

use std::fmt::{self, Display};
use std::io::{BufRead, Write};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

/// Goes up whenever a name or a meaning below changes.
pub const SCHEMA: u32 = 1;

/// A line of the raw file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// The first one: what is to be measured, where.
    Run(Run),
    /// A server, and what it passed, before any is measured.
    Server(Server),
    /// One server under one workload, once.
    Measurement(Measurement),
    /// The last one, of a run that came to its end.
    End {
        /// RFC 3339, UTC.
        finished: String,
    },
}

/// What is to be measured, where.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Run {
    pub schema: u32,
    /// RFC 3339, UTC.
    pub started: String,
    /// As it was typed.
    pub command: String,
    /// Of synchat; with `-dirty` where files differ from it.
    pub commit: String,
    /// Names and values, in the order in which they are shown: processor, kernel, limits, versions.
    pub machine: Vec<(String, String)>,
    pub rounds: usize,
    /// Of each measurement; in the open loop three times as long.
    pub seconds: f64,
    /// Of the load before it; and so much more for each connection.
    pub warm_up: f64,
    pub warm_up_each: f64,
    /// Of the generator.
    pub threads: usize,
    pub workloads: Vec<Workload>,
    pub variants: Vec<Variant>,
}

/// A workload, as the report names it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// Short and fixed: `ping-pong-50`.
    pub name: String,
    /// In words: `50 connections, one 32-byte line at a time each`.
    pub what: String,
    pub kind: Kind,
    /// That carry the load.
    pub connections: usize,
    /// That are open beside those and say nothing.
    pub idle: usize,
}

/// What a workload is about, and so which picture it is drawn into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One short line at a time on each connection: the figure is lines per second.
    PingPong,
    /// Many lines in flight on each: lines per second.
    Pipelined,
    /// Long lines, or lengths mixed: lines per second.
    Lengths,
    /// Connect, one line, close: connections per second.
    Connects,
    /// Few active among many silent: latency and memory.
    Idle,
    /// Lines at a fixed rate: latency from the time a line was due.
    Open,
}

/// A placement of server and generator on the processor's cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Variant {
    /// Both on all cores, as the kernel sees fit.
    Shared,
    /// As `Shared`, the server under `chrt -b 0`.
    Batch,
    /// The server on the first core, the generator on the others.
    OneCore,
}

/// A server, and what it passed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Server {
    /// Short and fixed: `tokio`.
    pub name: String,
    /// In words: `tokio, multi-threaded`.
    pub title: String,
    /// How it waits for its connections.
    pub model: Model,
    /// What it is built of, with versions.
    pub version: String,
    /// Its source within this package, or where it was running.
    pub source: String,
    /// How it is started.
    pub start: String,
    /// Why it could not be measured here.
    pub absent: Option<String>,
    /// The rows of the check, in their order; none where it is absent or has no lines.
    pub check: Vec<Row>,
}

/// How a server waits for its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Model {
    /// A thread for each, which blocks.
    Threads,
    /// One loop on one thread.
    Loop,
    /// Several loops, on several threads.
    Loops,
    /// Unknown: it was running already.
    Unknown,
    /// Not a peer: returns bytes as they are, to show what the generator can do.
    Reflector,
}

/// One row of the check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub name: String,
    pub passed: bool,
    /// What was seen instead, where it failed.
    pub seen: String,
}

/// One server under one workload, once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    pub server: String,
    pub workload: String,
    pub variant: Variant,
    /// From 0.
    pub round: usize,
    pub outcome: Outcome,
}

/// Figures, or why there are none.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Figures(Box<Figures>),
    /// The server died, did not start, or served nothing: the first thing that went wrong.
    Failed(String),
    /// Not tried: what this machine, this server or this workload lacks.
    Skipped(String),
}

/// What one measurement gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figures {
    pub load: Sample,
    /// Unknown for a server that was running already.
    pub server: Option<ServerUse>,
    pub generator: GeneratorUse,
    /// Share of this machine's processor time that neither of the two had, and that was not idle
    /// either: other programs, interrupts, the host. Unknown for a server that was running already,
    /// and where the kernel does not say.
    pub others: Option<f64>,
}

/// What the generator saw within the measured time.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Sample {
    /// Of the measured time.
    pub seconds: f64,
    /// Lines answered right, or, where each connection carries one, connections.
    pub done: u64,
    /// The same from the first connection on, with set-up and warm-up.
    pub total: u64,
    /// `done` a second.
    pub rate: f64,
    /// In the open loop, the rate that was asked for.
    pub intended_rate: Option<f64>,
    pub latency: Latency,
    pub errors: Errors,
}

/// How long lines took: from the moment that the line was written (closed loop), was due (open
/// loop) or its connection was begun.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Latency {
    pub count: u64,
    pub mean: f64,
    pub p50: u64,
    pub p90: u64,
    pub p99: u64,
    pub p99_9: u64,
    pub max: u64,
    /// The whole curve, for whoever draws it: quantile, in 0 to 1, and its latency.
    pub quantiles: Vec<(f64, u64)>,
}

/// Whatever was not a right answer in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors {
    /// Connections that got a byte other than the one expected; each is given up at that byte.
    pub wrong: u64,
    /// Connections that the server ended.
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

/// What the server's process used: counts within the measured time, sizes at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ServerUse {
    pub cpu: u64,
    /// Of all threads that there were, voluntary or not, from the start of the process to its end:
    /// to be divided by [`Sample::total`].
    pub context_switches: u64,
    /// Counted in runs of their own, under strace, in the usual placement.
    pub system_calls_per_line: Option<f64>,
    pub threads: u64,
    pub resident: u64,
    /// Resident before the first connection.
    pub resident_before: u64,
    /// Page tables.
    pub page_tables: u64,
    pub page_tables_before: u64,
    /// Threads before the first connection.
    pub threads_before: u64,
    /// Addresses in use, most of them without memory behind.
    pub virtual_size: u64,
}

/// What the generator used in the measured time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct GeneratorUse {
    pub threads: usize,
    /// Of all its threads.
    pub cpu: u64,
    /// Share of the measured time in which its busiest thread ran.
    pub busy: f64,
    /// Share in which that thread could have run, and had no processor: server threads had them.
    /// Where both add up to 1 it never waited for the server.
    pub starved: f64,
}

impl Record {
    /// Writes the record as one line, and to the disk's cache before it returns.
    pub fn append(&self, mut file: impl Write) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(self)?;
        line.push(b'\n');
        file.write_all(&line)?;
        file.flush()?;
        Ok(())
    }

    /// The records of a raw file. A last line that is cut is left out: a run may end anywhere.
    pub fn read_all(mut file: impl BufRead) -> anyhow::Result<Vec<Self>> {
        let mut records = Vec::new();
        let mut line = String::new();
        while file.read_line(&mut line)? > 0 {
            if !line.ends_with('\n') {
                break;
            }
            let record = serde_json::from_str(&line)
                .with_context(|| format!("line {} is no record", records.len() + 1))?;
            if let Self::Run(Run { schema, .. }) = &record
                && *schema != SCHEMA
            {
                bail!("it has schema {schema}, and this program reads {SCHEMA}");
            }
            records.push(record);
            line.clear();
        }
        if !matches!(records.first(), Some(Self::Run(_))) {
            bail!("it does not begin with a run");
        }
        Ok(records)
    }
}
