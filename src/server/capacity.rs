//! The number of connections that the system can hold. A server never promises more.
//!
//! A connection needs a descriptor, and its thread needs four memory maps. If a new thread cannot map
//! its signal stack, the process aborts (rust-lang/rust#78497). So the limit of maps must never be
//! reached. Both limits are read from `/proc`. Where there is no `/proc`, nothing is known.

use std::fs;

use super::config::Config;
use crate::error::Error;
use crate::log_target::SERVER;

/// How many connections can be open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) connections: usize,
    /// 0 is no limit.
    pub(super) per_address: usize,
}

impl Room {
    /// Returns the room that the configuration asks for, if the system can hold it. A default that it
    /// cannot hold is lowered, with a warning.
    pub(super) fn within_capacity(config: &Config) -> Result<Self, Error> {
        let asked = config.max_connections.unwrap_or(Config::MAX_CONNECTIONS);
        let mut room = Self {
            connections: asked,
            per_address: config.max_per_address,
        };

        if let Some(capacity) = capacity().filter(|capacity| capacity.connections < asked as u64) {
            let limit = format!("{} of {}", capacity.limit, capacity.value);
            let possible = capacity.connections;
            if config.max_connections.is_some() || possible == 0 {
                return Err(Error::Capacity {
                    asked,
                    possible,
                    limit,
                });
            }

            log::warn!(
                target: SERVER,
                "max_connections lowered from {asked} to {possible}: {limit} allows no more"
            );
            room.connections = possible as usize;
        }
        Ok(room)
    }
}

/// A limit of the system, and the connections that it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Capacity {
    connections: u64,
    /// The name of the limit, which the operator can raise.
    limit: &'static str,
    value: u64,
}

/// Descriptors that are not for connections: the standard streams, the log, the listening socket, and
/// refused connections.
const OTHER_DESCRIPTORS: u64 = 32;
const MAPS_PER_CONNECTION: u64 = 4;
/// Maps of the program, of its libraries and heap, and of threads that are just ending.
const OTHER_MAPS: u64 = 1024;

/// Returns the strictest limit of the system, if any is known.
fn capacity() -> Option<Capacity> {
    let limits = fs::read_to_string("/proc/self/limits").ok();
    let descriptors = limits
        .as_deref()
        .and_then(open_files)
        .map(|value| Capacity {
            connections: value.saturating_sub(OTHER_DESCRIPTORS),
            limit: "RLIMIT_NOFILE, the number of open files (ulimit -n),",
            value,
        });

    let maps = fs::read_to_string("/proc/sys/vm/max_map_count").ok();
    let maps = maps.and_then(|text| text.trim().parse().ok());
    let maps = maps.map(|value: u64| Capacity {
        connections: value.saturating_sub(OTHER_MAPS) / MAPS_PER_CONNECTION,
        limit: "the number of memory maps (sysctl vm.max_map_count)",
        value,
    });

    let known = [descriptors, maps].into_iter().flatten();
    known.min_by_key(|capacity| capacity.connections)
}

/// Returns the soft limit of open files from the text of `/proc/self/limits`.
fn open_files(limits: &str) -> Option<u64> {
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"))?;

    match line.split_whitespace().nth(3)? {
        "unlimited" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_of_open_files_is_found() {
        let text = "Limit                     Soft Limit           Hard Limit           Units     \n\
                    Max cpu time              unlimited            unlimited            seconds   \n\
                    Max open files            1024                 524288               files     \n";
        assert_eq!(open_files(text), Some(1024));
        assert_eq!(
            open_files(&text.replace("1024 ", "unlimited ")),
            Some(u64::MAX)
        );
        assert_eq!(open_files("something else"), None);
    }
}
