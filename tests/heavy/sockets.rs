//! Sockets as other programs make them, use them and share them: urgent data, kinds that are no
//! streams, one socket under several processes, names and zones of another network.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use synchat::Address;

use crate::support::process::{
    Directory, Running, ServerProcess, complaint, eventually, run_to_its_end, synchat,
};
use crate::system::{Injection, Namespace, Stopped, Threads, assert_serves, binary, runs, tool};

/// Runs a script of Python's that has `socket`, and `port`.
fn python(port: u16, script: &str) -> String {
    let script = format!("import socket\nport = {port}\n{script}");
    runs(tool("python3").args(["-c", &script]))
}

fn port(server: &ServerProcess) -> u16 {
    server.address().as_socket_addr().expect("it is TCP").port()
}

// Urgent data.

/// Sends parts, those in capitals as urgent data, and prints what comes back.
const SENDS_URGENTLY: &str = r#"
connection = socket.create_connection(("127.0.0.1", port), 10)
connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for part in PARTS:
    connection.send(part, socket.MSG_OOB if part.isupper() else 0)
connection.shutdown(socket.SHUT_WR)
connection.settimeout(5)
received = b""
while piece := connection.recv(4096):
    received += piece
print(received)
"#;

#[test]
fn urgent_data_is_data_in_its_place() {
    let cases = [
        (r#"[b"ab", b"C", b"d\r\n"]"#, r"b'abCd\r\n'"),
        (r#"[b"ABC\r\n"]"#, r"b'ABC\r\n'"),
        (r#"[b"A", b"B", b"C", b"\r\n"]"#, r"b'ABC\r\n'"),
        (
            r#"[b"one\r\n", b"TWO\r\n", b"three\r\n"]"#,
            r"b'one\r\nTWO\r\nthree\r\n'",
        ),
    ];
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut inherits = synchat();
    inherits.arg("fd:0").stdin(OwnedFd::from(listener));
    for server in [
        ServerProcess::starts(&[]),
        ServerProcess::starts_from(&mut inherits),
    ] {
        for (parts, expected) in cases {
            let script = SENDS_URGENTLY.replace("PARTS", parts);
            assert_eq!(
                python(port(&server), &script),
                format!("{expected}\n"),
                "{parts}"
            );
        }
        assert_serves(&server);
        Stopped::orderly(server);
    }
}

#[test]
fn urgent_data_on_a_unix_socket_is_data_in_its_place() {
    let directory = Directory::new();
    let server = ServerProcess::starts_from(synchat().arg(directory.socket("echo")));
    let script = SENDS_URGENTLY
        .replace("PARTS", r#"[b"ab", b"C", b"d\r\n"]"#)
        .replace("connection.setsockopt", "()  # ")
        .replace(
            r#"socket.create_connection(("127.0.0.1", port), 10)"#,
            &format!(
                "socket.socket(socket.AF_UNIX); connection.connect({:?})",
                directory.at("echo")
            ),
        );
    assert_eq!(python(0, &script), "b'abCd\\r\\n'\n");
    Stopped::orderly(server);
}

/// A server that sends each echo as urgent data.
const ECHOES_URGENTLY: &str = r#"
import subprocess
listener = socket.create_server(("127.0.0.1", 0))
address = "127.0.0.1:%d" % listener.getsockname()[1]
ping = subprocess.Popen([PING, "ping", "-qc2", "-i0", address], stdout=subprocess.PIPE)
connection, _ = listener.accept()
while line := connection.recv(4096):
    connection.send(line, socket.MSG_OOB)
print(ping.communicate(timeout=10)[0].decode().split("\n")[0], ping.returncode)
"#;

#[test]
fn a_client_receives_urgent_data_in_its_place_too() {
    let script = ECHOES_URGENTLY.replace("PING", &format!("{:?}", binary()));
    let printed = python(0, &script);
    assert_eq!(printed, "2 sent, 2 received, 0 lost (0%) 0\n");
}

// Sockets that are no streams.

#[test]
fn a_socket_that_is_no_stream_is_refused_as_standard_input() {
    let kinds = [
        ("AF_UNIX, socket.SOCK_SEQPACKET", r#""echo""#, true),
        ("AF_UNIX, socket.SOCK_SEQPACKET", r#""echo""#, false),
        ("AF_UNIX, socket.SOCK_DGRAM", r#""echo""#, false),
        ("AF_INET, socket.SOCK_DGRAM", r#"("127.0.0.1", 0)"#, false),
        ("AF_INET6, socket.SOCK_DGRAM", r#"("::1", 0)"#, false),
    ];
    for (kind, address, listens) in kinds {
        let directory = Directory::new();
        let listen = if listens { "s.listen()" } else { "pass" };
        let script = format!(
            "import os, socket\ns = socket.socket(socket.{kind})\ns.bind({address})\n{listen}\n\
             os.dup2(s.fileno(), 0)\ns.close()\nos.execv({:?}, ['synchat', 'fd:0'])",
            binary()
        );
        let mut command = tool("python3");
        command.args(["-c", &script]).current_dir(directory.at("."));
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let process = Running::from(child.expect("it starts"));
        assert_eq!(process.prints(), "", "{kind} says that it serves");
        let line = complaint(&process.ends(), 1);
        assert!(
            line.starts_with("synchat: cannot listen on fd:0: "),
            "{line}"
        );
        assert!(line.contains("stream socket"), "{kind}: {line}");
    }
}

// One socket under several processes.

/// A server on this socket, which shares it.
fn shares(listener: &TcpListener) -> ServerProcess {
    let mut command = synchat();
    command.arg("fd:0");
    command.stdin(OwnedFd::from(listener.try_clone().unwrap()));
    ServerProcess::starts_from(&mut command)
}

/// Stops the server, which has to end soon.
#[track_caller]
fn ends_in_time(server: ServerProcess) {
    let stopped = Instant::now();
    server.signal("TERM");
    let status = server.ends().status;
    let took = stopped.elapsed();
    assert!(status.success(), "{status}");
    assert!(took < Duration::from_secs(4), "it has ended after {took:?}");
}

#[test]
fn a_process_that_leaves_a_shared_socket_does_not_make_others_deaf() {
    for _ in 0..3 {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let leaving = shares(&socket);
        let staying = [shares(&socket), shares(&socket)];
        // They stand between "do not block" and `accept` for a while, each time.
        let slow = "accept4,accept:delay_enter=500000";
        let injections = staying
            .each_ref()
            .map(|server| Injection::into(server, Threads::Main, slow));
        // A client wakes all of them, and one leaves when the others are on their way.
        let mut client = leaving.client();
        client.sends("hello\r\n").expects("hello\r\n");
        ends_in_time(leaving);
        for injection in injections {
            injection.ends();
        }
        // Nobody comes who would wake them.
        let [first, second] = staying;
        drop(client);
        ends_in_time(first);
        ends_in_time(second);

        let next = shares(&socket);
        assert_serves(&next);
        ends_in_time(next);
    }
}

#[test]
fn processes_that_share_a_socket_can_all_be_stopped_at_once() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    for _ in 0..25 {
        let servers: [_; 4] = std::array::from_fn(|_| shares(&socket));
        assert_serves(&servers[0]);
        let ids: Vec<_> = servers
            .iter()
            .map(|server| server.id().to_string())
            .collect();
        let script = format!("kill -TERM {}", ids.join(" "));
        runs(tool("sh").args(["-c", &script]));
        let stopped = Instant::now();
        for server in servers {
            assert!(server.ends().status.success());
        }
        let took = stopped.elapsed();
        assert!(
            took < Duration::from_secs(4),
            "they have ended after {took:?}"
        );
    }
}

#[test]
fn who_waits_at_a_socket_from_systemd_that_nobody_keeps_is_told() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    // It becomes the server, which has the socket as standard output, too.
    let mut command = tool("systemd-socket-activate");
    command.args(["--inetd", "-l", &address.to_string(), &binary(), "fd:0"]);
    command.args(["--max-connections=1", "--overload=wait"]);
    command.stderr(Stdio::piped());
    let mut server = ServerProcess::starts_unheard(&mut command, address.into());
    server.logs("Listening on");

    let mut served = server.client();
    served.sends("hello\r\n").expects("hello\r\n");
    let waiting: Vec<_> = (0..20).map(|_| server.client()).collect();
    server.logs("accept: waiting until one of");
    let stopped = Instant::now();
    server.signal("TERM");
    for mut peer in waiting {
        // A line, or an orderly end.
        peer.read(&mut [0]).expect("nobody who waits is reset");
    }

    // The server waits up to 2 s for its client to close. Its socket has gone before.
    eventually("the socket closes", || TcpStream::connect(address).is_err());
    let took = stopped.elapsed();
    assert!(took < Duration::from_millis(1500), "closed after {took:?}");
    served.expects_eof();
    drop(served);
    assert!(server.ends().status.success());
}

// Names and zones.

/// A command in a file system where `hosts` is this.
fn with_hosts(directory: &Directory, hosts: &str, address: &str) -> Command {
    fs::write(directory.at("hosts"), hosts).unwrap();
    let script = r#"mount --bind "$0" /etc/hosts && exec "$1" "$2""#;
    let mut command = tool("unshare");
    command.args(["--mount", "sh", "-c", script]);
    command
        .arg(directory.at("hosts"))
        .args([&binary(), address]);
    command
}

#[test]
fn a_name_of_several_addresses_is_taken_where_the_first_of_ours_is() {
    let directory = Directory::new();
    let hosts = "127.0.0.1 localhost\n127.0.0.2 twice.example\n127.0.0.3 twice.example\n\
                 192.0.2.1 moved.example\n127.0.0.3 moved.example\n";
    for (name, expected) in [
        ("twice.example", "127.0.0.2:"),
        ("moved.example", "127.0.0.3:"),
    ] {
        let mut command = with_hosts(&directory, hosts, &format!("{name}:0"));
        let server = ServerProcess::starts_from(&mut command);
        let listens = server.address().to_string();
        assert!(listens.starts_with(expected), "{name}: {listens}");
        let taken = format!("{name}:{}", port(&server));
        let mut second = with_hosts(&directory, hosts, &taken);
        let child = second.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let second = Running::from(child.expect("it starts"));
        assert_eq!(second.prints(), "", "a second one says that it serves");
        let line = complaint(&second.ends(), 1);
        assert!(line.contains(&taken) && line.contains("in use"), "{line}");
        assert_serves(&server);
        Stopped::orderly(server);
    }
}

/// Connects from link-local addresses in one zone, all of which stay, and prints what each is told.
const FROM_LINK_LOCAL: &str = r#"
import sys
zone = int(sys.argv[1])
connections = []
for source in sys.argv[2:]:
    connection = socket.socket(socket.AF_INET6)
    connection.settimeout(10)
    connection.bind((source, 0, 0, zone))
    connection.connect(("fe80::1", port, 0, zone))
    connections.append(connection)
    connection.sendall(b"echo\r\n")
    print(connection.makefile("rb").readline().decode().rstrip())
"#;

/// A network with link-local addresses on its loopback, whose zone is 1.
fn link_local() -> Namespace {
    let namespace = Namespace::new();
    for address in ["fe80::1", "fe80::a", "fe80::b", "fe80::c"] {
        namespace.ip(&format!("addr add {address}/64 dev lo nodad"));
    }
    namespace
}

#[test]
fn hosts_of_a_link_are_told_apart_where_an_address_has_a_limit() {
    const ADDRESS_FULL: &str = "error: too many connections from this address, the limit is 2";
    let namespace = link_local();
    let server = namespace.server(&["[fe80::1%1]:0", "--max-per-address", "2"]);
    let port = match server.address() {
        Address::Tcp(address) => address.port(),
        other => panic!("{other} is not TCP"),
    };
    let sources = [
        "fe80::a", "fe80::a", "fe80::a", "fe80::b", "fe80::c", "fe80::b", "fe80::b",
    ];
    let script = format!("import socket\nport = {port}\n{FROM_LINK_LOCAL}");
    let mut python = namespace.command("python3");
    python.args(["-c", &script, "1"]).args(sources);
    let told = runs(&mut python);
    let told: Vec<_> = told.lines().collect();
    let (echo, full) = ("echo", ADDRESS_FULL);
    assert_eq!(told, [echo, echo, full, echo, echo, echo, full]);
    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("refused-address-full"), 2, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 5, "{}", stopped.log);
}

#[test]
fn the_greeting_keeps_the_zone_of_an_address() {
    let namespace = link_local();
    let mut command = namespace.command(&binary());
    command.arg("[fe80::1%1]:0");
    let (server, greeting) = ServerProcess::starts_and_greets(&mut command);
    let port = server.address().as_socket_addr().expect("it is TCP").port();
    assert!(
        greeting.contains(&format!(" on [fe80::1%1]:{port}; ")),
        "{greeting}"
    );
    let (_, command) = greeting.split_once("; try: ").expect("it has a command");
    let words: Vec<_> = command.split_whitespace().collect();
    // By number or by name, both of which `nc` takes.
    assert!(
        ["fe80::1%1", "fe80::1%lo"]
            .iter()
            .any(|host| words.contains(host)),
        "{greeting}"
    );
    Stopped::orderly(server);
}

#[test]
fn a_zone_by_name_is_served_or_its_number_is_asked_for() {
    let namespace = link_local();
    let mut command = namespace.command(&binary());
    command
        .arg("[fe80::1%lo]:0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let process = Running::from(command.spawn().expect("it starts"));
    let greeting = process.prints();
    if greeting.is_empty() {
        let output = process.ends();
        let line = complaint(&output, output.status.code().unwrap_or(-1));
        assert!(line.contains("zone") && line.contains("number"), "{line}");
    } else {
        assert!(greeting.contains(" on [fe80::1%"), "{greeting}");
    }
    let line = complaint(
        &run_to_its_end(namespace.command(&binary()).arg("[fe80::1]:0")),
        1,
    );
    assert!(line.contains("zone"), "{line}");
}
