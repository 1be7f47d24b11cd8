//! Limits by address, from addresses that a machine must first be given. Also the advice for an
//! address or a port that cannot be had.

use std::ffi::OsStr;
use std::fs;
use std::process::{Command, Stdio};

use crate::support::process::{Directory, Running, ServerProcess, complaint, run_to_its_end};
use crate::system::{Namespace, Stopped, assert_serves, bash_client, binary, runs, tool};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/heavy/from_addresses.py");
const ADDRESS_FULL: &str = "error: too many connections from this address, the limit is 2";
const NOT_ALLOWED: &str = "error: not allowed from this address";

/// Opens connections from these addresses at the same time, and returns what each is told.
fn told(python: &mut Command, host: &str, server: &ServerProcess, sources: &[&str]) -> Vec<String> {
    let port = server.address().as_socket_addr().expect("it is TCP").port();
    python.args([SCRIPT, host, &port.to_string()]).args(sources);
    runs(python).lines().map(str::to_owned).collect()
}

#[test]
fn each_address_has_its_own_limit_and_places() {
    let mut server = ServerProcess::starts(&["--max-per-address", "2"]);
    let sources = [
        "127.0.0.1",
        "127.0.0.1",
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.2",
        "127.0.0.2",
    ];
    for _ in 0..2 {
        let told = told(&mut tool("python3"), "127.0.0.1", &server, &sources);
        assert_eq!(
            told,
            ["echo", "echo", ADDRESS_FULL, "echo", "echo", ADDRESS_FULL]
        );
        // All four places are free again.
        for _ in 0..4 {
            server.logs("conn_closed");
        }
    }
    assert_serves(&server);

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("refused-address-full"), 4, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 9);
}

#[test]
fn an_ipv6_network_has_one_limit() {
    let namespace = Namespace::new();
    for address in ["1::1", "1::2", "1::3", "2::1"] {
        namespace.ip(&format!("addr add 2001:db8:0:{address}/64 dev lo nodad"));
    }
    let server = namespace.server(&["[::]:0", "--max-per-address", "2"]);
    let sources = [
        "2001:db8:0:1::1",
        "2001:db8:0:1::2",
        "2001:db8:0:1::3",
        "2001:db8:0:2::1",
    ];
    let python = &mut namespace.command("python3");
    let told_v6 = told(python, "2001:db8:0:1::1", &server, &sources);
    assert_eq!(told_v6, ["echo", "echo", ADDRESS_FULL, "echo"]);

    // In the mapped form all IPv4 addresses are in one /64.
    let sources = [
        "127.0.0.1",
        "127.0.0.2",
        "127.0.0.3",
        "127.0.0.3",
        "127.0.0.3",
    ];
    let told_v4 = told(
        &mut namespace.command("python3"),
        "127.0.0.1",
        &server,
        &sources,
    );
    assert_eq!(told_v4, ["echo", "echo", "echo", "echo", ADDRESS_FULL]);

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("refused-address-full"), 2, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 7);
}

#[test]
fn allow_knows_ipv4_peers_on_an_ipv6_socket() {
    let namespace = Namespace::new();
    let server = namespace.server(&["[::]:0", "--allow", "127.0.0.0/31"]);
    let ask = |host, source| told(&mut namespace.command("python3"), host, &server, &[source]);
    assert_eq!(ask("127.0.0.1", "127.0.0.1"), ["echo"]);
    assert_eq!(ask("127.0.0.1", "127.0.0.2"), [NOT_ALLOWED]);
    assert_eq!(ask("::1", "::1"), [NOT_ALLOWED]);
    assert_eq!(ask("127.0.0.1", "127.0.0.1"), ["echo"]);

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("refused-not-allowed"), 2, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 2);
    assert_eq!(
        stopped.lines_with("client_address=127.0.0.1:"),
        4,
        "{}",
        stopped.log
    );
}

#[test]
fn without_ipv6_its_addresses_are_errors_and_ipv4_works() {
    let namespace = Namespace::new();
    let off = "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6";
    runs(namespace.command("sh").args(["-c", off]));
    let output = run_to_its_end(namespace.command(&binary()).arg("[::1]:0"));
    let line = complaint(&output, 1);
    assert!(line.contains("cannot listen on [::1]:0: "), "{line}");
    assert!(
        line.contains("; choose an address of this machine"),
        "{line}"
    );

    for address in ["127.0.0.1:0", "localhost:0"] {
        let server = namespace.server(&[address]);
        let listens = server.address().to_string();
        assert!(listens.starts_with("127.0.0.1:"), "{listens}");
        namespace.assert_serves(server.address());
        Stopped::orderly(server);
    }
}

/// An ordinary user, and a copy of the program that such a user can reach.
struct Nobody {
    directory: Directory,
    namespace: Namespace,
}

impl Nobody {
    fn new() -> Self {
        let (directory, namespace) = (Directory::new(), Namespace::new());
        fs::copy(binary(), directory.at("synchat")).unwrap();
        runs(
            tool("chmod")
                .arg("755")
                .arg(directory.at(""))
                .arg(directory.at("synchat")),
        );
        let privileged = "echo 1024 > /proc/sys/net/ipv4/ip_unprivileged_port_start";
        runs(namespace.command("sh").args(["-c", privileged]));
        drop(tool("setpriv"));
        Self {
            directory,
            namespace,
        }
    }

    /// Returns a command for a server of this user.
    fn server(&self, address: &str) -> Command {
        let mut command = self.command(self.directory.at("synchat"));
        command.arg(address);
        command
    }

    /// Returns a command that this user runs.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = self.namespace.command("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]);
        command.arg(program);
        command
    }

    /// Limits the threads of this user, for one process. Without a further privilege only the owner
    /// can do that, even for root.
    fn limit_threads(&self, server: &ServerProcess, most: u32) {
        let (pid, limit) = (server.id().to_string(), format!("--nproc={most}:"));
        drop(tool("prlimit"));
        runs(self.command("prlimit").args(["--pid", &pid, &limit]));
    }
}

#[test]
fn a_privileged_port_is_an_error_with_advice() {
    let nobody = Nobody::new();
    let line = complaint(&run_to_its_end(&mut nobody.server("127.0.0.1:80")), 1);
    assert!(line.contains("cannot listen on 127.0.0.1:80: "), "{line}");
    assert!(line.contains("; choose a port from 1024 up"), "{line}");
    let server = ServerProcess::starts_from(&mut nobody.server("127.0.0.1:1024"));
    nobody.namespace.assert_serves(server.address());
    Stopped::orderly(server);
    // Root can have the port.
    let server = nobody.namespace.server(&["127.0.0.1:80"]);
    nobody.namespace.assert_serves(server.address());
    Stopped::orderly(server);
}

#[test]
fn a_user_without_threads_loses_only_connections() {
    let nobody = Nobody::new();
    let server = ServerProcess::starts_from(&mut nobody.server("127.0.0.1:1024"));

    // The limit counts all threads of this user. It is so low that none is left.
    nobody.limit_threads(&server, 1);
    let mut client = nobody.namespace.command("bash");
    let address = server.address().as_socket_addr().expect("it is TCP");
    let script = format!("{}; ask hello", bash_client(address));
    let child = client.args(["-c", &script]).stdout(Stdio::piped()).spawn();
    let output = Running::from(child.expect("bash starts")).ends();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        "error: too busy, try again later\r\n"
    );

    nobody.limit_threads(&server, 1000);
    nobody.namespace.assert_serves(server.address());

    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("refused-no-thread"), 1, "{}", stopped.log);
    assert_eq!(stopped.count("accepted"), 1, "{}", stopped.log);
}
