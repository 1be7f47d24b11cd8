//! Obeys signals, logs the report from time to time, and keeps the service manager informed.
//!
//! A separate thread does this, so the accept loop and the conversations never wait for it. The
//! thread waits neither for the log nor for the service manager, so it always obeys signals.

use std::process;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use synchat::{ServerHandle, Signal, Signals};

use super::LOG_TARGET;
use super::notify::{ServiceManager, Watchdog};
use super::settings::Settings;

/// The longest wait for a signal.
///
/// It also bounds how late a signal is noticed whose wake-up was lost. A wake-up is lost only if the
/// kernel runs out of memory.
const SELDOM: Duration = Duration::from_secs(5);

/// Starts the thread that obeys signals until the process ends.
///
/// SIGTERM and SIGINT stop the server. When it is stopping already, they end the process at once,
/// with exit code 1. SIGUSR1 logs the report. The service manager hears that the server stops, and
/// all the time that it is alive.
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
        let mut next_report = Instant::now() + interval;
        let mut watchdog = manager.watchdog();

        loop {
            let next_sign = watchdog.as_ref().map(Watchdog::next);
            let next = next_sign.map_or(next_report, |sign| sign.min(next_report));

            match signals.wait(next.saturating_duration_since(Instant::now())) {
                Some(Signal::Stop) if is_stopping => end_at_once(&handle),
                Some(Signal::Stop) => {
                    is_stopping = true;
                    // After `stop` the process can end at any time, so the news goes first.
                    log::info!(
                        target: LOG_TARGET,
                        "stop: answering what has arrived; a second signal ends at once"
                    );
                    let told = manager.send("STOPPING=1");
                    handle.stop();
                    manager.warn(told);
                    if let Some(watchdog) = &mut watchdog {
                        watchdog.trust_for(grace, Instant::now());
                    }
                }
                Some(Signal::Report) => log_report(&handle),
                None => {}
            }

            let now = Instant::now();
            if let Some(watchdog) = &mut watchdog
                && watchdog.is_due(handle.heartbeat(), now)
            {
                manager.tell("WATCHDOG=1");
            }

            if now >= next_report {
                next_report += interval;
                if report_interval.is_some() {
                    log_report(&handle);
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

fn log_report(handle: &ServerHandle) {
    log::info!(target: LOG_TARGET, "report: {}", handle.report());
}

fn end_at_once(handle: &ServerHandle) -> ! {
    log::warn!(
        target: LOG_TARGET,
        "stop: a second signal, ending at once: {}",
        handle.report()
    );
    log::logger().flush();
    process::exit(1)
}
