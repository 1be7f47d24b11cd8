//! Tests of a whole run, from outside: all servers once, a server that dies, signals, limits that
//! are too low. No run leaves anything behind.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{compare, text};

/// Returns the program file of synchat, which `make compare-test` builds and names.
fn synchat() -> PathBuf {
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/release/synchat");
    let path = std::env::var_os("SYNCHAT").map_or(built, PathBuf::from);
    assert!(
        path.exists(),
        "{} is missing: `make compare-test` builds it",
        path.display()
    );
    path
}

/// Returns `compare run` with the options that these tests have in common.
fn quick_run(out: &TempDir, arguments: &[&str]) -> Command {
    let mut command = compare();
    command
        .args(["run", "--plan", "quick", "--seconds", "0.1", "--out"])
        .arg(out.path())
        .arg("--synchat")
        .arg(synchat())
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Returns the raw file in `out`, once there is one.
fn raw_file(out: &TempDir) -> Option<PathBuf> {
    fs::read_dir(out.path())
        .expect("the folder is there")
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
}

/// Returns the records so far.
fn records(out: &TempDir) -> Vec<Value> {
    let text = raw_file(out).map_or_else(String::new, |path| {
        fs::read_to_string(path).expect("it is there")
    });
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

fn of_kind<'a>(records: &'a [Value], kind: &str) -> Vec<&'a Value> {
    records
        .iter()
        .filter(|record| record["record"] == kind)
        .collect()
}

/// Waits until `ready` returns a value.
fn wait_for<T>(what: &str, mut ready: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        if let Some(value) = ready() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Returns the processes that `parent` started and that still exist.
fn children(parent: &Child) -> Vec<u32> {
    let id = parent.id();
    let tasks = fs::read_dir(format!("/proc/{id}/task"))
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .filter_map(|task| fs::read_to_string(task.path().join("children")).ok())
        .flat_map(|list| {
            list.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        })
        .filter_map(|id| id.parse().ok())
        .collect()
}

/// Returns a server that was started just now, so it is far from its end.
fn new_server(run: &Child) -> u32 {
    let old = children(run);
    wait_for("a new server", || {
        children(run).into_iter().find(|id| !old.contains(id))
    })
}

fn signal(name: &str, id: u32) {
    let status = Command::new("kill").args([name, &id.to_string()]).status();
    assert!(status.expect("kill runs").success());
}

/// Starts a run and waits for its first measurement.
fn measuring(out: &TempDir, arguments: &[&str]) -> Child {
    let child = quick_run(out, arguments).spawn().expect("it starts");
    wait_for("the first measurement", || {
        (!of_kind(&records(out), "measurement").is_empty()).then_some(())
    });
    child
}

#[test]
fn a_quick_run_measures_every_server_that_is_there_without_a_single_error() {
    let out = TempDir::new().expect("a folder");
    let output = quick_run(&out, &[]).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));

    let records = records(&out);
    assert_eq!(of_kind(&records, "end").len(), 1);
    let servers = of_kind(&records, "server");
    let present: Vec<_> = servers
        .iter()
        .filter(|server| server["absent"].is_null())
        .collect();
    let workloads = records[0]["workloads"]
        .as_array()
        .expect("a run comes first")
        .len();
    let measurements = of_kind(&records, "measurement");
    assert_eq!(measurements.len(), present.len() * workloads);
    for measurement in measurements {
        let load = &measurement["outcome"]["figures"]["load"];
        assert!(load["done"].as_u64() > Some(0), "{measurement}");
        let errors = load["errors"].as_object().expect("they are counted");
        assert!(errors.values().all(|count| count == 0), "{measurement}");
    }

    // Servers in Rust and C are built from this package, so they are present wherever the tests
    // run.
    for name in [
        "synchat",
        "c",
        "naive",
        "net-io",
        "tokio",
        "tokio-1",
        "tokio-framed",
        "smol",
        "mio",
    ] {
        let server = present.iter().find(|server| server["name"] == name);
        assert!(server.is_some(), "{name} is absent:\n{}", text(&output));
    }
    let synchat = servers[0]["check"].as_array().expect("it was checked");
    assert!(
        synchat.iter().all(|row| row["passed"] == true),
        "{synchat:#?}"
    );

    let report = fs::read_to_string(out.path().join("report.md")).expect("it is written");
    for server in servers {
        let name = server["name"].as_str().expect("a name");
        assert!(report.contains(name), "{name} is not in the report");
        if let Some(why) = server["absent"].as_str() {
            assert!(report.contains(why), "the report does not say: {why}");
        }
    }
    the_raw_file_gives_the_same_report(&out);
}

/// Checks that `compare report` gives the same report, to the last digit.
fn the_raw_file_gives_the_same_report(out: &TempDir) {
    let raw = raw_file(out).expect("a raw file");
    let again = out.path().join("again");
    let mut command = compare();
    command.arg("report").arg(raw).arg("--out").arg(&again);
    assert!(command.status().expect("it runs").success());
    for name in ["report.html", "report.md", "report.json", "report.csv"] {
        let read = |folder: &Path| fs::read(folder.join(name)).expect("it is written");
        assert!(read(out.path()) == read(&again), "{name} differs");
    }
}

/// Returns the system calls per line in the usual placement, if they could be counted.
fn system_calls(records: &[Value], server: &str) -> Option<f64> {
    let measurement = of_kind(records, "measurement")
        .into_iter()
        .find(|measurement| measurement["server"] == server && measurement["variant"] == "shared");
    let used = &measurement.expect("it was measured")["outcome"]["figures"]["server"];
    used["system_calls_per_line"].as_f64()
}

#[test]
fn system_calls_are_those_of_a_line() {
    // C makes a read and a write. mio also makes a wait.
    const CALLS: [(&str, f64); 2] = [("c", 2.0), ("mio", 3.0)];
    let mut seen = Vec::new();
    // Other tests may disturb the two runs under strace, so that they give no figure.
    for _ in 0..10 {
        let out = TempDir::new().expect("a folder");
        let mut command = compare();
        command.args(["run", "--plan", "full", "--servers", "c,mio"]);
        command.args(["--workloads", "ping-pong-1", "--rounds", "1"]);
        command.args(["--seconds", "0.1", "--out"]).arg(out.path());
        let output = command.output().expect("it runs");
        assert!(output.status.success(), "{}", text(&output));
        let records = records(&out);
        let counted = CALLS.map(|(server, _)| system_calls(&records, server));
        let is_right = |(counted, (_, calls)): (&Option<f64>, (_, f64))| {
            counted.is_some_and(|counted| (counted - calls).abs() < 0.3)
        };
        if counted.iter().zip(CALLS).all(is_right) {
            return;
        }
        seen.push(counted);
    }
    panic!("{CALLS:?} expected, and seen: {seen:?}");
}

#[test]
fn an_interrupt_keeps_what_was_measured_and_leaves_no_process() {
    let out = TempDir::new().expect("a folder");
    let child = measuring(&out, &["--servers", "synchat,mio", "--rounds", "50"]);
    let server = wait_for("a server", || children(&child).first().copied());
    signal("-INT", child.id());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130), "{}", text(&output));
    assert!(
        !Path::new(&format!("/proc/{server}")).exists(),
        "a server is left"
    );
    assert!(
        of_kind(&records(&out), "end").is_empty(),
        "it says that it came to its end"
    );
    let report = fs::read_to_string(out.path().join("report.md")).expect("it is written");
    assert!(report.contains("ended early"), "{report}");
}

#[test]
fn a_run_that_is_killed_leaves_no_process_and_its_raw_file_makes_a_report() {
    let out = TempDir::new().expect("a folder");
    let mut child = measuring(&out, &["--servers", "synchat", "--rounds", "50"]);
    let server = wait_for("a server", || children(&child).first().copied());
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    wait_for("the server's end", || {
        (!Path::new(&format!("/proc/{server}")).exists()).then_some(())
    });
    let raw = raw_file(&out).expect("a raw file");
    let output = compare().arg("report").arg(raw).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    assert!(out.path().join("report.html").exists());
}

#[test]
fn a_second_run_is_kept_out_of_the_folder_of_the_first() {
    let out = TempDir::new().expect("a folder");
    let first = measuring(&out, &["--servers", "synchat", "--rounds", "50"]);
    let files = || fs::read_dir(out.path()).expect("a folder").count();
    let before = files();
    let second = quick_run(&out, &["--servers", "synchat"]).output();
    let after = files();
    signal("-INT", first.id());
    let first = first.wait_with_output().expect("it ends");
    assert_eq!(first.status.code(), Some(130), "{}", text(&first));

    let second = second.expect("it runs");
    assert_eq!(second.status.code(), Some(1), "{}", text(&second));
    let expected = format!("another run is using {}", out.path().display());
    assert!(text(&second).contains(&expected), "{}", text(&second));
    assert_eq!(after, before);

    let third = quick_run(&out, &["--servers", "synchat"]).output();
    let third = third.expect("it runs");
    assert!(third.status.success(), "{}", text(&third));
}

#[test]
fn programs_that_run_beside_are_seen() {
    let out = TempDir::new().expect("a folder");
    let processors = thread::available_parallelism().expect("there is one").get();
    let mut beside: Vec<Child> = (0..processors)
        .map(|_| {
            let mut program = Command::new("timeout");
            program.args(["60", "sh", "-c", "while :; do :; done"]);
            program.spawn().expect("it starts")
        })
        .collect();
    let mut command = quick_run(&out, &["--servers", "c", "--rounds", "5"]);
    let output = command.args(["--workloads", "ping-pong-50"]).output();
    for program in &mut beside {
        signal("-TERM", program.id());
        program.wait().expect("it ends");
    }
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    let records = records(&out);
    let mut others: Vec<f64> = of_kind(&records, "measurement")
        .iter()
        .filter_map(|measurement| measurement["outcome"]["figures"]["others"].as_f64())
        .collect();
    others.sort_by(f64::total_cmp);
    assert_eq!(others.len(), 5, "they are known");
    assert!((0.2..=0.95).contains(&others[2]), "{others:?}");
}

#[test]
fn a_server_that_dies_is_reported_and_the_rest_goes_on() {
    let out = TempDir::new().expect("a folder");
    let child = measuring(
        &out,
        &[
            "--servers",
            "synchat,mio",
            "--workloads",
            "ping-pong-50",
            "--rounds",
            "9",
        ],
    );
    signal("-KILL", new_server(&child));
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", text(&output));
    let records = records(&out);
    let measurements = of_kind(&records, "measurement");
    assert_eq!(measurements.len(), 18);
    let failed: Vec<_> = measurements
        .iter()
        .filter_map(|measurement| measurement["outcome"]["failed"].as_str())
        .collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert!(failed[0].contains("signal: 9"), "{failed:?}");
    let report = fs::read_to_string(out.path().join("report.md")).expect("it is written");
    assert!(report.contains("signal: 9"), "{report}");
}

#[test]
fn a_server_that_is_running_already_is_measured_beside_synchat() {
    let out = TempDir::new().expect("a folder");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let mut running = Command::new(env!("CARGO_BIN_EXE_peer-mio"))
        .arg(&address)
        .spawn()
        .expect("it starts");
    wait_for("the server", || std::net::TcpStream::connect(&address).ok());
    let output = quick_run(&out, &["--address", &address]).output();
    running.kill().expect("it runs");
    running.wait().expect("it ends");
    let output = output.expect("it runs");
    assert!(output.status.success(), "{}", text(&output));
    let records = records(&out);
    for name in ["synchat", &address] {
        let of_it = of_kind(&records, "measurement")
            .into_iter()
            .filter(|measurement| {
                measurement["server"] == name && measurement["outcome"]["figures"].is_object()
            });
        assert_eq!(of_it.count(), 4, "{name}");
    }
}

#[test]
fn an_address_where_nothing_listens_is_an_error_that_says_so() {
    let out = TempDir::new().expect("a folder");
    let free = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("it is bound").to_string();
    drop(free);
    let output = quick_run(&out, &["--address", &address])
        .output()
        .expect("it runs");
    assert_eq!(output.status.code(), Some(1));
    assert!(
        text(&output).contains(&format!("nothing listens at {address}")),
        "{}",
        text(&output)
    );
}

#[test]
fn limits_too_low_for_the_plan_are_named_before_any_measurement() {
    let out = TempDir::new().expect("a folder");
    let output = Command::new("sh")
        .args([
            "-c",
            "ulimit -n 1000 && exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_compare"),
        ])
        .args(["run", "--workloads", "idle-10000", "--out"])
        .arg(out.path())
        .output()
        .expect("sh runs");
    assert_eq!(output.status.code(), Some(1));
    let text = text(&output);
    assert!(
        text.contains("idle-10000") && text.contains("ulimit") && text.contains("1000"),
        "{text}"
    );
    assert!(records(&out).is_empty());
}

#[test]
fn names_that_do_not_exist_are_refused_with_those_that_do() {
    for (option, known) in [
        ("--servers", "tokio"),
        ("--workloads", "ping-pong-50"),
        ("--without", "open-50"),
    ] {
        let output = compare()
            .args(["run", option, "nonsense"])
            .output()
            .expect("it runs");
        assert_eq!(output.status.code(), Some(1));
        let text = text(&output);
        assert!(text.contains("nonsense") && text.contains(known), "{text}");
    }
}
