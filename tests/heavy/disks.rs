//! Logs and standard streams that cannot be written: lines are lost, and nobody waits.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::Stdio;

use synchat::Address;

use crate::support::process::{Directory, ServerProcess, complaint, eventually, run_to_its_end};
use crate::system::{Stopped, assert_serves, binary, runs, tool};

/// Starts a server from a script. `$0` is the program and `$1` its address, a Unix socket. The test
/// knows the address without reading the output.
fn starts_from_script(directory: &Directory, script: &str) -> ServerProcess {
    let address = directory.socket("socket");
    let mut command = tool("unshare");
    command.args(["--mount", "sh", "-c", script, &binary(), &address]);
    command.current_dir(directory.at(""));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let address: Address = address.parse().expect("it is an address");
    let server = ServerProcess::starts_unheard(&mut command, address);
    eventually("the server listens", || {
        is_listened_on(&directory.at("socket"))
    });
    server
}

/// Returns whether the kernel lists a Unix socket with this path that takes connections. The path
/// itself says less: it is there from `bind` on, but connections are refused until `listen`.
fn is_listened_on(path: &Path) -> bool {
    const TAKES_CONNECTIONS: &str = "00010000";
    let sockets = fs::read_to_string("/proc/net/unix").expect("the kernel lists them");
    sockets.lines().any(|line| {
        // The columns: address in memory, references, protocol, flags, type, state, inode, path.
        let mut fields = line.split_whitespace();
        fields.nth(3) == Some(TAKES_CONNECTIONS) && fields.last().map(Path::new) == Some(path)
    })
}

/// Starts a server whose log is a file on a disk of 64 KiB. Only the server sees that disk.
fn on_a_small_disk(directory: &Directory, redirection: &str) -> (ServerProcess, String) {
    fs::create_dir(directory.at("disk")).unwrap();
    let script =
        format!("mount -t tmpfs -o size=64k none disk && exec \"$0\" \"$1\" -v {redirection}");
    let server = starts_from_script(directory, &script);
    let disk = directory.at("disk");
    let log = format!("/proc/{}/root{}/log", server.id(), disk.display());
    (server, log)
}

#[test]
fn a_full_disk_costs_only_log_lines() {
    for redirection in ["--log-file disk/log", "2>disk/log", "2>>disk/log"] {
        let directory = Directory::new();
        let (server, log) = on_a_small_disk(&directory, redirection);
        let size = || fs::metadata(Path::new(&log)).expect("it is there").len();
        for _ in 0..500 {
            assert_serves(&server);
        }
        assert!(size() <= 64 << 10, "{redirection}: the disk was not full");
        let full = size();
        assert_serves(&server);
        assert_eq!(size(), full, "{redirection}: the disk was not full");
        File::create(&log).expect("it can be emptied");
        for _ in 0..10 {
            assert_serves(&server);
        }
        // The open file is still there after the disk has gone with the server.
        let mut log = File::open(&log).unwrap();
        Stopped::exits_with_0(server);
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes).unwrap();
        let stopped = Stopped::of_log(String::from_utf8_lossy(&bytes).into_owned());
        assert_eq!(stopped.count("accepted"), 511, "{redirection}");
        assert!(stopped.lines_with("conn_closed: ") >= 10, "{redirection}");
    }
}

/// Checks that the hundred clients are counted, if a log is left to say so.
#[track_caller]
fn assert_counted_where_heard(log: String, redirection: &str) {
    let is_lost = redirection.contains('2') && !redirection.contains("--log-file log")
        || redirection.contains("--log-file /dev/full");
    if is_lost {
        assert_eq!(log, "", "{redirection}");
        return;
    }
    let stopped = Stopped::of_log(log);
    assert_eq!(stopped.count("accepted"), 100, "{redirection}");
    assert_eq!(stopped.count("end-of-stream"), 100, "{redirection}");
}

#[test]
fn streams_that_are_always_full_are_not_needed() {
    let streams = [
        "2>/dev/full",
        ">/dev/full",
        ">/dev/full 2>/dev/full",
        "--log-file /dev/full",
        "--log-file /dev/full >/dev/full 2>/dev/full",
    ];
    for redirection in streams {
        let directory = Directory::new();
        let script = format!("exec \"$0\" \"$1\" -vv {redirection}");
        let server = starts_from_script(&directory, &script);
        for _ in 0..100 {
            assert_serves(&server);
        }
        let heard = Stopped::exits_with_0(server);
        assert_counted_where_heard(heard, redirection);
    }
}

#[test]
fn closed_standard_streams_are_not_needed() {
    for redirection in [">&-", "2>&-", "<&- >&- 2>&-", "<&- >&- 2>&- --log-file log"] {
        let directory = Directory::new();
        let script = format!("exec \"$0\" \"$1\" -vv {redirection}");
        let server = starts_from_script(&directory, &script);
        for _ in 0..100 {
            // Only the echo comes. No log line gets into a connection that took descriptor 2.
            assert_serves(&server);
        }
        let heard = Stopped::exits_with_0(server);
        let log = fs::read_to_string(directory.at("log")).unwrap_or(heard);
        assert_counted_where_heard(log, redirection);
    }
}

#[test]
fn a_log_file_on_a_read_only_disk_fails_at_start() {
    let directory = Directory::new();
    fs::create_dir(directory.at("disk")).unwrap();
    let script = "mount -t tmpfs -o ro none disk && exec \"$0\" --log-file disk/log";
    let mut command = tool("unshare");
    command.args(["--mount", "sh", "-c", script, &binary()]);
    let output = run_to_its_end(command.current_dir(directory.at("")));
    let line = complaint(&output, 1);
    assert!(line.contains("disk/log"), "{line}");
}

#[test]
fn a_line_that_a_limit_has_torn_does_not_swallow_the_next_one() {
    let directory = Directory::new();
    let path = directory.at("log");
    let mut command = tool("prlimit");
    command.args([
        "--fsize=4096:",
        &binary(),
        "127.0.0.1:0",
        "-v",
        "--log-file",
    ]);
    let server = ServerProcess::starts_from(command.arg(&path));
    for _ in 0..60 {
        assert_serves(&server);
    }
    assert_eq!(fs::metadata(&path).unwrap().len(), 4096);

    // The limit is lifted, and the log goes on with a line of its own.
    let process = format!("--pid={}", server.id());
    runs(tool("prlimit").args([&*process, "--fsize=unlimited:"]));
    for _ in 0..10 {
        assert_serves(&server);
    }
    Stopped::exits_with_0(server);
    let text = fs::read_to_string(&path).unwrap();
    let (before, after) = text.split_at(4096);
    let is_torn = !before.ends_with('\n');
    assert_eq!(after.starts_with('\n'), is_torn, "{after}");
    let whole = after.trim_start_matches('\n').lines().all(|line| {
        let mut words = line.split_ascii_whitespace();
        let time = words.next().unwrap_or_default();
        time.parse::<f64>().is_ok() && words.count() >= 4
    });
    assert!(whole, "{after}");
    assert_eq!(Stopped::of_log(text).count("accepted"), 70);
}
