//! The command line: options, help, logging and `ping`. Nothing here knows how a server works.

mod arguments;
mod command;
mod help;
mod log_queue;
mod logging;
mod notify;
mod options;
mod ping;
mod ping_options;
mod settings;
mod supervisor;
mod tally;
mod values;

/// The target of every log line of the program. It is a fixed word, like those of the library.
pub(crate) const LOG_TARGET: &str = "synchat";

pub(crate) use arguments::{Invocation, parse};
pub(crate) use help::greeting;
pub(crate) use logging::{one_line, start as start_logging};
pub(crate) use notify::ServiceManager;
pub(crate) use ping::ping;
pub(crate) use settings::Settings;
pub(crate) use supervisor::start as start_supervisor;
