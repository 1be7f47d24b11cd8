//! The program's log: where it goes, and the lines that are special.
//!
//! A line takes this way: [`ArticleLogger`] composes it, [`LogQueue`] keeps it, and the log's thread
//! writes it to [`Output`]. So a slow log never blocks a thread that logs. The cost is one copy of
//! each line, and the queued lines are lost when the process is killed.

use std::fmt;
use std::panic;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use log::Level;

use super::article_logger::ArticleLogger;
use super::log_backlog::Duty;
use super::log_output::Output;
use super::log_queue::{LineSink, LogQueue, never_wait};
use super::settings::Logging;
use super::{LOG_TARGET, complain};

/// The program's log, once it is started.
static LOG: OnceLock<ProgramLog> = OnceLock::new();

struct ProgramLog {
    logger: ArticleLogger,
    queue: Arc<LogQueue>,
}

/// Sends the crate's log lines, and panics, to the place that the settings name.
pub(crate) fn start(settings: &Logging) -> Result<(), String> {
    let output = Output::open(settings.file.as_deref())
        .map_err(|error| format!("cannot log to {}: {error}", settings.file_name()))?;
    let output = Arc::new(output);
    if !output.is_open() {
        complain(&format!(
            "{} is a pipe that nobody reads: log lines wait, and are lost if there are many",
            settings.file_name()
        ));
    }

    // The log's thread does not use the queue for its own lines, since it can be full again.
    let logger_to = |sink| ArticleLogger::new(settings.level, settings.time, sink);
    let unqueued = logger_to(Arc::clone(&output) as Arc<dyn LineSink>);
    let sink = Arc::clone(&output);
    let queue = LogQueue::start(sink, move |duty| attend(duty, &output, &unqueued))
        .map_err(|error| format!("cannot start the log's thread: {error}"))?;
    let queue = Arc::new(queue);

    let logger = logger_to(Arc::clone(&queue) as Arc<dyn LineSink>);
    let log = LOG.get_or_init(|| ProgramLog { logger, queue });
    log::set_logger(&log.logger).map_err(|error| error.to_string())?;
    log::set_max_level(settings.level);
    log_panics();
    Ok(())
}

/// Does the work of the log's thread beside writing lines.
fn attend(duty: &Duty, output: &Output, log: &ArticleLogger) {
    match duty {
        Duty::TellLost(lost) => log.always(
            Level::Warn,
            format_args!("log: lines_lost={lost}, the log is written too slowly"),
        ),
        Duty::Reopen => reopen(output, log),
    }
}

/// Opens the log's file again, for example after it was renamed. Both files say so.
fn reopen(output: &Output, log: &ArticleLogger) {
    let Some(path) = output.path().map(|path| path.display()) else {
        return;
    };

    match output.open_again() {
        Ok(file) => {
            if output.is_open() {
                let line = format_args!("log: closing this file at SIGHUP, to open {path} again");
                log.always(Level::Info, line);
            }
            output.continue_in(file);
            log.always(Level::Info, format_args!("log: opened {path} at SIGHUP"));
        }
        Err(error) => log.always(
            Level::Warn,
            format_args!("log: cannot open {path} at SIGHUP, so the old file stays open: {error}"),
        ),
    }
}

fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        // The line has the number of the thread, so it belongs to the connection of that number.
        log::error!(target: LOG_TARGET, "panic: {panic}");

        // A panic within a panic aborts the process, so the line must be written now. If the log
        // stands still, this thread waits for a second.
        log::logger().flush();
    }));
}

/// Logs a line that was asked for, such as a report, even if `--quiet` hides others of its level.
pub(crate) fn always(level: Level, message: fmt::Arguments<'_>) {
    if let Some(log) = LOG.get() {
        log.logger.always(level, message);
    }
}

/// Logs the last line of the process. It waits until all is written, for at most twice this time.
pub(crate) fn last(level: Level, message: fmt::Arguments<'_>, patience: Duration) {
    if let Some(log) = LOG.get() {
        log.queue.close(log.logger.line(level, message), patience);
    }
}

/// Opens the log's file again, soon.
pub(crate) fn open_again() {
    if let Some(log) = LOG.get() {
        log.queue.reopen();
    }
}

/// From now on a log line waits a little if the queue is full, since the process is about to end.
pub(crate) fn stop_dropping() {
    if let Some(log) = LOG.get() {
        log.queue.stop_dropping();
    }
}

/// From now on the log lines of this thread do not wait in any case.
pub(crate) fn never_wait_here() {
    never_wait();
}
