//! Signals and clocks as other programs set them: masks, process groups, silent resolvers, a year of
//! five digits.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::peer::PATIENCE;
use crate::support::process::{Directory, Running, ServerProcess, eventually, send, synchat};
use crate::system::{Namespace, assert_serves, binary, runs, tool};

/// A server that a Python program starts, after this has run in the child.
fn started_by_python(preparation: &str) -> ServerProcess {
    let script = format!(
        "import os, signal, sys\n{preparation}\nos.execv(sys.argv[1], [sys.argv[1], '127.0.0.1:0'])"
    );
    ServerProcess::starts_from(tool("python3").args(["-c", &script, &binary()]))
}

#[test]
fn signals_that_the_parent_left_blocked_are_obeyed() {
    let blocked = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())";
    let mut server = started_by_python(blocked);
    server.signal("USR1");
    server.logs(" report: accepted=0 ");
    assert_serves(&server);
    server.signal("TERM");
    let (status, log) = server.ends_with_log();
    assert_eq!(status.code(), Some(0), "{log}");

    for signal in ["INT", "HUP"] {
        let server = started_by_python(blocked);
        server.signal(signal);
        let (status, log) = server.ends_with_log();
        assert_eq!(status.code(), Some(0), "{signal}: {log}");
    }
}

#[test]
fn pings_whose_parent_left_signals_blocked_can_be_ended() {
    let script = "import os, signal, sys\n\
                  signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n\
                  os.execv(sys.argv[1], sys.argv[1:])";
    let server = ServerProcess::starts(&[]);
    let mut command = tool("python3");
    command.args([
        "-c",
        script,
        &binary(),
        "ping",
        &server.address().to_string(),
        "-i1m",
    ]);
    let pings = Running::from(command.stdout(Stdio::piped()).spawn().unwrap());
    assert!(pings.prints().contains(" seq=1 "));
    send("TERM", pings.id());
    assert_eq!(pings.ends().status.code(), Some(0));
}

#[test]
fn gnu_timeout_stops_a_server_in_good_order() {
    // It signals its child, and then the group that the child is in.
    let mut command = tool("timeout");
    command.args(["2", &binary(), "127.0.0.1:0"]);
    let server = ServerProcess::starts_from(&mut command);
    let address = server.address().as_socket_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    client.set_nonblocking(true).unwrap();

    let lines = "0123456789abcdef0123456789abcd\r\n".repeat(250_000);
    let (mut sent, mut pauses) = (0, 0);
    while pauses < 5 && sent < lines.len() {
        match client.write(&lines.as_bytes()[sent..]) {
            Ok(length) => (sent, pauses) = (sent + length, 0),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                pauses += 1;
                thread::sleep(Duration::from_millis(40));
            }
        }
    }
    client.set_nonblocking(false).unwrap();
    // Nothing is read until the signals have come.
    thread::sleep(Duration::from_millis(2500));
    let mut received = Vec::new();
    client.read_to_end(&mut received).expect("an orderly end");
    assert!(received.len() > sent / 2, "{} of {sent}", received.len());
    assert!(lines.as_bytes().starts_with(&received));
    drop(client);

    let (status, log) = server.ends_with_log();
    assert_eq!(
        status.code(),
        Some(124),
        "timeout says that the time was up: {log}"
    );
    assert!(!log.contains("second signal, ending"), "{log}");
    assert!(
        log.lines().last().unwrap().contains(" report: accepted=1 "),
        "{log}"
    );
}

#[test]
fn pings_under_gnu_timeout_have_a_summary_every_time() {
    let server = ServerProcess::starts(&[]);
    for _ in 0..10 {
        let mut command = tool("timeout");
        let address = server.address().to_string();
        command.args(["0.3", &binary(), "ping", &address, "-i1m"]);
        let pings = Running::from(command.stdout(Stdio::piped()).spawn().unwrap());
        let output = String::from_utf8(pings.ends().stdout).unwrap();
        assert!(
            output.contains("\n1 sent, 1 received, 0 lost (0%)\n"),
            "{output}"
        );
    }
}

/// A name server that never answers, and the file that names it.
struct Silence {
    _socket: UdpSocket,
    directory: Directory,
}

impl Silence {
    fn new(address: &str) -> Self {
        let socket = UdpSocket::bind((address, 53)).expect("root may bind it");
        let directory = Directory::new();
        let text = format!("nameserver {address}\noptions timeout:5 attempts:2\n");
        fs::write(directory.at("resolv.conf"), text).unwrap();
        Self {
            _socket: socket,
            directory,
        }
    }

    /// The binary, whose look-ups get no answer.
    fn command(&self, arguments: &[&str]) -> Command {
        let script = "mount --bind \"$0\" /etc/resolv.conf && exec \"$@\"";
        let mut command = tool("unshare");
        command.args(["--mount", "sh", "-c", script]);
        command.arg(self.directory.at("resolv.conf")).arg(binary());
        command
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    fn starts(&self, arguments: &[&str]) -> Running {
        Running::from(self.command(arguments).spawn().unwrap())
    }
}

fn catches_signals(process: &Running) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let mask = status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:\t"));
    let is_ours = status.starts_with("Name:\tsynchat\n");
    is_ours && u64::from_str_radix(mask.unwrap(), 16).unwrap() & 1 << 14 != 0
}

#[test]
fn a_look_up_without_an_answer_is_given_up_in_time() {
    let silence = Silence::new("127.0.0.91");
    let started = Instant::now();
    let output = silence
        .starts(&["ping", "-qc1", "-W1s", "slow.example:7007"])
        .ends();
    let took = started.elapsed();
    assert!(
        took > Duration::from_secs(1) && took < Duration::from_secs(3),
        "{took:?}"
    );
    let [printed, told] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(
        told.ends_with("no answer in time\n") && told.lines().count() == 1,
        "{told}"
    );
    assert_eq!(printed, "0 sent, 0 received, 0 lost (0%), 1 not sent\n");
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn look_ups_without_an_answer_leave_one_thread_behind() {
    let silence = Silence::new("127.0.0.92");
    let pings = silence.starts(&["ping", "-i0", "-W5ms", "-c1000", "slow.example:7007"]);
    for _ in 0..200 {
        assert!(pings.prints().contains("no answer in time"));
    }
    let threads = fs::read_dir(format!("/proc/{}/task", pings.id()))
        .unwrap()
        .count();
    assert!(threads <= 4, "{threads} threads");
}

#[test]
fn a_signal_ends_a_look_up_at_once() {
    let silence = Silence::new("127.0.0.93");
    for signal in ["TERM", "INT", "HUP"] {
        for arguments in [
            &["slow.example:7007"][..],
            &["ping", "-W1m", "slow.example:7007"],
        ] {
            let process = silence.starts(arguments);
            eventually("signals are caught", || catches_signals(&process));
            let started = Instant::now();
            send(signal, process.id());
            let output = process.ends();
            let took = started.elapsed();
            assert!(
                took < Duration::from_secs(1),
                "{signal} {arguments:?}: {took:?}"
            );
            let is_server = arguments.len() == 1;
            assert_eq!(output.status.code(), Some(i32::from(!is_server)));
            let told = String::from_utf8(output.stderr).unwrap();
            let is_told = told.ends_with("stop: before the server could listen\n");
            assert_eq!(is_told, is_server, "{told}");
        }
    }
}

#[test]
fn a_ping_is_not_taken_in_by_its_own_echo() {
    let namespace = Namespace::new();
    let range = "net.ipv4.ip_local_port_range=40000 40000";
    runs(namespace.command("sysctl").args(["-qw", range]));
    let address: SocketAddr = "127.0.0.1:40000".parse().unwrap();
    let mut command = namespace.command(&binary());
    command.args(["ping", "-c3", "-i0", &address.to_string()]);
    let output = Running::from(command.stdout(Stdio::piped()).spawn().unwrap()).ends();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{printed}");
    assert!(
        printed.contains("seq=1: cannot connect to 127.0.0.1:40000: "),
        "{printed}"
    );
    assert!(
        printed.ends_with("0 sent, 0 received, 0 lost (0%), 3 not sent\n"),
        "{printed}"
    );

    // A server that comes then is served the port.
    let server = namespace.server(&["127.0.0.1:40000"]);
    runs(
        namespace
            .command("sysctl")
            .args(["-qw", "net.ipv4.ip_local_port_range=40001 40100"]),
    );
    namespace.assert_serves(server.address());
}

/// A library that makes the C library's clock stand at this second.
fn clock_at(directory: &Directory, second: u64) -> String {
    let source = format!(
        "#include <time.h>\n\
         #include <sys/syscall.h>\n\
         #include <unistd.h>\n\
         int clock_gettime(clockid_t id, struct timespec *t) {{\n\
             long error = syscall(SYS_clock_gettime, id, t);\n\
             if (id == CLOCK_REALTIME) t->tv_sec = {second}ULL;\n\
             return error;\n\
         }}\n"
    );
    let (code, library) = (directory.at("clock.c"), directory.at("clock.so"));
    fs::write(&code, source).unwrap();
    // Rust links with it, so it is there.
    runs(
        tool("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(&library)
            .arg(&code),
    );
    library.to_str().unwrap().to_owned()
}

#[test]
fn in_the_year_10000_the_log_goes_on() {
    let directory = Directory::new();
    let clock = clock_at(&directory, 253_402_300_800);
    for time in ["rfc3339", "epoch"] {
        let mut command = synchat();
        command.env("LD_PRELOAD", &clock);
        command.args(["127.0.0.1:0", "-v", "--log-time", time]);
        let mut server = ServerProcess::starts_from(&mut command);
        let line = server.logs("bind: ");
        assert!(line.starts_with("253402300800."), "{line}");
        assert_serves(&server);
        server.signal("TERM");
        let (status, log) = server.ends_with_log();
        assert_eq!(status.code(), Some(0), "{log}");
        assert!(
            log.lines().last().unwrap().contains(" report: accepted=1 "),
            "{log}"
        );
    }
}
