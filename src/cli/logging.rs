//! The log: the article's line format, through `simplelog`.
//!
//! `simplelog` formats into its sink under a lock, piece by piece, and escapes nothing. So a line
//! is composed first: a value whose `Display` panics does that outside of the lock, control
//! characters cannot forge lines, and the sink below makes of the pieces one write. What cannot be
//! written (the disk is full, standard error is closed) is lost, and nobody else hears of it.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::SystemTime;

use log::{Level, LevelFilter, Log, Metadata, Record};
use simplelog::{ConfigBuilder, WriteLogger};

use super::options::{LogTime, Logging};

/// Directs the crate's log, and panics, to where the settings say.
pub(crate) fn start(settings: &Logging) -> Result<(), String> {
    let sink: Box<dyn Write + Send> = match &settings.file {
        None => Box::new(io::stderr()),
        Some(path) => {
            let file = OpenOptions::new().append(true).create(true).open(path);
            Box::new(file.map_err(|error| format!("cannot log to {}: {error}", path.display()))?)
        }
    };
    let logger = ArticleLogger::new(settings.level, settings.time, sink);
    log::set_boxed_logger(Box::new(logger)).map_err(|error| error.to_string())?;
    log::set_max_level(settings.level);
    // A connection's thread is named after its peer.
    panic::set_hook(Box::new(|panic| {
        let thread = thread::current();
        log::error!(
            "panic: thread={} {panic}",
            thread.name().unwrap_or("unnamed")
        );
    }));
    Ok(())
}

/// `"%(created)-15s %(levelname)8s %(thread)d %(name)s %(message)s"`
struct ArticleLogger {
    inner: Box<WriteLogger<WholeLines>>,
    with_epoch: bool,
}

impl ArticleLogger {
    fn new(level: LevelFilter, time: LogTime, sink: Box<dyn Write + Send>) -> Self {
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
        let inner = WriteLogger::new(
            level,
            config.build(),
            WholeLines {
                sink,
                line: Vec::new(),
            },
        );
        Self {
            inner,
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
            // One expression: Rust 1.88 does not let format_args outlive its statement.
            self.inner.log(
                &Record::builder()
                    .level(record.level())
                    .args(format_args!("{line}"))
                    .build(),
            );
        }
    }

    fn flush(&self) {
        self.inner.flush();
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

/// The text with its control characters escaped, so that it is one line, and moves no cursor.
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

/// This thread's number, in the order in which threads first log. `std` has one, too, but does not
/// expose it.
fn thread_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local!(static NUMBER: OnceCell<u64> = const { OnceCell::new() });
    NUMBER.with(|number| *number.get_or_init(|| NEXT.fetch_add(1, Ordering::Relaxed)))
}

/// Passes on whole lines, each in one write, and no errors.
struct WholeLines {
    sink: Box<dyn Write + Send>,
    line: Vec<u8>,
}

impl Write for WholeLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.line.extend_from_slice(bytes);
        if bytes.ends_with(b"\n") {
            let _ = self.sink.write_all(&self.line);
            self.line.clear();
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
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps each write apart.
    #[derive(Clone, Default)]
    struct Writes(Arc<Mutex<Vec<String>>>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8(bytes.to_vec()).map_err(io::Error::other)?;
            self.0.lock().unwrap().push(text);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log_to(writes: &Writes, time: LogTime, level: Level, message: fmt::Arguments<'_>) {
        let logger = ArticleLogger::new(LevelFilter::Debug, time, Box::new(writes.clone()));
        logger.log(
            &Record::builder()
                .level(level)
                .target("name")
                .args(message)
                .build(),
        );
    }

    #[test]
    fn a_line_is_one_write_in_the_articles_format() {
        let writes = Writes::default();
        log_to(&writes, LogTime::None, Level::Info, format_args!("message"));
        log_to(
            &writes,
            LogTime::None,
            Level::Warn,
            format_args!("two\nlines and \u{1b}[31m"),
        );
        log_to(
            &writes,
            LogTime::None,
            Level::Trace,
            format_args!("below the level"),
        );
        log_to(
            &writes,
            LogTime::Epoch,
            Level::Debug,
            format_args!("message"),
        );
        log_to(
            &writes,
            LogTime::Rfc3339,
            Level::Error,
            format_args!("message"),
        );
        let lines = writes.0.lock().unwrap();
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
        let writes = Writes::default();
        let logger = ArticleLogger::new(LevelFilter::Info, LogTime::None, Box::new(writes.clone()));
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
            writes
                .0
                .lock()
                .unwrap()
                .concat()
                .ends_with("name still here\n")
        );
    }

    #[test]
    fn a_sink_that_fails_is_not_heard_of() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
        let mut lines = WholeLines {
            sink: Box::new(Full),
            line: Vec::new(),
        };
        assert_eq!(lines.write(b"half a line, ").unwrap(), 13);
        assert_eq!(lines.write(b"and the rest\n").unwrap(), 13);
        assert!(lines.line.is_empty());
    }
}
