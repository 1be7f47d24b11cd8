//! The command line: options, help, logging and `ping`. Nothing here knows how a server works.

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
