//! Signals (V5): what they make the real binary do, however it was started, and in every phase.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Signal, Signals};

use crate::support::peer::PATIENCE;
use crate::support::process::{
    Directory, Running, ServerProcess, complaint, eventually, file_with, run_to_its_end, send,
    synchat,
};
use crate::support::time_limit;

/// A shell that runs this script, in which `$@` is the binary and its arguments. It inherits the
/// environment of tests.
fn shell(script: &str, arguments: &[&str]) -> Command {
    let binary = synchat();
    let mut shell = Command::new("sh");
    shell.args(["-c", script, "sh"]).arg(binary.get_program());
    shell.args(arguments).stdin(Stdio::null());
    for (name, value) in binary.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

fn starts_in_a_shell(script: &str, options: &[&str]) -> ServerProcess {
    let arguments = [&["127.0.0.1:0"], options].concat();
    ServerProcess::starts_from(&mut shell(script, &arguments))
}

#[track_caller]
fn assert_serves(server: &ServerProcess) {
    server.client().sends("next\r\n").expects("next\r\n");
}

/// Waits until the server has ended in good order, with a report as its last line.
#[track_caller]
fn ends_well(server: ServerProcess) -> String {
    let (status, log) = server.ends_with_log();
    assert_eq!(status.code(), Some(0), "{log}");
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(" report: accepted="), "{log}");
    log
}

/// A client that has sent more than all buffers hold and reads nothing yet.
fn flooding_client(server: &ServerProcess) -> (TcpStream, Vec<u8>) {
    let address = server.address().as_socket_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nonblocking(true).unwrap();
    let lines = crate::wire::numbered_lines(200_000);

    let (mut sent, mut pauses) = (0, 0);
    while pauses < 5 && sent < lines.len() {
        match client.write(&lines[sent..]) {
            Ok(length) => (sent, pauses) = (sent + length, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                pauses += 1;
                thread::sleep(Duration::from_millis(40));
            }
        }
    }
    client.set_nonblocking(false).unwrap();
    (client, lines[..sent].to_vec())
}

#[test]
fn two_stop_signals_at_nearly_the_same_time_are_one() {
    for signals in [
        "kill -TERM",
        "kill -INT",
        "kill -TERM $0; sleep 0.05; kill -INT",
    ] {
        let server = ServerProcess::starts(&[]);
        let (mut client, sent) = flooding_client(&server);

        let script = format!("kill -TERM $0; {signals} $0");
        let status = Command::new("sh")
            .args(["-c", &script])
            .arg(server.id().to_string())
            .status();
        assert!(status.unwrap().success());

        // Whole lines of it are answered, to an orderly end.
        let mut received = Vec::new();
        client.read_to_end(&mut received).expect("an orderly end");
        let whole = sent.iter().rposition(|byte| *byte == b'\n').unwrap() + 1;
        assert!(
            received.len() > whole / 2 && sent.starts_with(&received),
            "{signals}"
        );
        assert_eq!(received.last(), Some(&b'\n'));
        drop(client);
        let log = ends_well(server);
        assert!(!log.contains("second signal, ending"), "{log}");
    }
}

#[test]
fn a_signal_of_the_terminal_that_was_ignored_at_the_start_stays_ignored() {
    let server = starts_in_a_shell("trap '' HUP INT; exec \"$@\"", &[]);
    server.signal("HUP");
    server.signal("INT");
    assert_serves(&server);
    let sigxfsz = 1 << 24;
    let ignored = mask(server.id(), "SigIgn");
    let ours = sigxfsz | TERM | USR1 | INT | HUP;
    assert_eq!(ignored & ours, sigxfsz | INT | HUP);

    server.signal("TERM");
    assert!(ends_well(server).contains(" accepted=1 "));
}

#[test]
fn sigterm_and_sigusr1_are_obeyed_even_if_they_were_ignored_at_the_start() {
    let mut server = starts_in_a_shell("trap '' TERM USR1; exec \"$@\"", &[]);
    server.signal("USR1");
    server.logs(" report: accepted=0 ");
    server.signal("TERM");
    ends_well(server);
}

#[test]
fn nohup_keeps_its_promise_with_a_log_file_too() {
    let directory = Directory::new();
    let path = directory.at("log");
    let options = ["--log-file", path.to_str().unwrap()];
    let server = starts_in_a_shell("trap '' HUP; exec \"$@\"", &options);
    server.signal("HUP");
    assert_serves(&server);
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    assert!(!fs::read_to_string(path).unwrap().contains("SIGHUP"));
}

#[test]
fn sighup_without_a_log_file_is_the_end() {
    let mut server = ServerProcess::starts(&[]);
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");
    server.signal("HUP");
    client.expects_eof();
    server.logs("stop: answering what has arrived");
    drop(client);
    ends_well(server);
}

#[test]
fn sighup_opens_the_log_file_again() {
    let directory = Directory::new();
    let (path, old) = (directory.at("log"), directory.at("log.1"));
    for quiet in ["-v", "-q"] {
        let server = ServerProcess::starts(&["--log-file", path.to_str().unwrap(), quiet]);
        let mut client = server.client();
        client.sends("before\r\n").expects("before\r\n");
        fs::rename(&path, &old).unwrap();
        client.sends("between\r\n").expects("between\r\n");
        server.signal("HUP");
        eventually("there is a new file", || path.exists());
        file_with(&path, 1, "log: opened ");
        client.sends("after\r\n").expects("after\r\n");
        drop(client);
        server.signal("TERM");
        assert_eq!(server.ends().status.code(), Some(0));

        let (old, new) = (
            fs::read_to_string(&old).unwrap(),
            fs::read_to_string(&path).unwrap(),
        );
        let last = old.lines().last().unwrap();
        let first = new.lines().next().unwrap();
        let shown = path.display();
        assert!(
            last.ends_with(&format!(
                "closing this file at SIGHUP, to open {shown} again"
            )),
            "{old}"
        );
        assert!(
            first.ends_with(&format!("log: opened {shown} at SIGHUP")),
            "{new}"
        );
        assert!(
            new.lines().last().unwrap().contains(" report: accepted=1 "),
            "{new}"
        );
        if quiet == "-v" {
            assert!(
                old.contains("[between]") && new.contains("[after]"),
                "{old}{new}"
            );
        }
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_log_file_that_cannot_be_opened_again_stays_open() {
    let directory = Directory::new();
    fs::create_dir(directory.at("logs")).unwrap();
    let path = directory.at("logs").join("log");
    let server = ServerProcess::starts(&["--log-file", path.to_str().unwrap()]);
    assert_serves(&server);
    fs::rename(directory.at("logs"), directory.at("moved")).unwrap();
    server.signal("HUP");
    let moved = directory.at("moved").join("log");
    file_with(
        &moved,
        1,
        "at SIGHUP, so the old file stays open: No such file",
    );
    assert_serves(&server);
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    let log = fs::read_to_string(moved).unwrap();
    assert!(
        log.lines().last().unwrap().contains(" report: accepted=2 "),
        "{log}"
    );
}

#[test]
fn a_limit_of_the_size_of_files_costs_log_lines_and_nothing_else() {
    let directory = Directory::new();
    let path = directory.at("log");
    let options = ["-v", "--log-file", path.to_str().unwrap()];
    let server = starts_in_a_shell("ulimit -f 8; exec \"$@\"", &options);
    for _ in 0..60 {
        assert_serves(&server);
    }
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    assert_eq!(
        fs::metadata(path).unwrap().len() % 512,
        0,
        "the log is as long as it may be"
    );
}

#[test]
fn pings_that_cannot_be_printed_for_the_size_of_the_file_are_a_failure() {
    let server = ServerProcess::starts(&[]);
    let directory = Directory::new();
    let script = format!(
        "ulimit -f 0; exec \"$@\" >{}",
        directory.at("out").display()
    );
    let address = server.address().to_string();
    let line = complaint(
        &run_to_its_end(&mut shell(&script, &["ping", "-c1", &address])),
        1,
    );
    assert!(line.contains("File too large"), "{line}");
}

#[test]
fn after_a_pause_of_the_process_one_report_is_due() {
    let interval = Duration::from_millis(500);
    let mut server = ServerProcess::starts(&["--report-interval", "500ms"]);
    server.logs(" report: ");
    server.signal("STOP");
    thread::sleep(4 * interval);
    server.signal("CONT");
    server.logs(" report: ");
    let started = Instant::now();
    server.logs(" report: ");
    server.logs(" report: ");
    let took = started.elapsed();
    assert!(took > interval * 3 / 2, "two came within {took:?}");
}

#[test]
fn quiet_hides_no_report() {
    for options in [&["-q"][..], &["-q", "--report-interval", "100ms"]] {
        let mut server = ServerProcess::starts(options);
        assert_serves(&server);
        if options.len() == 1 {
            server.signal("USR1");
        }
        let report = server.logs("");
        assert!(
            report.contains(" INFO ") && report.contains(" report: accepted="),
            "{report}"
        );
        server.signal("TERM");
        let log = ends_well(server);
        assert!(log.lines().all(|line| line.contains(" report: ")), "{log}");
    }
}

#[test]
fn a_stop_while_the_server_starts_is_obeyed() {
    // A server on this path that does not answer: the second one waits for it for a second.
    let directory = Directory::new();
    let address = directory.socket("hung");
    let listener = synchat::ServerOptions::new().request_queue_size(1);
    let hung = listener.bind(&address.parse().unwrap()).unwrap();
    let _waiting = [(); 2].map(|()| crate::support::peer::Peer::connects(hung.local_addr()));

    let mut command = synchat();
    command
        .arg(&address)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let starting = Running::from(command.spawn().unwrap());
    eventually("signals are caught", || {
        mask(starting.id(), "SigCgt") & TERM != 0
    });
    let started = Instant::now();
    send("TERM", starting.id());
    let output = starting.ends();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(
        started.elapsed() < Duration::from_millis(800),
        "not at once: {log}"
    );
    assert!(
        log.ends_with("stop: before the server could listen\n"),
        "{log}"
    );
    assert!(output.stdout.is_empty(), "no greeting");
}

// Bits of such a mask, on Linux.
const HUP: u64 = 1;
const INT: u64 = 1 << 1;
const USR1: u64 = 1 << 9;
const TERM: u64 = 1 << 14;

/// The mask of this name in the status of a process.
fn mask(process: u32, name: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let mut lines = status.lines().filter_map(|line| line.split_once(":\t"));
    let (_, mask) = lines.find(|(other, _)| *other == name).unwrap();
    u64::from_str_radix(mask.trim(), 16).unwrap()
}

// Signals belong to the process, so no other test here catches any.
#[test]
fn signals_can_be_caught_again_once_they_are_dropped() {
    time_limit::begins();
    let (ours, id) = (TERM | USR1 | INT | HUP, std::process::id());
    let before = (mask(id, "SigCgt"), mask(id, "SigIgn"));
    for _ in 0..3 {
        let mut signals = Signals::catch().unwrap();
        assert_eq!(
            Signals::catch().unwrap_err().kind(),
            ErrorKind::AlreadyExists
        );
        assert_eq!(mask(id, "SigCgt") & ours, ours & !before.1);
        send("USR1", std::process::id());
        assert_eq!(signals.wait(PATIENCE), Some(Signal::Report));
        assert_eq!(signals.wait(Duration::ZERO), None);
        drop(signals);
        assert_eq!((mask(id, "SigCgt"), mask(id, "SigIgn")), before);
    }
}

#[test]
fn the_help_lists_every_signal() {
    let output = run_to_its_end(synchat().arg("--help"));
    let help = String::from_utf8(output.stdout).unwrap();
    for signal in ["SIGTERM, SIGINT", "SIGHUP", "SIGUSR1"] {
        assert!(help.contains(signal), "{help}");
    }
}

#[test]
fn a_server_whose_standard_error_nobody_reads_can_fail() {
    // Fills what is left of the pipe, so that the complaint has no room.
    let (_unread, mut writer) = std::io::pipe().unwrap();
    writer.write_all(&[b'x'; 1 << 16]).unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = synchat();
    command
        .arg(taken.local_addr().unwrap().to_string())
        .stderr(writer);
    let failing = Running::from(command.stdout(Stdio::null()).spawn().unwrap());
    assert_eq!(failing.ends().status.code(), Some(1));
}

#[test]
fn other_signals_keep_their_default_action() {
    use std::os::unix::process::ExitStatusExt;

    for (name, number) in [("QUIT", 3), ("USR2", 12), ("ALRM", 14)] {
        let server = ServerProcess::starts(&[]);
        server.signal(name);
        let status = server.ends().status;
        assert_eq!(status.signal(), Some(number), "{name}: {status}");
    }
}
