//! The limits on threads: of a user, of a control group, of the machine. Each connection needs one.

use std::fs;
use std::path::Path;

use super::control_groups;
use super::kernel_files;
use super::process_status::{ProcessStatus, user_and_threads};
use super::system_limit::{SystemLimit, Unit};

/// Threads of the program that start later, threads whose connection has just ended, and a health
/// check that runs beside the server.
const OTHER_THREADS: u64 = 16;
/// The kernel gives these process IDs to its own first threads only.
const RESERVED_IDS: u64 = 300;
/// How many processes are looked at, at most.
const MOST_PROCESSES: usize = 32_768;

/// Returns all limits that are known.
pub(super) fn thread_limits(process: &ProcessStatus) -> Vec<SystemLimit> {
    let mut limits: Vec<_> = limit_of_user(process).into_iter().collect();

    limits.extend(
        control_groups::directories("pids")
            .iter()
            .filter_map(|directory| limit_of_group(directory)),
    );
    limits.extend(limits_of_machine());
    limits
}

fn limit_on_threads(name: String, value: u64, in_use: u64) -> SystemLimit {
    SystemLimit {
        name,
        unit: Unit::Pieces,
        value,
        in_use,
        reserve: OTHER_THREADS,
        per_connection: 1,
    }
}

/// Returns the limit of the user, unless the user is root or the like, who has none.
fn limit_of_user(process: &ProcessStatus) -> Option<SystemLimit> {
    let value = process.soft_limit("Max processes")?;
    let user = process.user()?;
    let user_ids = kernel_files::text("/proc/self/uid_map").unwrap_or_default();
    if is_exempt(process, user, &user_ids) {
        return None;
    }

    let name = "RLIMIT_NPROC, the number of threads of a user (ulimit -u),";
    Some(limit_on_threads(name.to_owned(), value, threads_of(user)))
}

/// Returns true for root, and for a process with `CAP_SYS_ADMIN` or `CAP_SYS_RESOURCE`. Root in a
/// namespace of users, such as a container without privileges, does not count.
fn is_exempt(process: &ProcessStatus, user: u64, user_ids: &str) -> bool {
    const CAP_SYS_ADMIN: u32 = 21;
    const CAP_SYS_RESOURCE: u32 = 24;

    let mapped: Vec<_> = user_ids.split_whitespace().collect();
    let is_outermost = mapped.is_empty() || mapped == ["0", "0", "4294967295"];

    is_outermost && (user == 0 || process.has_one_of(&[CAP_SYS_ADMIN, CAP_SYS_RESOURCE]))
}

/// Returns how many threads a user has, as far as this process can see.
fn threads_of(user: u64) -> u64 {
    let Ok(entries) = fs::read_dir("/proc") else {
        return 0;
    };

    let processes = entries.flatten().filter(|entry| {
        let name = entry.file_name();
        name.as_encoded_bytes().iter().all(u8::is_ascii_digit)
    });
    let statuses = processes
        .take(MOST_PROCESSES)
        .filter_map(|process| kernel_files::text(process.path().join("status")));
    statuses
        .filter_map(|status| user_and_threads(&status))
        .filter(|(owner, _)| *owner == user)
        .map(|(_, threads)| threads)
        .sum()
}

fn limit_of_group(directory: &Path) -> Option<SystemLimit> {
    let file = directory.join("pids.max");
    let value = kernel_files::number(&file)?;
    let in_use = kernel_files::number(directory.join("pids.current")).unwrap_or(0);

    let name = format!("the threads of a control group ({})", file.display());
    Some(limit_on_threads(name, value, in_use))
}

/// Returns the limits of the machine. Process IDs are limited, and each thread has one.
fn limits_of_machine() -> Vec<SystemLimit> {
    let load = kernel_files::text("/proc/loadavg");
    let in_use = load.and_then(|load| threads_in(&load)).unwrap_or(0);

    let threads = kernel_files::number("/proc/sys/kernel/threads-max").map(|value| {
        let name = "the threads of the machine (sysctl kernel.threads-max)";
        limit_on_threads(name.to_owned(), value, in_use)
    });

    let ids = kernel_files::number("/proc/sys/kernel/pid_max").map(|value| {
        let name = "the process IDs of the machine (sysctl kernel.pid_max)";
        let mut limit = limit_on_threads(name.to_owned(), value, in_use);
        limit.reserve += RESERVED_IDS;
        limit
    });

    threads.into_iter().chain(ids).collect()
}

/// Returns the number of threads of the machine, from the text of `/proc/loadavg`: the one behind the
/// bar in `0.20 0.18 0.12 1/80 11206`.
fn threads_in(load: &str) -> Option<u64> {
    let (_, all) = load.split_once('/')?;

    all.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_real_root_and_its_like_have_no_limit() {
        let all = "         0          0 4294967295\n";
        let rootless = "         0       1000          1\n";
        let plain = ProcessStatus::default();
        assert!(is_exempt(&plain, 0, all));
        assert!(is_exempt(&plain, 0, ""));
        assert!(!is_exempt(&plain, 0, rootless));
        assert!(!is_exempt(&plain, 1000, all));

        for capability in [21, 24] {
            let status = format!("CapEff:\t{:016x}\n", 1_u64 << capability);
            let able = ProcessStatus::of_texts("", &status);
            assert!(is_exempt(&able, 1000, all));
            assert!(!is_exempt(&able, 1000, rootless));
        }
    }

    #[test]
    fn the_threads_of_the_machine_stand_behind_the_bar() {
        assert_eq!(threads_in("0.20 0.18 0.12 1/80 11206\n"), Some(80));
        assert_eq!(threads_in("0.20 0.18 0.12"), None);
        assert_eq!(threads_in(""), None);
    }
}
