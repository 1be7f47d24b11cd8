//! The real binary's log where its reader is slow, late, gone or non-blocking: no line is torn, every
//! loss is told, and the final report comes last.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use synchat::Address;

use crate::support::peer::PATIENCE;
use crate::support::process::{Directory, ServerProcess, complaint, file_with, run, synchat};

/// Of Linux.
const O_NONBLOCK: i32 = 0o4000;

fn make_fifo(path: &Path) {
    let status = Command::new("mkfifo").arg(path).status();
    assert!(status.is_ok_and(|status| status.success()), "mkfifo fails");
}

/// A server with `-v` and these options, on a Unix socket, that listens already.
fn starts_unheard(directory: &Directory, command: &mut Command) -> ServerProcess {
    let address = directory.socket("echo");
    command.env("SYNCHAT_VERBOSE", "1");
    command.arg(&address).stdout(Stdio::null());
    let address: Address = address.parse().unwrap();
    let server = ServerProcess::starts_unheard(command, address);
    let path = directory.at("echo");
    let deadline = Instant::now() + PATIENCE;
    while UnixStream::connect(&path).is_err() {
        assert!(Instant::now() < deadline, "it does not listen");
        thread::sleep(Duration::from_millis(5));
    }
    server
}

/// Many messages, each with its echo. With `-v` each has two log lines.
fn flood(server: &ServerProcess, messages: usize) {
    let mut peer = server.client();
    for _ in 0..messages / 100 {
        let lines = "\r\n".repeat(100);
        peer.sends(&lines).expects(&lines);
    }
}

/// Expects whole lines, and returns how many there are of messages, and how many are said to be lost.
#[track_caller]
fn assert_whole(log: &str) -> (usize, usize) {
    let (mut messages, mut lost) = (0, 0);
    for line in log.lines() {
        let mut words = line.split_ascii_whitespace();
        let time = words.next().unwrap_or_default();
        assert!(
            time.len() == 17 && time.parse::<f64>().is_ok(),
            "torn: {line:?}"
        );
        let [_, thread, target] = [(); 3].map(|()| words.next().unwrap_or_default());
        assert!(
            thread.parse::<u64>().is_ok() && target.starts_with("synchat"),
            "torn: {line:?}"
        );
        let message = words.collect::<Vec<_>>().join(" ");
        match message.split_once("lines_lost=") {
            Some((_, told)) => lost += told.split_once(',').unwrap().0.parse::<usize>().unwrap(),
            None if message == "found_terminator" => messages += 1,
            None if message == r"sending: [\r\n]" => messages += 1,
            None => {}
        }
    }
    assert!(log.ends_with('\n'));
    (messages, lost)
}

/// Reads to the end, so many bytes each so often.
fn reads_slowly(
    mut log: impl Read + Send + 'static,
    bytes: usize,
    pause: Duration,
) -> mpsc::Receiver<String> {
    let (text, read) = mpsc::channel();
    thread::spawn(move || {
        let (mut all, mut buffer) = (Vec::new(), vec![0; bytes]);
        loop {
            match log.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => all.extend_from_slice(&buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("{error}"),
            }
            thread::sleep(pause);
        }
        let _ = text.send(String::from_utf8(all).unwrap());
    });
    read
}

#[track_caller]
fn assert_report_is_last(log: &str) {
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(" report: accepted="), "{last}");
    assert_eq!(log.matches(" report: ").count(), 1, "{log}");
}

#[test]
fn a_non_blocking_standard_error_gets_whole_lines_and_every_loss_is_told() {
    for is_pipe in [true, false] {
        let directory = Directory::new();
        let fifo = directory.at("log");
        let mut command = synchat();
        let log: Box<dyn Read + Send> = if is_pipe {
            make_fifo(&fifo);
            let mut options = OpenOptions::new();
            let reader = options
                .read(true)
                .custom_flags(O_NONBLOCK)
                .open(&fifo)
                .unwrap();
            let writer = File::options()
                .write(true)
                .custom_flags(O_NONBLOCK)
                .open(&fifo)
                .unwrap();
            // The reader blocks from now on: it is opened anew.
            let blocking = File::open(&fifo).unwrap();
            drop(reader);
            command.stderr(writer);
            Box::new(blocking)
        } else {
            let (reader, writer) = UnixStream::pair().unwrap();
            writer.set_nonblocking(true).unwrap();
            command.stderr(OwnedFd::from(writer));
            Box::new(reader)
        };
        let server = starts_unheard(&directory, &mut command);
        // The command keeps a copy of the writing end, and with it the log has no end.
        drop(command);
        let log = reads_slowly(log, 4096, Duration::from_millis(4));
        flood(&server, 3000);
        server.signal("TERM");
        assert_eq!(server.ends().status.code(), Some(0));
        let log = log.recv_timeout(PATIENCE).unwrap();
        let (logged, lost) = assert_whole(&log);
        // Other lines can be lost, too: those of connections.
        assert!(
            logged + lost >= 6000,
            "{logged} logged, {lost} lost, pipe: {is_pipe}"
        );
        assert!(logged > 1500, "{logged}");
        assert_report_is_last(&log);
    }
}

#[test]
fn a_log_in_a_fifo_that_nobody_reads_keeps_nobody_from_being_served() {
    let directory = Directory::new();
    let fifo = directory.at("fifo");
    make_fifo(&fifo);
    let mut command = synchat();
    command.arg("--log-file").arg(&fifo).stderr(Stdio::piped());
    let mut server = starts_unheard(&directory, &mut command);
    let told = server.logs("");
    let start = format!("synchat: {} is a pipe that nobody reads", fifo.display());
    assert!(told.starts_with(&start), "{told}");
    flood(&server, 3000);

    // A reader comes. It gets the first lines, and hears of the others.
    let log = File::open(&fifo).unwrap();
    let log = reads_slowly(log, 65536, Duration::ZERO);
    let mut peer = server.client();
    peer.sends("late\r\n").expects("late\r\n");
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    let log = log.recv_timeout(PATIENCE).unwrap();
    let (logged, lost) = assert_whole(&log);
    assert!(
        logged >= 900 && logged + lost >= 6000,
        "{logged} logged, {lost} lost"
    );
    let mut lines = log.lines().filter(|line| !line.contains(" setting: "));
    assert!(
        lines.next().unwrap().contains(" bind: address=unix:"),
        "{log}"
    );
    assert_report_is_last(&log);
}

#[test]
fn a_server_whose_log_nobody_reads_ends_after_two_seconds() {
    let directory = Directory::new();
    let fifo = directory.at("fifo");
    make_fifo(&fifo);
    let mut command = synchat();
    command.arg("--log-file").arg(&fifo).stderr(Stdio::piped());
    let server = starts_unheard(&directory, &mut command);

    // One for the lines before the last one, and one for that.
    let before = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    assert!(before.elapsed() < Duration::from_millis(2900));
}

#[test]
fn a_fifo_that_nobody_reads_can_be_replaced_by_a_file() {
    let directory = Directory::new();
    let path = directory.at("log");
    make_fifo(&path);
    let mut command = synchat();
    command.arg("--log-file").arg(&path).stderr(Stdio::piped());
    let mut server = starts_unheard(&directory, command.arg("--quiet"));
    server.logs("is a pipe that nobody reads");
    fs::rename(&path, directory.at("fifo")).unwrap();
    fs::write(&path, "").unwrap();
    server.signal("HUP");
    let log = file_with(&path, 1, "log: opened ");
    assert_eq!(log.lines().count(), 1, "{log}");
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    assert_report_is_last(&fs::read_to_string(path).unwrap());
}

#[test]
fn a_log_in_a_fifo_bears_that_its_reader_goes_and_another_comes() {
    let directory = Directory::new();
    let fifo = directory.at("fifo");
    make_fifo(&fifo);
    let reader = thread::spawn({
        let fifo = fifo.clone();
        move || File::open(fifo).unwrap()
    });
    let mut command = synchat();
    command.arg("--log-file").arg(&fifo).stderr(Stdio::null());
    let server = starts_unheard(&directory, &mut command);
    let mut first = BufReader::new(reader.join().unwrap());
    let mut line = String::new();
    while !line.contains(" bind: ") {
        assert!(line.is_empty() || line.contains(" setting: "), "{line}");
        line.clear();
        first.read_line(&mut line).unwrap();
    }
    drop(first);
    flood(&server, 200);

    let second = reads_slowly(File::open(&fifo).unwrap(), 65536, Duration::ZERO);
    flood(&server, 200);
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    let log = second.recv_timeout(PATIENCE).unwrap();
    assert_whole(&log);
    assert_report_is_last(&log);
}

#[test]
fn a_log_file_that_is_a_socket_is_an_error_at_the_start() {
    let directory = Directory::new();
    let path = directory.at("socket");
    let _socket = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let path = path.to_str().unwrap();
    let line = complaint(&run(&["127.0.0.1:0", "--log-file", path]), 1);
    let told = format!("synchat: cannot log to {path}: ");
    assert!(line.starts_with(&told), "{line}");
}

#[test]
fn a_log_cannot_go_on_in_a_fifo_that_nobody_reads() {
    let directory = Directory::new();
    let (path, old) = (directory.at("log"), directory.at("log.1"));
    let mut command = synchat();
    command.arg("--log-file").arg(&path).stderr(Stdio::null());
    let server = starts_unheard(&directory, &mut command);
    fs::rename(&path, &old).unwrap();
    make_fifo(&path);
    server.signal("HUP");
    let log = file_with(
        &old,
        1,
        "so the old file stays open: it is a pipe that nobody reads",
    );
    assert_whole(&log);
    flood(&server, 100);
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    assert_report_is_last(&fs::read_to_string(old).unwrap());
}

#[test]
fn the_report_is_the_last_line_even_for_a_slow_reader() {
    for _ in 0..5 {
        let directory = Directory::new();
        let (log, writer) = std::io::pipe().unwrap();
        let mut command = synchat();
        command.stderr(writer);
        let server = starts_unheard(&directory, &mut command);
        drop(command);
        let log = reads_slowly(log, 4096, Duration::from_millis(20));
        flood(&server, 2000);
        server.signal("TERM");
        assert_eq!(server.ends().status.code(), Some(0));
        let log = log.recv_timeout(PATIENCE).unwrap();
        let (logged, lost) = assert_whole(&log);
        assert!(logged + lost >= 4000, "{logged} logged, {lost} lost");
        assert_report_is_last(&log);
    }
}

#[test]
fn a_log_that_nobody_reads_delays_the_end_by_little() {
    let directory = Directory::new();
    let (_unread, writer) = std::io::pipe().unwrap();
    let mut command = synchat();
    command.stderr(writer);
    let server = starts_unheard(&directory, &mut command);
    flood(&server, 3000);
    let started = Instant::now();
    server.signal("TERM");
    assert_eq!(server.ends().status.code(), Some(0));
    let took = started.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_drain_of_many_connections_is_logged_to_the_last() {
    const CLIENTS: usize = 500;
    let directory = Directory::new();
    let path = directory.at("log");
    let mut command = synchat();
    command.arg("--log-file").arg(&path).stderr(Stdio::null());
    let server = starts_unheard(&directory, &mut command);
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    // Each is in the middle of a burst, whose lines fill the queue.
    let lines = "\r\n".repeat(20);
    for client in &mut clients {
        client.sends(&lines);
    }
    for client in &mut clients {
        client.expects(&lines);
    }
    server.signal("TERM");
    for client in &mut clients {
        client.expects_eof();
    }
    drop(clients);
    assert_eq!(server.ends().status.code(), Some(0));
    let log = fs::read_to_string(path).unwrap();
    assert_whole(&log);
    let drained = log.matches(" reason=drained ").count();
    assert_eq!(drained, CLIENTS, "{}", log.lines().last().unwrap());
    assert_report_is_last(&log);
}

#[test]
fn while_the_server_stops_its_lines_wait_for_a_slow_reader() {
    const CLIENTS: usize = 200;
    let directory = Directory::new();
    let (log, writer) = std::io::pipe().unwrap();
    let mut command = synchat();
    command.stderr(writer);
    let server = starts_unheard(&directory, &mut command);
    drop(command);

    // All of this has arrived when the signal comes, and is logged in one burst.
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| server.client()).collect();
    let lines = "\r\n".repeat(40);
    server.signal("STOP");
    for client in &mut clients {
        client.sends(&lines);
    }
    server.signal("TERM");
    let log = reads_slowly(log, 4096, Duration::from_millis(1));
    server.signal("CONT");
    for client in &mut clients {
        client.expects(&lines).expects_eof();
    }
    drop(clients);

    assert_eq!(server.ends().status.code(), Some(0));
    let log = log.recv_timeout(PATIENCE).unwrap();
    let (logged, _) = assert_whole(&log);
    // The queue and the pipe hold less than a fifth of them.
    assert!(logged > CLIENTS * 80 / 2, "{logged}");
    assert_report_is_last(&log);
}
