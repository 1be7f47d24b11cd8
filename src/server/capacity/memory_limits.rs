//! The limits on memory: on the address space and the data of a process, on the memory that the kernel
//! promises, and the memory of the machine and of control groups.
//!
//! When one of the first three is used up, the next allocation ends the process. So they limit the
//! connections. Other memory is taken only when it is touched, and few servers are ever full of the
//! longest messages. So where that could be too much, a warning must do.

use std::env;
use std::num::NonZero;
use std::thread;

use super::control_groups;
use super::kernel_files;
use super::process_status::ProcessStatus;
use super::system_limit::{SystemLimit, Unit};
use crate::log_target::SERVER;

/// The most that a connection needs beside its stack and buffers: guard pages, a signal stack, and a
/// page for each small allocation. glibc gives them pages when there is no room for an arena.
const OTHER_BYTES: u64 = 128 * 1024;
/// Memory of the program that comes later: a full queue of log lines, for instance.
const RESERVE: u64 = 8 << 20;
/// The address space that a thread takes for its allocations, if it can have it (glibc's malloc).
const ARENA: u64 = 64 << 20;
const ARENAS_PER_PROCESSOR: u64 = 8;

/// Returns the limits that are known, for connections with so much stack and so large buffers.
pub(super) fn memory_limits(process: &ProcessStatus, stack: u64, buffers: u64) -> Vec<SystemLimit> {
    let limit = |name: &str, value: Option<u64>, in_use: Option<u64>| {
        Some(SystemLimit {
            name: name.to_owned(),
            unit: Unit::Bytes,
            value: value?,
            in_use: in_use.unwrap_or(0),
            reserve: RESERVE,
            // A buffer that grows can have twice the room that it needs.
            per_connection: buffers
                .saturating_mul(2)
                .saturating_add(stack)
                .saturating_add(OTHER_BYTES),
        })
    };

    let address_space = limit(
        "RLIMIT_AS, the address space (ulimit -v; MALLOC_ARENA_MAX=1 needs less),",
        process.soft_limit("Max address space"),
        process.bytes("VmSize"),
    );
    let address_space = address_space.map(|mut limit| {
        let free = limit.value.saturating_sub(limit.in_use);
        limit.reserve += taken_by_arenas(free, most_arenas());
        limit
    });

    let data = limit(
        "RLIMIT_DATA, the data of a process (ulimit -d),",
        process.soft_limit("Max data size"),
        process.bytes("VmData"),
    );

    let (promised, in_use) = promised_memory().unzip();
    let promised = limit(
        "the memory that the kernel promises (sysctl vm.overcommit_memory=2)",
        promised,
        in_use,
    );

    [address_space, data, promised]
        .into_iter()
        .flatten()
        .collect()
}

/// Returns how much memory the kernel promises to all processes, and has promised already. `None`
/// means that it promises without a limit.
fn promised_memory() -> Option<(u64, u64)> {
    const NEVER_MORE_THAN_THERE_IS: u64 = 2;
    kernel_files::number("/proc/sys/vm/overcommit_memory")
        .filter(|policy| *policy == NEVER_MORE_THAN_THERE_IS)?;

    let memory = kernel_files::text("/proc/meminfo")?;
    bytes_in(&memory, "CommitLimit").zip(bytes_in(&memory, "Committed_AS"))
}

/// Returns how many arenas glibc's malloc makes at most. The operator can set another number.
fn most_arenas() -> u64 {
    let set = env::var("MALLOC_ARENA_MAX");
    let set: Option<u64> = set.ok().and_then(|number| number.trim().parse().ok());

    // One arena needs no such space: the heap. 0 means the default.
    match set {
        _ if !cfg!(target_env = "gnu") => 0,
        Some(number @ 1..) => number - 1,
        _ => {
            let processors = thread::available_parallelism().map_or(64, NonZero::get);
            processors as u64 * ARENAS_PER_PROCESSOR
        }
    }
}

/// Returns how much of the free address space arenas take up, and no stack can have any more.
fn taken_by_arenas(free: u64, most: u64) -> u64 {
    ARENA.saturating_mul(most.min(free / ARENA))
}

/// Warns if the connections can take more memory than there is.
pub(super) fn warn_of_too_little(connections: usize, bytes: u64) {
    let mut least = machine_memory();

    for directory in control_groups::directories("memory") {
        for file in ["memory.max", "memory.limit_in_bytes"] {
            let file = directory.join(file);
            let Some(limit) = kernel_files::number(&file) else {
                continue;
            };
            if least.as_ref().is_none_or(|(least, _)| limit < *least) {
                least = Some((
                    limit,
                    format!("that a control group can have ({})", file.display()),
                ));
            }
        }
    }

    if let Some((least, whose)) = least.filter(|(least, _)| *least < bytes) {
        log::warn!(
            target: SERVER,
            "memory: {connections} connections can take {} MiB, more than the {} MiB {whose}",
            bytes.div_ceil(1 << 20),
            least >> 20
        );
    }
}

fn machine_memory() -> Option<(u64, String)> {
    let memory = bytes_in(&kernel_files::text("/proc/meminfo")?, "MemTotal")?;

    Some((memory, "of the machine".to_owned()))
}

/// Returns a number of bytes from the text of `/proc/meminfo`, which has them in kB.
fn bytes_in(text: &str, name: &str) -> Option<u64> {
    let mut fields = text.lines().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| *field == name)?;
    let kib: u64 = value.split_whitespace().next()?.parse().ok()?;

    Some(kib.saturating_mul(1024))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: &str = "\
Max data size             33554432             unlimited            bytes     
Max address space         167772160            unlimited            bytes     
";
    const STATUS: &str = "VmSize:\t  100000 kB\nVmData:\t    4096 kB\n";

    #[test]
    fn each_connection_has_its_share_of_address_space_and_data() {
        let room = |limits: &str, status: &str| -> Vec<_> {
            let process = ProcessStatus::of_texts(limits, status);
            let limits = memory_limits(&process, 128 << 10, 384 << 10);
            limits.iter().map(SystemLimit::connections).collect()
        };
        // A share is 1 MiB. 62 MiB of address space are free, which is no arena.
        assert_eq!(room(LIMITS, STATUS), [62 - 8, 32 - 4 - 8]);
        assert_eq!(room(LIMITS, ""), [24, 32 - 8]);

        let unlimited = LIMITS.replace("33554432 ", "unlimited");
        assert_eq!(room(&unlimited, STATUS), [62 - 8]);
        assert!(room("", "").is_empty());
    }

    #[test]
    fn arenas_take_as_much_address_space_as_they_can() {
        assert_eq!(taken_by_arenas(63 << 20, 16), 0);
        assert_eq!(taken_by_arenas(150 << 20, 16), 128 << 20);
        assert_eq!(taken_by_arenas(150 << 20, 1), 64 << 20);
        assert_eq!(taken_by_arenas(150 << 20, 0), 0);
        assert_eq!(taken_by_arenas(u64::MAX, 16), 1 << 30);
    }

    #[test]
    fn the_memory_of_the_machine_is_found() {
        let text = "MemTotal:       24677152 kB\nCommitLimit:    10000000 kB\nHugePages_Total: 3\n";
        assert_eq!(bytes_in(text, "MemTotal"), Some(24_677_152 * 1024));
        assert_eq!(bytes_in(text, "CommitLimit"), Some(10_000_000 * 1024));
        assert_eq!(bytes_in(text, "Committed_AS"), None);
    }
}
