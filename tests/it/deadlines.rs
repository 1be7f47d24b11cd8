//! Timeouts (V4): when a peer that is silent or slow, or does not read, is cut, and what it is
//! told. Nobody else notices.
//!
//! The server keeps a timeout within 100 ms. These tests allow more, for a busy machine.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use synchat::{Address, Chat, Error, Handler, HandlerResult, Limits, ServerOptions, connect};

use crate::support::peer::Peer;
use crate::support::process::{Directory, Running, ServerProcess, eventually, number, synchat};
use crate::support::time_limit;

/// The timeout that most of these tests set, and the line that a peer gets when it is over.
const LIMIT: Duration = Duration::from_millis(500);
const IDLE: &str = "error: too slow, idle limit=500ms\r\n";
const MESSAGE: &str = "error: too slow, no CR LF within 500ms\r\n";

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Checks that it took as long as the limit: at most 100 ms less, and not much more.
#[track_caller]
fn check_in_time(limit: Duration, took: Duration) {
    let allowed = limit - milliseconds(100)..=limit + milliseconds(400);
    assert!(allowed.contains(&took), "{took:?} instead of {limit:?}");
}

/// Expects this line and then an orderly end, in time.
#[track_caller]
fn is_cut(peer: &mut Peer, since: Instant, told: &str) {
    peer.expects(told).expects_eof();
    check_in_time(LIMIT, since.elapsed());
}

fn greets(peer: &mut Peer) {
    peer.sends("hello\r\n").expects("hello\r\n");
}

/// Checks that the next client is served.
fn check_serves(server: &ServerProcess) {
    greets(&mut server.client());
}

fn with_idle_timeout(terminator: &str) -> ServerProcess {
    let options = ["--idle-timeout", "500ms", "--terminator", terminator];
    ServerProcess::starts(&options)
}

fn with_message_timeout(more: &[&str]) -> ServerProcess {
    ServerProcess::starts(&[&["--message-timeout", "500ms"], more].concat())
}

#[test]
fn a_silent_peer_is_told_and_closed_when_idle_too_long() {
    let mut server = with_idle_timeout("crlf");
    let since = Instant::now();
    is_cut(&mut server.client(), since, IDLE);
    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=idle limit=500ms messages=0 "),
        "{closed}"
    );
    check_serves(&server);
}

#[test]
fn idle_time_counts_from_the_last_message() {
    let server = with_idle_timeout("crlf");
    let mut peer = server.client();
    let mut since = Instant::now();
    for _ in 0..3 {
        thread::sleep(milliseconds(300));
        since = Instant::now();
        greets(&mut peer);
    }
    is_cut(&mut peer, since, IDLE);
    check_serves(&server);
}

#[test]
fn without_a_byte_string_a_silent_peer_gets_no_error_line() {
    for terminator in ["none", "length:5"] {
        let server = with_idle_timeout(terminator);
        let mut peer = server.client();
        thread::sleep(milliseconds(200));
        let since = Instant::now();
        peer.sends("hello").expects("hello");
        is_cut(&mut peer, since, "");
        server.client().sends("hello").expects("hello");
    }
}

/// Sends a byte every 50 ms for this long, as long as somebody takes it.
fn drips(mut peer: Peer, duration: Duration) -> JoinHandle<()> {
    thread::spawn(move || {
        let started = Instant::now();
        while started.elapsed() < duration && peer.tries_to_send("x").is_ok() {
            thread::sleep(milliseconds(50));
        }
    })
}

#[test]
fn dripping_bytes_do_not_extend_a_message() {
    let mut server = with_message_timeout(&[]);
    let (mut peer, since) = (server.client(), Instant::now());
    let dripping = drips(peer.clone(), LIMIT * 2);
    is_cut(&mut peer, since, MESSAGE);
    dripping.join().unwrap();
    drop(peer);
    let closed = server.logs("conn_closed");
    let reason = " reason=message-deadline limit=500ms messages=0 ";
    assert!(closed.contains(reason), "{closed}");
    check_serves(&server);
}

#[test]
fn a_discarded_message_has_a_deadline_too() {
    let server = with_message_timeout(&["--max-message", "16", "--too-long", "discard"]);
    let (mut peer, since) = (server.client(), Instant::now());
    peer.sends("x".repeat(100));
    let dripping = drips(peer.clone(), LIMIT * 2);
    is_cut(&mut peer, since, MESSAGE);
    dripping.join().unwrap();
    check_serves(&server);
}

#[test]
fn half_a_terminator_does_not_stop_the_message_clock() {
    let server = with_message_timeout(&[]);
    for half in ["hel", "\r", "hello\r"] {
        let mut peer = server.client();
        greets(&mut peer);
        let since = Instant::now();
        peer.sends(half);
        is_cut(&mut peer, since, MESSAGE);
    }
    let server = with_message_timeout(&["--terminator", "length:5"]);
    let (mut peer, since) = (server.client(), Instant::now());
    is_cut(peer.sends("hell"), since, "");
    server.client().sends("hello").expects("hello");
}

#[test]
fn each_message_gets_its_own_deadline() {
    let server = with_message_timeout(&[]);
    let mut peer = server.client();
    peer.sends("hel");
    // A message is unfinished all the time, and each takes nearly as long as it can.
    for _ in 0..5 {
        thread::sleep(milliseconds(300));
        peer.sends("lo\r\nhel").expects("hello\r\n");
    }
    let since = Instant::now();
    is_cut(&mut peer, since, MESSAGE);
}

#[test]
fn idle_and_message_timeouts_do_not_mix() {
    let options = ["--idle-timeout", "300ms", "--message-timeout", "3s"];
    let server = ServerProcess::starts(&options);
    let mut slow = server.client();
    slow.sends("hel");
    thread::sleep(milliseconds(800));
    slow.sends("lo\r\n").expects("hello\r\n");

    let options = ["--idle-timeout", "3s", "--message-timeout", "300ms"];
    let server = ServerProcess::starts(&options);
    let mut seldom = server.client();
    for _ in 0..2 {
        thread::sleep(milliseconds(800));
        greets(&mut seldom);
    }
}

#[test]
fn a_late_sender_gets_the_error_line_and_no_reset() {
    let server = with_message_timeout(&[]);
    let (mut peer, since) = (server.client(), Instant::now());
    peer.sends("hel").expects(MESSAGE);
    check_in_time(LIMIT, since.elapsed());
    peer.sends("lo\r\n".repeat(50_000));
    peer.expects_eof();
    drop(peer);
    check_serves(&server);
}

/// Starts a server with small socket buffers: on a Unix socket.
fn on_a_unix_socket(directory: &Directory, options: &[&str]) -> ServerProcess {
    let address = directory.socket("deadlines");
    ServerProcess::starts_from(synchat().arg(address).args(options))
}

/// Sends lines until the server cuts the connection, and never reads. Returns how long that took.
/// It is longer than the timeout by the time in which the kernel's buffers fill.
fn never_reads(server: &ServerProcess) -> JoinHandle<Duration> {
    let (mut peer, since) = (server.client(), Instant::now());
    thread::spawn(move || {
        // Long lines, because the server logs each callback and should log few.
        let lines = ["x".repeat(20_000), "\r\n".to_owned()].concat().repeat(2);
        while peer.tries_to_send(&lines).is_ok() {}
        since.elapsed()
    })
}

/// Returns the time at which a line was logged, since the epoch.
fn logged_at(line: &str) -> Duration {
    let seconds = line.split_whitespace().next().unwrap_or_default();
    Duration::from_secs_f64(seconds.parse().expect("a line begins with its time"))
}

/// Checks that a peer that never reads is cut in time. The server logs each callback, so the time
/// counts from the last reply before the write that it gave up.
#[track_caller]
fn check_cuts_who_never_reads(server: &mut ServerProcess) {
    let took = never_reads(server).join().unwrap();
    assert!(
        took > LIMIT - milliseconds(100),
        "it was cut after {took:?}"
    );
    let log = server.logs_up_to("conn_closed");
    let closed = log.last().expect("it has that line");
    assert!(closed.contains(" reason=write-stall messages="), "{closed}");
    let reply = log.iter().rfind(|line| line.contains(" sending: ["));
    let reply = reply.expect("it has replied");
    check_in_time(LIMIT, logged_at(closed) - logged_at(reply));
}

#[test]
fn a_peer_that_never_reads_is_cut_at_the_write_deadline() {
    let directory = Directory::new();
    let options = ["--write-timeout", "500ms", "-v"];
    let unix = on_a_unix_socket(&directory, &options);
    for mut server in [ServerProcess::starts(&options), unix] {
        check_cuts_who_never_reads(&mut server);
        check_serves(&server);
    }
}

/// Reads this many bytes every 100 ms, while a megabyte of lines is sent and echoed. Returns how
/// much came.
fn reads_slowly(server: &ServerProcess, bytes: usize) -> usize {
    let Address::Unix(path) = server.address() else {
        panic!("it is no Unix socket");
    };
    let mut stream = UnixStream::connect(path).expect("it listens");
    stream.set_read_timeout(Some(milliseconds(5000))).unwrap();
    let mut sender = stream.try_clone().unwrap();
    sender.set_write_timeout(Some(milliseconds(5000))).unwrap();
    let sending = thread::spawn(move || {
        let _ = sender.write_all(&b"0123456789abcd\r\n".repeat(1 << 16));
        let _ = sender.shutdown(std::net::Shutdown::Write);
    });

    let (mut received, mut buffer) = (0, vec![0; bytes]);
    let started = Instant::now();
    loop {
        let length = stream.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            break;
        }
        received += length;
        // At the end read all that is there, so that the test ends sooner.
        if started.elapsed() < LIMIT * 3 {
            thread::sleep(milliseconds(100));
        }
    }

    sending.join().unwrap();
    received
}

#[test]
fn a_slow_reader_is_cut_only_when_a_batch_is_late() {
    let directory = Directory::new();
    let mut server = on_a_unix_socket(&directory, &["--write-timeout", "500ms"]);
    assert_eq!(reads_slowly(&server, 48 * 1024), 1 << 20);
    let closed = server.logs("conn_closed");
    assert!(closed.contains(" reason=end-of-stream "), "{closed}");
    assert!(reads_slowly(&server, 256) < 1 << 20);
    let closed = server.logs("conn_closed");
    assert!(closed.contains(" reason=write-stall "), "{closed}");
    check_serves(&server);
}

#[test]
fn timeout_0_means_no_limit_and_the_log_warns() {
    let directory = Directory::new();
    for option in ["--idle-timeout", "--message-timeout", "--write-timeout"] {
        let mut server = on_a_unix_socket(&directory, &[option, "0"]);
        let warning = server.logs("WARNING ");
        assert!(warning.contains(&format!("{option} is off")), "{warning}");
        let (mut idle, mut slow) = (server.client(), server.client());
        slow.sends("hel");
        let stuck = never_reads(&server);
        thread::sleep(milliseconds(400));
        greets(&mut idle);
        slow.sends("lo\r\n").expects("hello\r\n");
        assert_eq!(number(&server.counts(), "open"), 3, "one was cut");
        drop(server);
        stuck.join().unwrap();
    }
}

#[test]
fn the_report_counts_each_kind_of_timeout() {
    let directory = Directory::new();
    let timeouts = ["--idle-timeout", "--message-timeout", "--write-timeout"];
    let options: Vec<_> = timeouts.iter().flat_map(|name| [*name, "300ms"]).collect();
    let mut server = on_a_unix_socket(&directory, &options);
    let (_idle, stuck) = (server.client(), never_reads(&server));
    server.client().sends("hel").reads_to_the_end();
    let ended = |server: &mut ServerProcess| {
        let counts = server.counts();
        ["idle", "message-deadline", "write-stall"].map(|name| number(&counts, name))
    };
    eventually("one of each", || ended(&mut server) == [1, 1, 1]);
    stuck.join().unwrap();
    check_serves(&server);
}

#[test]
fn a_hundred_stuck_readers_do_not_delay_a_healthy_peer() {
    let directory = Directory::new();
    let mut server = on_a_unix_socket(&directory, &["--write-timeout", "1s"]);
    let stuck: Vec<_> = (0..100).map(|_| never_reads(&server)).collect();
    let mut healthy = server.client();
    for _ in 0..200 {
        let started = Instant::now();
        greets(&mut healthy);
        let took = started.elapsed();
        assert!(took < Duration::from_secs(1), "a round trip took {took:?}");
    }

    for stuck in stuck {
        let took = stuck.join().unwrap();
        assert!(took < Duration::from_secs(4), "one was cut after {took:?}");
    }

    eventually("all of them are cut", || {
        number(&server.counts(), "write-stall") == 100
    });
    greets(&mut healthy);
}

#[test]
fn hundreds_of_unfinished_messages_end_in_time() {
    // A process with 1024 descriptors can hold this many, beside other tests.
    const PEERS: usize = 400;
    let options = ["--message-timeout", "1s", "--max-connections", "401"];
    let mut server = ServerProcess::starts(&options);
    let mut healthy = server.client();
    let mut peers: Vec<_> = (0..PEERS).map(|_| server.client()).collect();
    let since = Instant::now();
    for peer in &mut peers {
        peer.sends("hel");
    }
    let sending = since.elapsed();
    greets(&mut healthy);
    for peer in &mut peers {
        peer.expects("error: too slow, no CR LF within 1s\r\n");
        peer.expects_eof();
        greets(&mut healthy);
    }

    let took = since.elapsed();
    // This many round trips happen in between.
    let allowed = milliseconds(900)..=milliseconds(2000) + sending;
    assert!(
        allowed.contains(&took),
        "{took:?}, with {sending:?} to send"
    );

    let counts = server.counts();
    assert_eq!(number(&counts, "accepted"), PEERS as u64 + 1, "{counts}");

    drop(peers);
    eventually("all of them have ended", || {
        number(&server.counts(), "message-deadline") == PEERS as u64
    });
    check_serves(&server);
}

/// Sends this many bytes, and then only listens.
struct Pushes(usize);

impl Handler for Pushes {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator("\r\n");
        Ok(chat.push(vec![b'x'; self.0])?)
    }

    fn collect_incoming_data(&mut self, _: &[u8], _: &mut Chat) -> HandlerResult {
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
        Ok(())
    }
}

#[test]
fn a_client_keeps_the_same_deadlines() {
    time_limit::begins();
    let limits = Limits {
        idle_timeout: Some(LIMIT),
        message_timeout: Some(LIMIT),
        write_timeout: Some(LIMIT),
        linger_time: Duration::ZERO,
        ..Limits::default()
    };

    for (server_says, client_pushes, reason) in [
        ("", 0, "idle limit=500ms"),
        ("hello\r\n", 0, "idle limit=500ms"),
        ("hello\r\nhel", 0, "message-deadline limit=500ms"),
        ("", 16 << 20, "write-stall"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::from(listener.local_addr().unwrap());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(server_says.as_bytes()).unwrap();
            stream
        });
        let since = Instant::now();
        let (_, summary) = connect(&address, Pushes(client_pushes), &limits).unwrap();
        check_in_time(LIMIT, since.elapsed());
        assert_eq!(summary.reason.to_string(), reason);
        drop(server.join().unwrap());
    }
}

#[test]
fn a_client_waits_for_its_connect_timeout() {
    let directory = Directory::new();
    let address: Address = directory.socket("busy").parse().unwrap();
    let options = ServerOptions::new().request_queue_size(0);
    let busy = options.bind(&address).unwrap();
    let _waiting = Peer::connects(&address);
    let limits = Limits {
        connect_timeout: LIMIT,
        ..Limits::default()
    };

    let since = Instant::now();
    let error = connect(&address, Pushes(0), &limits).map(drop).unwrap_err();
    check_in_time(LIMIT, since.elapsed());
    assert!(matches!(error, Error::Connect { .. }), "{error}");

    drop(busy);
}

/// Sends the server about twenty signals a second, for more than two seconds.
fn storm(server: &ServerProcess) -> Running {
    let script = "i=0; while [ $i -lt 50 ]; do kill -USR1 $0; sleep 0.05; i=$((i+1)); done";
    let mut command = Command::new("sh");
    command.args(["-c", script, &server.id().to_string()]);
    command.spawn().expect("there is a shell").into()
}

#[test]
fn a_storm_of_signals_does_not_move_a_deadline() {
    let timeouts = ["--idle-timeout", "--message-timeout", "--write-timeout"];
    let options = timeouts.iter().flat_map(|name| [*name, "500ms"]);
    let options: Vec<_> = options.chain(["-v"]).collect();
    let mut server = ServerProcess::starts(&options);
    let storm = storm(&server);
    let since = Instant::now();
    is_cut(&mut server.client(), since, IDLE);

    let since = Instant::now();
    is_cut(server.client().sends("hel"), since, MESSAGE);

    for reason in [" reason=idle ", " reason=message-deadline "] {
        server.logs(reason);
    }
    check_cuts_who_never_reads(&mut server);
    assert!(storm.ends().status.success(), "the server has ended");
    check_serves(&server);
}

#[test]
fn a_slow_peer_wakes_its_thread_once_a_line() {
    let server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    let mut says_seldom = |lines| {
        for _ in 0..lines {
            thread::sleep(milliseconds(80));
            greets(&mut peer);
        }
    };

    says_seldom(2);
    let before = server.sleeps_of_connections();
    says_seldom(20);
    let sleeps = server.sleeps_of_connections() - before;

    // It is counted just before or just after it falls asleep.
    assert!((19..=25).contains(&sleeps), "{sleeps} for 20 lines");
}

#[test]
fn a_slow_reader_on_a_unix_socket_is_cut_too() {
    let directory = Directory::new();
    let server = ServerProcess::starts_from(synchat().arg(directory.socket("echo")).args([
        "--max-message",
        "16MiB",
        "--write-timeout",
        "500ms",
    ]));
    let mut peer = server.client();
    peer.sends([&[b'x'; 4 << 20][..], b"\r\n"].concat());
    let (started, mut taken) = (Instant::now(), 0);
    let mut buffer = [0; 32 * 1024];
    while let Ok(length @ 1..) = peer.read(&mut buffer) {
        taken += length;
        thread::sleep(Duration::from_millis(30));
    }
    assert!(
        taken < 4 << 20,
        "all of it was taken in {:?}",
        started.elapsed()
    );

    server.client().sends("next\r\n").expects("next\r\n");
}
