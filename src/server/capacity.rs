//! The number of connections that the system can hold. A server never promises more.
//!
//! A connection needs a descriptor, a thread, four memory maps of that thread, and memory. The limits
//! on these are read when a server is made, less what is used by then. Where a limit cannot be read,
//! it is not known. If a new thread cannot map its signal stack, the process aborts
//! (rust-lang/rust#78497). So the limits of maps and of address space must never be reached.
//!
//! In the folder `capacity`, `system_limit.rs` is one limit. `thread_limits.rs` and `memory_limits.rs`
//! find most of them, `process_status.rs` and `control_groups.rs` show where this process stands, and
//! `kernel_files.rs` reads all this.

mod kernel_files;
mod system_limit;

mod control_groups;
mod process_status;

mod memory_limits;
mod thread_limits;

use std::fs;

use self::memory_limits::{memory_limits, warn_of_too_little};
use self::process_status::ProcessStatus;
use self::system_limit::{SystemLimit, Unit};
use self::thread_limits::thread_limits;
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

        let strictest = known_limits(config)
            .into_iter()
            .min_by_key(SystemLimit::connections);
        if let Some(limit) = strictest.filter(|limit| limit.connections() < asked as u64) {
            let possible = limit.connections();
            if config.max_connections.is_some() || possible == 0 {
                return Err(Error::Capacity {
                    asked,
                    possible,
                    limit: limit.to_string(),
                });
            }

            log::warn!(
                target: SERVER,
                "max_connections lowered from {asked} to {possible}: {limit} allows no more"
            );
            room.connections = possible as usize;
        }

        warn_of_too_little(room.connections, config.memory(room.connections));
        Ok(room)
    }
}

/// Descriptors that come later and are not for connections: the log, the listening socket, and
/// refused connections.
const OTHER_DESCRIPTORS: u64 = 32;
const MAPS_PER_CONNECTION: u64 = 4;
/// Maps of the heap, and of threads that are just ending.
const OTHER_MAPS: u64 = 1024;

/// Returns all limits of the system that are known.
fn known_limits(config: &Config) -> Vec<SystemLimit> {
    let process = ProcessStatus::read();
    let mut limits = thread_limits(&process);

    limits.extend(limit_of_descriptors(&process));
    limits.extend(limit_of_files(&process));
    limits.extend(limit_of_maps());

    let (stack, buffers) = (config.stack_size as u64, config.limits.memory());
    limits.extend(memory_limits(&process, stack, buffers));
    limits
}

fn limit_of_descriptors(process: &ProcessStatus) -> Option<SystemLimit> {
    let value = process.soft_limit("Max open files")?;

    Some(SystemLimit {
        name: "RLIMIT_NOFILE, the number of open files (ulimit -n),".to_owned(),
        unit: Unit::Pieces,
        value,
        in_use: open_descriptors(value),
        reserve: OTHER_DESCRIPTORS,
        per_connection: 1,
    })
}

/// Returns how many descriptors are open. Those past the limit, which was higher then, take nothing
/// of it.
fn open_descriptors(limit: u64) -> u64 {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else {
        return 0;
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u64>().ok());

    // One of them is the directory that is being read.
    let open = numbers.filter(|number| *number < limit).count() as u64;
    open.saturating_sub(1)
}

/// Returns the limit of the machine, which a process with `CAP_SYS_ADMIN` does not have.
fn limit_of_files(process: &ProcessStatus) -> Option<SystemLimit> {
    const CAP_SYS_ADMIN: u32 = 21;
    if process.has_one_of(&[CAP_SYS_ADMIN]) {
        return None;
    }

    let (value, in_use) = files_in(&kernel_files::text("/proc/sys/fs/file-nr")?)?;
    Some(SystemLimit {
        name: "the open files of the machine (sysctl fs.file-max)".to_owned(),
        unit: Unit::Pieces,
        value,
        in_use,
        reserve: OTHER_DESCRIPTORS,
        per_connection: 1,
    })
}

/// Returns the limit and the number of open files, from the text of `/proc/sys/fs/file-nr`. The number
/// comes first, the limit last.
fn files_in(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.split_whitespace().map(|number| number.parse().ok());
    let in_use = numbers.next()??;

    Some((numbers.nth(1)??, in_use))
}

fn limit_of_maps() -> Option<SystemLimit> {
    Some(SystemLimit {
        name: "the number of memory maps (sysctl vm.max_map_count)".to_owned(),
        unit: Unit::Pieces,
        value: kernel_files::number("/proc/sys/vm/max_map_count")?,
        in_use: kernel_files::count_lines("/proc/self/maps").unwrap_or(0),
        reserve: OTHER_MAPS,
        per_connection: MAPS_PER_CONNECTION,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_files_of_the_machine_have_a_limit() {
        assert_eq!(files_in("1632\t0\t9223372\n"), Some((9_223_372, 1632)));
        assert_eq!(files_in("1632\t0\n"), None);
        assert_eq!(files_in(""), None);
    }
}
