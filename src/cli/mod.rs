//! The command line: options, the log, signals and `ping`. Only this folder names `simplelog`.
//!
//! 1. `command.rs` says what an option is. `options.rs` and `ping_options.rs` are the two tables, and
//!    `settings.rs` the values that they set.
//! 2. `arguments.rs` parses, with `environment.rs` for the variables. `values.rs` and `terminators.rs`
//!    parse values, `nearest.rs` finds the word meant, `sources.rs` tells where a setting is from.
//! 3. `help.rs`, `man_page.rs` and `completions.rs` get these and `option_notes.rs` from `manual.rs`.
//! 4. `advice.rs` adds advice to an error, `complaint.rs` prints it. `activation.rs` is for systemd.
//! 5. `logging.rs` is the program's log: `article_logger.rs` composes a line, `log_time.rs` its time,
//!    `log_queue.rs` and `log_backlog.rs` keep a slow log from blocking anybody, `log_output.rs` writes.
//! 6. `supervisor.rs` obeys signals. `notify.rs` and `news.rs` tell the service manager.
//! 7. `ping.rs` is a client, with `awaited_echo.rs` and `tally.rs`.

mod activation;
mod advice;
mod arguments;
mod article_logger;
mod awaited_echo;
mod command;
mod complaint;
mod completions;
mod environment;
mod help;
mod log_backlog;
mod log_output;
mod log_queue;
mod log_time;
mod logging;
mod man_page;
mod manual;
mod nearest;
mod news;
mod notify;
mod option_notes;
mod options;
mod ping;
mod ping_options;
mod settings;
mod sources;
mod supervisor;
mod tally;
mod terminators;
mod values;

/// The target of every log line of the program. It is a fixed word, like those of the library.
pub(crate) const LOG_TARGET: &str = "synchat";

pub(crate) use activation::check as check_activation;
pub(crate) use advice::advise;
pub(crate) use arguments::{Invocation, parse};
pub(crate) use article_logger::one_line;
pub(crate) use complaint::complain;
pub(crate) use environment::warnings as environment_warnings;
pub(crate) use help::greeting;
pub(crate) use logging::start as start_logging;
pub(crate) use notify::ServiceManager;
pub(crate) use ping::ping;
pub(crate) use settings::Settings;
pub(crate) use sources::Sources;
pub(crate) use supervisor::Supervisor;
