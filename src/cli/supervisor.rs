//! Obeys signals, logs the report from time to time, and keeps the service manager informed.
//!
//! A separate thread does this, so the accept loop and the conversations never wait for it. The
//! thread waits neither for the log nor for the service manager, so it always obeys signals. It runs
//! before the server is bound: to find the address of a host can take long, and a stop must end that.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use log::Level;
use synchat::{ServerHandle, Signal, Signals};

use super::logging;
use super::news::News;
use super::notify::{ServiceManager, Watchdog};
use super::settings::Settings;

/// The longest wait for a signal.
///
/// It also bounds how late a signal is noticed whose wake-up was lost. A wake-up is lost only if the
/// kernel runs out of memory.
const SELDOM: Duration = Duration::from_secs(5);

/// The longest wait for a signal until the server is bound.
const OFTEN: Duration = Duration::from_millis(20);

/// Two stop signals within this time are one request. GNU `timeout` signals its child and then the
/// child's group, and wrappers pass on what the terminal has sent already. A person takes longer.
pub(crate) const ONE_REQUEST: Duration = Duration::from_millis(250);

/// The most time between the end of the grace period and the end of the process: conversations are
/// ended by force, and refused peers read why.
const FORCED_END: Duration = Duration::from_secs(3);

/// The time for the server to be bound after a stop. Then the process ends without it.
const LAST_CHANCE: Duration = Duration::from_millis(100);

/// The patience with the log at the end, as in [`logging::last`].
const PATIENCE: Duration = Duration::from_secs(1);

/// The thread that obeys signals, as the main thread sees it.
pub(crate) struct Supervisor(Arc<Mutex<State>>);

/// What the main thread and the supervisor tell each other.
struct State {
    /// `None` until the server is bound.
    handle: Option<ServerHandle>,
    /// The first stop signal came at this time.
    stopped_at: Option<Instant>,
    /// The last line is logged, so nothing else must be.
    is_over: bool,
    news: News,
}

impl Supervisor {
    /// Starts the thread, which obeys signals until the process ends.
    ///
    /// - SIGTERM and SIGINT stop the server. Again, and not at once, they end the process with exit
    ///   code 1. Before the server is bound they end it with exit code 0.
    /// - SIGHUP opens the log's file again. Without such a file it stops the server.
    /// - SIGUSR1 logs the report.
    ///
    /// The service manager hears that the server is ready, that it stops, and all the time that it
    /// is alive.
    pub(crate) fn start(
        signals: Signals,
        settings: &Settings,
        manager: ServiceManager,
    ) -> Result<Self, String> {
        let state = Arc::new(Mutex::new(State {
            handle: None,
            stopped_at: None,
            is_over: false,
            news: News::new(manager),
        }));
        let watch = Watch {
            signals,
            state: Arc::clone(&state),
            has_log_file: settings.logging.file.is_some(),
            grace: settings.grace,
            report_interval: settings.report_interval,
            next_report: None,
            watchdog: None,
        };

        thread::Builder::new()
            .name("supervisor".to_owned())
            .spawn(move || watch.run())
            .map_err(|error| format!("cannot start a thread: {error}"))?;

        Ok(Self(state))
    }

    /// Hands over the server, which is bound, and tells the service manager that it is ready.
    /// Returns `false` if it was told to stop meanwhile.
    pub(crate) fn serves(&self, handle: ServerHandle) -> bool {
        let mut state = lock(&self.0);
        let is_wanted = state.stopped_at.is_none();
        if is_wanted {
            state.news.tell("READY=1", Instant::now());
        } else {
            handle.stop();
        }
        state.handle = Some(handle);

        is_wanted
    }

    /// Logs the last line of the process. No signal can make the supervisor log another line.
    pub(crate) fn logs_last(&self, report: &synchat::Report) {
        lock(&self.0).is_over = true;
        logging::last(Level::Info, format_args!("report: {report}"), PATIENCE);
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The supervisor's side.
struct Watch {
    signals: Signals,
    state: Arc<Mutex<State>>,
    has_log_file: bool,
    grace: Duration,
    /// `None`: no reports without a signal.
    report_interval: Option<Duration>,
    /// `None` until the server is bound.
    next_report: Option<Instant>,
    /// `None` until the server is bound, or if the service manager does not watch.
    watchdog: Option<Watchdog>,
}

impl Watch {
    fn run(mut self) {
        logging::never_wait_here();
        let state = Arc::clone(&self.state);
        let mut next = Instant::now();

        loop {
            let wait = next.saturating_duration_since(Instant::now());
            let signal = self.signals.wait(wait);

            // While it has the lock, the main thread does not log its last line.
            let mut state = lock(&state);
            if let Some(signal) = signal {
                self.obey(signal, &mut state);
            }
            next = self.tend(&mut state, Instant::now());
        }
    }

    fn obey(&mut self, signal: Signal, state: &mut State) {
        match signal {
            Signal::Stop => self.stop(state),
            Signal::Hangup if !self.has_log_file => self.stop(state),
            _ if state.is_over => {}
            Signal::Hangup => logging::open_again(),
            Signal::Report => state.log_report(),
            _ => {}
        }
    }

    fn stop(&mut self, state: &mut State) {
        let now = Instant::now();
        match state.stopped_at {
            Some(first) if now < first + ONE_REQUEST => return,
            Some(_) => state.end_at_once(),
            None => state.stopped_at = Some(now),
        }
        if state.is_over {
            return;
        }

        log::info!(
            target: super::LOG_TARGET,
            "stop: answering what has arrived; a second signal ends at once"
        );
        logging::stop_dropping();

        // After the order the process can end at any time, so the news goes first.
        state.news.tell("STOPPING=1", now);
        if let Some(handle) = &state.handle {
            handle.stop();
        }
        if let Some(watchdog) = &mut self.watchdog {
            watchdog.trust_for(self.grace + FORCED_END, now);
        }
    }

    /// Does what is due, and returns when to come again at the latest.
    fn tend(&mut self, state: &mut State, now: Instant) -> Instant {
        if state.is_over {
            return now + SELDOM;
        }
        let Some(handle) = &state.handle else {
            state.give_up_if_late(now);
            return now + OFTEN;
        };

        // The server is bound since the last time.
        if self.next_report.is_none() {
            self.next_report = Some(now + self.report_interval.unwrap_or(SELDOM));
            self.watchdog = state.news.watchdog(now);
        }

        if let Some(watchdog) = &mut self.watchdog
            && watchdog.is_due(handle.heartbeat(), now)
        {
            state.news.tell_now("WATCHDOG=1");
        }
        state.news.tend(now);

        // After a pause of the process one report is due, not one for each interval of the pause.
        if let Some(interval) = self.report_interval
            && self.next_report.is_some_and(|next| now >= next)
        {
            self.next_report = Some(now + interval);
            state.log_report();
        }

        let report = self.report_interval.and(self.next_report);
        let sign = self.watchdog.as_ref().map(Watchdog::next);
        let news = state.news.next();
        let next = [report, sign, news].into_iter().flatten().min();
        next.map_or(now + SELDOM, |next| next.min(now + SELDOM))
    }
}

impl State {
    fn log_report(&self) {
        if let Some(handle) = &self.handle {
            logging::always(Level::Info, format_args!("report: {}", handle.report()));
        }
    }

    /// Ends the process after a second stop signal.
    fn end_at_once(&self) -> ! {
        if let Some(handle) = &self.handle
            && !self.is_over
        {
            let report = handle.report();
            let line = format_args!("stop: a second signal, ending at once: {report}");
            logging::last(Level::Warn, line, PATIENCE / 2);
        }
        process::exit(1)
    }

    /// Ends the process if it was told to stop and the server is still not bound.
    fn give_up_if_late(&self, now: Instant) {
        if self.stopped_at.is_some_and(|at| now >= at + LAST_CHANCE) {
            let line = format_args!("stop: before the server could listen");
            logging::last(Level::Info, line, PATIENCE);
            process::exit(0)
        }
    }
}
