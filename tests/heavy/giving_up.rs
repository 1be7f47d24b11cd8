//! The end of a server that thousands wait for, and what is counted of those who never had a thread.

use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::support::process::{ServerProcess, eventually, number};
use crate::system::{Injection, Stopped, Threads, assert_serves, runs, tool};

#[test]
fn thousands_who_wait_do_not_keep_a_stopped_server_listening() {
    const WAITING: usize = 4000;
    let own = std::process::id().to_string();
    runs(tool("prlimit").args(["--pid", &own, "--nofile=20000:20000"]));
    let options = ["--max-connections=1", "--overload=wait", "--grace=2s", "-q"];
    let server = ServerProcess::starts(&options);
    let mut served = server.client();
    served.sends("hello\r\n").expects("hello\r\n");
    let address = server.address().as_socket_addr().expect("it is TCP");
    let waiting: Vec<_> = (0..WAITING)
        .map(|_| TcpStream::connect(address).expect("there is room to wait"))
        .collect();

    // A machine that is busy with other things, or slow.
    let slow = "accept4,accept:delay_enter=1000";
    let injection = Injection::into(&server, Threads::Main, slow);
    // An attempt is refused from now on, or not answered.
    let stopped = Instant::now();
    server.signal("TERM");
    while TcpStream::connect_timeout(&address, Duration::from_millis(50)).is_ok() {
        let took = stopped.elapsed();
        let allowed = Duration::from_millis(300);
        assert!(took < allowed, "it still accepts after {took:?}");
        thread::sleep(Duration::from_millis(5));
    }
    served.expects_eof();
    drop(served);
    assert!(server.ends().status.success());
    let took = stopped.elapsed();
    assert!(took < Duration::from_secs(4), "it has ended after {took:?}");
    assert!(injection.ends() > 0);
    drop(waiting);
}

#[test]
fn a_spare_thread_serves_where_no_other_can_be_had() {
    let server = ServerProcess::starts(&[]);
    assert_serves(&server);

    let injection = Injection::into(&server, Threads::Main, "clone3,clone:error=EAGAIN");
    let mut is_served = || {
        let mut client = server.client();
        let _ = client.tries_to_send("hello\r\n");
        let mut first = [0];
        client.read(&mut first).is_ok_and(|_| first == *b"h")
    };
    // A client that comes before the thread of the last one is spare is refused.
    for _ in 0..20 {
        eventually("the spare thread serves", &mut is_served);
    }
    injection.ends();
    assert_serves(&server);
}

#[test]
fn connections_that_never_began_are_not_among_the_most_at_once() {
    let mut server = ServerProcess::starts(&[]);
    let injection = Injection::into(&server, Threads::Main, "clone3,clone:error=EAGAIN");
    for _ in 0..3 {
        server
            .client()
            .expects("error: too busy, try again later\r\n")
            .expects_eof();
    }
    // Not every connection costs an attempt.
    assert!((1..=3).contains(&injection.ends()));
    let counts = server.counts();
    assert_eq!(number(&counts, "refused-no-thread"), 3, "{counts}");
    assert_eq!(number(&counts, "accepted"), 0, "{counts}");
    assert_eq!(number(&counts, "most_at_once"), 0, "{counts}");
    eventually("threads are tried again", || {
        let mut next = server.client();
        let _ = next.tries_to_send("hello\r\n");
        let mut first = [0];
        let is_served = next.read(&mut first).is_ok_and(|_| first == *b"h");
        if is_served {
            next.expects("ello\r\n");
        }
        is_served
    });
    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("most_at_once"), 1, "{}", stopped.log);
}
