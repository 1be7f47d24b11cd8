//! The command line: options, help and logging. Nothing here knows how a server works.

mod arguments;
mod help;
mod log_queue;
mod logging;
mod notify;
mod options;
mod supervisor;
mod values;

pub(crate) use arguments::{Invocation, parse};
pub(crate) use help::greeting;
pub(crate) use logging::{one_line, start as start_logging};
pub(crate) use notify::ServiceManager;
pub(crate) use options::Settings;
pub(crate) use supervisor::start as start_supervisor;
