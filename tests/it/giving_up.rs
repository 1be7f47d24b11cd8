//! What is given up, and what must not be given up with it: output that nobody takes, producers that
//! panic, conversations that a broken logger ends, clients that wait while the server stops (V5, E3,
//! E4).

use std::io::{self, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{
    Chat, CloseReason, Echo, Handler, HandlerResult, Limits, Overload, Producer, Server,
    ServerOptions, Terminator,
};

use crate::server::{Endless, Serving, endings, refusals};
use crate::support::peer::{PATIENCE, Peer};
use crate::support::process::{
    ServerProcess, eventually, fails_alone, number, plan, synchat, tcp_states,
};

/// The kernel's numbers of states of TCP.
const FIN_WAIT_1: u8 = 4;
const TIME_WAIT: u8 = 6;
const LISTEN: u8 = 10;

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

fn local(options: ServerOptions) -> Server {
    options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap()
}

/// Opened once, by a test, for a handler that waits before it. Nobody waits for ever.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn open(&self) {
        *self.0.lock().unwrap() = true;
        self.1.notify_all();
    }

    fn wait(&self, at_most: Duration) {
        let is_shut = |is_open: &mut bool| !*is_open;
        let is_open = self.0.lock().unwrap();
        drop(self.1.wait_timeout_while(is_open, at_most, is_shut));
    }
}

// Output that nobody takes.

/// Sends so many lines of 60 kB, as far as they are taken, and never reads.
fn sends_without_reading(server: &ServerProcess, lines: usize) -> TcpStream {
    let address = server.address().as_socket_addr().expect("it is TCP");
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_write_timeout(Some(milliseconds(200))).unwrap();
    let line = "x".repeat(60_000) + "\r\n";
    for _ in 0..lines {
        if stream.write_all(line.as_bytes()).is_err() {
            break;
        }
    }
    stream
}

/// No connection of this port has output that waits for its peer, soon. In TIME-WAIT none has.
#[track_caller]
fn assert_nothing_is_left(port: u16, case: &str) {
    let given_up = Instant::now();
    let left = || {
        tcp_states(port)
            .into_iter()
            .filter(|state| ![TIME_WAIT, LISTEN].contains(state))
    };
    while left().count() > 0 {
        assert!(
            given_up.elapsed() < milliseconds(1500),
            "{case}: the kernel keeps its output, in state {:?} (FIN-WAIT-1 is {FIN_WAIT_1})",
            left().collect::<Vec<_>>()
        );
        thread::sleep(milliseconds(10));
    }
}

fn port(server: &ServerProcess) -> u16 {
    server.address().as_socket_addr().expect("it is TCP").port()
}

/// Cuts a peer that takes no more than the buffers hold, behind which it says this.
fn cuts_who_reads_nothing(last: &str, reason: &str) {
    let timeouts = ["--idle-timeout=500ms", "--message-timeout=500ms"];
    let mut server = ServerProcess::starts(&timeouts);
    let mut stuck = sends_without_reading(&server, 10);
    stuck.write_all(last.as_bytes()).unwrap();
    let closed = server.logs("conn_closed");
    assert!(closed.contains(&format!(" reason={reason} ")), "{closed}");
    assert_nothing_is_left(port(&server), reason);
    server.client().sends("next\r\n").expects("next\r\n");
    drop(stuck);
}

#[test]
fn what_a_silent_peer_does_not_read_is_not_kept_by_the_kernel() {
    cuts_who_reads_nothing("", "idle");
}

#[test]
fn what_a_slow_peer_does_not_read_is_not_kept_by_the_kernel() {
    cuts_who_reads_nothing("half", "message-deadline");
}

/// A server that sends without end, and a peer that has begun to read that and stopped.
fn stuck_in_a_write(write_timeout: Duration) -> (Serving, Peer, u16) {
    let limits = Limits {
        write_timeout: Some(write_timeout),
        ..Limits::default()
    };
    let options = ServerOptions::new().limits(limits);
    let serving = Serving::starts(local(options.grace(milliseconds(500))), |_| Endless);
    let mut stuck = serving.client();
    stuck.expects("xxxx");
    let port = serving.address.as_socket_addr().expect("it is TCP").port();
    (serving, stuck, port)
}

#[test]
fn what_a_stalled_write_has_left_is_not_kept_by_the_kernel() {
    let (serving, stuck, port) = stuck_in_a_write(milliseconds(500));
    let stalled = || endings(&serving.handle.report(), "write-stall");
    eventually("it is cut", || stalled() == 1);
    assert_nothing_is_left(port, "write-stall");
    serving.client().expects("xxxx");
    serving.stops();
    drop(stuck);
}

#[test]
fn what_was_left_when_a_server_ended_by_force_is_not_kept_by_the_kernel() {
    let (serving, stuck, port) = stuck_in_a_write(PATIENCE);
    serving.client().expects("xxxx");
    let report = serving.stops();
    assert_eq!(endings(&report, "forced"), 1, "{report}");
    assert_nothing_is_left(port, "forced");
    drop(stuck);
}

#[test]
fn what_a_half_closed_peer_never_reads_is_not_kept_for_ever() {
    let mut server = ServerProcess::starts(&["--write-timeout=1s"]);
    let stuck = sends_without_reading(&server, 10);
    stuck.shutdown(std::net::Shutdown::Write).unwrap();
    let closed = server.logs("conn_closed");
    assert!(closed.contains(" reason=end-of-stream "), "{closed}");

    // It could still be read, so the kernel keeps it for about the time of a write.
    let port = port(&server);
    let is_done = |state: &u8| [TIME_WAIT, LISTEN].contains(state);
    assert!(!tcp_states(port).iter().all(is_done), "it was given up");
    eventually("it is given up", || tcp_states(port).iter().all(is_done));
    server.client().sends("next\r\n").expects("next\r\n");
    drop(stuck);
}

#[test]
fn replies_that_are_read_late_by_who_has_half_closed_are_not_given_up() {
    let mut server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    let lines = ("x".repeat(60_000) + "\r\n").repeat(5);
    peer.sends(&lines).half_closes();
    let closed = server.logs("conn_closed");
    assert!(closed.contains(" reason=end-of-stream "), "{closed}");
    peer.expects(&lines).expects_eof();
    server.client().sends("next\r\n").expects("next\r\n");
}

// Producers that panic, and panic again when they are dropped.

/// Panics in `more`, in its drop, or in both: where it goes through a lock that is poisoned.
struct Bomb {
    in_more: bool,
    in_drop: bool,
}

impl Bomb {
    const IN_BOTH: Self = Self {
        in_more: true,
        in_drop: true,
    };
    const IN_DROP: Self = Self {
        in_more: false,
        in_drop: true,
    };
}

impl Producer for Bomb {
    fn more(&mut self) -> io::Result<&[u8]> {
        assert!(!self.in_more, "more() panics");
        Ok(&[])
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.in_drop, "the drop of a producer panics");
    }
}

/// Does what the server's test is about, once it is asked to.
struct Bomber(String);

impl Handler for Bomber {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        if data == b"hello" {
            return Ok(chat.push("hello\r\n")?);
        }
        match self.0.as_str() {
            "while it is written" => chat.push_with_producer(Bomb::IN_BOTH)?,
            "another behind it" => {
                let in_more = Bomb {
                    in_drop: false,
                    ..Bomb::IN_BOTH
                };
                chat.push_with_producer(in_more)?;
                chat.push_with_producer(Bomb::IN_DROP)?;
            }
            "when it is done" => {
                chat.push_with_producer(Bomb::IN_DROP)?;
                chat.push_with_producer(Bomb::IN_DROP)?;
            }
            "at an error" => {
                chat.push_with_producer(Bomb::IN_BOTH)?;
                chat.push_with_producer(Bomb::IN_BOTH)?;
                return Err("told to fail".into());
            }
            "at a panic" => {
                chat.push_with_producer(Bomb::IN_BOTH)?;
                chat.push_with_producer(Bomb::IN_BOTH)?;
                panic!("told to panic");
            }
            "at a discard" => {
                chat.push_with_producer(Bomb::IN_DROP)?;
                chat.push_with_producer(Bomb::IN_DROP)?;
                chat.discard_buffers();
            }
            "at a close" => {
                chat.push_with_producer(Bomb::IN_BOTH)?;
                chat.push_with_producer(Bomb::IN_DROP)?;
                chat.close_when_done();
            }
            other => panic!("{other} is no plan"),
        }
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
        Ok(())
    }
}

/// Whether more panics there than the drop of what was to be dropped anyway.
fn ends_its_conversation(plan: &str) -> bool {
    !["when it is done", "at a discard"].contains(&plan)
}

#[test]
fn producers_that_panic_twice_end_one_connection_and_not_the_process() {
    if let Some(plan) = plan() {
        let bomber = plan.clone();
        let serving = Serving::starts(local(ServerOptions::new()), move |_| Bomber(bomber.clone()));
        let mut bystander = serving.client();
        bystander.sends("hello\r\n").expects("hello\r\n");
        for _ in 0..2 {
            serving
                .client()
                .sends("bomb\r\n")
                .half_closes()
                .reads_to_the_end();
        }
        bystander.sends("hello\r\n").expects("hello\r\n");
        serving.client().sends("hello\r\n").expects("hello\r\n");
        drop(bystander);
        let report = serving.stops();
        let failed = ["handler-panic", "handler-error"].map(|name| endings(&report, name));
        let failed = failed[0] + failed[1];
        // A panic of nothing but a drop can be passed over.
        let is_in_more = ends_its_conversation(&plan);
        assert!(failed == 2 || (failed == 0 && !is_in_more), "{report}");
        assert_eq!(report.accepted, 4, "{report}");
        return;
    }
    let plans = [
        "while it is written",
        "another behind it",
        "when it is done",
        "at an error",
        "at a panic",
        "at a discard",
        "at a close",
    ];
    let test = "giving_up::producers_that_panic_twice_end_one_connection_and_not_the_process";
    let failures: Vec<_> = plans
        .iter()
        .filter_map(|plan| fails_alone(test, plan))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

// The accept queue, when the server stops.

/// Nobody can connect any more, at once: an attempt is refused, or not answered.
#[track_caller]
fn assert_nobody_can_connect(address: &synchat::Address) {
    let address = address.as_socket_addr().expect("it is TCP");
    let started = Instant::now();
    while TcpStream::connect_timeout(&address, milliseconds(50)).is_ok() {
        let took = started.elapsed();
        assert!(took < milliseconds(300), "it still accepts after {took:?}");
        thread::sleep(milliseconds(5));
    }
}

#[test]
fn a_long_accept_queue_does_not_keep_a_stopped_server_listening() {
    const GRACE: Duration = Duration::from_millis(500);
    let options = ServerOptions::new()
        .max_connections(1)
        .overload(Overload::Wait)
        .request_queue_size(512)
        .grace(GRACE)
        // It takes its time for each of them.
        .verify_request(|_| {
            thread::sleep(milliseconds(10));
            true
        });
    let serving = Serving::echoes(local(options));
    let mut served = serving.client();
    served.sends("hello\r\n").expects("hello\r\n");
    let waiting: Vec<_> = (0..300).map(|_| serving.client()).collect();

    let stopped = Instant::now();
    serving.handle.stop();
    assert_nobody_can_connect(&serving.address);
    served.expects_eof();
    drop(served);
    serving.ends();
    let took = stopped.elapsed();
    let allowed = GRACE + Duration::from_secs(2);
    assert!(took < allowed, "it has ended after {took:?}");
    drop(waiting);
}

#[test]
fn who_waits_for_a_place_is_not_told_of_a_limit_when_the_server_stops() {
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut command = synchat();
        command.args([address, "--max-connections", "1", "--overload", "wait"]);
        let mut server = ServerProcess::starts_from(&mut command);
        let mut served = server.client();
        served.sends("hello\r\n").expects("hello\r\n");
        let mut waiting: Vec<_> = (0..3).map(|_| server.client()).collect();
        server.logs("accept: waiting until one of");
        server.signal("TERM");

        // If they are told a reason, it is that the server stops, and not how many there are.
        for peer in &mut waiting {
            let told = String::from_utf8(peer.reads_to_the_end()).unwrap();
            assert!(told.is_empty() || told.starts_with("error: "), "{told:?}");
            assert!(!told.contains("too many connections"), "{told:?}");
        }
        served.expects_eof();
        drop((served, waiting));
        let report = server.logs(" report: ");
        assert_eq!(number(&report, "refused-full"), 0, "{report}");
        assert!(server.ends().status.success());
    }
}

// What the end of a server waits for.

#[test]
fn what_makes_handlers_is_dropped_before_the_server_returns() {
    let started = Instant::now();
    for round in 0..400 {
        let shared = Arc::new(());
        let held = Arc::clone(&shared);
        let serving = Serving::starts(local(ServerOptions::new()), move |_| {
            let _held = &held;
            Echo::new(Terminator::CRLF)
        });
        let mut peers: Vec<_> = (0..3).map(|_| serving.client()).collect();
        for peer in &mut peers {
            peer.sends("hello\r\n").expects("hello\r\n");
        }
        drop(peers);
        serving.stops();
        let holders = Arc::strong_count(&shared) - 1;
        assert_eq!(holders, 0, "threads hold it in round {round}");
        assert!(started.elapsed() < Duration::from_secs(60), "it hangs");
    }
}

/// Echoes lines, and waits at the first one until it may go on.
struct Gated {
    line: Vec<u8>,
    arrived: Arc<Gate>,
    may_go_on: Arc<Gate>,
}

impl Handler for Gated {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        self.line.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        self.arrived.open();
        self.may_go_on.wait(PATIENCE);
        self.line.extend_from_slice(b"\r\n");
        Ok(chat.push(std::mem::take(&mut self.line))?)
    }
}

#[test]
fn what_had_arrived_at_the_stop_is_answered_whatever_the_linger_may_read() {
    for linger_bytes in [0, 1, 4096] {
        let limits = Limits {
            linger_bytes,
            input_buffer: NonZeroUsize::new(4096).unwrap(),
            ..Limits::default()
        };
        let (arrived, may_go_on) = (Arc::new(Gate::default()), Arc::new(Gate::default()));
        let gates = (Arc::clone(&arrived), Arc::clone(&may_go_on));
        let server = local(ServerOptions::new().limits(limits));
        let serving = Serving::starts(server, move |_| Gated {
            line: Vec::new(),
            arrived: Arc::clone(&gates.0),
            may_go_on: Arc::clone(&gates.1),
        });
        let mut peer = serving.client();
        peer.sends("first\r\n");
        arrived.wait(PATIENCE);
        // They are in the kernel when the order to stop is given.
        let rest = b"a line that has arrived\r\n".repeat(1000);
        peer.sends(&rest);
        serving.handle.stop();
        may_go_on.open();
        peer.expects("first\r\n");
        let answered = peer.reads_to_the_end();
        assert_eq!(
            answered.len(),
            rest.len(),
            "of the bytes that had arrived, at linger_bytes: {linger_bytes}"
        );
        drop(peer);
        assert_eq!(endings(&serving.stops(), "drained"), 1);
    }
}

// Those who are refused one at a time.

/// Serves one connection after the other, none of which is let in, until it is told to stop.
fn refuses_one_by_one() -> (OneByOne, synchat::Address) {
    let server = local(ServerOptions::new().verify_request(|_| false));
    let (address, handle) = (server.local_addr().clone(), server.handle());
    let is_over = Arc::new(AtomicBool::new(false));
    let thread = thread::spawn({
        let is_over = Arc::clone(&is_over);
        move || {
            while !is_over.load(Ordering::Relaxed) {
                let echo = |_: &synchat::Peer| Echo::new(Terminator::CRLF);
                assert!(server.handle_request(echo, None).unwrap().is_none());
            }
        }
    });
    let serving = OneByOne {
        is_over,
        handle,
        thread,
    };
    (serving, address)
}

/// A server that calls `handle_request` again and again.
struct OneByOne {
    is_over: Arc<AtomicBool>,
    handle: synchat::ServerHandle,
    thread: thread::JoinHandle<()>,
}

impl OneByOne {
    /// Stops it, and returns how many it has refused.
    fn stops(self) -> u64 {
        self.is_over.store(true, Ordering::Relaxed);
        self.handle.stop();
        self.thread.join().unwrap();
        refusals(&self.handle.report(), "refused-not-allowed")
    }
}

const NOT_ALLOWED: &str = "error: not allowed from this address\r\n";

#[test]
fn whom_handle_request_refuses_gets_the_line_and_no_reset() {
    let (serving, address) = refuses_one_by_one();
    for _ in 0..20 {
        let mut refused = Peer::connects(&address);
        refused.sends([b'x'; 1 << 14]).expects(NOT_ALLOWED);
        // It was in the middle of sending: the rest is taken, too.
        for _ in 0..16 {
            refused.sends([b'x'; 1 << 14]);
        }
        refused.expects_eof();
    }
    assert_eq!(serving.stops(), 20);
}

/// What the log of this process is told, where a test has it for itself.
struct Log {
    lines: Mutex<Vec<String>>,
    /// Words at which it panics, once.
    panics_at: Option<String>,
    has_panicked: AtomicBool,
}

impl Log {
    fn begins(panics_at: Option<String>) -> &'static Self {
        let log = Box::leak(Box::new(Self {
            lines: Mutex::default(),
            panics_at,
            has_panicked: AtomicBool::new(false),
        }));
        log::set_logger(log).expect("this process has no other");
        log::set_max_level(log::LevelFilter::Debug);
        log
    }

    fn lines_with(&self, words: &str) -> usize {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| line.contains(words)).count()
    }
}

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        let is_bad = self
            .panics_at
            .as_ref()
            .is_some_and(|words| line.contains(words));
        if is_bad && !self.has_panicked.swap(true, Ordering::Relaxed) {
            panic!("the logger panics at {line}");
        }
        self.lines.lock().unwrap().push(line);
    }

    fn flush(&self) {}
}

#[test]
fn whom_handle_request_refuses_is_logged_once_a_second() {
    if plan().is_some() {
        let log = Log::begins(None);
        let (serving, address) = refuses_one_by_one();
        let started = Instant::now();
        for _ in 0..50 {
            Peer::connects(&address).expects(NOT_ALLOWED);
        }
        assert_eq!(serving.stops(), 50);
        let (logged, seconds) = (log.lines_with("not allowed"), started.elapsed().as_secs());
        assert!(
            logged as u64 <= seconds + 1,
            "{logged} lines in {seconds} s"
        );
        return;
    }
    let test = "giving_up::whom_handle_request_refuses_is_logged_once_a_second";
    let failure = fails_alone(test, "counts lines");
    assert!(failure.is_none(), "{}", failure.unwrap_or_default());
}

// Conversations that something around them ends.

#[test]
fn a_logger_that_panics_ends_one_conversation_which_is_counted() {
    if let Some(plan) = plan() {
        Log::begins(Some(plan));
        let options = ServerOptions::new().max_connections(1);
        let serving = Serving::echoes(local(options));
        let open = || serving.handle.report().open;
        let mut first = serving.client();
        // It may be ended by the panic.
        let _ = first.tries_to_send("hello\r\n");
        let mut byte = [0];
        if first.read(&mut byte).is_ok_and(|length| length > 0) {
            let mut refused = serving.client();
            while refused.read(&mut byte).is_ok_and(|length| length > 0) {}
        }
        drop(first);
        eventually("its place is free", || open() == 0);
        for _ in 0..2 {
            let mut next = serving.client();
            next.sends("next\r\n")
                .expects("next\r\n")
                .half_closes()
                .expects_eof();
            eventually("its place is free", || open() == 0);
        }
        let report = serving.stops();
        assert!([2, 3].contains(&report.accepted), "{report}");
        return;
    }
    let test = "giving_up::a_logger_that_panics_ends_one_conversation_which_is_counted";
    let words = [
        "conn_made",
        "conn_closed",
        "sending",
        "too many",
        "found_terminator",
    ];
    let failures: Vec<_> = words
        .iter()
        .filter_map(|words| fails_alone(test, words))
        .collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_read_buffer_that_cannot_be_had_ends_conversations_that_are_counted() {
    for bytes in [usize::MAX, isize::MAX as usize + 1] {
        let limits = Limits {
            input_buffer: NonZeroUsize::new(bytes).unwrap(),
            ..Limits::default()
        };
        let options = ServerOptions::new().limits(limits).max_connections(2);
        // To refuse it from the start is right, too.
        let Ok(server) = options.bind(&"127.0.0.1:0".parse().unwrap()) else {
            continue;
        };
        let serving = Serving::echoes(server);
        for _ in 0..3 {
            let mut peer = serving.client();
            let _ = peer.tries_to_send("hello\r\n");
            let _ = peer.read(&mut [0; 16]);
            drop(peer);
            eventually("its place is free", || serving.handle.report().open == 0);
        }
        // Each has an ending, which `stops` checks.
        assert_eq!(serving.stops().accepted, 3);
    }
}

/// Answers a line, ends as it is told to, and takes its time over the end.
struct Lingering {
    line: Vec<u8>,
    may_end: Arc<Gate>,
    ended_late: Arc<AtomicUsize>,
}

impl Handler for Lingering {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        self.line.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.push("done\r\n")?;
        match &self.line[..] {
            b"quit" => chat.close_when_done(),
            b"fail" => return Err("told to fail".into()),
            _ => {}
        }
        Ok(())
    }

    fn handle_close(&mut self, _: &CloseReason) {
        self.may_end.wait(milliseconds(1500));
        self.ended_late.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_slow_handle_close_does_not_delay_the_end_of_the_stream() {
    for (sent, told) in [
        ("quit\r\n", "done\r\n"),
        ("fail\r\n", "done\r\n"),
        ("far too long a line", ""),
        ("half", ""),
    ] {
        let (may_end, late) = (Arc::new(Gate::default()), Arc::new(AtomicUsize::new(0)));
        let shared = (Arc::clone(&may_end), Arc::clone(&late));
        let limits = Limits {
            max_message: 10,
            ..Limits::default()
        };
        let server = local(ServerOptions::new().limits(limits));
        let serving = Serving::starts(server, move |_| Lingering {
            line: Vec::new(),
            may_end: Arc::clone(&shared.0),
            ended_late: Arc::clone(&shared.1),
        });
        let mut peer = serving.client();
        peer.sends(sent);
        if sent == "half" {
            peer.half_closes();
        }
        peer.expects(told).expects_eof();
        let ended = late.load(Ordering::Relaxed);
        assert_eq!(ended, 0, "{sent:?}: handle_close had to end first");
        may_end.open();
        serving.client().sends("more\r\n").expects("done\r\n");
        drop(peer);
        assert_eq!(serving.stops().accepted, 2);
    }
}
