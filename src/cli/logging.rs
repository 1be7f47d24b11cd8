//! The log, in the article's line format, through `simplelog`.
//!
//! `simplelog` writes a line in pieces, under a lock, and escapes nothing. So this module composes
//! the whole line first. A `Display` that panics then does so outside of the lock, and control
//! characters cannot forge lines.
//!
//! The sink below joins the pieces to lines again and puts each line into a queue. A separate thread
//! writes the queue out, so a slow log never blocks a thread that logs. The cost is one copy of each
//! line, and the queued lines are lost when the process is killed.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::mem;
use std::panic;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use super::LOG_TARGET;
use super::log_queue::{LineSink, LogQueue};
use super::settings::{LogTime, Logging};

/// Sends the crate's log lines, and panics, to the place that the settings name.
pub(crate) fn start(settings: &Logging) -> Result<(), String> {
    let sink = open(settings.file.as_deref())?;
    let logger_to = |sink| ArticleLogger::new(settings.level, settings.time, sink);

    // The log's thread does not use the queue for its own lines, since it can be full again.
    let unqueued = logger_to(Arc::clone(&sink));
    let queue = LogQueue::start(sink, move |lost| {
        log::warn!(
            logger: unqueued,
            target: LOG_TARGET,
            "log: lines_lost={lost}, the log is written too slowly"
        );
    })
    .map_err(|error| format!("cannot start the log's thread: {error}"))?;

    log::set_boxed_logger(Box::new(logger_to(Arc::new(queue))))
        .map_err(|error| error.to_string())?;
    log::set_max_level(settings.level);
    log_panics();
    Ok(())
}

fn open(file: Option<&Path>) -> Result<Arc<dyn LineSink>, String> {
    let Some(path) = file else {
        return Ok(Arc::new(io::stderr()));
    };

    match OpenOptions::new().append(true).create(true).open(path) {
        Ok(file) => Ok(Arc::new(file)),
        Err(error) => Err(format!("cannot log to {}: {error}", path.display())),
    }
}

fn log_panics() {
    panic::set_hook(Box::new(|panic| {
        // The thread of a conversation has the name of its peer.
        let thread = thread::current();
        log::error!(
            target: LOG_TARGET,
            "panic: thread={} {panic}",
            thread.name().unwrap_or("unnamed")
        );

        // A panic within a panic aborts the process, so the line must be written now. If the log
        // stands still, this thread waits for a second.
        log::logger().flush();
    }));
}

/// Writes lines as `"%(created)-15s %(levelname)8s %(thread)d %(name)s %(message)s"`.
struct ArticleLogger {
    inner: Box<WriteLogger<WholeLines>>,
    /// The sink of `inner`, for a flush without its lock.
    sink: Arc<dyn LineSink>,
    with_epoch: bool,
}

impl ArticleLogger {
    fn new(level: LevelFilter, time: LogTime, sink: Arc<dyn LineSink>) -> Self {
        let mut config = ConfigBuilder::new();
        config
            .set_max_level(LevelFilter::Off)
            .set_thread_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off)
            .set_time_level(match time {
                LogTime::Rfc3339 => LevelFilter::Error,
                LogTime::Epoch | LogTime::None => LevelFilter::Off,
            })
            .set_time_format_rfc3339();

        let lines = WholeLines {
            sink: Arc::clone(&sink),
            line: Vec::new(),
        };

        Self {
            inner: WriteLogger::new(level, config.build(), lines),
            sink,
            with_epoch: time == LogTime::Epoch,
        }
    }
}

impl Log for ArticleLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = compose(record, self.with_epoch.then(SystemTime::now));
            // In one expression, since in Rust 1.88 format_args cannot outlive its statement.
            self.inner.log(
                &Record::builder()
                    .level(record.level())
                    .args(format_args!("{line}"))
                    .build(),
            );
        }
    }

    fn flush(&self) {
        self.sink.flush();
    }
}

fn compose(record: &Record<'_>, created: Option<SystemTime>) -> String {
    let mut line = String::with_capacity(128);

    if let Some(created) = created.and_then(|time| time.duration_since(SystemTime::UNIX_EPOCH).ok())
    {
        let created = format!("{}.{:06}", created.as_secs(), created.subsec_micros());
        let _ = write!(line, "{created:<15} ");
    }

    let level = match record.level() {
        Level::Warn => "WARNING",
        level => level.as_str(),
    };
    let _ = write!(
        line,
        "{level:>8} {} {} {}",
        thread_number(),
        record.target(),
        record.args()
    );

    one_line(line)
}

/// Escapes the text's control characters, so it is one line and moves no cursor.
pub(crate) fn one_line(text: String) -> String {
    if !text.contains(char::is_control) {
        return text;
    }

    let mut line = String::with_capacity(text.len());
    for char in text.chars() {
        match char.is_control() {
            true => line.extend(char.escape_default()),
            false => line.push(char),
        }
    }

    line
}

/// Returns this thread's number, in the order in which threads first log. `std` has a number, too,
/// but does not expose it.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: OnceCell<u64> = const { OnceCell::new() });
    NUMBER.with(|number| *number.get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Passes on whole lines.
struct WholeLines {
    sink: Arc<dyn LineSink>,
    line: Vec<u8>,
}

impl Write for WholeLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.line.is_empty() {
            // With room for the line's end, most lines need one allocation.
            self.line.reserve(bytes.len() + 1);
        }
        self.line.extend_from_slice(bytes);

        if bytes.ends_with(b"\n") {
            self.sink.put(mem::take(&mut self.line));
        }

        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt;
    use std::panic::catch_unwind;
    use std::sync::Mutex;

    use super::*;

    /// Keeps each line apart.
    #[derive(Default)]
    struct Lines(Mutex<Vec<String>>);

    impl LineSink for Lines {
        fn put(&self, line: Vec<u8>) {
            self.0
                .lock()
                .unwrap()
                .push(String::from_utf8(line).unwrap());
        }
    }

    fn log_to(sink: &Arc<Lines>, time: LogTime, level: Level, message: fmt::Arguments<'_>) {
        let sink = Arc::clone(sink) as Arc<dyn LineSink>;
        let logger = ArticleLogger::new(LevelFilter::Debug, time, sink);
        logger.log(
            &Record::builder()
                .level(level)
                .target("name")
                .args(message)
                .build(),
        );
    }

    #[test]
    fn a_line_comes_whole_in_the_articles_format() {
        let sink = Arc::new(Lines::default());
        log_to(&sink, LogTime::None, Level::Info, format_args!("message"));
        log_to(
            &sink,
            LogTime::None,
            Level::Warn,
            format_args!("two\nlines and \u{1b}[31m"),
        );
        log_to(
            &sink,
            LogTime::None,
            Level::Trace,
            format_args!("below the level"),
        );
        log_to(&sink, LogTime::Epoch, Level::Debug, format_args!("message"));
        log_to(
            &sink,
            LogTime::Rfc3339,
            Level::Error,
            format_args!("message"),
        );
        let lines = sink.0.lock().unwrap();
        let thread = thread_number();
        assert_eq!(lines[0], format!("    INFO {thread} name message\n"));
        assert_eq!(
            lines[1],
            format!(" WARNING {thread} name two\\nlines and \\u{{1b}}[31m\n")
        );
        let (created, rest) = lines[2].split_once(' ').unwrap();
        assert!(
            created.len() >= 15 && created.parse::<f64>().unwrap() > 1.7e9,
            "{created}"
        );
        assert_eq!(rest, format!("   DEBUG {thread} name message\n"));
        let (created, rest) = lines[3].split_once(' ').unwrap();
        assert!(created.contains('T') && created.ends_with('Z'), "{created}");
        assert_eq!(rest, format!("   ERROR {thread} name message\n"));
        assert_eq!(lines.len(), 4);
    }

    #[test]
    fn a_value_that_panics_when_it_is_logged_does_not_silence_the_log() {
        struct Panics;
        impl fmt::Display for Panics {
            fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
                panic!("a Display panics")
            }
        }
        let sink = Arc::new(Lines::default());
        let logger = ArticleLogger::new(LevelFilter::Info, LogTime::None, sink.clone());
        let log = |message: fmt::Arguments<'_>| {
            logger.log(
                &Record::builder()
                    .level(Level::Info)
                    .target("name")
                    .args(message)
                    .build(),
            );
        };
        let panicked = catch_unwind(panic::AssertUnwindSafe(|| log(format_args!("{Panics}"))));
        assert!(panicked.is_err());
        log(format_args!("still here"));
        assert!(
            sink.0
                .lock()
                .unwrap()
                .concat()
                .ends_with("name still here\n")
        );
    }
}
