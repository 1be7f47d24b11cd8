//! A peer is blamed only for what the peer did (V4): not for the time in which the server was halted
//! or its handler was busy, and not for a message that is gone. Who is slow is still cut.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::num::NonZeroUsize;
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Chat, Handler, HandlerResult, Limits, ServerOptions, Terminator};

use crate::server::{Serving, endings};
use crate::support::peer::{PATIENCE, Peer};
use crate::support::process::{ServerProcess, eventually};

fn milliseconds(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// Halts a server, as a debugger or `docker pause` does, and waits until it is.
fn halts(server: &ServerProcess) {
    server.signal("STOP");
    let status = format!("/proc/{}/stat", server.id());
    eventually("it is halted", || {
        let status = fs::read_to_string(&status).expect("it is there");
        let (_, state) = status.rsplit_once(") ").expect("its name is in brackets");
        state.starts_with('T')
    });
}

/// Does something while all of these servers are halted, until so long after that began.
fn while_halted(servers: &[ServerProcess], length: Duration, act: impl FnOnce()) {
    let since = Instant::now();
    servers.iter().for_each(halts);
    act();
    thread::sleep(length.saturating_sub(since.elapsed()));
    servers.iter().for_each(|server| server.signal("CONT"));
}

const PAST_THE_LIMIT: Duration = Duration::from_millis(900);

#[test]
fn a_message_whole_in_time_is_answered_by_a_halted_server() {
    // Halted at once, its thread is most often in `read`, and some time later in `poll`.
    for rest in [0, 0, 0, 150] {
        let server = [ServerProcess::starts(&["--message-timeout=500ms"])];
        let mut peer = server[0].client();
        peer.sends("one\r\nhalf ").expects("one\r\n");
        thread::sleep(milliseconds(rest));
        while_halted(&server, PAST_THE_LIMIT, || {
            peer.sends("two\r\n");
        });
        peer.expects("half two\r\n");
        peer.sends("three\r\n").expects("three\r\n");
        server[0].client().sends("next\r\n").expects("next\r\n");
    }
}

#[test]
fn a_message_that_came_before_the_idle_deadline_is_answered_after_a_halt() {
    for rest in [0, 150] {
        let server = [ServerProcess::starts(&["--idle-timeout=500ms"])];
        let mut peer = server[0].client();
        peer.sends("one\r\n").expects("one\r\n");
        thread::sleep(milliseconds(rest));
        while_halted(&server, PAST_THE_LIMIT, || {
            peer.sends("two\r\n");
        });
        peer.expects("two\r\n");
        server[0].client().sends("next\r\n").expects("next\r\n");
    }
}

#[test]
fn a_message_that_a_halt_finds_unfinished_is_cut_when_it_is_over() {
    let server = [ServerProcess::starts(&["--message-timeout=500ms"])];
    let mut peer = server[0].client();
    peer.sends("one\r\nhalf ").expects("one\r\n");
    while_halted(&server, PAST_THE_LIMIT, || {
        peer.sends("a message");
    });
    peer.expects("error: too slow, no CR LF within 500ms\r\n");
    peer.expects_eof();
    server[0].client().sends("next\r\n").expects("next\r\n");
}

/// A peer that has sent lines and reads nothing, until the server can write no more.
fn stuffs(address: SocketAddr) -> (TcpStream, usize) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_nonblocking(true).unwrap();
    let lines = b"0123456789abcd\r\n".repeat(4096);
    let (mut sent, mut refused) = (0, 0);
    while refused < 5 {
        match stream.write(&lines[sent % lines.len()..]) {
            Ok(length) => (sent, refused) = (sent + length, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                refused += 1;
                thread::sleep(milliseconds(20));
            }
        }
    }
    (stream, sent)
}

/// A peer of that kind for each of these addresses.
fn all_stuff(addresses: impl Iterator<Item = SocketAddr>) -> Vec<(TcpStream, usize)> {
    let stuffing: Vec<_> = addresses
        .map(|address| thread::spawn(move || stuffs(address)))
        .collect();
    let stuffed = stuffing.into_iter().map(thread::JoinHandle::join);
    stuffed.collect::<Result<_, _>>().expect("each gets stuck")
}

fn address(server: &ServerProcess) -> SocketAddr {
    server.address().as_socket_addr().expect("it is TCP")
}

/// Reads what there is, without waiting for more than a moment.
fn empties(stream: &mut TcpStream) -> usize {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(milliseconds(50))).unwrap();
    let (mut taken, mut buffer) = (0, vec![0; 1 << 16]);
    while let Ok(length @ 1..) = stream.read(&mut buffer) {
        taken += length;
    }
    taken
}

#[test]
fn a_peer_that_has_read_all_while_the_server_was_halted_is_not_cut() {
    let options = ["--write-timeout=2s", "--message-timeout=1m"];
    let servers: [_; 6] = std::array::from_fn(|_| ServerProcess::starts(&options));
    let mut peers = all_stuff(servers.iter().map(address));
    let mut taken = [0; 6];
    while_halted(&servers, milliseconds(2600), || {
        for (taken, (stream, _)) in taken.iter_mut().zip(&mut peers) {
            *taken = empties(stream);
        }
    });
    for ((stream, sent), mut taken) in peers.into_iter().zip(taken) {
        assert!(taken > 1 << 16, "it was not stuck: {taken}");
        let mut stream = stream;
        // It fails where the server has cut the peer, which the next read tells.
        let _ = stream.shutdown(Shutdown::Write);
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => taken += length,
                Err(error) => panic!("{error}, after {taken} bytes of {sent}"),
            }
        }
        // The last line may be a part of one.
        assert_eq!(taken, sent / 16 * 16, "bytes of {sent} came back");
    }
    for server in &servers {
        server.client().sends("next\r\n").expects("next\r\n");
    }
}

/// More than the kernel's buffers hold on both sides.
const MORE_THAN_FITS: usize = 24 << 20;

/// Reads so many bytes of a long echo.
#[track_caller]
fn expects_bytes(stream: &mut TcpStream, count: usize) {
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut taken, mut buffer) = (0, vec![0; 1 << 16]);
    while taken < count {
        match stream.read(&mut buffer) {
            Ok(length @ 1..) => taken += length,
            end => panic!("{end:?} after {taken} of {count} bytes"),
        }
    }
}

#[test]
fn a_message_that_fills_the_kernels_buffers_goes_on_after_a_halt() {
    let options = ["--message-timeout=2s", "--max-message=32m"];
    let server = [ServerProcess::starts(&options)];
    let mut stream = TcpStream::connect(address(&server[0])).expect("it listens");
    stream.write_all(b"one\r\nx").unwrap();
    expects_bytes(&mut stream, 5);
    let mut writer = stream.try_clone().unwrap();
    let mut writing = None;

    // The peer sends as fast as the server reads, which is not at all for a while.
    while_halted(&server, milliseconds(2600), || {
        writing = Some(thread::spawn(move || {
            let rest = [&vec![b'x'; MORE_THAN_FITS - 1][..], b"\r\n"].concat();
            writer.write_all(&rest)
        }));
    });
    expects_bytes(&mut stream, MORE_THAN_FITS + 2);
    assert!(writing.unwrap().join().unwrap().is_ok());
}

#[test]
fn a_batch_that_fills_the_kernels_buffers_goes_on_after_a_halt() {
    let options = ["--write-timeout=2s", "--max-message=32m"];
    let servers: [_; 4] = std::array::from_fn(|_| ServerProcess::starts(&options));
    let mut streams = servers.each_ref().map(|server| {
        let mut stream = TcpStream::connect(address(server)).expect("it listens");
        let line = [&vec![b'x'; MORE_THAN_FITS][..], b"\r\n"].concat();
        stream.write_all(&line).unwrap();
        stream
    });

    // The peer reads all that the server could write before it was halted.
    let mut taken = [0; 4];
    while_halted(&servers, milliseconds(2600), || {
        for (taken, stream) in taken.iter_mut().zip(&mut streams) {
            *taken = empties(stream);
        }
    });
    for (stream, taken) in streams.iter_mut().zip(taken) {
        expects_bytes(stream, MORE_THAN_FITS + 2 - taken);
    }
}

/// Echoes lines, and takes its time over a piece that has `slow` in it.
#[derive(Default)]
struct Slow(Vec<u8>);

impl Handler for Slow {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        self.0.extend_from_slice(data);
        if data.windows(4).any(|word| word == b"slow") {
            chat.push("working\r\n")?;
            thread::sleep(milliseconds(800));
        }
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        self.0.extend_from_slice(b"\r\n");
        chat.push(&self.0)?;
        self.0.clear();
        Ok(())
    }
}

/// A server of slow handlers, whose messages have half a second.
fn slow_handlers(input_buffer: usize) -> Serving {
    let limits = Limits {
        message_timeout: Some(milliseconds(500)),
        idle_timeout: Some(milliseconds(500)),
        input_buffer: NonZeroUsize::new(input_buffer).unwrap(),
        ..Limits::default()
    };
    let options = ServerOptions::new().limits(limits);
    let server = options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    Serving::starts(server, |_| Slow::default())
}

/// Begins a message with a piece that is read by itself.
fn begins(serving: &Serving, piece: &str) -> Peer {
    let mut peer = serving.client();
    peer.sends(piece);
    let bytes_in = piece.len() as u64;
    eventually("it is read", || {
        serving.handle.report().traffic.bytes_in == bytes_in
    });
    peer
}

#[test]
fn the_time_of_a_handler_is_not_the_peers() {
    // In the second case what is left takes many reads.
    for (input_buffer, rest) in [(1 << 16, 5), (64, 20_000)] {
        let serving = slow_handlers(input_buffer);
        let mut peer = begins(&serving, "a ");
        let rest = "x".repeat(rest) + "\r\n";
        peer.sends("slow ");
        thread::sleep(milliseconds(50));
        peer.sends(&rest);
        peer.expects("working\r\n")
            .expects(format!("a slow {rest}"));
        peer.sends("more\r\n").expects("more\r\n");
        serving.client().sends("next\r\n").expects("next\r\n");
        drop(peer);
        assert_eq!(serving.stops().accepted, 2);
    }
}

#[test]
fn a_slow_handler_is_no_excuse_for_a_slow_peer() {
    let serving = slow_handlers(1 << 16);
    let mut peer = begins(&serving, "a ");
    peer.sends("slow ").expects("working\r\n").expects_eof();
    serving.client().sends("next\r\n").expects("next\r\n");
    assert_eq!(endings(&serving.stops(), "message-deadline"), 1);
}

/// Echoes lines. Does with an unfinished message what the message says.
#[derive(Default)]
struct Forgetful(Vec<u8>);

impl Handler for Forgetful {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        match data {
            b"half" => {}
            b"discard" => chat.discard_buffers(),
            b"none" => chat.set_terminator(Terminator::None),
            b"lines" => chat.set_terminator(Terminator::CRLF),
            data => {
                self.0.extend_from_slice(data);
                return Ok(());
            }
        }
        Ok(chat.push(format!("{}\r\n", data.escape_ascii()))?)
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        self.0.extend_from_slice(b"\r\n");
        chat.push(&self.0)?;
        self.0.clear();
        Ok(())
    }
}

#[test]
fn a_message_has_its_own_time_whatever_became_of_the_one_before_it() {
    for orders in [
        &["half", "discard"][..],
        &["half", "none", "lines"],
        &["half", "discard", "half", "discard"],
    ] {
        let limits = Limits {
            message_timeout: Some(milliseconds(600)),
            ..Limits::default()
        };
        let options = ServerOptions::new().limits(limits);
        let server = options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
        let serving = Serving::starts(server, |_| Forgetful::default());
        let mut peer = serving.client();
        for order in orders {
            peer.sends(order).expects(format!("{order}\r\n"));
        }
        // There is no message, so that this is legitimate.
        thread::sleep(milliseconds(900));
        peer.sends("in two");
        thread::sleep(milliseconds(250));
        peer.sends(" packets\r\n").expects("in two packets\r\n");

        // And one that is too slow is cut at its own deadline.
        let since = Instant::now();
        peer.sends("slow").expects_eof();
        let took = since.elapsed();
        let allowed = milliseconds(500)..milliseconds(1000);
        assert!(allowed.contains(&took), "{orders:?}: after {took:?}");
        serving.client().sends("next\r\n").expects("next\r\n");
        assert_eq!(endings(&serving.stops(), "message-deadline"), 1);
    }
}

#[test]
fn a_peer_that_never_reads_wakes_nobody_before_its_deadline() {
    const PEERS: usize = 10;
    let options = ["--write-timeout=3s", "--message-timeout=1m"];
    let server = ServerProcess::starts(&options);
    let stuck = all_stuff(std::iter::repeat_n(address(&server), PEERS));
    let before = server.sleeps_of_connections();
    assert!(before > 0, "no thread of a connection was found");
    thread::sleep(milliseconds(1000));
    let sleeps = server.sleeps_of_connections() - before;
    assert!(
        sleeps <= 2 * PEERS as u64,
        "{sleeps} in a second, of {PEERS}"
    );
    server.client().sends("next\r\n").expects("next\r\n");

    // They are cut in time all the same.
    eventually("all are cut", || server.threads() <= 3);
    drop(stuck);
}
