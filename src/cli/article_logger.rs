//! Log lines in the article's format, through `simplelog`.
//!
//! `simplelog` writes a line in pieces, under a lock, and escapes nothing. So the whole line is
//! composed first. A `Display` that panics then does so outside of the lock, and control characters
//! cannot forge lines. The sink of `simplelog` joins the pieces to lines again.

use std::cell::{Cell, OnceCell};
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use super::log_queue::LineSink;
use super::settings::LogTime;
use super::{LOG_TARGET, log_time};

thread_local! {
    /// This thread is inside of `simplelog`, which holds its lock.
    static IS_INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Writes lines as `"%(created)-15s %(levelname)8s %(thread)d %(name)s %(message)s"`.
pub(super) struct ArticleLogger {
    level: LevelFilter,
    time: LogTime,
    inner: Box<WriteLogger<WholeLines>>,
    /// The sink of `inner`, to be used without its lock.
    sink: Arc<dyn LineSink>,
}

impl ArticleLogger {
    pub(super) fn new(level: LevelFilter, time: LogTime, sink: Arc<dyn LineSink>) -> Self {
        let mut config = ConfigBuilder::new();
        config
            .set_max_level(LevelFilter::Off)
            .set_thread_level(LevelFilter::Off)
            .set_target_level(LevelFilter::Off)
            .set_location_level(LevelFilter::Off)
            .set_time_level(LevelFilter::Off);

        let lines = WholeLines {
            sink: Arc::clone(&sink),
            line: Vec::new(),
        };

        Self {
            level,
            time,
            // The levels are ours to filter: some lines pass whatever their level.
            inner: WriteLogger::new(LevelFilter::Trace, config.build(), lines),
            sink,
        }
    }

    /// Logs a line of the program, whatever its level.
    pub(super) fn always(&self, level: Level, message: fmt::Arguments<'_>) {
        self.write(&record(level).args(message).build());
    }

    /// Composes a line of the program, with its end.
    pub(super) fn line(&self, level: Level, message: fmt::Arguments<'_>) -> Vec<u8> {
        let line = self.compose(&record(level).args(message).build());
        (line + "\n").into()
    }

    fn write(&self, record: &Record<'_>) {
        let line = self.compose(record);

        // A panic inside of `simplelog` comes here again, through the panic hook.
        if IS_INSIDE.replace(true) {
            self.sink.put((line + "\n").into());
            return;
        }
        // In one expression, since in Rust 1.88 format_args cannot outlive its statement.
        self.inner.log(
            &Record::builder()
                .level(record.level())
                .args(format_args!("{line}"))
                .build(),
        );
        IS_INSIDE.set(false);
    }

    fn compose(&self, record: &Record<'_>) -> String {
        let mut line = String::with_capacity(128);

        let now = SystemTime::now();
        let _ = match self.time {
            LogTime::Epoch => write!(line, "{:<15} ", log_time::epoch(now)),
            LogTime::Rfc3339 => write!(line, "{} ", log_time::rfc3339(now)),
            LogTime::None => Ok(()),
        };

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
}

fn record<'a>(level: Level) -> log::RecordBuilder<'a> {
    let mut record = Record::builder();
    record.level(level).target(LOG_TARGET);
    record
}

impl Log for ArticleLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= self.level
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.write(record);
        }
    }

    fn flush(&self) {
        self.sink.flush();
    }
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
    use std::panic::{self, catch_unwind};
    use std::sync::{Mutex, OnceLock, mpsc};
    use std::time::Duration;

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
    /// Logs a line itself while it gets one, as the panic hook would if a write panicked.
    #[derive(Default)]
    struct Logs {
        lines: Lines,
        logger: OnceLock<ArticleLogger>,
    }

    impl LineSink for Logs {
        fn put(&self, line: Vec<u8>) {
            let is_first = self.lines.0.lock().unwrap().is_empty();
            self.lines.put(line);
            if is_first {
                let logger = self.logger.get().unwrap();
                logger.always(Level::Error, format_args!("panic"));
            }
        }
    }

    #[test]
    fn a_line_from_inside_of_the_logger_does_not_wait_for_itself() {
        let sink = Arc::new(Logs::default());
        let logger = ArticleLogger::new(LevelFilter::Info, LogTime::None, sink.clone());
        let _ = sink.logger.set(logger);

        let (done, is_done) = mpsc::channel();
        let thread = Arc::clone(&sink);
        std::thread::spawn(move || {
            let logger = thread.logger.get().unwrap();
            logger.always(Level::Info, format_args!("first"));
            logger.always(Level::Info, format_args!("last"));
            let _ = done.send(());
        });
        let waited = is_done.recv_timeout(Duration::from_secs(20));
        assert!(waited.is_ok(), "it waits for its own lock");

        let lines = sink.lines.0.lock().unwrap();
        let words = lines.iter().map(|line| line.rsplit(' ').next().unwrap());
        assert_eq!(words.collect::<Vec<_>>(), ["first\n", "panic\n", "last\n"]);
    }
}
