//! The news that the real program sends to a service manager. No service manager can harm it.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::process::{self, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::peer::PATIENCE;
use crate::support::process::{Directory, ServerProcess, synchat};

/// A service manager: its socket, and what a server needs to reach it.
struct Manager {
    socket: UnixDatagram,
    name: OsString,
    _directory: Directory,
}

impl Manager {
    fn at_a_path() -> Self {
        let directory = Directory::new();
        let path = directory.at("notify");
        Self::new(UnixDatagram::bind(&path).unwrap(), path.into(), directory)
    }

    fn new(socket: UnixDatagram, name: OsString, directory: Directory) -> Self {
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self {
            socket,
            name,
            _directory: directory,
        }
    }

    /// Returns a command for a server that tells this manager.
    fn service(&self) -> Command {
        service_of(&self.name)
    }

    /// Returns the next datagram.
    fn hears(&self) -> String {
        let mut buffer = [0; 100];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return String::from_utf8(buffer[..length].to_vec()).unwrap(),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("the server tells nothing: {error}"),
            }
        }
    }

    /// Returns the datagrams that have arrived already.
    fn has_heard(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 100];
        std::iter::from_fn(|| {
            self.socket
                .recv(&mut buffer)
                .ok()
                .map(|length| (length, buffer))
        })
        .map(|(length, buffer)| String::from_utf8_lossy(&buffer[..length]).into_owned())
        .collect()
    }
}

fn service_of(manager: &OsStr) -> Command {
    let mut command = synchat();
    command.arg("127.0.0.1:0").env("NOTIFY_SOCKET", manager);
    command
}

/// Expects that the server serves, and that it ends well after SIGTERM. Returns its log.
#[track_caller]
fn serves_and_ends(server: ServerProcess) -> String {
    server.client().sends("hello\r\n").expects("hello\r\n");
    server.signal("TERM");
    let output = server.ends();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(0), "{log}");
    log
}

#[track_caller]
fn assert_is_told_of_the_beginning_and_the_end(manager: &Manager) {
    let server = ServerProcess::starts_from(&mut manager.service());
    assert_eq!(manager.hears(), "READY=1");
    let log = serves_and_ends(server);
    assert_eq!(manager.has_heard(), ["STOPPING=1"]);
    assert!(!log.contains("notify"), "{log}");
}

#[test]
fn a_manager_at_a_path_hears_of_start_and_stop() {
    assert_is_told_of_the_beginning_and_the_end(&Manager::at_a_path());
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_manager_hears_of_start_and_stop() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    let directory = Directory::new();
    // A name that nobody else has.
    let name = directory.at("notify").into_os_string();
    let address = SocketAddr::from_abstract_name(name.as_encoded_bytes()).unwrap();
    let mut variable = OsString::from("@");
    variable.push(name);
    let socket = UnixDatagram::bind_addr(&address).unwrap();
    assert_is_told_of_the_beginning_and_the_end(&Manager::new(socket, variable, directory));
}

#[test]
fn ready_means_listening_and_obeying_signals() {
    let manager = Manager::at_a_path();
    let directory = Directory::new();
    let address = directory.socket("echo");
    let mut command = synchat();
    command.arg(&address).env("NOTIFY_SOCKET", &manager.name);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    for _ in 0..20 {
        let address = address.parse().unwrap();
        let server = ServerProcess::starts_unheard(&mut command, address);
        assert_eq!(manager.hears(), "READY=1");
        serves_and_ends(server);
        assert_eq!(manager.hears(), "STOPPING=1");
    }
}

#[test]
fn a_server_that_cannot_listen_is_never_ready() {
    let manager = Manager::at_a_path();
    let first = ServerProcess::starts(&[]);
    let mut second = synchat();
    second.arg(first.address().to_string());
    let output = second.env("NOTIFY_SOCKET", &manager.name).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(manager.has_heard().is_empty());
}

#[test]
fn the_watchdog_is_fed_in_time_even_while_draining() {
    let manager = Manager::at_a_path();
    // Shorter than the time between two turns of the accept loop.
    let patience = Duration::from_millis(800);
    let mut command = manager.service();
    command.env("WATCHDOG_USEC", patience.as_micros().to_string());
    command.args(["--grace", "5s"]);
    let server = ServerProcess::starts_from(&mut command);
    let mut news = vec![manager.hears()];
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");

    // The server waits for a peer that never reads until the grace period is over.
    let lines = "a line\r\n".repeat(8192);
    let flood = thread::spawn(move || while client.tries_to_send(&lines).is_ok() {});
    let started = Instant::now();
    let (mut last, mut is_stopped) = (started, false);
    // Far longer than a heart that beats may seem to stand still.
    while started.elapsed() < Duration::from_secs(6) {
        if !is_stopped && started.elapsed() > Duration::from_secs(2) {
            is_stopped = true;
            server.signal("TERM");
        }
        news.push(manager.hears());
        assert!(last.elapsed() < patience, "{:?}: {news:?}", last.elapsed());
        last = Instant::now();
    }

    news.extend(manager.has_heard());
    assert!(!flood.is_finished(), "the server drains");
    assert_eq!(server.ends().status.code(), Some(0));

    flood.join().unwrap();
    let count = |wanted: &str| news.iter().filter(|news| *news == wanted).count();
    assert_eq!((count("READY=1"), count("STOPPING=1")), (1, 1), "{news:?}");
    assert_eq!(count("WATCHDOG=1"), news.len() - 2, "{news:?}");
}

#[test]
fn another_processs_watchdog_is_not_fed() {
    let manager = Manager::at_a_path();
    let mut command = manager.service();
    command.env("WATCHDOG_USEC", "2000");
    command.env("WATCHDOG_PID", process::id().to_string());
    let server = ServerProcess::starts_from(&mut command);
    server.client().sends("hello\r\n").expects("hello\r\n");
    // Enough time for many.
    thread::sleep(Duration::from_millis(100));
    serves_and_ends(server);
    assert_eq!(manager.has_heard(), ["READY=1", "STOPPING=1"]);
}

#[test]
fn a_manager_that_does_not_read_is_one_warning() {
    let manager = Manager::at_a_path();
    // The queue takes this many: ten by default.
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &manager.name).is_ok() {}
    let mut command = manager.service();
    command.env("WATCHDOG_USEC", "2000");
    let server = ServerProcess::starts_from(&mut command);
    server.client().sends("hello\r\n").expects("hello\r\n");
    thread::sleep(Duration::from_millis(100));
    let log = serves_and_ends(server);
    assert_eq!(log.matches("notify: ").count(), 1, "{log}");
    assert!(manager.has_heard().iter().all(|news| news == "full"));
}

#[test]
fn a_manager_that_is_gone_is_one_warning() {
    let manager = Manager::at_a_path();
    let server = ServerProcess::starts_from(manager.service().env("WATCHDOG_USEC", "2000"));
    while manager.hears() != "WATCHDOG=1" {}
    drop(manager);
    thread::sleep(Duration::from_millis(100));
    let log = serves_and_ends(server);
    assert_eq!(log.matches("notify: ").count(), 1, "{log}");
}

#[test]
fn an_impossible_address_is_one_warning() {
    for name in ["", "notify", "./notify", "@", "vsock:2:1", "/none/notify"] {
        let mut command = service_of(OsStr::new(name));
        let server = ServerProcess::starts_from(command.env("WATCHDOG_USEC", "2000"));
        let log = serves_and_ends(server);
        assert_eq!(log.matches("notify: ").count(), 1, "{name}: {log}");
    }
}

#[test]
fn an_impossible_watchdog_time_is_one_warning() {
    for time in ["", "0", "-1", "soon"] {
        let manager = Manager::at_a_path();
        let server = ServerProcess::starts_from(manager.service().env("WATCHDOG_USEC", time));
        let log = serves_and_ends(server);
        assert!(log.contains("WATCHDOG_USEC"), "{log}");
        assert_eq!(manager.has_heard(), ["READY=1", "STOPPING=1"]);
    }
}

/// A manager whose queue is full: ten datagrams by default.
fn busy_manager() -> Manager {
    let manager = Manager::at_a_path();
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &manager.name).is_ok() {}
    manager
}

/// Reads what filled the queue, and the news behind it.
#[track_caller]
fn hears_behind_the_rest(manager: &Manager, news: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match &*manager.hears() {
            "full" => assert!(Instant::now() < deadline, "it is never told of {news}"),
            heard => {
                assert_eq!(heard, news);
                return;
            }
        }
    }
}

#[test]
fn a_manager_that_is_busy_hears_later_that_the_server_is_ready() {
    let manager = busy_manager();
    let mut server = ServerProcess::starts_from(&mut manager.service());
    server.logs("notify: cannot reach the service manager: ");
    server.client().sends("hello\r\n").expects("hello\r\n");
    hears_behind_the_rest(&manager, "READY=1");
    serves_and_ends(server);
    assert_eq!(manager.has_heard(), ["STOPPING=1"], "each is told once");
}

#[test]
fn a_manager_that_comes_late_hears_that_the_server_is_ready() {
    let directory = Directory::new();
    let path = directory.at("notify");
    let mut server = ServerProcess::starts_from(&mut service_of(path.as_os_str()));
    server.logs("notify: cannot reach the service manager: ");
    let socket = UnixDatagram::bind(&path).unwrap();
    let manager = Manager::new(socket, path.into(), directory);
    assert_eq!(manager.hears(), "READY=1");
    serves_and_ends(server);
    assert_eq!(manager.has_heard(), ["STOPPING=1"]);
}

#[test]
fn a_manager_that_is_busy_hears_later_that_the_server_stops() {
    let manager = Manager::at_a_path();
    let server = ServerProcess::starts_from(&mut manager.service());
    assert_eq!(manager.hears(), "READY=1");
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    while filler.send_to(b"full", &manager.name).is_ok() {}
    // It stops for as long as this client does not close.
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");
    server.signal("TERM");
    client.expects_eof();
    hears_behind_the_rest(&manager, "STOPPING=1");
    drop(client);
    assert_eq!(server.ends().status.code(), Some(0));
}
