//! The log: the article's line format, through `simplelog`.
//!
//! `simplelog` formats into its sink under a lock, piece by piece, and escapes nothing. So a line is composed first:
//! a value whose `Display` panics does that outside of the lock, control characters cannot forge lines, and the
//! sink below makes of the pieces one write. What cannot be written (the disk is full, standard error is closed) is lost,
//! and nobody else hears of it.

use std::cell::OnceCell;
use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
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
    let mut config = ConfigBuilder::new();
    config
        .set_max_level(LevelFilter::Off)
        .set_thread_level(LevelFilter::Off)
        .set_target_level(LevelFilter::Off)
        .set_location_level(LevelFilter::Off)
        .set_time_level(match settings.time {
            LogTime::Rfc3339 => LevelFilter::Error,
            LogTime::Epoch | LogTime::None => LevelFilter::Off,
        })
        .set_time_format_rfc3339();
    let inner = WriteLogger::new(
        settings.level,
        config.build(),
        WholeLines {
            sink,
            line: Vec::new(),
        },
    );
    let logger = ArticleLogger {
        inner,
        with_epoch: settings.time == LogTime::Epoch,
    };
    log::set_boxed_logger(Box::new(logger)).map_err(|error| error.to_string())?;
    log::set_max_level(settings.level);
    panic::set_hook(Box::new(|panic| log::error!("panic: {panic}")));
    Ok(())
}

/// `"%(created)-15s %(levelname)8s %(thread)d %(name)s %(message)s"`
struct ArticleLogger {
    inner: Box<WriteLogger<WholeLines>>,
    with_epoch: bool,
}

impl Log for ArticleLogger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.inner.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = compose(record, self.with_epoch.then(SystemTime::now));
            let composed = format_args!("{line}");
            self.inner.log(
                &Record::builder()
                    .level(record.level())
                    .args(composed)
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
    if line.contains(char::is_control) {
        line = line.chars().fold(String::new(), |mut line, char| {
            match char.is_control() {
                true => line.extend(char.escape_default()),
                false => line.push(char),
            }
            line
        });
    }
    line
}

/// This thread's number, in the order in which threads first log. `std` has one, too, but does not give it away.
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
