//! What goes on beside serving: signals are obeyed, the counts are logged from time to time, and a
//! service manager is told how things are.
//!
//! It has a thread of its own, so that the accept loop and the conversations never wait for it; and
//! it waits for nobody, neither the log nor the service manager, so that signals are always obeyed.

use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use synchat::{ServerHandle, Signal, Signals};

use super::notify::{ServiceManager, Watchdog};
use super::settings::Settings;

/// When nothing is to be done at regular times; and how late a signal is noticed whose wake-up was
/// lost, for which the kernel would have to run out of memory.
const SELDOM: Duration = Duration::from_secs(5);

/// Obeys signals until the process ends. SIGTERM and SIGINT stop the server, or, when it is
/// stopping already, end the process at once, with exit code 1. SIGUSR1 logs the counts. A service
/// manager is told that the server stops, and until then and meanwhile that it lives.
pub(crate) fn start(
    mut signals: Signals,
    handle: ServerHandle,
    settings: &Settings,
    manager: Arc<ServiceManager>,
) -> Result<(), String> {
    let (report_interval, grace) = (settings.report_interval, settings.grace);
    let watch = move || {
        let mut is_stopping = false;
        let interval = report_interval.unwrap_or(SELDOM);
        let mut next_stats = Instant::now() + interval;
        let mut watchdog = manager.watchdog();
        loop {
            let next_sign = watchdog.as_ref().map(Watchdog::next);
            let next = next_sign.map_or(next_stats, |sign| sign.min(next_stats));
            match signals.wait(next.saturating_duration_since(Instant::now())) {
                Some(Signal::Stop) if is_stopping => end_at_once(&handle),
                Some(Signal::Stop) => {
                    is_stopping = true;
                    // Once the order is given the process may end at any time.
                    log::info!("stop: answering what has arrived; once more ends at once");
                    let told = manager.send("STOPPING=1");
                    handle.stop();
                    manager.warn(told);
                    if let Some(watchdog) = &mut watchdog {
                        watchdog.trust_for(grace, Instant::now());
                    }
                }
                Some(Signal::Report) => log::info!("stats: {}", handle.report()),
                None => {}
            }
            let now = Instant::now();
            if let Some(watchdog) = &mut watchdog
                && watchdog.is_due(handle.heartbeat(), now)
            {
                manager.tell("WATCHDOG=1");
            }
            if now >= next_stats {
                next_stats += interval;
                if report_interval.is_some() {
                    log::info!("stats: {}", handle.report());
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

fn end_at_once(handle: &ServerHandle) -> ! {
    log::warn!("stop: a second time, ending at once: {}", handle.report());
    log::logger().flush();
    process::exit(1)
}
