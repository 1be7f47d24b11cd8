//! The addresses on which the real program listens: TCP, Unix paths and inherited sockets. Also the
//! errors for those that it refuses.

use std::fs::{self, File};
use std::io;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::Stdio;

use synchat::Address;

use crate::support::peer::Peer;
use crate::support::process::{Directory, ServerProcess, complaint, run, run_to_its_end, synchat};

/// Starts a server at this address, and waits until it listens.
fn serves(address: &str) -> ServerProcess {
    ServerProcess::starts_from(synchat().arg(address))
}

fn assert_echoes(server: &ServerProcess) {
    let mut peer = server.client();
    peer.sends("hello\r\n").expects("hello\r\n");
    peer.half_closes().expects_eof();
}

/// Expects that no server starts at this address, and returns the line that says why.
#[track_caller]
fn refuses(address: &str) -> String {
    let line = complaint(&run(&[address]), 1);
    assert!(
        line.starts_with(&format!("synchat: cannot listen on {address}: ")),
        "{line}"
    );
    line
}

/// Expects that no server starts on this standard input, and returns the line that says why.
#[track_caller]
fn refuses_to_inherit(stdin: impl Into<Stdio>) -> String {
    let line = complaint(&run_to_its_end(synchat().arg("fd:0").stdin(stdin)), 1);
    assert!(
        line.starts_with("synchat: cannot listen on fd:0: "),
        "{line}"
    );
    line
}

fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

#[test]
fn an_ipv4_address_is_served() {
    let mut server = serves("127.0.0.1:0");
    assert_echoes(&server);
    let made = server.logs("conn_made");
    assert!(made.contains(" client_address=127.0.0.1:"), "{made}");
}

#[test]
fn an_ipv6_address_is_served() {
    drop(TcpListener::bind("[::1]:0").expect("this test needs ::1, the IPv6 loopback address"));
    let mut server = serves("[::1]:0");
    assert!(server.address().to_string().starts_with("[::1]:"));
    assert_echoes(&server);
    let made = server.logs("conn_made");
    assert!(made.contains(" client_address=[::1]:"), "{made}");
}

#[test]
fn localhost_is_a_loopback_address() {
    let server = serves("localhost:0");
    let address = server.address().as_socket_addr().expect("it is TCP");
    assert!(address.ip().is_loopback(), "{address}");
    assert_echoes(&server);
}

#[test]
fn a_unix_path_is_served() {
    let directory = Directory::new();
    let address = directory.socket("echo.sock");
    let mut server = serves(&address);
    assert_eq!(server.address().to_string(), address);
    assert_echoes(&server);
    let made = server.logs("conn_made");
    assert!(made.ends_with(" client_address=unix:unnamed\n"), "{made}");
}

#[test]
fn a_unix_path_can_have_spaces_and_non_ascii_letters() {
    let directory = Directory::new();
    let address = directory.socket("a socket on a path, ümlaut and all");
    assert_echoes(&serves(&address));
}

#[test]
fn a_relative_unix_path_starts_at_the_current_directory() {
    let directory = Directory::new();
    let _server =
        ServerProcess::starts_from(synchat().arg("unix:echo").current_dir(directory.at(".")));
    let mut peer = Peer::connects(&Address::Unix(directory.at("echo")));
    peer.sends("hello\r\n").expects("hello\r\n");
}

#[test]
fn greeting_and_log_name_the_port_that_port_0_got() {
    let (mut server, greeting) = ServerProcess::starts_and_greets(synchat().arg("127.0.0.1:0"));
    let address = server.address().as_socket_addr().expect("it is TCP");
    let port = address.port();
    assert_ne!(port, 0);
    assert_eq!(
        greeting,
        format!("synchat: serving echo on {address}; try: nc -C 127.0.0.1 {port}\n")
    );

    let bound = server.logs("bind:");
    assert!(
        bound.ends_with(&format!(" bind: address=127.0.0.1:{port}\n")),
        "{bound}"
    );

    let (printed, _) = server.killed();
    assert_eq!(printed, "", "the greeting is all that is printed");
}

#[test]
fn the_greeting_shows_a_client_command_that_works() {
    let directory = Directory::new();
    let address = directory.socket("echo");
    let path = directory.at("echo");
    let greeting_of = |terminator: &str| {
        let mut command = synchat();
        command.args([&address, "--terminator", terminator]);
        let (_, greeting) = ServerProcess::starts_and_greets(&mut command);
        greeting
    };
    let path = path.display();
    assert!(greeting_of("crlf").ends_with(&format!("; try: nc -CU '{path}'\n")));
    assert!(greeting_of("lf").ends_with(&format!("; try: nc -U '{path}'\n")));
}

#[test]
fn a_port_in_use_is_refused_with_advice() {
    let server = serves("127.0.0.1:0");
    let line = refuses(&server.address().to_string());
    assert!(
        line.ends_with(
            "; stop what listens there, or choose another address (port 0 is any free port)"
        ),
        "{line}"
    );
    assert_echoes(&server);
}

#[test]
fn a_killed_servers_port_is_free_at_once() {
    let server = serves("127.0.0.1:0");
    let address = server.address().to_string();
    // A connection that the server closed first is what keeps a port from others.
    let mut peer = server.client();
    peer.sends("hello\r\n").expects("hello\r\n");
    drop(server);
    peer.expects_eof();
    assert_echoes(&serves(&address));
}

#[test]
fn another_machines_address_is_refused_with_advice() {
    // Reserved for documentation, so no machine has it.
    let line = refuses("192.0.2.1:0");
    assert!(
        line.ends_with("; choose an address of this machine, such as 127.0.0.1 or 0.0.0.0"),
        "{line}"
    );
}

#[test]
fn a_killed_servers_path_is_replaced() {
    let directory = Directory::new();
    let address = directory.socket("echo");
    let server = serves(&address);
    assert_echoes(&server);
    drop(server);
    assert!(is_socket(&directory.at("echo")), "it is left over");
    let mut server = serves(&address);
    assert_echoes(&server);
    let replaced = server.logs("replacing");
    assert!(
        replaced.ends_with(&format!(" path={}\n", directory.at("echo").display())),
        "{replaced}"
    );
}

#[test]
fn a_live_servers_path_is_refused() {
    let directory = Directory::new();
    let address = directory.socket("echo");
    let server = serves(&address);
    let line = refuses(&address);
    assert!(line.contains(": a server listens on this path"), "{line}");
    assert_echoes(&server);
}

#[test]
fn a_regular_file_is_refused_and_left_as_it_was() {
    let directory = Directory::new();
    let path = directory.at("precious");
    fs::write(&path, "data").unwrap();
    let line = refuses(&directory.socket("precious"));
    assert!(line.contains(": a file that is not a socket "), "{line}");
    assert!(
        line.ends_with("; choose another path, or move that file away"),
        "{line}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "data");
}

#[test]
fn a_symbolic_link_is_refused_and_left_as_it_was() {
    let directory = Directory::new();
    drop(UnixListener::bind(directory.at("left over")).unwrap());
    symlink("left over", directory.at("link")).unwrap();
    symlink("nowhere", directory.at("dangling")).unwrap();
    for (name, target) in [("link", "left over"), ("dangling", "nowhere")] {
        refuses(&directory.socket(name));
        let kept = fs::read_link(directory.at(name)).unwrap();
        assert_eq!(kept, Path::new(target));
    }
    assert!(is_socket(&directory.at("left over")));
}

#[test]
fn a_directory_is_refused_and_left_as_it_was() {
    let directory = Directory::new();
    fs::create_dir(directory.at("inner")).unwrap();
    refuses(&directory.socket("inner"));
    assert!(directory.at("inner").is_dir());
}

#[test]
fn a_datagram_socket_is_refused_and_left_as_it_was() {
    let directory = Directory::new();
    let _socket = UnixDatagram::bind(directory.at("datagrams")).unwrap();
    refuses(&directory.socket("datagrams"));
    assert!(is_socket(&directory.at("datagrams")));
}

#[test]
fn a_path_in_a_missing_directory_is_refused_with_advice() {
    let directory = Directory::new();
    let line = refuses(&directory.socket("missing/echo"));
    assert!(line.ends_with("; make its directory first"), "{line}");
    assert!(!directory.at("missing").exists());
}

#[test]
fn a_path_too_long_for_the_kernel_is_refused() {
    let directory = Directory::new();
    refuses(&directory.socket("x".repeat(120)));
}

#[test]
fn an_inherited_tcp_socket_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let mut command = synchat();
    command.arg("fd:0").stdin(OwnedFd::from(listener));
    let mut server = ServerProcess::starts_from(&mut command);
    assert_eq!(server.address(), &address);
    assert_echoes(&server);
    let bound = server.logs("bind:");
    assert!(
        bound.ends_with(&format!(" bind: address={address}\n")),
        "{bound}"
    );
}

#[test]
fn an_inherited_unix_socket_keeps_its_path() {
    let directory = Directory::new();
    let listener = UnixListener::bind(directory.at("echo")).unwrap();
    let mut command = synchat();
    command.arg("fd:0").stdin(OwnedFd::from(listener));
    let server = ServerProcess::starts_from(&mut command);
    assert_eq!(server.address(), &Address::Unix(directory.at("echo")));
    assert_echoes(&server);
    drop(server);
    assert!(is_socket(&directory.at("echo")));
}

#[test]
fn a_client_that_came_before_the_server_is_served() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = Peer::connects(&listener.local_addr().unwrap().into());
    peer.sends("early\r\n");
    let mut command = synchat();
    command.arg("fd:0").stdin(OwnedFd::from(listener));
    let _server = ServerProcess::starts_from(&mut command);
    peer.expects("early\r\n");
}

#[test]
fn a_stdin_that_is_not_a_socket_is_refused() {
    refuses_to_inherit(Stdio::null());
    refuses_to_inherit(File::open(env!("CARGO_MANIFEST_PATH")).unwrap());
    let (reader, _writer) = io::pipe().unwrap();
    refuses_to_inherit(reader);
}

#[test]
fn a_stdin_that_is_a_connected_socket_is_refused() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let connected = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    refuses_to_inherit(OwnedFd::from(connected));
    let (connected, _other) = UnixStream::pair().unwrap();
    refuses_to_inherit(OwnedFd::from(connected));
}

#[test]
fn a_stdin_that_is_a_datagram_socket_is_refused() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    refuses_to_inherit(OwnedFd::from(socket));
    let (socket, _other) = UnixDatagram::pair().unwrap();
    refuses_to_inherit(OwnedFd::from(socket));
}

#[test]
fn the_error_says_what_stdin_should_be() {
    let (connected, _other) = UnixStream::pair().unwrap();
    let datagrams = UdpSocket::bind("127.0.0.1:0").unwrap();
    let inputs = [
        Stdio::null(),
        OwnedFd::from(connected).into(),
        OwnedFd::from(datagrams).into(),
    ];
    for stdin in inputs {
        let line = refuses_to_inherit(stdin);
        assert!(line.contains("listening socket"), "{line}");
    }
}
