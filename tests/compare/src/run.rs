//! Carries out a run: builds the servers, checks them, and measures them in rounds.
//!
//! Within a round each workload visits all servers, one right after the other. Each round begins
//! with another server, and every second round goes backwards, so no server always follows the same
//! one. Disturbances by other programs then hit all servers alike. The open loop comes after the
//! rest, because its rate follows from theirs. The other placements come last. Every record is
//! written as soon as it is known. A signal ends the run, and the report covers what there is.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Context, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::load::{self, Load, Window};
use crate::plan::{CAPACITY, MOST_OPEN, Plan, Planned, WARM_UP, WARM_UP_EACH};
use crate::process::{Cores, Process, Usage};
use crate::processors::Spent;
use crate::record::{
    Figures, GeneratorUse, Kind, Measurement, Model, Outcome, Record, Row, Run, SCHEMA, Sample,
    Server, ServerUse, Variant,
};
use crate::report::Stat;
use crate::servers::{Entry, Places, Program, first_line};
use crate::{check, machine, process, report, syscalls};

/// A run to carry out, and the folders for its files.
pub struct Task<'a> {
    pub plan: Plan,
    pub entries: Vec<&'static Entry>,
    /// Servers that are already running and are measured, too.
    pub running: Vec<(String, SocketAddr)>,
    pub places: Places,
    pub project: PathBuf,
    pub out: PathBuf,
    pub stop: &'a AtomicBool,
}

/// A server that takes part.
struct Contender {
    name: String,
    /// True if it passed every row of the check. Always false for a reflector, which has no rows.
    passes: bool,
    means: Means,
    /// The highest number of connections that it can hold.
    most_connections: usize,
}

/// The way to reach a contender.
enum Means {
    /// Start a new process for each measurement.
    Start(Program),
    /// Connect to a server that is already running.
    Running(SocketAddr),
}

/// A measurement of the schedule. Workload and contender are places in their lists.
struct Step {
    variant: Variant,
    round: usize,
    workload: usize,
    contender: usize,
}

/// Checks and measures all servers of the task. Writes the report, even if the run was stopped.
pub fn run(task: &Task<'_>) -> anyhow::Result<()> {
    machine::allow_for(&task.plan)?;
    for (_, address) in &task.running {
        check::listens(*address)?;
    }

    // The first record of the raw file describes the run.
    let built = &task.places.built;
    fs::create_dir_all(built).with_context(|| built.display().to_string())?;
    let mut book = Book::open(&task.out)?;
    book.add(Record::Run(Run {
        schema: SCHEMA,
        started: now(),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        commit: machine::commit(&task.project),
        machine: machine::describe()?,
        rounds: task.plan.rounds,
        seconds: task.plan.duration.as_secs_f64(),
        warm_up: WARM_UP.as_secs_f64(),
        warm_up_each: WARM_UP_EACH.as_secs_f64(),
        threads: task.plan.threads,
        workloads: task
            .plan
            .workloads
            .iter()
            .map(|planned| planned.workload.clone())
            .collect(),
        variants: task.plan.variants.clone(),
    }))?;

    // Whatever ends the run, report what was measured.
    let measured = admit_and_measure(task, &mut book);

    for scrap in [process::LAST_WORDS, syscalls::TABLE] {
        let _ = fs::remove_file(task.out.join(scrap));
    }

    report::write(&book.records, &task.out)?;
    println!("raw     {}", book.path.display());
    println!("report  {}", task.out.join("report.html").display());
    measured
}

fn admit_and_measure(task: &Task<'_>, book: &mut Book) -> anyhow::Result<()> {
    let contenders = admit(task, book)?;
    let calls = count_calls(task, &contenders);
    measure_all(task, &contenders, &calls, book)?;
    if !task.stopped() {
        book.add(Record::End { finished: now() })?;
    }
    Ok(())
}

/// Builds the servers and checks each of them. Returns those that take part.
fn admit(task: &Task<'_>, book: &mut Book) -> anyhow::Result<Vec<Contender>> {
    let mut contenders = Vec::new();
    for &entry in &task.entries {
        if task.stopped() {
            break;
        }
        let mut server = Server {
            name: entry.name.to_owned(),
            title: entry.title.to_owned(),
            model: entry.model,
            version: String::new(),
            source: entry.source.to_owned(),
            start: String::new(),
            absent: None,
            check: Vec::new(),
        };

        let prepared = entry.prepare(&task.places).and_then(|program| {
            server.version.clone_from(&program.version);
            server.start = program.command();
            let rows = check_once(task, entry, &program).map_err(|error| format!("{error:#}"))?;
            Ok((program, rows))
        });
        if task.stopped() {
            // The check was cut short, so its result means nothing.
            break;
        }

        match prepared {
            Ok((program, rows)) => {
                server.check = rows;
                if passes_none(&server.check) {
                    server.absent = Some("it passed no row of the check".to_owned());
                } else {
                    contenders.push(Contender {
                        name: server.name.clone(),
                        passes: passes_all(&server.check),
                        means: Means::Start(program),
                        most_connections: entry.most_connections,
                    });
                }
            }
            Err(why) => server.absent = Some(why),
        }

        announce(&server);
        book.add(Record::Server(server))?;
    }

    // Servers that are already running must pass at least one row.
    for (name, address) in &task.running {
        if task.stopped() {
            break;
        }
        let rows = check::check(*address, task.stop, &mut |_| {});
        if task.stopped() {
            break;
        }
        if passes_none(&rows) {
            bail!("{address} does not echo lines: it passed no row of the check");
        }

        let server = Server {
            name: name.clone(),
            title: format!("running at {address}"),
            model: Model::Unknown,
            version: "unknown".to_owned(),
            source: address.to_string(),
            start: "started by someone else".to_owned(),
            absent: None,
            check: rows,
        };
        announce(&server);
        contenders.push(Contender {
            name: name.clone(),
            passes: passes_all(&server.check),
            means: Means::Running(*address),
            most_connections: usize::MAX,
        });
        book.add(Record::Server(server))?;
    }
    if contenders.is_empty() && !task.stopped() {
        bail!("no server is left to measure: see above why each is absent");
    }

    Ok(contenders)
}

/// Starts a server and checks it. A reflector has no rows, because it does not know lines.
fn check_once(task: &Task<'_>, entry: &Entry, program: &Program) -> anyhow::Result<Vec<Row>> {
    let mut process = task.start(program, Variant::Shared)?;
    if entry.model == Model::Reflector {
        return Ok(Vec::new());
    }

    let rows = check::check(process.address, task.stop, &mut |_| {});
    match process.died() {
        Some(how) => bail!("it died during the check: {how}"),
        None => Ok(rows),
    }
}

fn passes_all(rows: &[Row]) -> bool {
    !rows.is_empty() && rows.iter().all(|row| row.passed)
}

fn passes_none(rows: &[Row]) -> bool {
    !rows.is_empty() && rows.iter().all(|row| !row.passed)
}

fn announce(server: &Server) {
    let Server {
        name,
        check,
        absent,
        ..
    } = server;
    let passed = check.iter().filter(|row| row.passed).count();

    match absent {
        Some(why) => println!("{name:<16} absent: {why}"),
        None if check.is_empty() => println!("{name:<16} not checked"),
        None => println!("{name:<16} passes {passed} of {} rows", check.len()),
    }
}

/// System calls per line, by contender and workload.
type Calls = HashMap<(usize, usize), f64>;

fn count_calls(task: &Task<'_>, contenders: &[Contender]) -> Calls {
    let mut calls = Calls::new();
    if !task.plan.counts_calls {
        return calls;
    }
    if let Err(error) = syscalls::available() {
        eprintln!("{error:#}");
        return calls;
    }

    // Only small closed workloads can be traced.
    let traced: Vec<_> = (0..task.plan.workloads.len())
        .filter(|&at| {
            let workload = &task.plan.workloads[at].workload;
            workload.connections + workload.idle <= syscalls::MOST_TRACED
                && workload.kind != Kind::Open
        })
        .collect();

    let progress = progress(contenders.len() * traced.len());
    for (who, contender) in contenders.iter().enumerate() {
        let Means::Start(program) = &contender.means else {
            continue;
        };
        for &at in &traced {
            if task.stopped() {
                break;
            }

            let planned = &task.plan.workloads[at];
            let what = format!("{}, {}", planned.workload.name, contender.name);
            say(&progress, &format!("system calls: {what}"));
            progress.inc(1);

            match syscalls::per_line(program, &planned.load(0.0), &task.out, task.stop) {
                Ok(count) => drop(calls.insert((who, at), count)),
                Err(_) if task.stopped() => break,
                Err(error) => {
                    progress.suspend(|| eprintln!("system calls: {what}: {error:#}"));
                }
            }
        }
    }
    progress.finish_and_clear();

    calls
}

fn measure_all(
    task: &Task<'_>,
    contenders: &[Contender],
    calls: &Calls,
    book: &mut Book,
) -> anyhow::Result<()> {
    let steps = schedule(&task.plan, contenders.len());
    let progress = progress(steps.len());
    for step in steps {
        let contender = &contenders[step.contender];
        let planned = &task.plan.workloads[step.workload];
        say(
            &progress,
            &format!(
                "round {}: {}, {}",
                step.round + 1,
                planned.workload.name,
                contender.name
            ),
        );

        // The rate of the open loop follows from the rounds before it.
        let rate = match planned.workload.kind {
            Kind::Open => open_rate(contenders, &book.records),
            _ => None,
        };
        let outcome = measure(task, contender, planned, step.variant, rate);
        if task.stopped() {
            // This measurement was cut short.
            break;
        }

        // System calls were counted before, in the usual placement only.
        let mut outcome = outcome.unwrap_or_else(|error| Outcome::Failed(format!("{error:#}")));
        match &mut outcome {
            Outcome::Figures(figures) => {
                if let Some(used) = &mut figures.server
                    && step.variant == Variant::Shared
                {
                    used.system_calls_per_line =
                        calls.get(&(step.contender, step.workload)).copied();
                }
            }
            Outcome::Failed(why) => progress.suspend(|| {
                eprintln!("{}, {}: {why}", contender.name, planned.workload.name);
            }),
            Outcome::Skipped(_) => {}
        }

        book.add(Record::Measurement(Measurement {
            server: contender.name.clone(),
            workload: planned.workload.name.clone(),
            variant: step.variant,
            round: step.round,
            outcome,
        }))?;
        progress.inc(1);
    }

    progress.finish_and_clear();
    Ok(())
}

/// Returns all measurements in their order.
fn schedule(plan: &Plan, contenders: usize) -> Vec<Step> {
    let mut steps = Vec::new();

    let mut add = |variant, chosen: &dyn Fn(&Planned) -> bool| {
        for round in 0..plan.rounds {
            for (workload, planned) in plan.workloads.iter().enumerate() {
                if chosen(planned) {
                    let first = round * contenders.div_ceil(plan.rounds);

                    steps.extend((0..contenders).map(|at| {
                        let place = (first + at) % contenders;
                        Step {
                            variant,
                            round,
                            workload,
                            contender: match round % 2 {
                                0 => place,
                                _ => contenders - 1 - place,
                            },
                        }
                    }));
                }
            }
        }
    };

    for &variant in &plan.variants {
        if variant == Variant::Shared {
            // The open loop comes last, because its rate follows from the rest.
            add(variant, &|planned| planned.workload.kind != Kind::Open);
            add(variant, &|planned| planned.workload.kind == Kind::Open);
        } else {
            add(variant, &|planned| planned.in_variants);
        }
    }
    steps
}

/// Measures one server under one workload, once.
///
/// # Errors
///
/// Returns an error if this measurement cannot be made. The next one may still succeed.
fn measure(
    task: &Task<'_>,
    contender: &Contender,
    planned: &Planned,
    variant: Variant,
    rate: Option<f64>,
) -> anyhow::Result<Outcome> {
    let workload = &planned.workload;

    // Some measurements cannot be made.
    let connections = workload.connections + workload.idle;
    if connections > contender.most_connections {
        return Ok(Outcome::Skipped(format!(
            "it holds at most {} connections",
            contender.most_connections
        )));
    }
    if let Err(why) = can_place(variant) {
        return Ok(Outcome::Skipped(why));
    }
    let load = match (workload.kind, rate) {
        (Kind::Open, None) => {
            return Ok(Outcome::Skipped(format!("{CAPACITY} was not measured")));
        }
        (_, rate) => planned.load(rate.unwrap_or_default()),
    };

    // A server that is already running has no process here to be read.
    let program = match &contender.means {
        Means::Start(program) => program,
        Means::Running(_) if variant != Variant::Shared => {
            return Ok(Outcome::Skipped(
                "it was not started here, so it cannot be placed".to_owned(),
            ));
        }
        Means::Running(address) => {
            let (load, generator) = put(&load, *address, variant, task.stop, &mut ())?;
            return Ok(figures(load, None, generator, None));
        }
    };

    // Put the load on a new process, and read its counters at the edges of the measured time.
    let mut process = task.start(program, variant)?;
    let before = process.usage();
    let mut watch = Watch {
        process: &process,
        begin: Spent::default(),
        end: Spent::default(),
        at_end: Usage::default(),
    };

    let put = put(&load, process.address, variant, task.stop, &mut watch);
    let Watch {
        begin, end, at_end, ..
    } = watch;
    if let Some(how) = process.died() {
        return Ok(Outcome::Failed(format!("it died: {how}")));
    }

    let (load, generator) = put?;

    let used = ServerUse {
        cpu: end.server - begin.server,
        context_switches: process.end()?,
        system_calls_per_line: None,
        threads: at_end.threads,
        resident: at_end.resident,
        resident_before: before.resident,
        page_tables: at_end.page_tables,
        page_tables_before: before.page_tables,
        threads_before: before.threads,
        virtual_size: at_end.virtual_size,
    };

    let others = end.others_since(&begin);
    Ok(figures(load, Some(used), generator, others))
}

fn figures(
    load: Sample,
    server: Option<ServerUse>,
    generator: GeneratorUse,
    others: Option<f64>,
) -> Outcome {
    if load.done == 0 {
        return Outcome::Failed(format!("it answered nothing: {}", load.errors));
    }

    Outcome::Figures(Box::new(Figures {
        load,
        server,
        generator,
        others,
    }))
}

/// Puts the load on a server, from the generator's cores.
fn put(
    load: &Load,
    address: SocketAddr,
    variant: Variant,
    stop: &AtomicBool,
    window: &mut dyn Window,
) -> anyhow::Result<(Sample, GeneratorUse)> {
    let all = Cores::all()?;
    Cores::of_generator(variant)?.adopt()?;

    let sample = load::run(address, load, stop, window);

    all.adopt()?;
    sample
}

/// Checks that this machine has what a placement needs. The error says what is missing.
fn can_place(variant: Variant) -> Result<(), String> {
    match variant {
        Variant::Shared => Ok(()),
        Variant::Batch => first_line(Command::new("chrt").arg("--version")).map(drop),
        Variant::OneCore => Cores::of_generator(variant)
            .map(drop)
            .map_err(|error| error.to_string()),
    }
}

/// Returns the rate of the open loop in lines per second: half the rate of the slowest correct
/// server in [`CAPACITY`], and at most [`MOST_OPEN`].
fn open_rate(contenders: &[Contender], records: &[Record]) -> Option<f64> {
    half_of_slowest(contenders, records).map(|rate| rate.clamp(1.0, MOST_OPEN))
}

fn half_of_slowest(contenders: &[Contender], records: &[Record]) -> Option<f64> {
    contenders
        .iter()
        .filter(|contender| contender.passes)
        .filter_map(|contender| {
            let rates = records.iter().filter_map(|record| match record {
                Record::Measurement(Measurement {
                    server,
                    workload,
                    variant: Variant::Shared,
                    outcome: Outcome::Figures(figures),
                    ..
                }) if *server == contender.name
                    && workload == CAPACITY
                    && figures.load.errors.total() == 0 =>
                {
                    Some(figures.load.rate)
                }
                _ => None,
            });

            Some(Stat::of(rates)?.median)
        })
        .min_by(f64::total_cmp)
        .map(|rate| (rate / 2.0).round())
}

/// Reads the server's and the machine's counters at the edges of the measured time.
struct Watch<'a> {
    process: &'a Process,
    begin: Spent,
    end: Spent,
    at_end: Usage,
}

impl Window for Watch<'_> {
    fn begins(&mut self) {
        self.begin = Spent::now(self.process);
    }

    fn ends(&mut self) {
        self.end = Spent::now(self.process);
        self.at_end = self.process.usage();
    }
}

impl Task<'_> {
    /// Returns true once a signal has asked for the end.
    fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn start(&self, program: &Program, variant: Variant) -> anyhow::Result<Process> {
        Process::start(program, variant, &[], &self.out, self.stop)
    }
}

/// The raw file and its records.
struct Book {
    file: File,
    /// The folder, locked as long as this value lives.
    _folder: File,
    path: PathBuf,
    records: Vec<Record>,
}

impl Book {
    /// Creates a new raw file with the time in its name, so the raw files of earlier runs stay.
    /// Refuses a second run in the same folder: the two would overwrite each other's files, and
    /// disturb each other's figures.
    fn open(folder: &Path) -> anyhow::Result<Self> {
        let locked = File::open(folder).with_context(|| folder.display().to_string())?;
        match locked.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => bail!(
                "another run is using {}: wait for it to end, or stop it",
                folder.display()
            ),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", folder.display()));
            }
        }

        let name = now().replace([':', '-'], "");
        let path = folder.join(format!("raw-{name}.jsonl"));
        let file = File::create_new(&path).with_context(|| path.display().to_string())?;

        Ok(Self {
            file,
            _folder: locked,
            path,
            records: Vec::new(),
        })
    }

    fn add(&mut self, record: Record) -> anyhow::Result<()> {
        record
            .append(&self.file)
            .with_context(|| self.path.display().to_string())?;
        self.records.push(record);
        Ok(())
    }
}

/// Returns the time as in RFC 3339: UTC, whole seconds.
fn now() -> String {
    humantime::format_rfc3339_seconds(SystemTime::now()).to_string()
}

/// Returns a progress bar for a terminal.
fn progress(steps: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:20} {pos}/{len}, {eta} left: {msg}")
        .expect("the template is right");

    let bar = ProgressBar::new(steps as u64).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(500));
    bar
}

/// Shows the current step. Without a terminal, prints only one line every 50 steps.
fn say(progress: &ProgressBar, what: &str) {
    progress.set_message(what.to_owned());
    if progress.is_hidden() && progress.position().is_multiple_of(50) {
        eprintln!(
            "{} of {}, {what}",
            progress.position(),
            progress.length().unwrap_or_default()
        );
    }
}
