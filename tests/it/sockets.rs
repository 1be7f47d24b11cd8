//! The sockets that a server is given, makes or shares: names with several addresses, Unix paths and
//! their modes, abstract names, sockets of a supervisor, zones of IPv6.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::Path;
use std::process::{self, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Address, Echo, Limits, Server, ServerOptions, Terminator};

use crate::server::Serving;
use crate::support::peer::{PATIENCE, Peer};
use crate::support::process::{Directory, Running, ServerProcess, complaint, run, synchat};

/// Starts this command, which has to end by itself. It must not say that it serves.
#[track_caller]
fn ends_unserving(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let process = Running::from(child.expect("it starts"));
    let printed = process.prints();
    assert_eq!(printed, "", "{command:?} says that it serves");
    process.ends()
}

fn assert_echoes(server: &ServerProcess) {
    let mut peer = server.client();
    peer.sends("hello\r\n").expects("hello\r\n");
    peer.half_closes().expects_eof();
}

// Names.

#[test]
fn a_name_is_taken_where_its_first_address_is() {
    let server = ServerProcess::starts_from(synchat().arg("localhost:0"));
    let port = server.address().as_socket_addr().expect("it is TCP").port();
    let taken = format!("localhost:{port}");
    for _ in 0..2 {
        let line = complaint(&ends_unserving(synchat().arg(&taken)), 1);
        assert!(line.contains(&taken) && line.contains("in use"), "{line}");
    }
    let error = Server::bind(&taken).unwrap_err();
    assert!(error.to_string().contains("in use"), "{error}");
    assert_echoes(&server);
}

// Zones.

#[test]
fn a_link_local_address_without_a_zone_is_refused_with_advice() {
    for address in ["[fe80::1]:0", "[fe80::abcd:1]:7007"] {
        let line = complaint(&ends_unserving(synchat().arg(address)), 1);
        assert!(line.contains(address) && line.contains("zone"), "{line}");
    }
}

#[test]
fn a_zone_by_name_is_taken_or_its_number_is_asked_for() {
    // An address that this machine does not have, so that no server starts.
    for address in ["[fe80::dead:beef%lo]:0", "[fe80::dead:beef%eth99]:0"] {
        let output = ends_unserving(synchat().arg(address));
        let code = output.status.code().unwrap_or(-1);
        assert!([1, 2].contains(&code), "exit code {code}");
        let line = complaint(&output, code);
        assert!(!line.contains("in brackets"), "it is in brackets: {line}");
        // A name that is taken becomes its number, as in the greeting.
        let is_taken = line.contains("cannot listen on [fe80::dead:beef%1]:0");
        assert!(is_taken || line.contains(address), "{line}");
        assert!(is_taken || line.contains("zone"), "{line}");
    }
}

// Unix sockets.

/// What `sh` needs to run the binary with arguments after it has said this.
fn after(script: &str, arguments: &[&str]) -> Command {
    let binary = synchat();
    let mut command = Command::new("sh");
    command.args(["-c", &format!(r#"{script}; exec "$0" "$@""#)]);
    command.arg(binary.get_program()).args(arguments);
    for (name, _) in binary.get_envs() {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

fn mode(path: &Path) -> u32 {
    let metadata = fs::symlink_metadata(path).expect("it is there");
    metadata.permissions().mode() & 0o7777
}

#[test]
fn a_unix_socket_has_the_mode_that_is_asked_for() {
    let directory = Directory::new();
    let address = directory.socket("echo");
    for umask in ["022", "077", "000"] {
        for (asked, expected) in [("0660", 0o660), ("600", 0o600), ("0777", 0o777)] {
            let umask = format!("umask {umask}");
            let mut command = after(&umask, &[&address, "--socket-mode", asked]);
            let server = ServerProcess::starts_from(&mut command);
            assert_eq!(mode(&directory.at("echo")), expected, "{umask}, {asked}");
            assert_echoes(&server);
        }
    }
    let mut command = after("umask 022", &[&address]);
    command.env("SYNCHAT_SOCKET_MODE", "0660");
    let server = ServerProcess::starts_from(&mut command);
    assert_eq!(mode(&directory.at("echo")), 0o660);
    assert_echoes(&server);
}

#[test]
fn without_a_mode_a_unix_socket_has_what_the_umask_leaves() {
    let directory = Directory::new();
    let address = directory.socket("echo");
    for (umask, expected) in [("022", 0o755), ("077", 0o700), ("007", 0o770)] {
        let mut command = after(&format!("umask {umask}"), &[&address]);
        let server = ServerProcess::starts_from(&mut command);
        assert_eq!(mode(&directory.at("echo")), expected, "{umask}");
        assert_echoes(&server);
    }
}

#[test]
fn a_unix_socket_has_its_mode_before_anybody_can_connect() {
    let directory = Directory::new();
    let path = directory.at("echo");
    for _ in 0..10 {
        let address = directory.socket("echo");
        let mut command = after("umask 000", &[&address, "--socket-mode=0600"]);
        let watching = thread::spawn({
            let path = path.clone();
            move || {
                let started = Instant::now();
                while started.elapsed() < PATIENCE {
                    // In this order: a mode of before the connection.
                    let seen = fs::symlink_metadata(&path);
                    if UnixStream::connect(&path).is_ok() {
                        return seen.map(|seen| seen.permissions().mode() & 0o777).ok();
                    }
                }
                None
            }
        });
        let server = ServerProcess::starts_from(&mut command);
        let seen = watching.join().unwrap();
        // Nothing was seen where it came in between.
        assert!([None, Some(0o600)].contains(&seen), "mode {seen:?}");
        drop(server);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn modes_that_are_none_are_bad_usage() {
    for mode in ["", "0999", "rw", "-1", "10000", "0o660", "u=rw"] {
        let argument = format!("--socket-mode={mode}");
        let line = complaint(&run(&["unix:/nowhere/echo", &argument]), 2);
        assert!(
            line.contains("--socket-mode") && line.contains(mode),
            "{line}"
        );
        assert!(line.contains("0660"), "a form that would be right: {line}");
    }
}

#[test]
fn a_mode_for_an_address_that_has_none_is_bad_usage() {
    for address in ["unix:@name", "127.0.0.1:0", "localhost:0", "fd:0"] {
        let line = complaint(&run(&[address, "--socket-mode=0600"]), 2);
        for word in ["--socket-mode 0600", address, "unix:PATH"] {
            assert!(line.contains(word), "{word} is not in {line}");
        }
    }
}

/// An abstract name that no other test has.
fn abstract_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("synchat-test-{}-{number}", process::id())
}

fn connects_to_abstract(name: &str) -> UnixStream {
    let address = SocketAddr::from_abstract_name(name).unwrap();
    let stream = UnixStream::connect_addr(&address).expect("it listens on the abstract name");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

fn echoes_at_abstract(name: &str) {
    use std::io::{Read, Write};
    let mut stream = connects_to_abstract(name);
    stream.write_all(b"hello\r\n").unwrap();
    let mut reply = [0; 7];
    stream.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"hello\r\n");
}

#[test]
fn an_abstract_name_is_served_and_is_no_file() {
    let directory = Directory::new();
    let name = abstract_name();
    let address = format!("unix:@{name}");
    let mut command = synchat();
    command.arg(&address).current_dir(directory.at("."));
    let (server, greeting) = ServerProcess::starts_and_greets(&mut command);
    assert!(greeting.contains(&format!(" on {address}; ")), "{greeting}");
    let files = fs::read_dir(directory.at(".")).unwrap();
    assert_eq!(files.count(), 0, "it has made a file");
    echoes_at_abstract(&name);

    // It is taken, and a health check finds it.
    let line = complaint(&ends_unserving(synchat().arg(&address)), 1);
    assert!(line.contains(&address), "{line}");
    assert!(
        line.contains("in use") || line.contains("listens"),
        "{line}"
    );
    let ping = run(&["ping", "-qc1", &address]);
    assert_eq!(ping.status.code(), Some(0), "{ping:?}");
    echoes_at_abstract(&name);

    // It goes with its server.
    drop(server);
    let next = ServerProcess::starts_from(synchat().arg(&address).current_dir(directory.at(".")));
    echoes_at_abstract(&name);
    next.signal("TERM");
    assert!(next.ends().status.success());
}

#[test]
fn an_at_sign_further_on_in_a_path_is_one_of_a_file() {
    let directory = Directory::new();
    let address = directory.socket("@echo");
    let server = ServerProcess::starts_from(synchat().arg(&address));
    assert!(directory.at("@echo").exists());
    assert_echoes(&server);
}

/// Starts servers at once on this path, of which exactly one has to serve, and ends them.
#[track_caller]
fn one_of_them_serves(path: &Path, servers: usize) {
    let address = Address::Unix(path.to_owned());
    let started: Vec<_> = (0..servers)
        .map(|_| {
            let mut command = synchat();
            command.arg(address.to_string());
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
            Running::from(command.spawn().expect("it starts"))
        })
        .collect();
    let (serving, others): (Vec<_>, Vec<_>) = started
        .into_iter()
        .map(|process| (process.prints(), process))
        .partition(|(greeting, _)| !greeting.is_empty());
    assert_eq!(serving.len(), 1, "servers that say so, of {servers}");
    for (_, process) in others {
        complaint(&process.ends(), 1);
    }
    let mut peer = Peer::connects(&address);
    peer.sends("hello\r\n").expects("hello\r\n");
    drop(serving);
    fs::remove_file(path).unwrap();
}

#[test]
fn of_servers_that_start_at_once_on_a_left_over_path_one_serves() {
    let directory = Directory::new();
    let path = directory.at("echo");
    for round in 0..40 {
        drop(UnixListener::bind(&path).unwrap());
        one_of_them_serves(&path, 2 + round % 2);
    }
}

#[test]
fn of_servers_that_start_at_once_on_a_free_path_one_serves() {
    let directory = Directory::new();
    for _ in 0..20 {
        one_of_them_serves(&directory.at("echo"), 4);
    }
}

// Sockets of others.

/// Whether the open file behind a descriptor of ours is non-blocking, as the kernel says.
fn is_nonblocking(socket: &impl AsRawFd) -> bool {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", socket.as_raw_fd())).unwrap();
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:"));
    let flags = u32::from_str_radix(flags.expect("it has flags").trim(), 8).unwrap();
    flags & 0o4000 != 0
}

#[test]
fn a_socket_that_its_owner_uses_without_blocking_stays_so() {
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    owner.set_nonblocking(true).unwrap();
    let server = Server::from_listener(owner.try_clone().unwrap()).unwrap();
    let serving = Serving::echoes(server);
    serving.client().sends("hello\r\n").expects("hello\r\n");
    serving.stops();
    assert!(is_nonblocking(&owner), "the server took that away");

    // So it is while another server goes on with it.
    let going_on = Serving::echoes(Server::from_listener(owner.try_clone().unwrap()).unwrap());
    let leaving = Serving::echoes(Server::from_listener(owner.try_clone().unwrap()).unwrap());
    leaving.stops();
    assert!(is_nonblocking(&owner), "one that leaves took that away");
    going_on.client().sends("hello\r\n").expects("hello\r\n");
    going_on.stops();
    assert!(is_nonblocking(&owner));
}

#[test]
fn a_socket_that_its_owner_makes_blocking_does_not_hold_the_server() {
    let owner = TcpListener::bind("127.0.0.1:0").unwrap();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                owner.set_nonblocking(false).unwrap();
            }
        });
        // The longest that an `accept` and the stop may take together.
        let soon = Duration::from_secs(3);
        for _ in 0..4 {
            let server = Server::from_listener(owner.try_clone().unwrap()).unwrap();
            let serving = Serving::echoes(server);
            serving.client().sends("hello\r\n").expects("hello\r\n");
            let stopped = Instant::now();
            serving.stops();
            assert!(stopped.elapsed() < soon, "{:?}", stopped.elapsed());
        }
        is_over.store(true, Ordering::Relaxed);
    });

    // What the server needed for that is gone: accepted sockets would inherit it.
    let as_stream = TcpStream::from(OwnedFd::from(owner));
    assert_eq!(as_stream.read_timeout().unwrap(), None);
}

/// A server on an inherited socket, full with one client, for whose place others wait.
fn full_on_an_inherited_socket(listener: TcpListener) -> (ServerProcess, Peer, Vec<Peer>) {
    let mut command = synchat();
    command.args(["fd:0", "--max-connections", "1", "--overload", "wait"]);
    command.stdin(OwnedFd::from(listener));
    let mut server = ServerProcess::starts_from(&mut command);
    // With it goes our copy of the socket.
    drop(command);
    let mut served = server.client();
    served.sends("hello\r\n").expects("hello\r\n");
    let waiting = (0..20).map(|_| server.client()).collect();
    server.logs("accept: waiting until one of");
    (server, served, waiting)
}

#[test]
fn who_waits_at_an_inherited_socket_that_nobody_else_has_is_told() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (server, mut served, waiting) = full_on_an_inherited_socket(listener);
    server.signal("TERM");
    served.expects_eof();
    let mut reset = 0;
    for mut peer in waiting {
        let mut first = [0];
        // A line, or an orderly end.
        reset += usize::from(peer.read(&mut first).is_err());
    }
    assert_eq!(reset, 0, "of 20 who waited were reset");
    drop(served);
    assert!(server.ends().status.success());
}

#[test]
fn who_waits_at_a_socket_that_others_share_is_left_to_them() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let successor = listener.try_clone().unwrap();
    let (server, mut served, waiting) = full_on_an_inherited_socket(listener);
    server.signal("TERM");
    served.expects_eof();
    drop(served);
    assert!(server.ends().status.success());
    let serving = Serving::echoes(Server::from_listener(successor).unwrap());
    for mut peer in waiting {
        peer.sends("hello\r\n").expects("hello\r\n");
    }
    serving.stops();
}

// Descriptors of a service manager.

const OF_THIS_PROCESS: &str = "export LISTEN_PID=$$ LISTEN_FDS=1";

#[test]
fn sockets_that_a_manager_passes_are_not_overlooked() {
    for arguments in [&["127.0.0.1:0"][..], &["127.0.0.1:0", "-q"]] {
        for passed in [OF_THIS_PROCESS, "export LISTEN_PID=$$ LISTEN_FDS=3"] {
            let output = ends_unserving(&mut after(passed, arguments));
            let code = output.status.code().unwrap_or(-1);
            assert!([1, 2].contains(&code), "exit code {code}");
            let line = complaint(&output, code);
            for word in ["LISTEN_FDS", "StandardInput=socket", "fd:0"] {
                assert!(line.contains(word), "{word} is not in {line}");
            }
        }
    }
}

#[test]
fn sockets_that_are_passed_to_another_process_or_are_none_are_no_reason() {
    let others = [
        "export LISTEN_PID=1 LISTEN_FDS=1",
        "export LISTEN_PID=$$ LISTEN_FDS=0",
        "export LISTEN_PID= LISTEN_FDS=",
        "export LISTEN_PID=$$",
    ];
    for passed in others {
        let mut command = after(passed, &["127.0.0.1:0"]);
        assert_echoes(&ServerProcess::starts_from(&mut command));
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut command = after(OF_THIS_PROCESS, &["fd:0"]);
    command.stdin(OwnedFd::from(listener));
    assert_echoes(&ServerProcess::starts_from(&mut command));
}

#[test]
fn a_server_keeps_its_timeouts_whatever_others_do_with_its_socket() {
    let limits = Limits {
        idle_timeout: Some(Duration::from_millis(200)),
        ..Limits::default()
    };
    let options = ServerOptions::new().limits(limits);
    let server = options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let shared = server.as_fd().try_clone_to_owned().unwrap();

    // Another server has the socket, too, and somebody sets options that a connection inherits.
    let other = Server::from_listener(shared.try_clone().unwrap()).unwrap();
    let none = other.handle_request(|_| Echo::new(Terminator::CRLF), Some(Duration::ZERO));
    assert!(none.unwrap().is_none());
    let shared = TcpStream::from(shared);
    for limit in [None, Some(Duration::from_secs(3))] {
        shared.set_read_timeout(limit).unwrap();
        shared.set_write_timeout(limit).unwrap();

        // This one comes before the server accepts anything.
        let mut early = Peer::connects(server.local_addr());
        let took = thread::scope(|scope| {
            scope.spawn(|| server.handle_request(|_| Echo::new(Terminator::CRLF), Some(PATIENCE)));
            early.sends("hello\r\n").expects("hello\r\n");
            let since = Instant::now();
            early.expects("error: too slow, idle limit=200ms\r\n");
            early.expects_eof();
            let took = since.elapsed();
            drop(early);
            took
        });
        assert!(took < Duration::from_millis(500), "{limit:?}: {took:?}");
    }
    // And it has left the socket as it was.
    assert_eq!(shared.read_timeout().unwrap(), Some(Duration::from_secs(3)));
    assert!(!shared.nodelay().unwrap());
}
