//! System calls a line, counted by strace in runs of their own.
//!
//! Two runs, a short one and a longer one, so that the calls of the start and of the connections
//! fall out: the difference in calls, divided by the difference in lines. A traced server is many
//! times slower: loops which serve many connections at a time may find more of them ready at once
//! than in the measured runs, and take fewer calls a line; one that adapts may do something else.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::load::{self, Load, Window};
use crate::process::Process;
use crate::record::Variant;
use crate::servers::Program;

/// What strace writes.
pub const TABLE: &str = "strace.txt";

/// More connections than these are not traced: strace stops each thread and lets it go, one by one.
pub const MOST_TRACED: usize = 50;

/// Of the two runs.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_millis(900);

/// Something else on the machine may have come between.
const TRIES: usize = 2;

/// How long strace may take to write its table after the server has ended.
const SUMMARY: Duration = Duration::from_secs(5);

/// System calls a line of `program` under `load`.
///
/// # Errors
///
/// Where strace is not installed, or may not trace, or the server does not answer under it, or two
/// runs are not alike, several times.
pub fn per_line(
    program: &Program,
    load: &Load,
    folder: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<f64> {
    let mut why = None;
    for _ in 0..TRIES {
        match difference(program, load, folder, stop) {
            Err(error) if !stop.load(Ordering::Relaxed) => why = Some(error),
            done => return done,
        }
    }
    Err(why.expect("it was tried"))
}

fn difference(
    program: &Program,
    load: &Load,
    folder: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<f64> {
    let short = count(program, load, SHORT, folder, stop)?;
    let long = count(program, load, LONG, folder, stop)?;
    // In three times the time: with fewer than twice the lines the two are not alike, and their
    // difference is of something else than lines.
    if long.lines < 2.0 * short.lines || long.calls <= short.calls {
        bail!(
            "uneven under strace: {} lines and {} calls in {SHORT:?}, {} and {} in {LONG:?}",
            short.lines,
            short.calls,
            long.lines,
            long.calls
        );
    }
    Ok((long.calls - short.calls) / (long.lines - short.lines))
}

struct Count {
    calls: f64,
    lines: f64,
}

fn count(
    program: &Program,
    load: &Load,
    duration: Duration,
    folder: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<Count> {
    let table = folder.join(TABLE);
    // What an earlier run wrote is not to be taken for this one's.
    let _ = fs::remove_file(&table);
    let path = table.to_string_lossy();
    // With -D the server stays this process's child, and strace is the grandchild.
    let strace = ["strace", "-D", "-f", "-c", "-U", "calls,name", "-o", &path];
    let process = Process::start(program, Variant::Shared, &strace, folder, stop)?;
    let load = Load {
        warm_up: Duration::ZERO,
        duration,
        ..load.clone()
    };
    let address = process.address;
    let mut ending = Ending(Some(process));
    let (sample, _) = load::run(address, &load, stop, &mut ending)?;
    let deadline = Instant::now() + SUMMARY;
    loop {
        let text = fs::read_to_string(&table).unwrap_or_default();
        if let Some(calls) = total(&text) {
            return Ok(Count {
                calls,
                lines: sample.total as f64,
            });
        }
        if Instant::now() > deadline {
            bail!("strace wrote no table within {SUMMARY:?}");
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends the server while its connections are open: how far it would come with their ends is chance.
struct Ending(Option<Process>);

impl Window for Ending {
    fn ends(&mut self) {
        self.0 = None;
    }
}

/// The last line of strace's table.
fn total(table: &str) -> Option<f64> {
    let line = table.strip_suffix('\n')?.lines().last()?;
    line.trim().strip_suffix(" total")?.trim().parse().ok()
}

/// Whether strace is there at all.
pub fn available() -> anyhow::Result<()> {
    crate::servers::first_line(std::process::Command::new("strace").arg("--version"))
        .map(drop)
        .map_err(anyhow::Error::msg)
        .context("system calls are not counted")
}
