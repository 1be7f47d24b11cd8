//! What goes on beside serving: signals are obeyed, and the counts are logged from time to time.
//!
//! It has a thread of its own, so that the accept loop and the conversations never wait for it. The
//! log may stand still; so the order to stop is given first and logged then.

use std::process;
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Handle, Signal, Signals};

/// When nothing is to be done at regular times.
const SELDOM: Duration = Duration::from_secs(3600);

/// Obeys signals until the process ends. SIGTERM and SIGINT stop the server, or, when it is
/// stopping already, end the process at once, with exit code 1. SIGUSR1 logs the counts.
pub(crate) fn start(
    mut signals: Signals,
    handle: Handle,
    stats_interval: Option<Duration>,
) -> Result<(), String> {
    let watch = move || {
        let mut is_stopping = false;
        let interval = stats_interval.unwrap_or(SELDOM);
        let mut next = Instant::now() + interval;
        loop {
            match signals.wait(next.saturating_duration_since(Instant::now())) {
                Some(Signal::Stop) if is_stopping => end_at_once(&handle),
                Some(Signal::Stop) => {
                    is_stopping = true;
                    handle.stop();
                    log::info!("stop: answering what has arrived; once more ends at once");
                }
                Some(Signal::Report) => log::info!("stats: {}", handle.report()),
                None => {
                    next += interval;
                    if stats_interval.is_some() {
                        log::info!("stats: {}", handle.report());
                    }
                }
            }
        }
    };
    thread::Builder::new()
        .name("supervisor".to_owned())
        .spawn(watch)
        .map(drop)
        .map_err(|error| format!("cannot start a thread: {error}"))
}

fn end_at_once(handle: &Handle) -> ! {
    log::warn!("stop: a second time, ending at once: {}", handle.report());
    log::logger().flush();
    process::exit(1)
}
