//! The limits on connections, addresses and memory: the real program at its limits and in a flood
//! (V2, V6).

use std::io::{ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::panic::resume_unwind;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Address, Chat, Handler, HandlerResult, ServerOptions, Terminator};

use crate::server::{Serving, endings, refusals};
use crate::support::peer::Peer;
use crate::support::process::{
    Directory, ServerProcess, complaint, eventually, number, run, run_to_its_end, synchat,
};

const NOT_ALLOWED: &str = "error: not allowed from this address\r\n";

fn full(limit: usize) -> String {
    format!("error: too many connections, the limit is {limit}\r\n")
}

/// Connects a client that is served and stays.
fn served(server: &ServerProcess) -> Peer {
    let mut peer = server.client();
    greets(&mut peer);
    peer
}

fn greets(peer: &mut Peer) {
    peer.sends("hello\r\n").expects("hello\r\n");
}

/// Closes, and waits until the server has closed the connection, too. Its place is free then.
fn leaves(server: &ServerProcess, mut peer: Peer) {
    let before = server.descriptors();
    peer.half_closes().expects_eof();
    eventually("its socket is closed", || server.descriptors() < before);
}

/// Fills the server up to its limit, and checks that the next one is refused.
fn fills(server: &ServerProcess, limit: usize) -> Vec<Peer> {
    let peers: Vec<_> = (0..limit).map(|_| served(server)).collect();
    server.client().expects(full(limit)).expects_eof();
    peers
}

#[test]
fn one_connection_over_the_limit_is_refused() {
    let server = ServerProcess::starts(&["--max-connections", "3"]);
    let mut peers = fills(&server, 3);
    for _ in 0..3 {
        leaves(&server, peers.remove(0));
        peers.push(served(&server));
        server.client().expects(full(3)).expects_eof();
        peers.iter_mut().for_each(greets);
    }
}

#[test]
fn a_refused_sender_gets_the_line_and_no_reset() {
    let server = ServerProcess::starts(&["--max-connections", "1"]);
    let mut peers = fills(&server, 1);
    let mut refused = server.client();
    let _ = refused.tries_to_send(vec![b'x'; 1 << 20]);
    refused.expects(full(1)).expects_eof();
    peers.iter_mut().for_each(greets);
    leaves(&server, peers.remove(0));
    served(&server);
}

/// Connects this many times, one after the other. Returns how many were refused; the others were
/// served.
fn connects_again_and_again(address: &Address, times: usize, refusal: &str) -> u64 {
    let mut refused = 0;
    for _ in 0..times {
        let mut peer = Peer::connects(address);
        // A refused connection can be closed already.
        let _ = peer.tries_to_send("x\r\n");
        let mut first = [0];
        assert_eq!(peer.read(&mut first).expect("it is answered"), 1);
        if first == *b"x" {
            peer.expects("\r\n");
        } else {
            refused += 1;
            peer.expects(&refusal[1..]).expects_eof();
        }
    }

    refused
}

#[test]
fn in_a_flood_each_connection_is_served_or_refused() {
    let mut server = ServerProcess::starts(&["--max-connections", "20"]);
    let mut healthy: Vec<_> = (0..18).map(|_| served(&server)).collect();
    let resources = |server: &ServerProcess| (server.descriptors(), server.threads());
    let before = resources(&server);
    let started = Instant::now();
    let refused: u64 = thread::scope(|scope| {
        let address = server.address();
        let flood = move || connects_again_and_again(address, 500, &full(20));
        let floods: Vec<_> = (0..4).map(|_| scope.spawn(flood)).collect();
        healthy.iter_mut().for_each(greets);
        let joined = floods.into_iter().map(|flood| flood.join().unwrap());
        joined.sum()
    });

    healthy.iter_mut().for_each(greets);
    eventually("descriptors and threads are as before", || {
        resources(&server) == before
    });

    // When the server can log again, one more client makes it tell how many refusals it did not
    // log.
    thread::sleep(Duration::from_millis(1100));
    healthy.extend((0..2).map(|_| served(&server)));
    server.client().expects(full(20)).expects_eof();
    let seconds = started.elapsed().as_secs();

    server.signal("USR1");
    let log = server.logs_up_to(" report: ");
    let counts = log.last().expect("it has that line");
    assert_eq!(number(counts, "refused-full"), refused + 1, "{counts}");
    assert_eq!(
        number(counts, "accepted"),
        18 + (2000 - refused) + 2,
        "{counts}"
    );
    assert_eq!(number(counts, "open"), 20, "{counts}");
    assert_eq!(number(counts, "most_at_once"), 20, "{counts}");

    let logged: Vec<_> = log
        .iter()
        .filter(|line| line.contains("too many connections"))
        .collect();
    assert!(logged.len() as u64 <= seconds + 1, "{logged:#?}");

    let held_back = logged.iter().map(|line| number(line, "not_logged_before"));
    let told = logged.len() as u64 + held_back.sum::<u64>();
    assert_eq!(told, refused + 1, "{logged:#?}");
}

#[test]
fn with_overload_wait_one_more_waits() {
    let mut server = ServerProcess::starts(&["--max-connections", "2", "--overload", "wait"]);
    let mut peers = vec![served(&server), served(&server)];
    let mut waiting = server.client();
    waiting.sends("hello\r\n");

    let log = server.logs_up_to("accept: waiting until one of max_connections=2 has ended");
    assert!(log.last().unwrap().contains("WARNING "), "{log:?}");

    // However long it lasts, the server says it once.
    thread::sleep(Duration::from_millis(1200));
    peers.iter_mut().for_each(greets);
    server.signal("USR1");

    let log = server.logs_up_to(" report: ");
    assert!(!log.iter().any(|line| line.contains("waiting")), "{log:#?}");
    assert_eq!(number(log.last().unwrap(), "accepted"), 2);

    peers.remove(0).half_closes().expects_eof();
    waiting.expects("hello\r\n");
    peers.iter_mut().for_each(greets);
    leaves(&server, waiting);
    served(&server);

    let counts = server.counts();
    assert_eq!(number(&counts, "accepted"), 4, "{counts}");
    assert!(!counts.contains("refused"), "{counts}");
}

#[test]
fn each_address_has_its_own_limit() {
    let options = ["--max-per-address", "2", "--max-connections", "4"];
    let refusal = "error: too many connections from this address, the limit is 2\r\n";
    for address in ["127.0.0.1:0", "[::1]:0"] {
        let mut server = ServerProcess::starts_from(synchat().arg(address).args(options));
        let mut peers = vec![served(&server), served(&server)];
        for _ in 0..3 {
            server.client().expects(refusal).expects_eof();
        }
        leaves(&server, peers.remove(0));
        peers.push(served(&server));
        peers.iter_mut().for_each(greets);
        assert_eq!(number(&server.counts(), "refused-address-full"), 3);
    }

    let directory = Directory::new();
    let mut unix = synchat();
    unix.arg(directory.socket("unlimited")).args(options);
    fills(&ServerProcess::starts_from(&mut unix), 4);
}

/// Checks that a server with these settings serves, or says that it is not allowed.
fn check_allowed(address: &str, options: &[&str], environment: &str, is_served: bool) {
    let mut command = synchat();
    command.arg(address).args(options);
    if !environment.is_empty() {
        command.env("SYNCHAT_ALLOW", environment);
    }
    let mut server = ServerProcess::starts_from(&mut command);
    if is_served {
        served(&server);
        return;
    }

    for _ in 0..2 {
        server.client().expects(NOT_ALLOWED).expects_eof();
    }
    let counts = server.counts();
    assert_eq!(number(&counts, "refused-not-allowed"), 2, "{counts}");
    assert_eq!(number(&counts, "accepted"), 0, "{counts}");
}

#[test]
fn only_allowed_networks_are_served() {
    let v4 = "127.0.0.1:0";
    let v6 = "[::1]:0";
    let none: &[&str] = &[];
    let cases = [
        (v4, &["--allow", "127.0.0.0/8"][..], "", true),
        (v4, &["--allow", "10.0.0.0/8"], "", false),
        (v4, &["--allow", "10.0.0.0/8,127.0.0.1"], "", true),
        (
            v4,
            &["--allow", "10.0.0.0/8", "--allow", "127.0.0.1/32"],
            "",
            true,
        ),
        (
            v4,
            &["--allow", "127.0.0.1", "--allow", "10.0.0.0/8"],
            "",
            true,
        ),
        (v4, &["--allow", "::1"], "", false),
        (v4, none, "10.0.0.0/8", false),
        (v4, none, "10.0.0.0/8,127.0.0.0/8", true),
        (v4, &["--allow", "127.0.0.1"], "10.0.0.0/8", true),
        (v4, &["--allow", "10.0.0.0/8"], "127.0.0.1", false),
        (v4, &["--allow", "all"], "10.0.0.0/8", true),
        (v6, &["--allow", "::1"], "", true),
        (v6, &["--allow", "2001:db8::/32"], "", false),
        (v6, &["--allow", "0.0.0.0/0"], "", false),
    ];
    for (address, options, environment, is_served) in cases {
        check_allowed(address, options, environment, is_served);
    }

    let directory = Directory::new();
    check_allowed(
        &directory.socket("anyone"),
        &["--allow", "10.0.0.0/8"],
        "",
        true,
    );
}

#[test]
fn without_a_byte_string_a_refused_peer_gets_no_error_line() {
    for terminator in ["length:4", "none"] {
        let options = ["--terminator", terminator, "--max-connections", "1"];
        let server = ServerProcess::starts(&options);
        let mut first = server.client();
        first.sends("1234").expects("1234");
        server.client().expects_eof();
        leaves(&server, first);
        server.client().sends("1234").expects("1234");
    }

    let server = ServerProcess::starts(&["--terminator", ";", "--allow", "10.0.0.0/8"]);
    server
        .client()
        .expects("error: not allowed from this address;")
        .expects_eof();
}

/// Returns a command that runs the program with these options and a hundred descriptors.
fn with_a_hundred_descriptors(options: &[&str]) -> Command {
    let binary = synchat();
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n 100 && exec "$0" 127.0.0.1:0 "$@""#]);
    command.arg(binary.get_program()).args(options);
    for (name, _) in binary.get_envs() {
        command.env_remove(name);
    }
    command
}

/// Starts a server that has a hundred descriptors. Returns it, and how many connections it can hold.
fn starts_with_a_hundred_descriptors() -> (ServerProcess, usize) {
    let mut server = ServerProcess::starts_from(&mut with_a_hundred_descriptors(&[]));
    let warning = server.logs("max_connections lowered from 1024 to ");
    assert!(
        warning.contains("WARNING ") && warning.contains("(ulimit -n), of 100, with "),
        "{warning}"
    );
    let number = |before: &str| -> usize {
        let (_, number) = warning.split_once(before).expect("it says so");
        number.split([' ', ':']).next().unwrap().parse().unwrap()
    };
    let (possible, in_use) = (number(" to "), number(", with "));

    // The standard streams are open, and now the listening socket is, too.
    let open = server.descriptors();
    assert!((3..open).contains(&in_use), "{open} are open: {warning}");
    assert_eq!(possible, 100 - in_use - 32, "{warning}");
    (server, possible)
}

#[test]
fn a_default_too_high_for_the_system_is_lowered() {
    let (server, possible) = starts_with_a_hundred_descriptors();

    let mut peers = fills(&server, possible);
    for _ in 0..40 {
        server.client().expects(full(possible)).expects_eof();
    }
    peers.iter_mut().for_each(greets);
    leaves(&server, peers.remove(0));
    served(&server);

    let (_, log) = server.killed();
    assert!(!log.contains("accept: failing"), "{log}");
}

#[test]
fn a_limit_too_high_for_the_system_is_an_error() {
    let (_, possible) = starts_with_a_hundred_descriptors();
    let asked_for = |connections: usize| {
        with_a_hundred_descriptors(&["-q", &format!("--max-connections={connections}")])
    };

    let line = complaint(&run_to_its_end(&mut asked_for(possible + 1)), 1);
    let (asked, allowed) = ((possible + 1).to_string(), possible.to_string());
    for named in [&asked, &allowed, "RLIMIT_NOFILE", "ulimit -n", "100"] {
        assert!(line.contains(named), "{named} is not in {line}");
    }
    served(&ServerProcess::starts_from(&mut asked_for(possible)));
}

#[test]
fn impossible_values_are_bad_usage() {
    let cases = [
        ("--max-connections", "0"),
        ("--max-connections", "-1"),
        ("--max-connections", "many"),
        ("--max-connections", "99999999999999999999"),
        ("--max-per-address", "-1"),
        ("--overload", "drop"),
        ("--allow", "10.1.0.0/8"),
        ("--allow", "127.0.0.1,"),
        ("--allow", "localhost"),
        ("--idle-timeout", "5"),
        ("--idle-timeout", "-5s"),
        ("--message-timeout", "1.5s"),
        ("--write-timeout", "soon"),
    ];
    for (option, value) in cases {
        let argument = format!("{option}={value}");
        let line = complaint(&run(&["127.0.0.1:0", &argument]), 2);
        assert!(line.contains(option) && line.contains(value), "{line}");
    }
}

/// Sends lines of nearly the longest length until the server takes no more, and reads nothing.
fn stuffs(address: &Address) -> UnixStream {
    let Address::Unix(path) = address else {
        panic!("{address} is no Unix socket");
    };
    let mut stream = UnixStream::connect(path).expect("it listens");
    stream
        .set_write_timeout(Some(Duration::from_millis(30)))
        .unwrap();
    let line = "x".repeat(65_530) + "\r\n";
    let error = loop {
        if let Err(error) = stream.write_all(line.as_bytes()) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    stream
}

#[test]
fn memory_stays_within_the_formula() {
    const CONNECTIONS: usize = 100;
    let directory = Directory::new();
    let mut command = synchat();
    // Unix sockets have small buffers. A hundred full ones of TCP would take half a gigabyte.
    command.arg(directory.socket("memory"));
    command.args(["--max-connections", "101"]);
    let mut server = ServerProcess::starts_from(&mut command);
    let said = server.logs("memory: ");
    let at_most = said
        .split("at_most=")
        .nth(1)
        .and_then(|rest| rest.split("MiB").next());
    let at_most: u64 = at_most.expect("it says").parse().expect("a number");
    assert_eq!(at_most, (101 * 448_u64).div_ceil(1024), "{said}");

    let bound = (CONNECTIONS as u64 * 384) + 8 * 1024;

    let mut nearly: Vec<_> = (0..CONNECTIONS).map(|_| served(&server)).collect();
    for peer in &mut nearly {
        peer.sends("x".repeat(65_530));
    }

    // All of it has arrived when the last byte has.
    eventually("all is received", || {
        number(&server.counts(), "bytes_in") >= (CONNECTIONS * 65_530) as u64
    });
    let collected = server.resident_kib();
    for mut peer in nearly {
        peer.sends("\r\n").expects("x".repeat(65_530) + "\r\n");
        leaves(&server, peer);
    }

    let stuffed: Vec<_> = (0..CONNECTIONS).map(|_| stuffs(server.address())).collect();
    served(&server);

    let stuck = server.resident_kib();
    assert!(collected < bound, "{collected} KiB of {bound} collected");
    assert!(stuck < bound, "{stuck} KiB of {bound} stuck");

    // The server did hold something.
    assert!(collected > 100 * 64 && stuck > 100 * 64);

    drop(stuffed);
    served(&server);
}

/// A handler that does what the first byte of a line says: it panics, fails, or echoes.
#[derive(Default)]
struct Unreliable(Vec<u8>);

impl Handler for Unreliable {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        match &self.0[..] {
            // This keeps the panic's line off standard error.
            b"panic" => resume_unwind(Box::new("as it was told")),
            b"fail" => Err("as it was told".into()),
            line => {
                chat.push([line, b"\r\n"].concat())?;
                self.0.clear();
                Ok(())
            }
        }
    }
}

/// Checks that four are served and no fifth, then lets all of them leave.
fn check_that_four_have_room(serving: &Serving) {
    let open = || serving.handle.report().open;
    eventually("all have left", || open() == 0);
    let mut peers: Vec<_> = (0..4).map(|_| serving.client()).collect();
    peers.iter_mut().for_each(greets);
    serving.client().expects(full(4)).expects_eof();
    peers.iter_mut().for_each(greets);
    for mut peer in peers {
        peer.half_closes().expects_eof();
    }
}

#[test]
fn hundreds_of_panics_free_their_places_and_add_up() {
    let options = ServerOptions::new().max_connections(4);
    let server = options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let serving = Serving::starts(server, |_| Unreliable::default());
    let is_over = Arc::new(AtomicBool::new(false));
    let watching = thread::spawn({
        let (handle, is_over) = (serving.handle.clone(), Arc::clone(&is_over));
        move || {
            let mut looks = 0;
            while !is_over.load(Ordering::Relaxed) {
                let report = handle.report();
                let ended: u64 = report.endings().map(|(_, count)| count).sum();
                assert_eq!(report.accepted, ended + report.open, "{report}");
                assert!(report.open <= 4 && report.most_at_once <= 4, "{report}");
                looks += 1;
                thread::sleep(Duration::from_micros(200));
            }
            looks
        }
    });
    check_that_four_have_room(&serving);

    for round in 0..100 {
        for line in ["panic\r\n", "hello\r\nfail\r\n"] {
            let mut peer = serving.client();
            peer.sends(line).reads_to_the_end();
            drop(peer);
            // The place is free a moment after the stream has ended.
            eventually("it has left", || serving.handle.report().open == 0);
        }
        if round % 25 == 0 {
            check_that_four_have_room(&serving);
        }
    }
    check_that_four_have_room(&serving);

    is_over.store(true, Ordering::Relaxed);
    assert!(watching.join().expect("they added up") > 10);

    let report = serving.stops();
    assert_eq!(endings(&report, "handler-panic"), 100, "{report}");
    assert_eq!(endings(&report, "handler-error"), 100, "{report}");
    assert_eq!(refusals(&report, "refused-full"), 6, "{report}");
    assert_eq!(report.open, 0);
}
