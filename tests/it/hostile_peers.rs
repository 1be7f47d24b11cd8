//! Attacks of one peer on the real program: endless messages, cut packets, resets, slow bytes,
//! garbage and the worst input. Afterwards the next client is served, and nothing is left behind.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::peer::{PATIENCE, Peer};
use crate::support::process::ServerProcess;
use crate::wire::{assert_same, assert_serves, exchange};

const MIB: usize = 1 << 20;

/// The resources that a server holds.
#[derive(Debug, Clone, Copy)]
struct Holdings {
    descriptors: usize,
    threads: u64,
    resident: u64,
}

impl Holdings {
    /// Returns the resources of a server whose last connection has ended or will end soon.
    fn at_rest(server: &ServerProcess) -> Self {
        let deadline = Instant::now() + PATIENCE;
        // One thread accepts, one waits for signals, and one writes the log.
        while server.status("Threads") > 3 {
            assert!(Instant::now() < deadline, "a connection does not end");
            thread::sleep(Duration::from_millis(1));
        }
        Self::of(server)
    }

    fn of(server: &ServerProcess) -> Self {
        Self {
            descriptors: server.descriptors(),
            threads: server.status("Threads"),
            resident: server.status("VmRSS"),
        }
    }

    /// Checks that the server holds the same again, with at most 4 MiB more memory.
    fn assert_are_all_of(self, server: &ServerProcess) {
        let now = Self::at_rest(server);
        let [before, left] = [self, now].map(|has| (has.descriptors, has.threads));
        assert_eq!(before, left);
        self.assert_most_memory_of(server);
    }

    fn assert_most_memory_of(self, server: &ServerProcess) {
        let now = Self::of(server);
        assert!(
            now.resident < self.resident + 4 * 1024,
            "{now:?} after {self:?}"
        );
    }
}

/// Returns random bytes, the same ones each time.
fn garbage(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    let bytes: Vec<u8> = (0..length.div_ceil(8)).flat_map(|_| next()).collect();
    bytes[..length].to_vec()
}

/// Sends this so many times, on a separate thread, as long as the server takes it.
fn floods(peer: &Peer, chunk: Vec<u8>, times: usize) -> thread::JoinHandle<bool> {
    let mut peer = peer.clone();
    thread::spawn(move || (0..times).all(|_| peer.tries_to_send(&chunk).is_ok()))
}

#[test]
fn a_message_of_256_mib_takes_no_memory() {
    let error = "error: message longer than 65536 bytes\r\n";
    for policy in ["close", "discard"] {
        let server = ServerProcess::starts(&["--too-long", policy]);
        let line = "x".repeat(60_000) + "\r\n";
        server.client().sends(&line).expects(&line);
        let before = Holdings::at_rest(&server);
        let mut peer = server.client();
        let flood = floods(&peer, vec![b'x'; MIB], 256);
        if policy == "discard" {
            assert!(flood.join().unwrap(), "the message was not taken");
            before.assert_most_memory_of(&server);
            peer.sends("\r\nafter\r\n")
                .expects(error)
                .expects("after\r\n");
        } else {
            peer.expects(error).expects_eof();
            assert!(!flood.join().unwrap(), "all of the message was taken");
        }
        drop(peer);
        assert_serves(&server);
        before.assert_most_memory_of(&server);
    }
}

#[test]
fn packet_cuts_do_not_change_the_verdict_at_the_limit() {
    const LIMIT: usize = 64 * 1024;
    let server = ServerProcess::starts(&["--too-long", "discard"]);
    let mut peer = server.client();
    for length in LIMIT - 1..=LIMIT + 1 {
        let message = "x".repeat(length) + "\r\n";
        let reply = match length {
            0..=LIMIT => &message,
            _ => "error: message longer than 65536 bytes\r\n",
        };
        // Cuts at the beginning, around the end of the server's buffer, and at the end.
        let cuts = [0..30, LIMIT - 300..LIMIT - 220, length - 30..length + 3];
        for cut in cuts.into_iter().flatten() {
            // The echo of the first part shows that the server has read up to the cut.
            let (before, after) = message.split_at(cut);
            peer.sends(["m\r\n", before].concat()).expects("m\r\n");
            peer.sends(after).expects(reply);
        }
    }

    peer.sends("after\r\n").expects("after\r\n");
}

fn connects(server: &ServerProcess) -> TcpStream {
    let address = server.address().as_socket_addr().expect("it is TCP");
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Closes a socket with an unread reply, so that it sends a reset.
fn resets(stream: TcpStream) {
    let seen = stream.peek(&mut [0]).expect("a reply comes");
    assert_eq!(seen, 1, "no reply comes");
    drop(stream);
}

/// Expects that this many connections end next, each for this reason.
fn expect_ends(server: &mut ServerProcess, count: usize, reason: &str) {
    for _ in 0..count {
        let closed = server.logs("conn_closed");
        assert!(closed.contains(&format!(" reason={reason} ")), "{closed}");
    }
}

#[test]
fn five_hundred_resets_in_mid_message_end_only_themselves() {
    let mut server = ServerProcess::starts(&[]);
    assert_serves(&server);
    expect_ends(&mut server, 1, "end-of-stream");
    let before = Holdings::at_rest(&server);
    for _ in 0..500 {
        let mut stream = connects(&server);
        stream.write_all(b"one\r\ntw").unwrap();
        resets(stream);
    }
    expect_ends(&mut server, 500, "reset-by-peer");
    assert_serves(&server);
    before.assert_are_all_of(&server);
}

#[test]
fn clients_gone_before_accept_harm_nobody() {
    let server = ServerProcess::starts(&[]);
    assert_serves(&server);
    let before = Holdings::at_rest(&server);
    // A third of them sends nothing, a third a line, and a third a line and a half. When a reply
    // arrives, their kernel answers with a reset.
    server.signal("STOP");
    for sent in ["", "x\r\n", "x\r\ny"].into_iter().cycle().take(500) {
        connects(&server).write_all(sent.as_bytes()).unwrap();
    }
    server.signal("CONT");
    assert_serves(&server);
    before.assert_are_all_of(&server);
}

#[test]
fn refused_clients_that_reset_harm_nobody() {
    let mut server = ServerProcess::starts(&["--max-connections", "1"]);
    let mut guest = server.client();
    guest.sends("hello\r\n").expects("hello\r\n");
    for _ in 0..500 {
        resets(connects(&server));
    }
    guest.sends("hello\r\n").expects("hello\r\n");

    // At most sixteen of them are still held.
    assert!(server.descriptors() < 40, "{}", server.descriptors());

    drop(guest);
    server.logs("conn_closed");

    // The server gives the descriptor back just before it logs this.
    let deadline = Instant::now() + PATIENCE;
    loop {
        let mut client = connects(&server);
        let _ = client.write_all(b"next\r\n");
        let mut reply = [0; 6];
        if client.read_exact(&mut reply).is_ok() && reply == *b"next\r\n" {
            return;
        }
        assert!(Instant::now() < deadline, "nobody is served any more");
    }
}

/// Returns how long the server takes to echo this.
fn time_of_echo(server: &ServerProcess, message: &[u8]) -> Duration {
    let started = Instant::now();
    let echo = exchange(server.client(), message.to_vec());
    let took = started.elapsed();
    assert_same(&echo, message);
    took
}

#[test]
fn the_worst_input_takes_no_more_than_20_times_as_long() {
    let almost = "a".repeat(2000);
    let terminator = almost.clone() + "b";
    let options = ["--max-connections", "2", "--max-message", "32MiB"];
    let server = ServerProcess::starts(
        &[
            &options[..],
            &["--terminator", &format!("bytes:{terminator}")],
        ]
        .concat(),
    );
    let usual = [garbage(16 * MIB), terminator.clone().into()].concat();
    let usual = time_of_echo(&server, &usual);
    let endless = "a".repeat(16 * MIB) + "b";
    let near_misses = format!("{}c", &almost[1..]).repeat(16 * MIB / 2000) + &terminator;
    for worst in [endless, near_misses] {
        let took = time_of_echo(&server, worst.as_bytes());
        assert!(took < 20 * usual, "{took:?}, and {usual:?} of random bytes");
    }
}

#[test]
fn a_hundred_clients_that_drip_bytes_get_their_echoes() {
    let server = ServerProcess::starts(&[]);
    let mut clients: Vec<_> = (0..100).map(|_| server.client()).collect();
    let line = b"drip drop\r\n";
    for byte in line {
        for client in &mut clients {
            client.sends([*byte]);
        }
        assert_serves(&server);
    }
    for mut client in clients {
        client.expects(line);
    }
}

#[test]
fn a_million_empty_messages_are_a_million_echoes() {
    let mut server = ServerProcess::starts(&[]);
    let lines = b"\r\n".repeat(1_000_000);
    assert_same(&exchange(server.client(), lines.clone()), &lines);
    let closed = server.logs("conn_closed");
    assert!(closed.contains(" messages=1000000 "), "{closed}");
    assert_serves(&server);
}

/// Returns the replies of an echo that discards long messages.
fn expected_replies(mut bytes: &[u8]) -> Vec<u8> {
    let mut replies = Vec::new();
    while let Some(length) = bytes.windows(2).position(|pair| pair == b"\r\n") {
        let (message, rest) = bytes.split_at(length + 2);
        match length {
            0..=65_536 => replies.extend(message),
            _ => replies.extend(b"error: message longer than 65536 bytes\r\n"),
        }
        bytes = rest;
    }
    replies
}

#[test]
fn garbage_is_framed_like_any_other_bytes() {
    let mut server = ServerProcess::starts(&["--too-long", "discard", "-v"]);
    let garbage = garbage(8 * MIB);
    let expected = expected_replies(&garbage);
    assert_same(&exchange(server.client(), garbage), &expected);
    for line in server.logs_up_to("conn_closed") {
        let is_text = |line: &str| line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        assert!(is_text(line.trim_end()), "{line:?}");
    }
    assert_serves(&server);
}

/// Makes one connection for each way to end: the client closes, it resets, the server closes.
fn ends_in_all_ways(server: &ServerProcess) {
    assert_serves(server);
    let mut stream = connects(server);
    stream.write_all(b"one\r\n").unwrap();
    resets(stream);
    let mut peer = server.client();
    peer.sends("x".repeat(17))
        .expects("error: message longer than 16 bytes\r\n")
        .expects_eof();
}

#[test]
fn six_thousand_connections_leave_nothing_behind() {
    let server = ServerProcess::starts(&["--max-message", "16"]);
    ends_in_all_ways(&server);
    let before = Holdings::at_rest(&server);
    for _ in 0..2000 {
        ends_in_all_ways(&server);
    }
    before.assert_are_all_of(&server);
    assert_serves(&server);
}
