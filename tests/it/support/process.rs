//! The real binary, as a child process that ends with its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use synchat::Address;

use super::peer::Peer;

/// The binary, with an environment that sets none of its options.
pub(crate) fn synchat() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_synchat"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("SYNCHAT_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    synchat()
        .args(arguments)
        .output()
        .expect("the binary starts")
}

/// A running server.
pub(crate) struct ServerProcess {
    child: Child,
    address: Address,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl ServerProcess {
    /// Starts a server on a free port of 127.0.0.1, and waits until it listens.
    pub(crate) fn starts(options: &[&str]) -> Self {
        Self::starts_from(synchat().arg("127.0.0.1:0").args(options))
    }

    /// Starts this command, and waits until it says where it listens.
    pub(crate) fn starts_from(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut greeting = String::new();
        stdout
            .read_line(&mut greeting)
            .expect("the greeting is text");
        let address = greeting
            .split_once(" on ")
            .and_then(|(_, rest)| rest.split_once("; try: "));
        let Some((address, _)) = address else {
            let mut complaint = String::new();
            let _ = child.kill();
            let _ = stderr.read_to_string(&mut complaint);
            let _ = child.wait();
            panic!("no greeting but {greeting:?}, and {complaint:?}");
        };
        let address = address.parse().expect("the greeting has an address");
        Self {
            child,
            address,
            stdout,
            stderr,
        }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// A new client of this server.
    pub(crate) fn client(&self) -> Peer {
        Peer::connects(&self.address)
    }

    /// Reads the log up to the first line that contains this, and returns that line.
    pub(crate) fn logs(&mut self, wanted: &str) -> String {
        let mut seen = String::new();
        loop {
            let from = seen.len();
            let length = self.stderr.read_line(&mut seen).expect("the log is text");
            assert!(length > 0, "the log ended without {wanted:?}:\n{seen}");
            if seen[from..].contains(wanted) {
                return seen[from..].to_owned();
            }
        }
    }

    /// Ends the server at once, and returns what more it printed and logged.
    pub(crate) fn killed(mut self) -> (String, String) {
        self.child.kill().expect("it can be killed");
        let (mut printed, mut logged) = (String::new(), String::new());
        self.stdout
            .read_to_string(&mut printed)
            .expect("it prints text");
        self.stderr
            .read_to_string(&mut logged)
            .expect("the log is text");
        (printed, logged)
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
