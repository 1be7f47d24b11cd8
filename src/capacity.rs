//! How many connections the system can hold: what is more is never promised.
//!
//! A connection takes a descriptor, and its thread four memory maps. When a new thread cannot map
//! its signal stack the process aborts (rust-lang/rust#78497), so the number of maps is a limit that
//! must not be reached. Both limits are read from `/proc`; where there is none, nothing is known.

use std::fs;

/// A limit of the system, and the connections that it allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Capacity {
    pub(crate) connections: u64,
    /// What the operator can raise, by name.
    pub(crate) limit: &'static str,
    /// Its value.
    pub(crate) value: u64,
}

/// Descriptors that are not connections': the standard streams, the log, the listener, and those
/// that are being refused.
const OTHER_DESCRIPTORS: u64 = 32;
const MAPS_PER_CONNECTION: u64 = 4;
/// Maps of the program, its libraries and its heap, and of threads that are just ending.
const OTHER_MAPS: u64 = 1024;

/// The stricter of the system's limits, if any is known.
pub(crate) fn capacity() -> Option<Capacity> {
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

/// The soft limit, in the text of `/proc/self/limits`.
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
