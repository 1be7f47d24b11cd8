//! The real program, as a child process that ends with its test.
//!
//! Separate threads read its output. So every wait for a line is bounded, and a server whose log
//! nobody reads is never blocked by a full pipe.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, Read};
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use synchat::Address;

use super::peer::{PATIENCE, Peer};
use super::time_limit;

/// Returns the program, with an environment that sets no option and has no service manager.
pub(crate) fn synchat() -> Command {
    time_limit::begins();
    let mut command = Command::new(env!("CARGO_BIN_EXE_synchat"));
    for (name, _) in env::vars_os() {
        if name.to_string_lossy().starts_with("SYNCHAT_") {
            command.env_remove(name);
        }
    }
    for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs the program to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    run_to_its_end(synchat().args(arguments))
}

/// Runs this command to its end.
pub(crate) fn run_to_its_end(command: &mut Command) -> Output {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    Running::from(child).ends()
}

/// Expects that a run has ended with this exit code, one line on standard error and nothing
/// printed. Returns that line.
#[track_caller]
pub(crate) fn complaint(output: &Output, code: i32) -> String {
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(code), "{stderr}");
    assert_eq!(stdout, "", "it prints nothing, but {stderr}");
    let line = stderr.strip_suffix('\n').unwrap_or_default();
    assert!(
        line.starts_with("synchat: ") && !line.contains('\n'),
        "not one line that says who complains: {stderr:?}"
    );
    line.to_owned()
}

/// Sends a signal to a process. The name has no SIG.
pub(crate) fn send(signal: &str, id: u32) {
    // `std` cannot send signals, and every shell has `kill` built in.
    let script = format!("kill -{signal} {id}");
    let status = Command::new("sh").args(["-c", &script]).status();
    assert!(status.is_ok_and(|status| status.success()), "{script}");
}

/// A child process. It is killed if its test ends first.
pub(crate) struct Running {
    child: Child,
    stdout: Option<Lines>,
    stderr: Option<Lines>,
}

impl From<Child> for Running {
    fn from(mut child: Child) -> Self {
        time_limit::begins();
        time_limit::has_child(child.id());
        let stdout = child.stdout.take().map(Lines::of);
        let stderr = child.stderr.take().map(Lines::of);
        Self {
            child,
            stdout,
            stderr,
        }
    }
}

impl Running {
    /// Begins to read standard error, through a pipe whose other end the process has.
    pub(crate) fn logs_to(&mut self, pipe: PipeReader) {
        self.stderr = Some(Lines::of(pipe));
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Returns the next line that it prints, with its end, or nothing at the end of the output.
    pub(crate) fn prints(&self) -> String {
        let line = self.stdout.as_ref().and_then(Lines::next);
        line.unwrap_or_default()
    }

    /// Waits until the process ends by itself. Output that nobody piped is empty.
    pub(crate) fn ends(mut self) -> Output {
        let [stdout, stderr] = [&self.stdout, &self.stderr]
            .map(|lines| lines.as_ref().map(Lines::rest).unwrap_or_default());
        Output {
            status: self.exit_status(),
            stdout: stdout.into(),
            stderr: stderr.into(),
        }
    }

    /// Waits for the exit, after both pipes have ended. Most often the process has ended with them.
    fn exit_status(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            assert!(Instant::now() < deadline, "the process does not end");
            thread::yield_now();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        time_limit::has_lost_child(self.child.id());
    }
}

/// The lines of a pipe. A thread reads them as they come.
struct Lines(Receiver<Vec<u8>>);

impl Lines {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            let mut pipe = BufReader::new(pipe);
            loop {
                let mut bytes = Vec::new();
                match pipe.read_until(b'\n', &mut bytes) {
                    Ok(length) if length > 0 && line.send(bytes).is_ok() => {}
                    _ => return,
                }
            }
        });
        Self(lines)
    }

    /// Returns the next line with its end, or nothing if the pipe has ended.
    fn next(&self) -> Option<String> {
        match self.0.recv_timeout(PATIENCE) {
            Ok(line) => Some(String::from_utf8(line).expect("it prints text")),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("no line came in {PATIENCE:?}"),
        }
    }

    /// Returns all lines up to the end of the pipe.
    fn rest(&self) -> String {
        std::iter::from_fn(|| self.next()).collect()
    }
}

/// A running server.
pub(crate) struct ServerProcess {
    process: Running,
    address: Address,
}

impl ServerProcess {
    /// Starts a server on a free port of 127.0.0.1, and waits until it listens.
    pub(crate) fn starts(options: &[&str]) -> Self {
        Self::starts_from(synchat().arg("127.0.0.1:0").args(options))
    }

    /// Starts this command, and waits until it says where it listens.
    pub(crate) fn starts_from(command: &mut Command) -> Self {
        let (server, _) = Self::starts_and_greets(command);
        server
    }

    /// Starts this command, waits until it says where it listens, and returns what it said.
    pub(crate) fn starts_and_greets(command: &mut Command) -> (Self, String) {
        let child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let mut process = Running::from(child);
        let greeting = process.stdout.as_ref().and_then(Lines::next);
        let greeting = greeting.unwrap_or_default();
        let address = greeting
            .split_once(" on ")
            .and_then(|(_, rest)| rest.split_once("; try: "));
        let Some((address, _)) = address else {
            let _ = process.child.kill();
            let Output { stderr, .. } = process.ends();
            let complaint = String::from_utf8_lossy(&stderr);
            panic!("no greeting but {greeting:?}, and {complaint:?}");
        };

        let address = address.parse().expect("the greeting has an address");
        // A test that counts threads must not count this one.
        eventually("the greeting's thread has ended", || {
            !has_thread(process.id(), "greeting")
        });
        (Self { process, address }, greeting)
    }

    /// Starts this command as it is, and does not wait: the test knows where it will listen.
    pub(crate) fn starts_unheard(command: &mut Command, address: Address) -> Self {
        let process = Running::from(command.spawn().expect("the binary starts"));
        Self { process, address }
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.child.id()
    }

    /// Returns the report, as the server logs it on request.
    pub(crate) fn counts(&mut self) -> String {
        self.signal("USR1");
        self.logs(" report: ")
    }

    /// Returns the resident memory, in KiB.
    pub(crate) fn resident_kib(&self) -> u64 {
        self.status("VmRSS")
    }

    pub(crate) fn threads(&self) -> u64 {
        self.status("Threads")
    }

    /// Connects a new client.
    pub(crate) fn client(&self) -> Peer {
        Peer::connects(&self.address)
    }

    /// Begins to read the log, for a server whose test has made the pipe.
    pub(crate) fn logs_to(&mut self, pipe: PipeReader) {
        self.process.logs_to(pipe);
    }

    /// Reads the log up to the first line that contains this, and returns that line.
    pub(crate) fn logs(&mut self, wanted: &str) -> String {
        self.logs_up_to(wanted).pop().expect("it has that line")
    }

    /// Reads the log up to the first line that contains this, and returns all that it has read.
    pub(crate) fn logs_up_to(&mut self, wanted: &str) -> Vec<String> {
        let lines = self.process.stderr.as_ref().expect("the log is piped");
        let mut seen = Vec::new();
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(
                Instant::now() < deadline,
                "no {wanted:?} in {PATIENCE:?}: {seen:#?}"
            );
            let line = lines.next();
            let line =
                line.unwrap_or_else(|| panic!("the log ended without {wanted:?}: {seen:#?}"));
            let is_wanted = line.contains(wanted);
            seen.push(line);
            if is_wanted {
                return seen;
            }
        }
    }

    /// Sends the server a signal. The name has no SIG.
    pub(crate) fn signal(&self, signal: &str) {
        send(signal, self.id());
    }

    /// Waits until the server ends by itself, and returns the rest of its output and log.
    pub(crate) fn ends(self) -> Output {
        self.process.ends()
    }

    /// Waits until the server ends by itself, and returns its exit status and the rest of its log.
    pub(crate) fn ends_with_log(self) -> (ExitStatus, String) {
        let Output { status, stderr, .. } = self.process.ends();
        (status, String::from_utf8(stderr).expect("it logs text"))
    }

    /// Returns the number in the line of this name in `/proc/PID/status`: `Threads`, or `VmRSS` in
    /// KiB.
    pub(crate) fn status(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.id());
        let status = fs::read_to_string(path).expect("the server runs");
        let mut lines = status.lines().filter_map(|line| line.split_once(':'));
        let line = lines.find(|(other, _)| *other == name);
        let number = line.and_then(|(_, value)| value.split_whitespace().next()?.parse().ok());
        number.unwrap_or_else(|| panic!("no {name} in {status}"))
    }

    /// Returns how many descriptors it has open.
    pub(crate) fn descriptors(&self) -> usize {
        let open = fs::read_dir(format!("/proc/{}/fd", self.id()));
        open.expect("the server runs").count()
    }

    /// Returns the status of each thread that serves a connection, or is spare.
    pub(crate) fn connection_threads(&self) -> Vec<String> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.id())).expect("it runs");
        let status = threads.filter_map(|thread| {
            let path = thread.expect("it can be listed").path();
            // It can have ended since it was listed.
            fs::read_to_string(path.join("status")).ok()
        });
        status
            .filter(|status| status.starts_with("Name:\tconnection\n"))
            .collect()
    }

    /// Returns how often these threads have slept so far.
    pub(crate) fn sleeps_of_connections(&self) -> u64 {
        let sleeps = |status: &String| {
            let mut lines = status.lines();
            let line = lines.find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line?.trim().parse::<u64>().ok()
        };
        self.connection_threads().iter().filter_map(sleeps).sum()
    }

    /// Returns the next line that it prints, which is the greeting of a server that starts unheard.
    pub(crate) fn prints(&self) -> String {
        self.process.prints()
    }

    /// Kills the server, and returns the rest of its output and log.
    pub(crate) fn killed(mut self) -> (String, String) {
        self.process.child.kill().expect("it can be killed");
        let [printed, logged] = [&self.process.stdout, &self.process.stderr]
            .map(|lines| lines.as_ref().map(Lines::rest).unwrap_or_default());
        (printed, logged)
    }
}

/// Waits until a file has this many lines with these words, and returns its text.
#[track_caller]
pub(crate) fn file_with(path: &Path, count: usize, words: &str) -> String {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let text = fs::read_to_string(path).expect("it is a file of text");
        if text.matches(words).count() >= count && text.ends_with('\n') {
            return text;
        }
        assert!(
            Instant::now() < deadline,
            "no {count} times {words:?}: {text}"
        );
        thread::yield_now();
    }
}

/// Returns whether a process has a thread of this name.
fn has_thread(id: u32, name: &str) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task"));
    threads.into_iter().flatten().flatten().any(|thread| {
        let named = fs::read_to_string(thread.path().join("comm"));
        named.is_ok_and(|named| named.trim_end() == name)
    })
}

/// Waits until this is so.
#[track_caller]
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "not so in {PATIENCE:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Returns the number behind `name=` in a log line, or 0 if it is not there.
pub(crate) fn number(line: &str, name: &str) -> u64 {
    let field = line
        .split_whitespace()
        .find_map(|field| field.strip_prefix(name)?.strip_prefix('='));
    field.map_or(0, |number| number.parse().expect("it is a number"))
}

/// A directory of one test. It goes with the test.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new() -> Self {
        time_limit::begins();
        static NEXT: AtomicU32 = AtomicU32::new(0);
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = env::temp_dir().join(format!("synchat-test-{}-{number}", process::id()));
            match fs::create_dir(&path) {
                Ok(()) => return Self(path),
                // A killed run has left this one.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => panic!("{} cannot be made: {error}", path.display()),
            }
        }
    }

    /// Returns the path of this name in it.
    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }

    /// Returns the address of a Unix socket of this name in it.
    pub(crate) fn socket(&self, name: impl AsRef<OsStr>) -> String {
        let path = self.at(name.as_ref());
        format!("unix:{}", path.to_str().expect("its path is text"))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The variable that tells a test that it runs in a process of its own, and what to do there.
const PLAN: &str = "SYNCHAT_TEST_PLAN";

/// What a test is to do, where it runs in a process of its own.
pub(crate) fn plan() -> Option<String> {
    env::var(PLAN).ok()
}

/// Runs this test once more in a process of its own, which a fault can end without the other tests.
/// Says how that ended, if it was not well.
pub(crate) fn fails_alone(test: &str, plan: &str) -> Option<String> {
    let own = env::current_exe().expect("a test has a program");
    let mut command = Command::new(own);
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
    command.env(PLAN, plan).env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null());
    let output = run_to_its_end(&mut command);
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    if output.status.success() && ran {
        return None;
    }
    let [stdout, stderr] =
        [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    Some(format!("{plan}: {}: {stdout}{stderr}", output.status))
}

/// The states of the TCP connections of this port of 127.0.0.1, as the kernel numbers them, also of
/// those that no process holds any more.
pub(crate) fn tcp_states(port: u16) -> Vec<u8> {
    let table = fs::read_to_string("/proc/net/tcp").expect("there is a table");
    let local = format!("0100007F:{port:04X}");
    let rows = table.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1);
        let is_ours = fields.next() == Some(&local);
        let state = fields
            .nth(1)
            .and_then(|state| u8::from_str_radix(state, 16).ok());
        state.filter(|_| is_ours)
    });
    rows.collect()
}
