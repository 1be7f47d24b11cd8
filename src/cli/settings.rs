//! The server's settings and their defaults.

use std::path::PathBuf;
use std::time::Duration;

use log::LevelFilter;
use synchat::{
    Address, HANDLERS, IpNetwork, Limits, NamedHandler, Overload, ServerOptions, Terminator,
};

/// The settings of a server.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) address: Address,
    pub(crate) handler: &'static NamedHandler,
    pub(crate) terminator: Terminator,
    pub(crate) limits: Limits,
    /// `None` means the default, or fewer if the system cannot hold as many.
    pub(crate) max_connections: Option<usize>,
    pub(crate) overload: Overload,
    /// 0 means no limit.
    pub(crate) max_per_address: usize,
    /// An empty list means everyone.
    pub(crate) allow: Vec<IpNetwork>,
    pub(crate) backlog: u32,
    /// `None` means the mode that the umask leaves.
    pub(crate) socket_mode: Option<u32>,
    pub(crate) grace: Duration,
    /// `None` means never.
    pub(crate) report_interval: Option<Duration>,
    pub(crate) stack_size: usize,
    pub(crate) spare_threads: usize,
    pub(crate) logging: Logging,
}

/// The settings of the log.
#[derive(Debug, Clone)]
pub(crate) struct Logging {
    pub(crate) level: LevelFilter,
    /// `None` means standard error.
    pub(crate) file: Option<PathBuf>,
    pub(crate) time: LogTime,
}

/// The time at the beginning of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogTime {
    Epoch,
    Rfc3339,
    None,
}

impl Logging {
    /// The name of the log's file, for an error.
    pub(crate) fn file_name(&self) -> String {
        let path = self.file.as_deref();
        path.map_or_else(String::new, |path| path.display().to_string())
    }
}

impl Settings {
    /// Checks that only a path gets a mode.
    pub(super) fn check_socket_mode(&self) -> Result<(), String> {
        match (self.socket_mode, self.address.as_path()) {
            (Some(mode), None) => Err(format!(
                "--socket-mode {mode:04o}: {} has no mode, only unix:PATH has",
                self.address
            )),
            _ => Ok(()),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            address: Address::Tcp(([127, 0, 0, 1], 7007).into()),
            handler: &HANDLERS[0],
            terminator: Terminator::CRLF,
            limits: Limits::default(),
            max_connections: None,
            overload: Overload::Refuse,
            max_per_address: 0,
            allow: Vec::new(),
            grace: Duration::from_secs(8),
            report_interval: None,
            backlog: ServerOptions::DEFAULT_REQUEST_QUEUE_SIZE,
            socket_mode: None,
            stack_size: ServerOptions::DEFAULT_STACK_SIZE,
            spare_threads: ServerOptions::DEFAULT_SPARE_THREADS,

            logging: Logging {
                level: LevelFilter::Info,
                file: None,
                time: LogTime::Epoch,
            },
        }
    }
}
