//! The server as a library: binding, serving, refusing and stopping, and its report (V1, and
//! stopping).

use std::io;
use std::net::TcpListener;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use synchat::{
    Address, Chat, Echo, Error, Handler, HandlerResult, Limits, Peer as Remote, ReadProducer,
    Report, Server, ServerHandle, ServerOptions, Terminator,
};

use crate::support::peer::{PATIENCE, Peer};
use crate::support::time_limit;

/// A server on a thread of this process.
pub(crate) struct Serving {
    pub(crate) address: Address,
    pub(crate) handle: ServerHandle,
    thread: JoinHandle<Result<Report, Error>>,
}

impl Serving {
    pub(crate) fn starts<H, F>(server: Server, make_handler: F) -> Self
    where
        H: Handler,
        F: Fn(&Remote) -> H + Send + Sync + 'static,
    {
        time_limit::begins();
        let (address, handle) = (server.local_addr().clone(), server.handle());
        Self {
            address,
            handle,
            thread: thread::spawn(|| server.serve_forever(make_handler)),
        }
    }

    pub(crate) fn echoes(server: Server) -> Self {
        Self::starts(server, |_| Echo::new(Terminator::CRLF))
    }

    pub(crate) fn client(&self) -> Peer {
        Peer::connects(&self.address)
    }

    /// Stops it, and checks that the report accounts for every connection.
    pub(crate) fn stops(self) -> Report {
        self.handle.stop();
        self.ends()
    }

    pub(crate) fn ends(self) -> Report {
        let report = self
            .thread
            .join()
            .expect("the server does not panic")
            .expect("it ends well");
        let ended: u64 = report.endings().map(|(_, count)| count).sum();
        assert_eq!(report.accepted, ended + report.open, "{report}");
        report
    }
}

/// Returns how many conversations ended for a reason.
pub(crate) fn endings(report: &Report, name: &str) -> u64 {
    let ending = report.endings().find(|(other, _)| *other == name);
    ending.unwrap_or_else(|| panic!("{name} is no reason")).1
}

/// Returns how many connections were refused for a cause.
pub(crate) fn refusals(report: &Report, name: &str) -> u64 {
    let refusal = report.refusals().find(|(other, _)| *other == name);
    refusal.unwrap_or_else(|| panic!("{name} is no cause")).1
}

fn loopback() -> Address {
    time_limit::begins();
    "127.0.0.1:0".parse().unwrap()
}

fn local() -> Server {
    time_limit::begins();
    Server::bind("127.0.0.1:0").unwrap()
}

#[test]
fn local_addr_names_the_port_that_port_0_got() {
    let server = local();
    let port = server.local_addr().as_socket_addr().unwrap().port();
    assert_ne!(port, 0);
    let serving = Serving::echoes(server);
    serving.client().sends("hello\r\n").expects("hello\r\n");
    assert_eq!(serving.stops().accepted, 1);
}

#[test]
fn it_takes_over_a_bound_socket() {
    let tcp =
        Serving::echoes(Server::from_listener(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap());
    tcp.client().sends("hello\r\n").expects("hello\r\n");
    assert_eq!(tcp.stops().accepted, 1);
}

#[test]
fn it_lends_its_descriptor() {
    let server = local();
    let duplicate = TcpListener::from(server.as_fd().try_clone_to_owned().unwrap());
    assert_eq!(
        Address::from(duplicate.local_addr().unwrap()),
        *server.local_addr()
    );
}

#[test]
fn binding_a_taken_address_names_it() {
    let server = local();
    let error = ServerOptions::new().bind(server.local_addr()).unwrap_err();
    assert!(matches!(error, Error::Bind { .. }));
    assert!(
        error.to_string().contains(&server.local_addr().to_string()),
        "{error}"
    );
    assert!(std::error::Error::source(&error).is_some());
    assert!(matches!(
        Server::bind("nowhere").unwrap_err(),
        Error::BadAddress { .. }
    ));
}

#[test]
fn request_queue_size_is_how_many_may_wait() {
    time_limit::begins();
    // Linux keeps one connection more than the backlog. When a Unix socket is full, connect fails
    // at once.
    let path = std::env::temp_dir().join(format!("synchat-backlog-{}", std::process::id()));
    let server = ServerOptions::new()
        .request_queue_size(2)
        .bind(&Address::Unix(path.clone()))
        .unwrap();
    let waiting: Vec<_> = (0..3)
        .map(|_| UnixStream::connect(&path).unwrap())
        .collect();
    let one_more = thread::spawn({
        let path = path.clone();
        move || UnixStream::connect(path).map(drop)
    });

    thread::sleep(Duration::from_millis(100));
    assert!(
        !one_more.is_finished(),
        "a fourth connection did not have to wait"
    );

    drop(waiting);
    let served = server.handle_request(|_| Echo::new(Terminator::CRLF), Some(PATIENCE));
    assert!(served.unwrap().is_some());

    one_more.join().unwrap().unwrap();
}

#[test]
fn handle_request_serves_one_connection_to_its_end() {
    let server = local();
    let address = server.local_addr().clone();
    let client = thread::spawn(move || {
        let mut client = Peer::connects(&address);
        client
            .sends("hello\r\nhal")
            .expects("hello\r\n")
            .half_closes()
            .expects_eof();
    });

    let summary = server
        .handle_request(|_| Echo::new(Terminator::CRLF), Some(PATIENCE))
        .unwrap()
        .unwrap();
    assert_eq!(summary.reason.to_string(), "mid-message unterminated=3");
    assert_eq!(
        (
            summary.traffic.messages,
            summary.traffic.bytes_in,
            summary.traffic.bytes_out
        ),
        (1, 10, 7)
    );

    client.join().unwrap();
}

#[test]
fn handle_request_waits_only_for_its_timeout() {
    let server = local();
    let timeout = Duration::from_millis(150);
    let started = Instant::now();
    assert!(
        server
            .handle_request(|_| Echo::new(Terminator::CRLF), Some(timeout))
            .unwrap()
            .is_none()
    );
    assert!((timeout..timeout + PATIENCE).contains(&started.elapsed()));
    assert!(
        server
            .handle_request(|_| Echo::new(Terminator::CRLF), Some(Duration::ZERO))
            .unwrap()
            .is_none()
    );

    // A connection that is silent for longer than the timeout is still served.
    let address = server.local_addr().clone();
    let client = thread::spawn(move || {
        let mut client = Peer::connects(&address);
        thread::sleep(timeout * 2);
        client
            .sends("late\r\n")
            .expects("late\r\n")
            .half_closes()
            .expects_eof();
    });

    let waits_longer = Some(timeout * 100);
    let summary = server
        .handle_request(|_| Echo::new(Terminator::CRLF), waits_longer)
        .unwrap()
        .unwrap();
    assert_eq!(summary.reason.name(), "end-of-stream");

    client.join().unwrap();
}

#[test]
fn verify_request_closes_and_counts_unwanted_peers() {
    let asked = Arc::new(AtomicUsize::new(0));
    let options = ServerOptions::new().verify_request({
        let asked = Arc::clone(&asked);
        move |peer| {
            assert!(matches!(peer, Remote::Tcp(address) if address.ip().is_loopback()));
            match asked.fetch_add(1, Ordering::Relaxed) {
                0 => false,
                1 => panic!("verify_request panics"),
                _ => true,
            }
        }
    });

    let serving = Serving::echoes(options.bind(&loopback()).unwrap());
    for _ in 0..2 {
        let mut refused = serving.client();
        refused
            .expects("error: not allowed from this address\r\n")
            .expects_eof();
    }

    serving.client().sends("hello\r\n").expects("hello\r\n");
    let report = serving.stops();
    assert_eq!(
        (report.accepted, refusals(&report, "refused-not-allowed")),
        (1, 2)
    );
}

#[test]
fn the_factory_is_told_the_peer() {
    let serving = Serving::starts(local(), |peer: &Remote| {
        assert!(matches!(peer, Remote::Tcp(address) if address.ip().is_loopback()));
        Echo::new(Terminator::CRLF)
    });
    serving.client().sends("hello\r\n").expects("hello\r\n");
    assert_eq!(endings(&serving.stops(), "handler-panic"), 0);
}

#[test]
fn a_stop_answers_what_has_arrived() {
    let serving = Serving::echoes(local());
    let mut idle = serving.client();
    idle.sends("hello\r\n").expects("hello\r\n");
    let mut mid_message = serving.client();
    mid_message.sends("hello\r\nhal").expects("hello\r\n");
    let (address, started) = (serving.address.clone(), Instant::now());
    let report = serving.stops();
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "stopping took {:?}",
        started.elapsed()
    );

    idle.expects_eof();
    mid_message.expects_eof();
    assert_eq!((report.accepted, endings(&report, "drained")), (2, 2));
    assert_eq!(
        (
            report.traffic.messages,
            report.traffic.bytes_in,
            report.traffic.bytes_out
        ),
        (2, 17, 14)
    );

    let refused = std::net::TcpStream::connect(address.as_socket_addr().unwrap());
    assert!(refused.is_err(), "a stopped server still listens");
}

#[test]
fn the_most_at_once_does_not_count_those_who_have_left() {
    let serving = Serving::echoes(local());
    for _ in 0..3 {
        serving.client().sends("one\r\n").expects("one\r\n");
        let deadline = Instant::now() + PATIENCE;
        while serving.handle.report().open > 0 {
            assert!(Instant::now() < deadline, "it does not leave");
            thread::yield_now();
        }
    }
    assert_eq!(serving.stops().most_at_once, 1);
}

/// Sends without end, and reads nothing that could be left unread.
pub(crate) struct Endless;

impl Handler for Endless {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        Ok(chat.push_with_producer(ReadProducer::new(io::repeat(b'x')))?)
    }
    fn collect_incoming_data(&mut self, _: &[u8], _: &mut Chat) -> HandlerResult {
        Ok(())
    }
    fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
        Ok(())
    }
}

#[test]
fn a_peer_that_is_gone_ends_the_write_to_it() {
    let serving = Serving::starts(local(), |_| Endless);
    serving.client().expects([b'x'; 60_000]);

    let deadline = Instant::now() + PATIENCE;
    while serving.handle.report().open > 0 {
        assert!(Instant::now() < deadline, "it goes on writing");
        thread::yield_now();
    }
    assert_eq!(endings(&serving.stops(), "reset-by-peer"), 1);
}

#[test]
fn an_endless_connection_is_cut_after_the_grace_period() {
    let options = ServerOptions::new().grace(Duration::from_millis(100));
    let serving = Serving::starts(options.bind(&loopback()).unwrap(), |_| Endless);
    let mut client = serving.client();
    client.expects([b'x'; 60_000]);

    let report = serving.stops();
    assert_eq!(
        (report.accepted, endings(&report, "forced")),
        (1, 1),
        "{report}"
    );
}

#[test]
fn a_handler_that_never_returns_cannot_block_a_stop() {
    struct Stuck;
    impl Handler for Stuck {
        fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
            chat.set_terminator(";");
            Ok(())
        }
        fn collect_incoming_data(&mut self, _: &[u8], _: &mut Chat) -> HandlerResult {
            loop {
                thread::park();
            }
        }
        fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
            Ok(())
        }
    }

    let options = ServerOptions::new().grace(Duration::from_millis(50));
    let serving = Serving::starts(options.bind(&loopback()).unwrap(), |_| Stuck);
    let mut client = serving.client();
    client.sends("x");
    thread::sleep(Duration::from_millis(50));

    let report = serving.stops();
    assert_eq!((report.accepted, report.open), (1, 1));
}

#[test]
fn stop_works_before_serving_and_twice() {
    for server in [
        local(),
        Server::from_listener(TcpListener::bind("127.0.0.1:0").unwrap()).unwrap(),
    ] {
        let handle = server.handle();
        handle.stop();
        handle.stop();
        assert!(
            server
                .handle_request(|_| Echo::new(Terminator::CRLF), None)
                .unwrap()
                .is_none()
        );
        assert_eq!(
            server
                .serve_forever(|_| Echo::new(Terminator::CRLF))
                .unwrap(),
            Report::default()
        );
    }
}

#[test]
fn a_shared_socket_keeps_listening_after_a_stop() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let successor = tcp.try_clone().unwrap();
    Serving::echoes(Server::from_listener(tcp).unwrap()).stops();
    let serving = Serving::echoes(Server::from_listener(successor).unwrap());
    serving.client().sends("hello\r\n").expects("hello\r\n");
    serving.stops();

    let path = std::env::temp_dir().join(format!("synchat-successor-{}", std::process::id()));
    let unix = UnixListener::bind(&path).unwrap();
    let successor = unix.try_clone().unwrap();
    Serving::echoes(Server::from_listener(unix).unwrap()).stops();
    let serving = Serving::echoes(Server::from_listener(successor).unwrap());
    serving.client().sends("hello\r\n").expects("hello\r\n");
    serving.stops();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn a_stop_removes_only_its_own_unix_path() {
    let path = std::env::temp_dir().join(format!("synchat-path-{}", std::process::id()));
    let address = Address::Unix(path.clone());
    let serving = Serving::echoes(ServerOptions::new().bind(&address).unwrap());
    serving.client().sends("hello\r\n").expects("hello\r\n");
    serving.stops();
    assert!(!path.exists());

    let serving = Serving::echoes(ServerOptions::new().bind(&address).unwrap());
    std::fs::remove_file(&path).unwrap();
    let other = UnixListener::bind(&path).unwrap();
    serving.stops();
    assert!(path.exists(), "the path of another server was removed");

    drop(other);
    std::fs::remove_file(path).unwrap();
}

#[test]
fn limits_hold_for_each_connection() {
    let limits = Limits {
        max_message: 4,
        ..Limits::default()
    };

    let options = ServerOptions::new().limits(limits).stack_size(0);
    let serving = Serving::echoes(options.bind(&loopback()).unwrap());
    let mut client = serving.client();
    client
        .sends("1234\r\n12345\r\n")
        .expects("1234\r\nerror: message longer than 4 bytes\r\n")
        .expects_eof();

    let report = serving.stops();
    assert_eq!(
        (
            endings(&report, "message-too-long"),
            report.traffic.too_long
        ),
        (1, 1)
    );
}

#[test]
fn a_connection_does_not_inherit_the_listeners_timeout() {
    let server = local();
    let timeout = Some(Duration::from_millis(50));
    let echo = |_: &Remote| Echo::new(Terminator::CRLF);
    assert!(server.handle_request(echo, timeout).unwrap().is_none());
    let mut client = Peer::connects(server.local_addr());
    let serving = Serving::echoes(server);
    thread::sleep(Duration::from_millis(500));
    client.sends("late\r\n").expects("late\r\n");
    assert_eq!(endings(&serving.stops(), "drained"), 1);
}

#[test]
fn handle_request_takes_an_endless_timeout() {
    let server = local();
    Peer::connects(server.local_addr())
        .sends("x\r\n")
        .half_closes();
    let summary = server.handle_request(|_| Echo::new(Terminator::CRLF), Some(Duration::MAX));
    assert!(summary.unwrap().is_some());
}

#[test]
fn two_servers_on_one_socket_stop_separately() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let second = tcp.try_clone().unwrap();
    let first = Serving::echoes(Server::from_listener(tcp).unwrap());
    let second = Serving::echoes(Server::from_listener(second).unwrap());
    second.stops();
    first.client().sends("hello\r\n").expects("hello\r\n");
    assert_eq!(first.stops().accepted, 1);
}

#[test]
fn a_nonblocking_socket_is_made_to_block() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    tcp.set_nonblocking(true).unwrap();
    let server = Server::from_listener(tcp).unwrap();
    let (address, started) = (server.local_addr().clone(), Instant::now());
    let timeout = Duration::from_millis(100);
    assert!(
        server
            .handle_request(|_| Echo::new(Terminator::CRLF), Some(timeout))
            .unwrap()
            .is_none()
    );
    assert!(started.elapsed() >= timeout, "it did not wait");

    let serving = Serving::echoes(server);
    Peer::connects(&address)
        .sends("hello\r\n")
        .expects("hello\r\n");
    serving.stops();
}

#[test]
fn a_dropped_server_stops_listening_despite_its_handle() {
    let server = local();
    let (address, handle) = (
        server.local_addr().as_socket_addr().unwrap(),
        server.handle(),
    );
    drop(server);
    assert!(std::net::TcpStream::connect(address).is_err());
    handle.stop();
}

#[test]
fn a_dead_listener_ends_the_server_after_its_conversations() {
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let as_stream = std::net::TcpStream::from(std::os::fd::OwnedFd::from(tcp.try_clone().unwrap()));
    let serving = Serving::echoes(Server::from_listener(tcp).unwrap());
    let mut client = serving.client();
    client.sends("hello\r\n").expects("hello\r\n");
    as_stream.shutdown(std::net::Shutdown::Both).unwrap();
    let error = serving.thread.join().unwrap().unwrap_err();
    assert!(matches!(error, Error::Accept { .. }), "{error}");
    client.expects_eof();
}

#[test]
fn only_a_bound_socket_can_be_taken_over() {
    time_limit::begins();
    let (stream, _other) = UnixStream::pair().unwrap();
    assert!(matches!(
        Server::from_listener(stream).unwrap_err(),
        Error::Bind { .. }
    ));
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(
        Server::from_listener(file).unwrap_err(),
        Error::Bind { .. }
    ));
}

#[test]
fn a_busy_servers_unix_path_is_not_taken() {
    time_limit::begins();
    let path = std::env::temp_dir().join(format!("synchat-busy-{}", std::process::id()));
    let address = Address::Unix(path.clone());
    let busy = ServerOptions::new()
        .request_queue_size(0)
        .bind(&address)
        .unwrap();
    let _waiting = UnixStream::connect(&path).unwrap();
    let started = Instant::now();
    let error = ServerOptions::new().bind(&address).unwrap_err();
    assert!(
        error.to_string().contains("a server listens on this path"),
        "{error}"
    );
    assert!(started.elapsed() < PATIENCE);
    assert!(path.exists());

    drop(busy);
    assert!(!path.exists());
}
