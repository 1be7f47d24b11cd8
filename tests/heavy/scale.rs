//! Scale: many connections at once, one after the other, and refused; bytes without an end. What
//! the server takes for them is bounded while they are there, and given back afterwards.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Once;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::peer::PATIENCE;
use crate::support::process::{ServerProcess, eventually};
use crate::system::{Stopped, Vitals, assert_serves, runs, tool};

/// Starts a server that can have as many descriptors as this process, which is enough.
fn server(options: &[&str]) -> ServerProcess {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let own = std::process::id().to_string();
        runs(tool("prlimit").args(["--pid", &own, "--nofile=20000:20000"]));
    });
    ServerProcess::starts(options)
}

fn connects(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn address_of(server: &ServerProcess) -> SocketAddr {
    server.address().as_socket_addr().expect("it is TCP")
}

#[test]
fn ten_thousand_idle_connections_cost_little() {
    const IDLE: usize = 10_000;
    // Two seconds are the wait for peers that do not close. The rest is for a machine that is busy
    // while ten thousand threads end.
    const GRACE: Duration = Duration::from_secs(6);
    let server = server(&["--max-connections", "10010", "--grace", "6s"]);
    let mut active = server.client();
    active.sends("warm\r\n").expects("warm\r\n");
    let before = Vitals::of(&server);
    let address = address_of(&server);
    let talks = |mut peer: TcpStream| {
        peer.write_all(b"hello\r\n").expect("it can be sent");
        peer.read_exact(&mut [0; 7]).expect("an echo comes");
        peer
    };
    let idle: Vec<_> = (0..IDLE).map(|_| talks(connects(address))).collect();
    eventually("all are accepted", || {
        Vitals::of(&server).threads == before.threads + IDLE as u64
    });

    // Each looks at the clock once more soon after it was accepted.
    thread::sleep(Duration::from_secs(1));
    let crowded = Vitals::of(&server);
    let each = (crowded.resident_kib - before.resident_kib) as f64 / IDLE as f64;
    thread::sleep(Duration::from_secs(3));
    let idling = Vitals::of(&server).cpu - crowded.cpu;

    let mut trips: Vec<_> = (0..1000)
        .map(|_| {
            let started = Instant::now();
            active.sends("hello\r\n").expects("hello\r\n");
            started.elapsed()
        })
        .collect();
    trips.sort();
    let (median, p99) = (trips[500], trips[990]);

    drop(active);
    assert_serves(&server);

    let started = Instant::now();
    let stopped = Stopped::orderly(server);
    let ended = started.elapsed();
    println!(
        "{IDLE} idle: {each:.1} KiB each, {idling:?} of CPU in 3 s, round trip {median:?}, \
         p99 {p99:?}, stopped in {ended:?}"
    );
    drop(idle);
    assert!(each < 12.0, "{each} KiB each");
    assert!(
        idling < Duration::from_millis(100),
        "{idling:?} of CPU in 3 s"
    );
    assert!(median < Duration::from_millis(5), "{median:?} a round trip");
    assert!(
        ended < GRACE + Duration::from_secs(2),
        "ended after {ended:?}"
    );
    assert_eq!(stopped.count("drained"), IDLE as u64);
    assert_eq!(stopped.count("end-of-stream"), 2);
}

/// Makes three connections, one of each end: the peer's orderly one, its reset, and the server's
/// own.
fn connection_of_each_end(address: SocketAddr) {
    let line = b"0123456789\r\n";
    let mut ended = connects(address);
    ended.write_all(line).unwrap();
    ended.read_exact(&mut [0; 12]).expect("its echo comes");
    drop(ended);
    let mut reset = connects(address);
    reset.write_all(line).unwrap();

    // A socket that is closed with unread input sends a reset.
    reset.peek(&mut [0]).expect("its echo comes");
    drop(reset);
    let mut closed = connects(address);
    closed.write_all(b"0123456789abcdefg").unwrap();
    let mut reply = String::new();
    closed.read_to_string(&mut reply).expect("an orderly end");
    assert_eq!(reply, "error: message longer than 16 bytes\r\n");
}

#[test]
fn a_hundred_thousand_connections_leave_nothing_behind() {
    const CLIENTS: usize = 4;
    const WARM: usize = 500;
    const EACH: usize = 8_334;
    let server = server(&["--max-message", "16"]);
    let address = address_of(&server);
    let threads = Vitals::of(&server).threads;
    let crowd = |each: usize| {
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| (0..each).for_each(|_| connection_of_each_end(address)));
            }
        });
        eventually("all have ended", || Vitals::of(&server).threads == threads);
        // Descriptors are still being closed.
        thread::sleep(Duration::from_millis(200));
        Vitals::of(&server)
    };

    let before = crowd(WARM);
    let started = Instant::now();
    let after = crowd(EACH);
    println!(
        "{} connections in {:?}: {before:?}, {after:?}",
        CLIENTS * EACH * 3,
        started.elapsed()
    );
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert_eq!(after.descriptors, before.descriptors);
    assert_eq!(after.threads, before.threads);

    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(grown <= 4 << 10, "{grown} KiB more");

    let of_each = (CLIENTS * (WARM + EACH)) as u64;
    assert_eq!(stopped.count("accepted"), 3 * of_each + 1);
    assert_eq!(stopped.count("end-of-stream"), of_each + 1);
    assert_eq!(stopped.count("reset-by-peer"), of_each);
    assert_eq!(stopped.count("message-too-long"), of_each);
}

#[test]
fn those_inside_do_not_notice_a_flood() {
    const FLOOD: usize = 20_000;
    const CLIENTS: usize = 4;
    let mut server = server(&["--max-connections", "50"]);
    let address = address_of(&server);
    let mut inside: Vec<_> = (0..50).map(|_| server.client()).collect();
    for peer in &mut inside {
        peer.sends("in\r\n").expects("in\r\n");
    }
    let before = Vitals::of(&server);
    let started = Instant::now();
    let mut slowest = Duration::ZERO;
    thread::scope(|scope| {
        let floods: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(move || {
                    for _ in 0..FLOOD / CLIENTS {
                        let mut reply = String::new();
                        connects(address)
                            .read_to_string(&mut reply)
                            .expect("an end");
                        assert_eq!(reply, "error: too many connections, the limit is 50\r\n");
                    }
                })
            })
            .collect();
        while !floods.iter().all(thread::ScopedJoinHandle::is_finished) {
            let asked = Instant::now();
            inside[0].sends("still\r\n").expects("still\r\n");
            slowest = slowest.max(asked.elapsed());
        }
    });

    let took = started.elapsed();
    let after = Vitals::of(&server);
    println!("{FLOOD} refused in {took:?}, slowest round trip {slowest:?}: {before:?}, {after:?}");
    drop(inside);
    for _ in 0..50 {
        server.logs("conn_closed");
    }
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("refused-full"), FLOOD as u64);
    assert_eq!(stopped.count("accepted"), 51);
    assert_eq!(stopped.count("most_at_once"), 50);
    assert!(slowest < Duration::from_millis(500), "{slowest:?}");
    assert_eq!(after.threads, before.threads);

    // Refused connections are kept for a moment, the last sixteen of them.
    assert!(after.descriptors <= before.descriptors + 16, "{after:?}");

    let grown = after.resident_kib.saturating_sub(before.resident_kib);
    assert!(grown <= 1 << 10, "{grown} KiB more");
}

#[test]
fn a_gigabyte_without_an_end_takes_no_memory() {
    const MIB: usize = 1 << 20;
    for policy in ["close", "discard"] {
        let server = server(&["--too-long", policy]);
        assert_serves(&server);
        let before = Vitals::of(&server).resident_kib;
        let mut most = before;
        let mut stream = connects(address_of(&server));
        let chunk = vec![b'x'; MIB];
        let started = Instant::now();
        let refused = (0..1024).find_map(|sent| {
            if sent % 32 == 0 {
                most = most.max(Vitals::of(&server).resident_kib);
            }
            stream.write_all(&chunk).err().map(|error| (sent, error))
        });
        let took = started.elapsed();
        most = most.max(Vitals::of(&server).resident_kib);
        let grown = most - before;
        println!("1 GiB, {policy}: {took:?}, {grown} KiB more, refused: {refused:?}");
        let error = "error: message longer than 65536 bytes\r\n";
        let reason = match policy {
            "close" => {
                let (sent, failure) = refused.expect("it is not read to the end");
                let kind = failure.kind();
                assert!(
                    [ErrorKind::ConnectionReset, ErrorKind::BrokenPipe].contains(&kind),
                    "{failure}"
                );
                assert!(sent < 64, "{sent} MiB were taken");
                "message-too-long"
            }
            _ => {
                assert!(refused.is_none(), "{refused:?}");
                stream.write_all(b"\r\nshort\r\n").unwrap();
                let mut reply = vec![0; error.len() + 7];
                stream.read_exact(&mut reply).unwrap();
                assert_eq!(String::from_utf8_lossy(&reply), format!("{error}short\r\n"));
                "end-of-stream"
            }
        };
        drop(stream);
        assert_serves(&server);
        let stopped = Stopped::orderly(server);
        assert!(grown <= 1 << 10, "{policy}: {grown} KiB more");
        assert_eq!(stopped.count("too_long"), 1, "{}", stopped.log);
        assert!(stopped.count(reason) >= 1, "{}", stopped.log);
        assert_eq!(stopped.count("accepted"), 3);
    }
}

#[test]
fn a_thousand_unfinished_messages_end_in_time() {
    let server = server(&["--message-timeout", "2s"]);
    let mut active = server.client();
    active.sends("warm\r\n").expects("warm\r\n");
    let address = address_of(&server);
    let mut unfinished: Vec<_> = (0..1000).map(|_| connects(address)).collect();
    for stream in &mut unfinished {
        stream.write_all(b"half a line").unwrap();
    }
    for _ in 0..100 {
        active.sends("hello\r\n").expects("hello\r\n");
    }
    for stream in &mut unfinished {
        let mut told = String::new();
        stream.read_to_string(&mut told).expect("an orderly end");
        assert_eq!(told, "error: too slow, no CR LF within 2s\r\n");
    }

    drop((unfinished, active));
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("message-deadline"), 1000);
}

#[test]
fn resets_in_the_accept_queue_harm_nobody() {
    let server = server(&[]);
    server.signal("STOP");
    let script = "import socket, struct, sys\n\
                  for _ in range(500):\n\
                  \x20   peer = socket.create_connection(('127.0.0.1', int(sys.argv[1])))\n\
                  \x20   linger = struct.pack('ii', 1, 0)\n\
                  \x20   peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)\n\
                  \x20   peer.send(b'never read')\n\
                  \x20   peer.close()\n";
    let port = address_of(&server).port().to_string();
    runs(tool("python3").args(["-c", script, &port]));
    server.signal("CONT");
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("reset-by-peer"), 500);
}
