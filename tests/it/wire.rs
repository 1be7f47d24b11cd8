//! The real program over TCP, as a client sees it: echoes, limits and ends. Some of the clients
//! misbehave.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::support::peer::{PATIENCE, Peer};
use crate::support::process::ServerProcess;

const MIB: usize = 1 << 20;

/// Sends all of this on a second thread, half-closes, and returns everything that comes.
///
/// On one thread this would be a deadlock: the server stops reading while its client does not read.
pub(crate) fn exchange(mut peer: Peer, bytes: Vec<u8>) -> Vec<u8> {
    let mut sender = peer.clone();
    let sending = thread::spawn(move || {
        sender.sends(bytes).half_closes();
    });
    let received = peer.reads_to_the_end();
    sending.join().expect("all of it was taken");
    received
}

/// Fails with the place of the first difference, without printing megabytes.
pub(crate) fn assert_same(received: &[u8], expected: &[u8]) {
    let pairs = received.iter().zip(expected);
    let same = pairs.take_while(|(left, right)| left == right).count();
    assert!(
        same == received.len() && same == expected.len(),
        "{} bytes came and {} were expected; they differ from byte {same} on",
        received.len(),
        expected.len()
    );
}

/// Checks that another client is served.
pub(crate) fn assert_serves(server: &ServerProcess) {
    server.client().sends("next\r\n").expects("next\r\n");
}

pub(crate) fn numbered_lines(count: usize) -> Vec<u8> {
    let mut lines = String::new();
    for number in 0..count {
        write!(lines, "line {number} {}\r\n", "-".repeat(number % 40)).expect("it is memory");
    }
    lines.into()
}

fn files_under(directory: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(directory).expect("the sources are there") {
        let path = entry.expect("it can be listed").path();
        if path.is_dir() {
            files.extend(files_under(&path));
        } else {
            files.push(path);
        }
    }
    files
}

/// Returns this project's own sources as network text: at least 4 MiB of lines that people have
/// written.
fn real_text() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = files_under(&root.join("src"));
    files.push(root.join("Cargo.lock"));
    files.sort();
    let mut text = String::new();
    for file in files {
        for line in fs::read_to_string(file).expect("it is text").lines() {
            text.extend([line, "\r\n"]);
        }
    }
    text.repeat((4 * MIB).div_ceil(text.len())).into()
}

#[test]
fn megabytes_of_real_text_come_back_unchanged() {
    let mut server = ServerProcess::starts(&[]);
    let text = real_text();
    assert!(text.len() >= 4 * MIB);
    let received = exchange(server.client(), text.clone());
    assert_same(&received, &text);
    let lines = text.iter().filter(|byte| **byte == b'\n').count();
    let length = text.len();
    let traffic = format!(" messages={lines} too_long=0 bytes_in={length} bytes_out={length} ");
    let closed = server.logs("conn_closed");
    assert!(closed.contains(&traffic), "{closed}");
}

#[test]
fn ten_thousand_pipelined_lines_come_back_in_order() {
    let mut server = ServerProcess::starts(&[]);
    let lines = numbered_lines(10_000);
    assert_same(&exchange(server.client(), lines.clone()), &lines);
    let closed = server.logs("conn_closed");
    assert!(closed.contains(" messages=10000 "), "{closed}");
}

#[test]
fn lines_sent_byte_by_byte_are_echoed_whole() {
    let server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    for line in ["one\r\n", "\r\n", "a\rb\nc\r\r\n", "\n\n\r\n"] {
        for byte in line.bytes() {
            peer.sends([byte]);
        }
        peer.expects(line);
    }
    peer.half_closes().expects_eof();
}

#[test]
fn two_packets_split_anywhere_are_one_stream() {
    let server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    let lines = b"first\r\n\r\nthird\r\n";
    for cut in 0..=lines.len() {
        let (before, after) = lines.split_at(cut);
        peer.sends(before).sends(after).expects(lines);
    }
    peer.half_closes().expects_eof();
}

#[test]
fn an_empty_line_is_a_message() {
    let mut server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    peer.sends("\r\n").expects("\r\n");
    peer.sends("\r\n\r\n\r\n").expects("\r\n\r\n\r\n");
    peer.half_closes().expects_eof();
    let closed = server.logs("conn_closed");
    assert!(closed.contains(" messages=4 "), "{closed}");
}

#[test]
fn a_single_cr_or_lf_is_data() {
    let server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    for line in ["a\nb\r\n", "\n\r\n", "a\rb\r\n", "\r\r\n", "\n\n\r\r\n"] {
        peer.sends(line).expects(line);
    }
    peer.sends("unfinished\n").half_closes().expects_eof();
}

#[test]
fn every_byte_value_is_echoed_unchanged() {
    let server = ServerProcess::starts(&[]);
    let mut line: Vec<u8> = (0..=u8::MAX).rev().collect();
    line.extend(b"\r\n");
    server.client().sends(&line).expects(&line);
}

#[test]
fn a_client_that_half_closes_gets_every_reply() {
    let server = ServerProcess::starts(&[]);
    let line = format!("{}\r\n", "x".repeat(62));
    let lines = line.repeat(MIB / line.len());
    assert_eq!(lines.len(), MIB);
    // Nothing is read before everything is sent: the kernel's buffers hold that much.
    let mut peer = server.client();
    peer.sends(&lines).half_closes();
    assert_same(&peer.reads_to_the_end(), lines.as_bytes());
}

#[test]
fn an_unterminated_message_is_logged_and_not_echoed() {
    let mut server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    peer.sends("one\r\ntwo\r\nthree").half_closes();
    peer.expects("one\r\ntwo\r\n").expects_eof();
    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=mid-message unterminated=5 messages=2 "),
        "{closed}"
    );
    assert_serves(&server);
}

#[test]
fn half_a_terminator_at_the_end_counts_as_data() {
    let mut server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    peer.sends("three\r").half_closes().expects_eof();
    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=mid-message unterminated=6 messages=0 "),
        "{closed}"
    );
}

#[test]
fn a_silent_client_ends_cleanly() {
    let mut server = ServerProcess::starts(&[]);
    drop(server.client());
    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=end-of-stream messages=0 "),
        "{closed}"
    );
    assert_serves(&server);
}

/// Sends as much as the connection takes while nobody reads the replies, and then reads one byte of
/// them.
fn pipelines_without_reading(server: &ServerProcess) -> TcpStream {
    let address = server.address().as_socket_addr().expect("it is TCP");
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nonblocking(true).unwrap();
    let lines = numbered_lines(5_000);
    let error = loop {
        if let Err(error) = stream.write_all(&lines) {
            break error;
        }
    };
    assert_eq!(error.kind(), ErrorKind::WouldBlock);

    stream.set_nonblocking(false).unwrap();
    stream.read_exact(&mut [0]).expect("replies have begun");
    stream
}

#[test]
fn a_client_gone_in_mid_reply_harms_nobody() {
    let mut server = ServerProcess::starts(&[]);
    for _ in 0..5 {
        drop(pipelines_without_reading(&server));
        let closed = server.logs("conn_closed");
        assert!(closed.contains(" reason=reset-by-peer "), "{closed}");
        assert_serves(&server);
        let closed = server.logs("conn_closed");
        assert!(closed.contains(" messages=1 "), "{closed}");
    }
}

#[test]
fn a_client_that_never_reads_delays_nobody_else() {
    let server = ServerProcess::starts(&[]);
    let stuck = pipelines_without_reading(&server);
    for _ in 0..10 {
        assert_serves(&server);
    }
    drop(stuck);
}

#[test]
fn sixty_four_clients_get_their_own_lines() {
    const CLIENTS: usize = 64;
    let server = ServerProcess::starts(&[]);
    let all_are_connected = Arc::new(Barrier::new(CLIENTS));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|client| {
            let (mut peer, barrier) = (server.client(), Arc::clone(&all_are_connected));
            thread::spawn(move || {
                peer.sends("ready\r\n").expects("ready\r\n");
                barrier.wait();
                for number in 0..100 {
                    let line = format!("client {client} line {number}\r\n");
                    peer.sends(&line).expects(&line);
                }
                peer.half_closes().expects_eof();
            })
        })
        .collect();
    for client in clients {
        client.join().expect("it got its own lines");
    }
}

#[test]
fn a_terminator_can_be_any_bytes() {
    // The data looks like the beginning of the terminator.
    let cases: [(&str, &[u8], &[u8]); 6] = [
        ("crlf", b"\r\n", b"\r \n\r"),
        ("lf", b"\n", b"\r \r"),
        ("nul", b"\0", b"0\r\n"),
        ("bytes:END", b"END", b"EEN EN"),
        (r"\r\n.\r\n", b"\r\n.\r\n", b"\r\n..\r\n"),
        (r"\xff\x00", b"\xff\0", b"\xff\xff"),
    ];
    for (option, terminator, data) in cases {
        let server = ServerProcess::starts(&["--terminator", option]);
        let message = [data, terminator].concat();
        let mut peer = server.client();
        peer.sends(&message).expects(&message);
        peer.sends(terminator).expects(terminator);
        for byte in &message {
            peer.sends([*byte]);
        }
        peer.expects(&message);
        peer.sends("unfinished").half_closes().expects_eof();
    }
}

#[test]
fn counted_messages_are_echoed_unchanged() {
    let mut server = ServerProcess::starts(&["--terminator", "length:4"]);
    let mut peer = server.client();
    peer.sends("abcdef").expects("abcd");
    peer.sends("gh").expects("efgh");
    peer.sends("\r\n\r\n1234").expects("\r\n\r\n1234");
    peer.sends("ij").half_closes().expects_eof();
    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=mid-message unterminated=2 messages=4 "),
        "{closed}"
    );
}

#[test]
fn without_a_terminator_bytes_are_echoed_at_once() {
    let mut server = ServerProcess::starts(&["--terminator", "none", "--max-message", "1"]);
    let mut peer = server.client();
    for bytes in ["a", "\r", "\n", "several bytes", "\0"] {
        peer.sends(bytes).expects(bytes);
    }
    peer.half_closes().expects_eof();
    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=end-of-stream messages=0 "),
        "{closed}"
    );
    let text = real_text();
    assert_same(&exchange(server.client(), text.clone()), &text);
}

#[test]
fn a_message_of_exactly_the_limit_passes() {
    let server = ServerProcess::starts(&[]);
    let line = "x".repeat(64 * 1024) + "\r\n";
    let mut peer = server.client();
    peer.sends(&line).expects(&line);
    peer.sends(&line).expects(&line);
}

#[test]
fn a_message_over_the_limit_gets_an_error_and_the_end() {
    let mut server = ServerProcess::starts(&[]);
    let mut peer = server.client();
    peer.sends("before\r\n").expects("before\r\n");
    peer.sends("x".repeat(64 * 1024 + 1) + "\r\nafter\r\n");
    peer.expects("error: message longer than 65536 bytes\r\n")
        .expects_eof();
    drop(peer);
    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=message-too-long limit=65536 messages=1 "),
        "{closed}"
    );
    assert_serves(&server);
}

#[test]
fn an_endless_message_is_refused_at_the_limit() {
    let server = ServerProcess::starts(&["--max-message", "16"]);
    let mut peer = server.client();
    peer.sends("x".repeat(17));
    peer.expects("error: message longer than 16 bytes\r\n")
        .expects_eof();
    assert_serves(&server);
}

#[test]
fn a_client_that_keeps_sending_gets_the_error_and_no_reset() {
    let server = ServerProcess::starts(&[]);
    let error = "error: message longer than 65536 bytes\r\n";
    // Send everything before reading a byte.
    let mut peer = server.client();
    peer.sends("x".repeat(64 * 1024 + MIB)).half_closes();
    peer.expects(error).expects_eof();
    // And with lines that go on after the error and after the end.
    let mut peer = server.client();
    peer.sends("x".repeat(64 * 1024 + 1)).expects(error);
    peer.expects_eof();
    peer.sends("more\r\n".repeat(MIB / 6)).half_closes();
    peer.expects_eof();
    assert_serves(&server);
}

#[test]
fn cuts_do_not_change_the_verdict_at_the_limit() {
    let server = ServerProcess::starts(&["--max-message", "16"]);
    let mut peer = server.client();
    let exact = b"0123456789abcdef\r\n";
    for cut in 0..=exact.len() {
        let (before, after) = exact.split_at(cut);
        peer.sends(before).sends(after).expects(exact);
    }

    let longer = b"0123456789abcdefg\r\n";
    for cut in 0..=longer.len() {
        let (before, after) = longer.split_at(cut);
        let mut peer = server.client();
        peer.sends(before).sends(after);
        peer.expects("error: message longer than 16 bytes\r\n")
            .expects_eof();
    }
}

#[test]
fn the_terminator_does_not_count_toward_the_limit() {
    let server = ServerProcess::starts(&["--max-message", "1", "--terminator", "bytes:END"]);
    let mut peer = server.client();
    peer.sends("EENDxENDEND").expects("EENDxENDEND");
    peer.sends("ENEND")
        .expects("error: message longer than 1 bytesEND")
        .expects_eof();
}

#[test]
fn with_discard_each_long_message_gets_an_error_in_order() {
    let mut server = ServerProcess::starts(&["--max-message", "16", "--too-long", "discard"]);
    let error = "error: message longer than 16 bytes\r\n";
    let long = "x".repeat(17) + "\r\n";
    let huge = "y".repeat(MIB) + "\r\n";
    let mut peer = server.client();
    peer.sends(&long).expects(error);
    peer.sends("one\r\n").expects("one\r\n");
    let mixed = format!("two\r\n{long}{long}three\r\n{huge}0123456789abcdef\r\n{long}\r\n");
    peer.sends(mixed);
    peer.expects(format!(
        "two\r\n{error}{error}three\r\n{error}0123456789abcdef\r\n{error}\r\n"
    ));
    peer.half_closes().expects_eof();

    let closed = server.logs("conn_closed");
    assert!(
        closed.contains(" reason=end-of-stream messages=5 too_long=5 "),
        "{closed}"
    );
}

#[test]
fn with_discard_cuts_do_not_change_the_verdict() {
    let server = ServerProcess::starts(&["--max-message", "16", "--too-long", "discard"]);
    let mut peer = server.client();
    let lines = b"0123456789abcdefg\r\nnext\r\n";
    for cut in 0..=lines.len() {
        let (before, after) = lines.split_at(cut);
        peer.sends(before)
            .sends(after)
            .expects("error: message longer than 16 bytes\r\nnext\r\n");
    }
}
