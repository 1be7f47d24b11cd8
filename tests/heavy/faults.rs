//! System calls that fail, limits that are lowered, connections that are killed and links that go
//! down, under a running server. At most one connection ends, and the next client is served.

use std::path::PathBuf;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::{Directory, Running, ServerProcess, eventually};
use crate::system::{
    Injection, Namespace, Stopped, Threads, Vitals, assert_serves, bash_client, binary, runs, tool,
};

const TOO_BUSY: &str = "error: too busy, try again later\r\n";

#[test]
fn a_shortage_in_accept_is_waited_out_and_logged_once() {
    for error in ["EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"] {
        let server = ServerProcess::starts(&[]);
        let inject = format!("accept4:error={error}:when=1..5");
        let injection = Injection::into(&server, Threads::All, &inject);
        assert_serves(&server);
        assert_eq!(injection.ends(), 5, "{error}");
        assert_serves(&server);
        let stopped = Stopped::orderly(server);
        assert_eq!(stopped.lines_with("accept: failing"), 1, "{}", stopped.log);
        assert_eq!(stopped.count("accepted"), 2, "{error}");
        assert_eq!(stopped.count("end-of-stream"), 2, "{error}");
    }
}

#[test]
fn a_connection_that_fails_in_accept_delays_nobody() {
    for error in ["ECONNABORTED", "EPROTO", "EINTR"] {
        let server = ServerProcess::starts(&[]);
        let inject = format!("accept4:error={error}:when=1..5");
        let injection = Injection::into(&server, Threads::All, &inject);
        let started = Instant::now();
        assert_serves(&server);
        let served = started.elapsed();
        assert_eq!(injection.ends(), 5, "{error}");
        assert_serves(&server);
        let stopped = Stopped::orderly(server);
        assert!(served < Duration::from_millis(500), "{error}: {served:?}");
        assert_eq!(stopped.lines_with("WARN"), 0, "{}", stopped.log);
        assert_eq!(stopped.count("accepted"), 2, "{error}");
    }
}

#[test]
fn a_failing_accept_does_not_make_the_server_spin() {
    let server = ServerProcess::starts(&[]);
    let before = Vitals::of(&server).cpu;
    let injection = Injection::into(&server, Threads::All, "accept4:error=EMFILE");
    let mut waiting = server.client();
    waiting.sends("patient\r\n");
    thread::sleep(Duration::from_secs(2));
    let spent = Vitals::of(&server).cpu - before;
    let failures = injection.ends();
    waiting.expects("patient\r\n");
    drop(waiting);
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert!(
        (2..=15).contains(&failures),
        "accept was called {failures} times"
    );
    assert!(spent < Duration::from_millis(200), "it took {spent:?}");
    assert_eq!(stopped.lines_with("accept: failing"), 1, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 2);
}

#[test]
fn a_connection_without_a_thread_is_told_too_busy() {
    // The kernel has no thread, no memory for its stack, or none for the protection of the stack.
    let failures = [
        "clone3,clone:error=EAGAIN:when=1",
        "mmap:error=ENOMEM:when=1",
        "mprotect:error=ENOMEM:when=1",
    ];
    for inject in failures {
        let server = ServerProcess::starts(&[]);
        let injection = Injection::into(&server, Threads::Main, inject);
        server.client().expects(TOO_BUSY).expects_eof();
        assert_eq!(injection.ends(), 1, "{inject}");
        assert_serves(&server);
        let stopped = Stopped::orderly(server);
        assert_eq!(stopped.count("refused-no-thread"), 1, "{}", stopped.log);
        assert_eq!(stopped.count("accepted"), 1, "{}", stopped.log);
        assert_eq!(stopped.lines_with("accept: failing"), 1, "{}", stopped.log);
    }
}

#[test]
fn a_failed_call_ends_only_its_own_conversation() {
    let cases = [
        ("recvfrom:error=EINTR:when=1..20", None),
        ("recvfrom:error=ECONNRESET:when=1", Some("reset-by-peer")),
        ("recvfrom:error=ETIMEDOUT:when=1", Some("transport-error")),
        ("sendto:error=EINTR:when=1..20", None),
        ("sendto:error=EPIPE:when=1", Some("reset-by-peer")),
        ("sendto:error=ECONNRESET:when=1", Some("reset-by-peer")),
        ("sendto:error=ENOBUFS:when=1", Some("transport-error")),
        ("poll:error=EINTR:when=1..20", None),
        ("setsockopt:error=ENOMEM", None),
        ("setsockopt:error=EINVAL", None),
        // The calls of the log.
        ("write:error=EINTR:when=1..20", None),
        ("write:error=EAGAIN", None),
        ("write:error=EIO", None),
    ];
    for (inject, ending) in cases {
        let server = ServerProcess::starts(&[]);
        let mut bystander = server.client();
        bystander.sends("before\r\n").expects("before\r\n");
        // Waits until it rests, so that it makes no call that could fail.
        thread::sleep(Duration::from_millis(200));
        let injection = Injection::into(&server, Threads::All, inject);
        let mut peer = server.client();
        peer.sends("one\r\n");
        if ending.is_some() {
            // The client gets an end or a reset, but no reply.
            assert!(!matches!(peer.read(&mut [0]), Ok(1..)), "{inject}");
        } else {
            peer.expects("one\r\n");
            // Long enough for a rest between the two.
            thread::sleep(Duration::from_millis(200));
            peer.sends("two\r\n").expects("two\r\n");
        }
        drop(peer);
        assert!(injection.ends() >= 1, "{inject}: no call has failed");
        bystander.sends("after\r\n").expects("after\r\n");
        drop(bystander);
        assert_serves(&server);
        let stopped = Stopped::orderly(server);
        assert_eq!(stopped.count("accepted"), 3, "{inject}: {}", stopped.log);
        let failed = ending.map_or(0, |ending| stopped.count(ending));
        assert_eq!(
            failed,
            u64::from(ending.is_some()),
            "{inject}: {}",
            stopped.log
        );
        assert_eq!(stopped.count("end-of-stream"), 3 - failed, "{inject}");
    }
}

#[test]
fn a_failed_shutdown_call_still_closes() {
    let server = ServerProcess::starts(&["--max-message", "16"]);
    let injection = Injection::into(&server, Threads::All, "shutdown:error=ENOTCONN");
    let mut peer = server.client();
    peer.sends("0123456789abcdefg");
    peer.expects("error: message longer than 16 bytes\r\n")
        .expects_eof();
    assert_eq!(injection.ends(), 1);
    assert_serves(&server);
    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("message-too-long"), 1, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 2);
}

#[test]
fn a_connection_that_cannot_block_is_dropped() {
    // A TCP connection inherits its options, and its mode is not touched.
    let directory = Directory::new();
    let server = ServerProcess::starts_from(tool(&binary()).arg(directory.socket("echo")));
    let injection = Injection::into(&server, Threads::All, "ioctl:error=ENOMEM:when=1");
    let mut peer = server.client();
    assert!(!matches!(peer.read(&mut [0]), Ok(1..)));
    assert_eq!(injection.ends(), 1);
    assert_serves(&server);
    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("accepted"), 1, "{}", stopped.log);
}

#[test]
fn a_poll_without_memory_does_not_spin() {
    let server = ServerProcess::starts(&[]);
    let mut resting = server.client();
    resting.sends("one\r\n").expects("one\r\n");
    let before = Vitals::of(&server).cpu;
    let injection = Injection::into(&server, Threads::All, "poll:error=ENOMEM");
    thread::sleep(Duration::from_secs(2));
    let (spent, failures) = (Vitals::of(&server).cpu - before, injection.failures());
    resting.sends("two\r\n").expects("two\r\n");
    assert_serves(&server);

    injection.ends();
    resting.sends("three\r\n").expects("three\r\n");
    drop(resting);
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert!(spent < Duration::from_millis(200), "it took {spent:?}");
    assert!(
        (1..200).contains(&failures),
        "poll was called {failures} times"
    );
    assert_eq!(stopped.count("end-of-stream"), 3, "{}", stopped.log);
}

#[test]
fn a_supervisor_that_cannot_wait_stops_the_server() {
    for inject in ["setsockopt:error=ENOMEM", "recvfrom:error=ENOMEM"] {
        let mut server = ServerProcess::starts(&[]);
        let before = Vitals::of(&server).cpu;
        let injection = Injection::into(&server, Threads::All, inject);
        // Makes it wait again.
        server.signal("USR1");
        server.logs(" report: ");
        thread::sleep(Duration::from_secs(2));
        let spent = Vitals::of(&server).cpu - before;
        let failures = injection.ends();
        assert_serves(&server);
        Stopped::orderly(server);
        assert!(
            (1..=40).contains(&failures),
            "{inject}: {failures} failures"
        );
        assert!(
            spent < Duration::from_millis(200),
            "{inject}: it took {spent:?}"
        );
    }
}

fn limit_descriptors(server: &ServerProcess, soft: usize) {
    let pid = server.id().to_string();
    let limit = format!("--nofile={soft}:");
    runs(tool("prlimit").args(["--pid", &pid, &limit]));
}

#[test]
fn a_lowered_descriptor_limit_is_survived() {
    let mut server = ServerProcess::starts(&[]);
    let mut served = server.client();
    served.sends("one\r\n").expects("one\r\n");
    let before = Vitals::of(&server);
    let is_free =
        |number: &usize| !PathBuf::from(format!("/proc/{}/fd/{number}", server.id())).exists();
    let lowest = (0..).find(is_free).expect("a number is free");
    limit_descriptors(&server, lowest);
    let mut waiting = server.client();
    waiting.sends("patient\r\n");
    server.logs("accept: failing");
    thread::sleep(Duration::from_secs(2));
    served.sends("two\r\n").expects("two\r\n");
    let spent = Vitals::of(&server).cpu - before.cpu;
    limit_descriptors(&server, 1024);
    let raised = Instant::now();
    waiting.expects("patient\r\n");
    let recovered = raised.elapsed();
    drop((served, waiting));
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert!(spent < Duration::from_millis(200), "it took {spent:?}");
    assert!(
        recovered < Duration::from_millis(1500),
        "after {recovered:?}"
    );
    assert_eq!(
        stopped.lines_with("accept: failing"),
        0,
        "it is one episode"
    );
    assert_eq!(stopped.count("end-of-stream"), 3, "{}", stopped.log);
}

#[test]
fn connections_killed_by_the_operator_end_alone() {
    let server = ServerProcess::starts(&[]);
    let mut peers: Vec<_> = (0..10).map(|_| server.client()).collect();
    for peer in &mut peers {
        peer.sends("here\r\n").expects("here\r\n");
    }

    // All but the last, in the middle of a message.
    let survivor = peers.last_mut().expect("there are ten");
    survivor.sends("half");
    let address = server.address().as_socket_addr().expect("it is TCP");
    let port = address.port();
    let established = runs(
        tool("ss")
            .args(["-Htn", "state", "established"])
            .arg(format!("sport = :{port}")),
    );
    let clients: Vec<_> = established
        .lines()
        .filter_map(|line| line.split_whitespace().last()?.rsplit_once(':'))
        .map(|(_, port)| port.to_owned())
        .collect();
    assert_eq!(clients.len(), 10, "{established}");

    for client in &clients[1..] {
        let which = format!("sport = :{port} and dport = :{client}");
        runs(
            tool("ss")
                .args(["-K", "-Htn", "state", "established"])
                .arg(which),
        );
    }
    assert_serves(&server);

    let alive = peers.iter_mut().filter_map(|peer| {
        let sent = peer.tries_to_send("\r\n");
        let read = sent.and_then(|()| peer.read(&mut [0; 16]));
        read.ok().filter(|length| *length > 0)
    });
    assert_eq!(alive.count(), 1, "it is the one that was spared");

    drop(peers);
    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("reset-by-peer"), 9, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 11);
}

#[test]
fn a_peer_whose_link_goes_down_ends_at_a_deadline() {
    let (inside, outside) = (Namespace::new(), Namespace::new());
    inside.ip(&format!(
        "link add inner type veth peer name outer netns {}",
        outside.name()
    ));
    inside.ip("addr add 10.213.0.1/30 dev inner");
    outside.ip("addr add 10.213.0.2/30 dev outer");
    inside.ip("link set inner up");
    outside.ip("link set outer up");
    let mut server = inside.server(&[
        "10.213.0.1:0",
        "--max-connections=1",
        "--idle-timeout=1s",
        "--message-timeout=1500ms",
    ]);
    let address = server.address().as_socket_addr().expect("it is TCP");
    for (last, reason) in [("", "idle"), ("half", "message-deadline")] {
        let mut client = outside.command("bash");
        let script = format!(
            "{}; ask hello; printf '{last}' >&3; sleep 60",
            bash_client(address)
        );
        client.args(["-c", &script]).stdout(Stdio::piped());
        let gone = Running::from(client.spawn().expect("bash starts"));
        server.logs("conn_made");
        // The half message has arrived.
        thread::sleep(Duration::from_millis(300));
        outside.ip("link set outer down");
        let cut = Instant::now();
        let closed = server.logs("conn_closed");
        let ended = cut.elapsed();
        assert!(closed.contains(&format!(" reason={reason} ")), "{closed}");
        assert!(closed.contains(" messages=1 "), "{closed}");
        assert!(ended < Duration::from_secs(5), "{reason}: after {ended:?}");
        outside.ip("link set outer up");
        eventually("the link is up again", || {
            let ping = format!("{}; echo up", bash_client(address));
            let mut client = outside.command("bash");
            client.args(["-c", &ping]).stderr(Stdio::null());
            client.output().is_ok_and(|output| output.stdout == b"up\n")
        });
        server.logs("conn_closed");
        outside.assert_serves(server.address());
        server.logs("conn_closed");
        drop(gone);
    }

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("idle"), 1, "{}", stopped.log);
    assert_eq!(stopped.count("message-deadline"), 1, "{}", stopped.log);
}

#[test]
fn yielding_stops_where_it_costs_time_slices() {
    let server = ServerProcess::starts(&[]);
    let mut client = server.client();
    client.sends("first\r\n").expects("first\r\n");
    let injection = Injection::into(&server, Threads::All, "sched_yield:delay_exit=4000");
    let (started, mut replies) = (Instant::now(), 0);
    while started.elapsed() < Duration::from_secs(3) {
        client.sends("hello\r\n").expects("hello\r\n");
        replies += 1;
    }
    let slices = injection.ends();
    // It tries, finds out, and leaves it alone.
    assert!((5..=200).contains(&slices), "{slices} in {replies} replies");
    assert!(slices * 10 < replies, "{slices} in {replies} replies");
}
