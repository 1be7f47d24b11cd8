//! Stopping (V5): what a signal does to the real program while it is idle, busy, full, stuck or out
//! of descriptors.

use std::fmt::Write as _;
use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use synchat::{Echo, Overload, Report, Server, ServerOptions, Terminator};

use crate::server::{Serving, endings};
use crate::shortage::short_of_descriptors;
use crate::support::peer::{PATIENCE, Peer};
use crate::support::process::{Directory, Running, ServerProcess, synchat};
use crate::wire::{assert_same, numbered_lines};

/// The time that a server waits for a peer that does not close, after it has ended its own half.
const LINGER: Duration = Duration::from_secs(2);
/// The time that an end can take beyond the waits that it must make.
const A_BIT: Duration = Duration::from_secs(1);

/// The report in a line of the log, as it is written.
struct Counts(String);

impl Counts {
    fn of(&self, name: &str) -> u64 {
        let mut pairs = self.pairs();
        pairs
            .find(|(other, _)| *other == name)
            .map_or(0, |(_, count)| count)
    }

    fn pairs(&self) -> impl Iterator<Item = (&str, u64)> {
        let pairs = self.0.split_whitespace();
        pairs.filter_map(|pair| {
            pair.split_once('=')
                .map(|(name, count)| (name, number(count)))
        })
    }

    /// Every accepted connection is open or has one ending.
    fn assert_add_up(&self) {
        const NO_ENDINGS: [&str; 7] = [
            "accepted",
            "open",
            "most_at_once",
            "messages",
            "too_long",
            "bytes_in",
            "bytes_out",
        ];
        let is_ending = |name: &str| !NO_ENDINGS.contains(&name) && !name.starts_with("refused-");
        let ended: u64 = self
            .pairs()
            .filter_map(|(name, count)| is_ending(name).then_some(count))
            .sum();
        assert_eq!(self.of("accepted"), ended + self.of("open"), "{}", self.0);
    }
}

fn number(text: &str) -> u64 {
    text.parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number"))
}

/// Returns the report behind this word in a line of the log.
fn counts(line: &str, word: &str) -> Counts {
    let (_, counts) = line
        .split_once(word)
        .unwrap_or_else(|| panic!("no {word:?} in {line:?}"));
    Counts(counts.to_owned())
}

/// Waits until a server that was told to stop has ended well: within this time, and with its report
/// as the last line.
fn ends_well(server: ServerProcess, at_most: Duration) -> Counts {
    let started = Instant::now();
    let (status, log) = server.ends_with_log();
    let took = started.elapsed();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(took <= at_most, "it took {took:?}:\n{log}");
    let report = counts(log.lines().last().unwrap_or_default(), " report: ");
    report.assert_add_up();
    report
}

/// Connects a client, and makes sure that the server has a conversation with it.
fn greeted_client(server: &ServerProcess) -> Peer {
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");
    client
}

/// Checks that from now on nobody can connect.
fn assert_stops_listening(server: &ServerProcess) {
    let address = server.address().as_socket_addr().expect("it is TCP");
    let started = Instant::now();
    while TcpStream::connect(address).is_ok() {
        assert!(
            started.elapsed() < Duration::from_millis(300),
            "it still accepts"
        );
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_signal_ends_an_idle_server_with_its_report() {
    for signal in ["TERM", "INT"] {
        let mut server = ServerProcess::starts(&[]);
        drop(greeted_client(&server));
        server.logs("conn_closed");
        server.signal(signal);
        assert_stops_listening(&server);
        let report = ends_well(server, A_BIT);
        assert_eq!(report.of("messages"), 1, "{}", report.0);
    }
}

#[test]
fn fifty_idle_connections_end_in_order() {
    let server = ServerProcess::starts(&[]);
    let clients: Vec<_> = (0..50).map(|_| greeted_client(&server)).collect();
    server.signal("TERM");
    for mut client in clients {
        client.expects_eof();
    }
    let report = ends_well(server, A_BIT);
    let counted = (report.of("drained"), report.of("most_at_once"));
    assert_eq!(counted, (50, 50), "{}", report.0);
}

#[test]
fn an_unfinished_message_gets_no_reply_but_an_orderly_end() {
    let server = ServerProcess::starts(&[]);
    let mut client = greeted_client(&server);
    client.sends("one\r\ntw").expects("one\r\n");
    server.signal("TERM");
    client.expects_eof();
    drop(client);
    let report = ends_well(server, A_BIT);
    let counted = (report.of("drained"), report.of("messages"));
    assert_eq!(counted, (1, 2), "{}", report.0);
}

#[test]
fn peers_that_stay_open_delay_the_end_by_two_seconds() {
    let server = ServerProcess::starts(&[]);
    let mut clients: Vec<_> = (0..10).map(|_| greeted_client(&server)).collect();
    server.signal("TERM");
    assert_stops_listening(&server);
    for client in &mut clients {
        client.expects_eof();
    }
    let report = ends_well(server, LINGER + A_BIT);
    // Those who tried to connect can be among them.
    assert!(report.of("drained") >= 10, "{}", report.0);
}

/// Returns `0\r\n1\r\n2\r\n` and so on: this many lines, from this number on.
fn counting_lines(from: u64, count: u64) -> String {
    let mut lines = String::new();
    for number in from..from + count {
        write!(lines, "{number}\r\n").expect("it is memory");
    }
    lines
}

/// Sends numbered lines on a separate thread, as fast as the server takes them, until it is told
/// that the stream has ended.
fn streams(client: &Peer, has_ended: &Arc<AtomicBool>) -> JoinHandle<()> {
    let (mut client, has_ended) = (client.clone(), Arc::clone(has_ended));
    thread::spawn(move || {
        for chunk in 0.. {
            let lines = counting_lines(1000 * chunk, 1000);
            if has_ended.load(Ordering::Relaxed) || client.tries_to_send(lines).is_err() {
                return;
            }
        }
    })
}

/// Stops a server in the middle of a stream of lines. The client rests after each read.
fn stops_in_a_stream(rest: Duration) {
    const BEFORE: u64 = 50_000;
    let server = ServerProcess::starts(&[]);
    let mut client = greeted_client(&server);
    let has_ended = Arc::default();
    let streaming = streams(&client, &has_ended);
    client.expects(counting_lines(0, BEFORE));
    server.signal("TERM");
    let (mut received, mut buffer) = (Vec::new(), vec![0; 1 << 16]);
    loop {
        let length = client.read(&mut buffer).expect("an orderly end");
        if length == 0 {
            break;
        }
        received.extend_from_slice(&buffer[..length]);
        thread::sleep(rest);
    }

    has_ended.store(true, Ordering::Relaxed);
    streaming.join().unwrap();
    drop(client);

    let lines = received.iter().filter(|byte| **byte == b'\n').count() as u64;
    assert_same(&received, counting_lines(BEFORE, lines).as_bytes());

    let report = ends_well(server, LINGER + A_BIT);
    let counted = (report.of("drained"), report.of("messages"));
    assert_eq!(counted, (1, 1 + BEFORE + lines), "{}", report.0);
}

#[test]
fn a_stream_is_answered_by_an_unbroken_prefix() {
    for _ in 0..3 {
        stops_in_a_stream(Duration::ZERO);
    }
}

#[test]
fn a_slowly_read_stream_gets_an_unbroken_prefix_too() {
    stops_in_a_stream(Duration::from_millis(3));
}

#[test]
fn an_endless_stream_is_cut_after_the_grace_period() {
    let server = ServerProcess::starts(&["--grace", "100ms"]);
    let mut client = greeted_client(&server);
    let has_ended = Arc::default();
    let streaming = streams(&client, &has_ended);
    client.expects(counting_lines(0, 1000));
    server.signal("TERM");
    // The thread ends, or is left behind after a second.
    ends_well(server, A_BIT + A_BIT);
    streaming.join().unwrap();
}

#[test]
fn every_line_from_before_the_signal_is_answered() {
    let server = ServerProcess::starts(&[]);
    let mut clients: Vec<_> = (0..5).map(|_| greeted_client(&server)).collect();
    let lines = numbered_lines(1000);

    // While the server is halted, all of it is in the kernel's buffers.
    server.signal("STOP");
    for client in &mut clients {
        client.sends(&lines);
    }
    server.signal("TERM");
    server.signal("CONT");
    for mut client in clients {
        client.expects(&lines).expects_eof();
    }
    let report = ends_well(server, A_BIT);
    let counted = (report.of("drained"), report.of("messages"));
    assert_eq!(counted, (5, 5 * 1001), "{}", report.0);
}

/// Returns a peer that sends and never reads, once the server is blocked in the middle of a write.
fn stuck_peer(server: &ServerProcess) -> TcpStream {
    let address = server.address().as_socket_addr().expect("it is TCP");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nonblocking(true).unwrap();
    let lines = numbered_lines(5_000);
    let mut refused = 0;
    while refused < 5 {
        match stream.write(&lines) {
            Ok(written) => {
                assert!(written > 0, "it takes nothing");
                refused = 0;
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                thread::sleep(Duration::from_millis(40));
            }
        }
    }

    stream
}

#[test]
fn a_peer_that_never_reads_is_cut_after_the_grace_period() {
    for (grace, at_least) in [("400ms", Duration::from_millis(350)), ("0", Duration::ZERO)] {
        let server = ServerProcess::starts(&["--grace", grace]);
        let stuck = stuck_peer(&server);
        let started = Instant::now();
        server.signal("TERM");
        let report = ends_well(server, at_least + A_BIT);
        assert!(started.elapsed() >= at_least, "it did not wait");
        assert_eq!(report.of("forced"), 1, "{}", report.0);
        drop(stuck);
    }
}

#[test]
fn a_second_signal_exits_at_once_with_code_1() {
    let mut server = ServerProcess::starts(&[]);
    let stuck = stuck_peer(&server);
    server.signal("TERM");
    server.logs("stop: answering what has arrived");
    // Sooner, it would be the same request.
    thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    server.signal("INT");
    let (status, log) = server.ends_with_log();
    assert_eq!(status.code(), Some(1), "{log}");
    assert!(started.elapsed() < A_BIT, "not at once");
    let report = counts(log.trim_end(), "ending at once: ");
    report.assert_add_up();
    assert_eq!(report.of("open"), 1, "{}", report.0);
    drop(stuck);
}

/// Sends the server some hundred signals a second, for a few seconds.
fn storm(server: &ServerProcess) -> Running {
    let script = "n=0; while [ $n -lt 1000 ] && kill -USR1 $0 && kill -CONT $0; \
                  do n=$((n+1)); sleep 0.002; done";
    let storm = Command::new("sh")
        .args(["-c", script])
        .arg(server.id().to_string())
        .stderr(Stdio::null())
        .spawn();
    storm.expect("a shell runs").into()
}

#[test]
fn a_storm_of_signals_disturbs_nobody() {
    let mut server = ServerProcess::starts(&[]);
    let storm = storm(&server);
    server.logs(" report: ");
    let mut client = greeted_client(&server);
    let lines = numbered_lines(50);
    for _ in 0..100 {
        client.sends(&lines).expects(&lines);
        thread::sleep(Duration::from_millis(2));
    }

    server.signal("TERM");
    client.expects_eof();

    // The client does not close. The signals do not make the server wait longer for it.
    let report = ends_well(server, LINGER + A_BIT);
    assert_eq!(report.of("drained"), 1, "{}", report.0);

    drop(storm);
}

#[test]
fn a_halted_server_continues_in_mid_message() {
    let server = ServerProcess::starts(&[]);
    let mut client = greeted_client(&server);
    client.sends("one\r\ntw").expects("one\r\n");
    server.signal("STOP");
    client.sends("o\r\nthr");
    let waiting = server.client();
    thread::sleep(Duration::from_millis(200));
    server.signal("CONT");
    client.expects("two\r\n");
    client.sends("ee\r\n").expects("three\r\n");
    for mut other in [waiting, server.client()] {
        other.sends("next\r\n").expects("next\r\n");
    }
}

#[test]
fn sigusr1_logs_the_report_with_open_connections() {
    let mut server = ServerProcess::starts(&[]);
    let mut client = greeted_client(&server);
    client.sends("a\r\nb\r\nc").expects("a\r\nb\r\n");
    drop(greeted_client(&server));
    server.logs("conn_closed");
    let expected = " accepted=2 open=1 most_at_once=2 messages=4 too_long=0 bytes_in=21 bytes_out=20 \
                    end-of-stream=1";

    // The report has a conversation's figures from before its last read, which may not have begun.
    let deadline = Instant::now() + PATIENCE;
    loop {
        server.signal("USR1");
        let report = server.logs(" report: ");
        if report.trim_end().ends_with(expected) {
            break;
        }
        assert!(Instant::now() < deadline, "{report}");
        thread::sleep(Duration::from_millis(10));
    }

    client.sends("\r\n").expects("c\r\n");
}

#[test]
fn the_report_is_logged_at_each_interval() {
    let started = Instant::now();
    let mut server = ServerProcess::starts(&["--report-interval", "100ms"]);
    for _ in 0..5 {
        let report = server.logs(" report: ");
        counts(&report, " report: ").assert_add_up();
    }
    let took = started.elapsed();
    let expected = Duration::from_millis(450)..Duration::from_secs(2);
    assert!(expected.contains(&took), "five times took {took:?}");
}

#[test]
fn a_unix_sockets_path_goes_with_its_server() {
    let directory = Directory::new();
    let address = directory.socket("served");
    for _ in 0..2 {
        let server = ServerProcess::starts_from(synchat().arg(&address));
        let mut client = greeted_client(&server);
        assert!(directory.at("served").exists());
        server.signal("TERM");
        client.expects_eof();
        drop(client);
        ends_well(server, A_BIT);
        assert!(!directory.at("served").exists(), "the path is left");
    }
}

#[test]
fn a_full_server_with_waiting_clients_can_be_stopped() {
    let mut server = ServerProcess::starts(&["--max-connections", "2", "--overload", "wait"]);
    let clients = [greeted_client(&server), greeted_client(&server)];
    let waiting = server.client();
    server.logs("accept: waiting until one of");
    server.signal("TERM");
    assert_stops_listening(&server);
    for mut client in clients {
        client.expects_eof();
    }
    let report = ends_well(server, A_BIT);
    let counted = (report.of("accepted"), report.of("drained"));
    assert_eq!(counted, (2, 2), "{}", report.0);
    drop(waiting);
}

#[test]
fn a_server_without_descriptors_can_be_stopped() {
    let mut server = short_of_descriptors();
    let clients: Vec<_> = (0..31).map(|_| server.client()).collect();
    server.logs("accept: failing");
    server.signal("TERM");
    assert_stops_listening(&server);
    drop(clients);
    ends_well(server, A_BIT);
}

fn serving(options: ServerOptions) -> Serving {
    Serving::echoes(options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap())
}

#[test]
fn several_threads_can_stop_one_server() {
    let serving = serving(ServerOptions::new());
    let mut client = serving.client();
    client.sends("hello\r\n").expects("hello\r\n");
    let stopping = [(); 8].map(|()| {
        let handle = serving.handle.clone();
        thread::spawn(move || handle.stop())
    });
    client.expects_eof();
    drop(client);
    for thread in stopping {
        thread.join().expect("it stops");
    }
    assert_eq!(endings(&serving.stops(), "drained"), 1);
}

/// Waits until the report is as it should be.
fn reports(serving: &Serving, is_expected: impl Fn(&Report) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let report = serving.handle.report();
        if is_expected(&report) {
            return;
        }
        assert!(Instant::now() < deadline, "{report}");
        thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn the_report_includes_the_bytes_of_open_connections() {
    let serving = serving(ServerOptions::new());
    assert_eq!(serving.handle.report(), Report::default());

    let mut client = serving.client();
    for messages in 1..=3 {
        client.sends("hello\r\n").expects("hello\r\n");
        reports(&serving, |report| {
            (report.accepted, report.open, report.traffic.messages) == (1, 1, messages)
        });
    }

    drop(client);
    reports(&serving, |report| {
        (
            report.open,
            report.most_at_once,
            endings(report, "end-of-stream"),
        ) == (0, 1, 1)
    });
    assert_eq!(serving.stops().traffic.messages, 3);
}

#[test]
fn the_heartbeat_goes_on_when_idle_and_when_full() {
    let options = ServerOptions::new()
        .max_connections(1)
        .overload(Overload::Wait);
    let serving = serving(options);
    let beats = || {
        let (before, started) = (serving.handle.heartbeat(), Instant::now());
        while serving.handle.heartbeat() == before {
            let took = started.elapsed();
            assert!(took < Duration::from_secs(2), "its heart stands still");
            thread::sleep(Duration::from_millis(10));
        }
    };

    beats();
    beats();
    let mut client = serving.client();
    client.sends("hello\r\n").expects("hello\r\n");
    let waiting = serving.client();
    beats();
    beats();
    drop((client, waiting));
    serving.stops();
}

#[test]
fn clients_not_yet_accepted_are_answered_too() {
    for options in [&[][..], &["--max-connections", "60", "--overload", "wait"]] {
        let server = ServerProcess::starts(options);
        server.signal("STOP");
        let mut clients: Vec<_> = (0..50).map(|_| server.client()).collect();
        for client in &mut clients {
            client.sends("hello\r\n");
        }
        server.signal("TERM");
        server.signal("CONT");
        for client in &mut clients {
            client.expects("hello\r\n").expects_eof();
        }
        drop(clients);
        let report = ends_well(server, A_BIT);
        assert_eq!(report.of("accepted"), 50, "{}", report.0);
    }
}

#[test]
fn a_server_stopped_early_answers_waiting_clients() {
    let server = Server::bind("127.0.0.1:0").unwrap();
    let mut waiting = Peer::connects(server.local_addr());
    waiting.sends("hello\r\n");
    server.handle().stop();
    let serving = thread::spawn(|| server.serve_forever(|_| Echo::new(Terminator::CRLF)));
    waiting.expects("hello\r\n").expects_eof();
    drop(waiting);
    let report = serving.join().unwrap().unwrap();
    assert_eq!((report.accepted, report.traffic.messages), (1, 1));
}
