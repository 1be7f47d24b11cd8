//! Servers that echo lines, compared on the same work: `compare run` checks, measures and reports.
//!
//! The files in the order in which a figure comes about:
//!
//! | file | idea |
//! |---|---|
//! | `servers.rs` | who is compared, and how each is built and started |
//! | `check/` | what each has to get right first |
//! | `plan.rs` | the workloads, and in which placements |
//! | `load/` | connections that send lines and verify what comes back |
//! | `process.rs` | a server's process: started, placed, watched, ended |
//! | `processors.rs` | who had the processors: the server, the generator, nobody, or others |
//! | `syscalls.rs` | its system calls, counted apart |
//! | `machine.rs` | what this machine is, and whether it allows for the plan |
//! | `run.rs` | the rounds: who is measured when, and what is kept |
//! | `record.rs` | what was measured, as it is written down |
//! | `report/` | what was written down, made into pages |
//!
//! Linux only: a server's processor time, switches and memory are read as that kernel shows them.

mod check;
mod load;
mod machine;
mod plan;
mod process;
mod processors;
mod record;
mod report;
mod run;
mod servers;
mod syscalls;

use std::fs::{self, File};
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};

use load::{Load, Shape};
use plan::{Extent, Plan};
use process::Cores;
use record::Record;
use run::Task;
use servers::{ENTRIES, Places};

/// Compares servers that echo lines: checks each, measures it, and writes a report.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Check and measure all servers, and write a report
    Run(RunArguments),
    /// List the servers, and what keeps one from being measured here
    Servers,
    /// Check a server that is running: does it echo lines as it has to?
    Check {
        /// HOST:PORT
        address: String,
    },
    /// Put a load on a server that is running, and print what it did
    Load(LoadArguments),
    /// Make the report anew from a raw file
    Report {
        /// The raw-TIME.jsonl of a run
        raw: PathBuf,
        /// Folder to write report.html, .md, .json and .csv into; by default that of the raw file
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Args)]
struct RunArguments {
    /// How much time there is
    #[arg(long, value_enum, default_value = "full")]
    plan: Extent,
    /// Rounds, instead of the plan's
    #[arg(long, value_parser = at_least_one)]
    rounds: Option<usize>,
    /// Seconds of each measurement, instead of the plan's
    #[arg(long, value_parser = positive)]
    seconds: Option<f64>,
    /// Measure only these servers, as in synchat,tokio (see `compare servers`)
    #[arg(long, value_delimiter = ',')]
    servers: Vec<String>,
    /// Measure only these workloads, as in ping-pong-50,open-50
    #[arg(long, value_delimiter = ',')]
    workloads: Vec<String>,
    /// Leave these workloads out
    #[arg(long, value_delimiter = ',')]
    without: Vec<String>,
    /// HOST:PORT of a server that is running already, measured beside synchat, or beside --servers
    #[arg(long)]
    address: Option<String>,
    /// Threads of the generator; by default 1, and half the cores where there are more than 3
    #[arg(long, value_parser = at_least_one)]
    threads: Option<usize>,
    /// Folder for the raw file and the report, of one run at a time
    #[arg(long, default_value_os_t = project().join("target/compare"))]
    out: PathBuf,
    /// The project's own server
    #[arg(long, default_value_os_t = project().join("target/release/synchat"))]
    synchat: PathBuf,
}

#[derive(Args)]
struct LoadArguments {
    /// HOST:PORT
    address: String,
    /// Connections that carry the load
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    connections: usize,
    /// Connections that are open beside those and say nothing
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Lines in flight on each connection
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    #[arg(conflicts_with_all = ["rate", "connects"])]
    depth: usize,
    /// Open loop: so many lines a second, on all connections together
    #[arg(long, value_parser = positive, conflicts_with = "connects")]
    rate: Option<f64>,
    /// A connection for each line
    #[arg(long)]
    connects: bool,
    /// Length of the lines in bytes, without terminator; or a mix, as in 32x8,512x2,8000x1
    #[arg(long, default_value = "32")]
    length: String,
    /// Seconds of load before the measured time
    #[arg(long, default_value_t = 0.2, value_parser = not_negative)]
    warm_up: f64,
    /// Seconds of the measured time
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    seconds: f64,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    match carry_out(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn carry_out(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::Run(arguments) => run_all(arguments),
        Command::Servers => list_servers(),
        Command::Check { address } => check_one(&address),
        Command::Load(arguments) => load_one(&arguments),
        Command::Report { raw, out } => {
            let out = out.unwrap_or_else(|| raw.parent().unwrap_or(Path::new(".")).to_owned());
            let file = File::open(&raw).with_context(|| raw.display().to_string())?;
            let records = Record::read_all(BufReader::new(file))
                .with_context(|| raw.display().to_string())?;
            report::write(&records, &out)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

fn run_all(arguments: RunArguments) -> anyhow::Result<ExitCode> {
    let threads = match (arguments.threads, Cores::all()?.count()) {
        (Some(threads), _) => threads,
        (None, ..=3) => 1,
        (None, cores) => cores / 2,
    };
    let mut plan = Plan::new(arguments.plan, threads);
    plan.rounds = arguments.rounds.unwrap_or(plan.rounds);
    if let Some(seconds) = arguments.seconds {
        plan.last(Duration::from_secs_f64(seconds));
    }
    plan.choose(&arguments.workloads, &arguments.without)?;
    let running = match &arguments.address {
        Some(text) => vec![(text.clone(), resolve(text)?)],
        None => Vec::new(),
    };
    let servers = match (&arguments.servers[..], &running[..]) {
        ([], []) => ENTRIES.iter().collect(),
        ([], _) => vec![&ENTRIES[0]],
        (names, _) => servers::named(names)?,
    };
    let stop = stop_on_signals()?;
    run::run(&Task {
        entries: servers,
        running,
        places: places(&arguments.out, arguments.synchat, plan.connections()),
        plan,
        project: project(),
        out: arguments.out,
        stop: &stop,
    })?;
    Ok(if stop.load(Ordering::Relaxed) {
        ExitCode::from(130)
    } else {
        ExitCode::SUCCESS
    })
}

fn list_servers() -> anyhow::Result<ExitCode> {
    let out = project().join("target/compare");
    let places = places(&out, project().join("target/release/synchat"), 1);
    fs::create_dir_all(&places.built).with_context(|| places.built.display().to_string())?;
    for entry in ENTRIES {
        let state = match entry.prepare(&places) {
            Ok(program) => program.version,
            Err(why) => format!("absent: {why}"),
        };
        let _ = writeln!(
            io::stdout(),
            "{:<16} {:<30} {state}",
            entry.name,
            entry.title
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// The project that this package belongs to.
fn project() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .ancestors()
        .nth(2)
        .expect("it lies in tests/compare")
        .to_owned()
}

fn places(out: &Path, synchat: PathBuf, connections: usize) -> Places {
    let own = project().join("target/compare/venv/bin/python3");
    Places {
        package: env!("CARGO_MANIFEST_DIR").into(),
        built: out.join("bin"),
        synchat,
        connections,
        python: if own.exists() { own } else { "python3".into() },
    }
}

/// Set once this process is to end: by Ctrl-C, SIGTERM or SIGHUP. A second signal ends it at once.
fn stop_on_signals() -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&stop);
    ctrlc::set_handler(move || {
        if seen.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
    })?;
    Ok(stop)
}

fn check_one(address: &str) -> anyhow::Result<ExitCode> {
    let address = resolve(address)?;
    check::listens(address)?;
    let stop = stop_on_signals()?;
    let rows = check::check(address, &stop, &mut |row| {
        let verdict = if row.passed { "pass" } else { "FAIL" };
        let seen = if row.passed {
            String::new()
        } else {
            format!(": {}", row.seen)
        };
        let _ = writeln!(io::stdout(), "{verdict}  {}{seen}", row.name);
    });
    let passed = rows.iter().filter(|row| row.passed).count();
    let _ = writeln!(io::stdout(), "{passed} of {} rows", rows.len());
    Ok(if stop.load(Ordering::Relaxed) {
        ExitCode::from(130)
    } else if passed == rows.len() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn load_one(arguments: &LoadArguments) -> anyhow::Result<ExitCode> {
    let stop = stop_on_signals()?;
    let address = resolve(&arguments.address)?;
    let shape = match arguments.rate {
        Some(rate) => Shape::Open { rate },
        None if arguments.connects => Shape::Connects,
        None => Shape::Closed {
            depth: arguments.depth,
        },
    };
    let load = Load {
        connections: arguments.connections,
        idle: arguments.idle,
        shape,
        greets: false,
        lengths: lengths(&arguments.length)?,
        warm_up: Duration::from_secs_f64(arguments.warm_up),
        duration: Duration::from_secs_f64(arguments.seconds),
        threads: arguments.threads,
    };
    let (sample, generator) = load::run(address, &load, &stop, &mut ())?;
    let mut out = io::stdout().lock();
    let _ = if arguments.json {
        let both = serde_json::json!({"load": sample, "generator": generator});
        writeln!(out, "{both}")
    } else {
        let of = if arguments.connects {
            "connections"
        } else {
            "lines"
        };
        let (latency, errors) = (&sample.latency, &sample.errors);
        let us = |ns: u64| ns as f64 / 1e3;
        writeln!(
            out,
            "{:.0} {of} a second ({} in {:.2} s)\n\
             latency in us: p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}\n\
             errors: {} wrong, {} closed, {} refused, {} unanswered\n\
             generator: busy {:.0} % of the time",
            sample.rate,
            sample.done,
            sample.seconds,
            us(latency.p50),
            us(latency.p90),
            us(latency.p99),
            us(latency.p99_9),
            us(latency.max),
            errors.wrong,
            errors.closed,
            errors.refused,
            errors.unanswered,
            generator.busy * 100.0,
        )
    };
    Ok(if sample.errors.total() == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The first address of `HOST:PORT` that takes a connection, or else the first: `localhost` may be
/// two, with a server at one of them.
fn resolve(address: &str) -> anyhow::Result<SocketAddr> {
    let all: Vec<_> = address
        .to_socket_addrs()
        .with_context(|| format!("{address} is no address; give HOST:PORT"))?
        .collect();
    let takes =
        |address: &&SocketAddr| TcpStream::connect_timeout(address, Duration::from_secs(2)).is_ok();
    let tried = if all.len() > 1 {
        all.iter().find(takes)
    } else {
        None
    };
    tried
        .or(all.first())
        .copied()
        .with_context(|| format!("{address} has no address"))
}

/// `32`, or `32x8,512x2`: lengths and their weights.
fn lengths(text: &str) -> anyhow::Result<Vec<(usize, u32)>> {
    text.split(',')
        .map(|part| {
            let (length, weight) = part.split_once('x').unwrap_or((part, "1"));
            let lengths = (length.parse::<usize>(), weight.parse::<u32>());
            match lengths {
                (Ok(length), Ok(weight)) if length <= check::LIMIT && weight > 0 => {
                    Ok((length, weight))
                }
                _ => bail!(
                    "{part} is no length; give bytes up to {}, and a weight, as in 32x8",
                    check::LIMIT
                ),
            }
        })
        .collect()
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("give a number from 1 to 1000000".to_owned()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.01..=1e8).contains(&number) => Ok(number),
        _ => Err("give a number from 0.01 to 100000000".to_owned()),
    }
}

fn not_negative(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(number) if (0.0..=86_400.0).contains(&number) => Ok(number),
        _ => Err("give a number from 0 to 86400".to_owned()),
    }
}
