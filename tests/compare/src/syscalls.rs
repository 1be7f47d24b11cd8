//! Counts system calls per line with strace, in runs of their own.
//!
//! There is a short run and a longer one. The difference in calls is divided by the difference in
//! lines, so the calls of the start and of the connections cancel out. A traced server is many
//! times slower. An event loop may then find more connections ready at once than in the measured
//! runs, and make fewer calls per line. A server that adapts may behave differently.

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

/// The file that strace writes its table to.
pub const TABLE: &str = "strace.txt";

/// The most connections that are traced. strace stops and resumes the threads one by one.
pub const MOST_TRACED: usize = 50;

/// The lengths of the two runs.
const SHORT: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_millis(900);

/// Another program may disturb a try.
const TRIES: usize = 2;

/// The longest time that strace may take to write its table after the server has ended.
const SUMMARY: Duration = Duration::from_secs(5);

/// Returns the system calls per line of `program` under `load`.
///
/// # Errors
///
/// Returns an error if strace cannot trace, or if the server does not answer under it, or if two
/// runs differ too much in every try.
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

    Err(why.expect("there was at least one try"))
}

fn difference(
    program: &Program,
    load: &Load,
    folder: &Path,
    stop: &AtomicBool,
) -> anyhow::Result<f64> {
    let short = count(program, load, SHORT, folder, stop)?;
    let long = count(program, load, LONG, folder, stop)?;

    // The long run has three times the time. With fewer than twice the lines, something other than
    // lines makes the difference.
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
    // The table of an earlier run must not be mistaken for this one's.
    let table = folder.join(TABLE);
    let _ = fs::remove_file(&table);

    // With -D the server stays this process's child, and strace becomes the grandchild.
    let path = table.to_string_lossy();
    let strace = ["strace", "-D", "-f", "-c", "-U", "calls,name", "-o", &path];
    let process = Process::start(program, Variant::Shared, &strace, folder, stop)?;

    // Put the load on it. The server ends with the load.
    let load = Load {
        warm_up: Duration::ZERO,
        duration,
        ..load.clone()
    };
    let address = process.address;
    let mut ending = Ending(Some(process));
    let (sample, _) = load::run(address, &load, stop, &mut ending)?;

    // Wait for the table.
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

/// Ends the server while its connections are open. Otherwise chance would decide how many of their
/// ends it still handles.
struct Ending(Option<Process>);

impl Window for Ending {
    fn ends(&mut self) {
        self.0 = None;
    }
}

/// Reads the total from the last line of strace's table.
fn total(table: &str) -> Option<f64> {
    let line = table.strip_suffix('\n')?.lines().last()?;
    line.trim().strip_suffix(" total")?.trim().parse().ok()
}

/// Returns an error if strace is not installed.
pub fn available() -> anyhow::Result<()> {
    crate::servers::first_line(std::process::Command::new("strace").arg("--version"))
        .map(drop)
        .map_err(anyhow::Error::msg)
        .context("system calls are not counted")
}
