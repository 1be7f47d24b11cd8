//! Describes this machine for the report, and checks that its limits allow a plan.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::bail;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::load::ports_on_loopback;
use crate::plan::Plan;
use crate::process::Cores;
use crate::servers::first_line;

/// The descriptors that a process needs besides those of its connections.
const OTHER_FILES: u64 = 64;

/// Returns names and values in the order in which the report shows them.
pub fn describe() -> anyhow::Result<Vec<(String, String)>> {
    let kernel = nix::sys::utsname::uname()?;
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;

    let all = [
        ("processor", in_file("/proc/cpuinfo", "model name")),
        ("cores", Cores::all()?.count().to_string()),
        (
            "virtual machine",
            if in_file("/proc/cpuinfo", "flags").contains("hypervisor") {
                "yes"
            } else {
                "no"
            }
            .to_owned(),
        ),
        ("memory", in_file("/proc/meminfo", "MemTotal")),
        (
            "kernel",
            format!(
                "{} {}",
                kernel.sysname().display(),
                kernel.release().display()
            ),
        ),
        (
            "clock",
            number_in("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        ),
        ("load before the run", number_in("/proc/loadavg")),
        ("open files", format!("{soft}, at most {hard}")),
        (
            "backlog, at most",
            number_in("/proc/sys/net/core/somaxconn"),
        ),
        (
            "ports for clients",
            number_in("/proc/sys/net/ipv4/ip_local_port_range").replace('\t', " to "),
        ),
        (
            "memory maps of a process",
            number_in("/proc/sys/vm/max_map_count"),
        ),
        ("threads", number_in("/proc/sys/kernel/threads-max")),
        (
            "rustc",
            first_line(Command::new("rustc").arg("--version")).unwrap_or_default(),
        ),
    ];

    Ok(all.map(|(name, value)| (name.to_owned(), value)).into())
}

/// Returns the commit of the project, with `-dirty` if files differ from it.
pub fn commit(project: &Path) -> String {
    let mut git = Command::new("git");
    git.arg("-C")
        .arg(project)
        .args(["describe", "--always", "--dirty", "--exclude=*"]);

    first_line(&mut git).unwrap_or_else(|_| "unknown".to_owned())
}

/// Raises the limit of open files as far as it goes, for this process and those that it starts.
///
/// # Errors
///
/// Returns an error if that or another limit is too low for the plan. It names the limit, the
/// workload, and the remedy.
pub fn allow_for(plan: &Plan) -> anyhow::Result<()> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;

    let ports = ports_on_loopback()?;
    for workload in plan.workloads.iter().map(|planned| &planned.workload) {
        let connections = (workload.connections + workload.idle) as u64;

        let limits = [
            (
                "the hard limit of open files (ulimit -Hn)",
                hard,
                connections + OTHER_FILES,
            ),
            (
                "the number of ports for clients (net.ipv4.ip_local_port_range)",
                ports,
                connections,
            ),
            // A server with a thread for each connection needs the thread and its memory maps.
            (
                "the limit of threads (kernel.threads-max)",
                of_kernel("kernel/threads-max"),
                connections + 1000,
            ),
            (
                "the limit of process numbers (kernel.pid_max)",
                of_kernel("kernel/pid_max"),
                connections + 1000,
            ),
            (
                "the limit of memory maps (vm.max_map_count)",
                of_kernel("vm/max_map_count"),
                4 * (connections + 16) + 1024,
            ),
        ];

        for (limit, is, needed) in limits {
            if is < needed {
                bail!(
                    "{} needs {needed}, but {limit} is {is}: raise the limit, or leave the \
                     workload out (--without {})",
                    workload.name,
                    workload.name
                );
            }
        }
    }
    Ok(())
}

/// Reads a limit from `/proc/sys`. A missing file means no limit.
fn of_kernel(name: &str) -> u64 {
    number_in(&format!("/proc/sys/{name}"))
        .parse()
        .unwrap_or(u64::MAX)
}

fn number_in(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

/// Returns the value behind `name:` in a file of such lines.
fn in_file(path: &str, name: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .lines()
        .find_map(|line| {
            Some(
                line.strip_prefix(name)?
                    .trim_start()
                    .strip_prefix(':')?
                    .trim()
                    .to_owned(),
            )
        })
        .unwrap_or_default()
}
