//! Compares servers that echo lines, on the same work. `compare run` checks them, measures them and
//! writes a report.
//!
//! The files are in the order in which a figure is made:
//!
//! | file | idea |
//! |---|---|
//! | `servers.rs` | the servers, and how each is built and started |
//! | `check/` | the rows that every server should pass first |
//! | `plan.rs` | the workloads, and their placements |
//! | `load/` | the load generator: sends lines and compares the answers |
//! | `process.rs` | a server's process: started, placed, watched, ended |
//! | `processors.rs` | the use of the processors: server, generator, idle, others |
//! | `syscalls.rs` | a server's system calls, counted in runs of their own |
//! | `machine.rs` | this machine: a description, and a check of its limits |
//! | `run.rs` | the rounds: the order of the measurements |
//! | `record.rs` | the records of the raw file |
//! | `report/` | the pages, made from the records |
//!
//! Linux only. Processor time, context switches and memory are read from that kernel's interfaces.

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

/// Compares servers that echo lines. Checks each server, measures it, and writes a report.
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
    /// List the servers, and say why one cannot be measured here
    Servers,
    /// Check whether a running server echoes lines correctly
    Check {
        /// The server, as HOST:PORT
        address: String,
    },
    /// Put a load on a running server, and print its rate, latencies and errors
    Load(LoadArguments),
    /// Write the report again from a raw file
    Report {
        /// The raw file of a run, raw-TIME.jsonl
        raw: PathBuf,
        /// Folder for report.html, .md, .json and .csv; by default the folder of the raw file
        #[arg(long)]
        out: Option<PathBuf>,
    },
}

#[derive(Args)]
struct RunArguments {
    /// Which plan to carry out
    #[arg(long, value_enum, default_value = "full")]
    plan: Extent,
    /// Number of rounds, instead of the plan's
    #[arg(long, value_parser = at_least_one)]
    rounds: Option<usize>,
    /// Length of each measurement in seconds, instead of the plan's
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
    /// Also measure a running server at HOST:PORT, beside synchat, or beside --servers
    #[arg(long)]
    address: Option<String>,
    /// Threads of the load generator; by default 1, or half the cores on 4 cores or more
    #[arg(long, value_parser = at_least_one)]
    threads: Option<usize>,
    /// Folder for the raw file and the report; only one run at a time can use it
    #[arg(long, default_value_os_t = project().join("target/compare"))]
    out: PathBuf,
    /// Program file of synchat
    #[arg(long, default_value_os_t = project().join("target/release/synchat"))]
    synchat: PathBuf,
}

#[derive(Args)]
struct LoadArguments {
    /// The server, as HOST:PORT
    address: String,
    /// Connections that carry the load
    #[arg(long, default_value_t = 50, value_parser = at_least_one)]
    connections: usize,
    /// Further connections that are open and silent
    #[arg(long, default_value_t = 0)]
    idle: usize,
    /// Lines in flight on each connection
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    #[arg(conflicts_with_all = ["rate", "connects"])]
    depth: usize,
    /// Open loop: send this many lines per second, on all connections together
    #[arg(long, value_parser = positive, conflicts_with = "connects")]
    rate: Option<f64>,
    /// Make a new connection for each line
    #[arg(long)]
    connects: bool,
    /// Length of a line in bytes, without terminator; or a mix with weights, as in 32x8,512x2
    #[arg(long, default_value = "32")]
    length: String,
    /// Load before the measured time, in seconds
    #[arg(long, default_value_t = 0.2, value_parser = not_negative)]
    warm_up: f64,
    /// Measured time, in seconds
    #[arg(long, default_value_t = 2.0, value_parser = positive)]
    seconds: f64,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    threads: usize,
    /// Print the result as one JSON object
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

    // The plan, with the changes that were asked for.
    let mut plan = Plan::new(arguments.plan, threads);
    plan.rounds = arguments.rounds.unwrap_or(plan.rounds);
    if let Some(seconds) = arguments.seconds {
        plan.last(Duration::from_secs_f64(seconds));
    }
    plan.choose(&arguments.workloads, &arguments.without)?;

    // The servers. Without --servers, a running server is compared only with synchat.
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

/// Returns the folder of the project that this package belongs to.
fn project() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .ancestors()
        .nth(2)
        .expect("the package lies in tests/compare")
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

/// Returns a flag that Ctrl-C, SIGTERM or SIGHUP sets, so that this process ends in order. A second
/// signal ends it at once.
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

    // A reader that has gone away is no error.
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
            "{:.0} {of} per second ({} in {:.2} s)\n\
             latency in us: p50 {:.1}, p90 {:.1}, p99 {:.1}, p99.9 {:.1}, max {:.1}\n\
             errors: {} wrong, {} closed, {} refused, {} unanswered\n\
             load generator: busy {:.0} % of the time",
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

/// Returns the first address of `HOST:PORT` that accepts a connection, or else the first one.
/// `localhost` can have two addresses, with a server at only one of them.
fn resolve(address: &str) -> anyhow::Result<SocketAddr> {
    let all: Vec<_> = address
        .to_socket_addrs()
        .with_context(|| format!("{address} is not an address: give HOST:PORT"))?
        .collect();

    // Only several addresses need a try.
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
        .with_context(|| format!("no address was found for {address}"))
}

/// Reads lengths and their weights, as in `32` or `32x8,512x2`.
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
                    "{part} is not a length: give a number of bytes up to {}, and a weight if you \
                     like, as in 32x8",
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
