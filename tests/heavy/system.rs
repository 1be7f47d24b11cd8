//! The system around a server, as its operator sees and changes it: signals, `/proc`, system calls
//! that fail, network namespaces.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use synchat::Address;

use crate::support::process::{Directory, Running, ServerProcess, eventually, synchat};

/// Returns a command of another program, which must be installed.
#[track_caller]
pub(crate) fn tool(name: &str) -> Command {
    let path = env::var_os("PATH").unwrap_or_default();
    let is_there = env::split_paths(&path).any(|folder| folder.join(name).is_file());
    assert!(is_there, "`{name}` is missing: this test needs it");
    let mut command = Command::new(name);
    command.stdin(Stdio::null());
    command
}

/// Runs a command that must succeed, and returns what it prints.
#[track_caller]
pub(crate) fn runs(command: &mut Command) -> String {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let output = Running::from(child.expect("it starts")).ends();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{command:?}: {stdout}{stderr}");
    stdout
}

/// Checks that another client is served.
pub(crate) fn assert_serves(server: &ServerProcess) {
    server.client().sends("next\r\n").expects("next\r\n");
}

/// Returns the path of the program, for a command that runs it.
pub(crate) fn binary() -> String {
    let command = synchat();
    let path = command.get_program().to_str();
    path.expect("its path is text").to_owned()
}

/// The end of a server that was stopped by SIGTERM.
pub(crate) struct Stopped {
    pub(crate) log: String,
    counts: BTreeMap<String, u64>,
}

impl Stopped {
    /// Stops the server. It must end with exit code 0, and its counts must add up.
    #[track_caller]
    pub(crate) fn orderly(server: ServerProcess) -> Self {
        Self::of_log(Self::exits_with_0(server))
    }

    /// Stops a server whose log may be lost, and returns what is left of it.
    #[track_caller]
    pub(crate) fn exits_with_0(server: ServerProcess) -> String {
        server.signal("TERM");
        let output = server.ends();
        let log = String::from_utf8(output.stderr).expect("the log is text");
        assert_eq!(output.status.code(), Some(0), "{log}");
        log
    }

    /// Reads the counts of a complete log.
    #[track_caller]
    pub(crate) fn of_log(log: String) -> Self {
        let report = log
            .lines()
            .rev()
            .find_map(|line| line.split_once(" report: "));
        let (_, report) = report.unwrap_or_else(|| panic!("no report: {log}"));
        let counts = counts(report);
        let endings = counts.iter().filter(|(name, _)| {
            !name.starts_with("refused-")
                && !name.contains('_')
                && !["accepted", "open", "messages"].contains(&name.as_str())
        });
        let endings: u64 = endings.map(|(_, count)| count).sum();
        assert_eq!(counts["open"], 0, "{report}");
        assert_eq!(counts["accepted"], endings, "{report}");
        assert!(!log.contains("do not add up"), "{log}");

        Self { log, counts }
    }

    /// Returns the final count of this name, such as `reset-by-peer`.
    pub(crate) fn count(&self, name: &str) -> u64 {
        self.counts.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn lines_with(&self, text: &str) -> usize {
        self.log.lines().filter(|line| line.contains(text)).count()
    }
}

/// Returns the counts in a line of `name=number`.
pub(crate) fn counts(line: &str) -> BTreeMap<String, u64> {
    let pairs = line
        .split_whitespace()
        .filter_map(|word| word.split_once('='));
    pairs
        .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
        .collect()
}

/// The state of a server, from the kernel.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vitals {
    /// User and system time.
    pub(crate) cpu: Duration,
    pub(crate) resident_kib: u64,
    pub(crate) threads: u64,
    pub(crate) descriptors: usize,
}

impl Vitals {
    pub(crate) fn of(server: &ServerProcess) -> Self {
        let stat = fs::read_to_string(format!("/proc/{}/stat", server.id())).expect("it runs");
        let (_, fields) = stat.rsplit_once(')').expect("its name is in brackets");
        let field = |number: usize| -> u64 {
            let text = fields.split_whitespace().nth(number - 3);
            text.and_then(|text| text.parse().ok()).expect("a number")
        };
        Self {
            // In ticks of 10 ms, as on every Linux of today.
            cpu: Duration::from_millis(10) * u32::try_from(field(14) + field(15)).unwrap(),
            resident_kib: server.status("VmRSS"),
            threads: server.status("Threads"),
            descriptors: server.descriptors(),
        }
    }
}

/// The threads of a server whose calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Threads {
    /// The thread that accepts.
    Main,
    /// All threads, and each counts its own calls.
    All,
}

/// System calls of a running server that fail or take long, until this is ended.
pub(crate) struct Injection {
    strace: Option<Child>,
    trace: Directory,
}

impl Injection {
    /// Makes calls fail or take long. `inject` has the words of `strace -e inject=…`.
    #[track_caller]
    pub(crate) fn into(server: &ServerProcess, threads: Threads, inject: &str) -> Self {
        let calls = inject.split(':').next().expect("split gives something");
        let (trace, inject) = (format!("trace={calls}"), format!("inject={inject}"));
        Self::attach(server, threads, &["-e", &trace, "-e", &inject])
    }

    /// Lets all calls of all threads be, and notes them.
    #[track_caller]
    pub(crate) fn of_nothing(server: &ServerProcess) -> Self {
        Self::attach(server, Threads::All, &[])
    }

    #[track_caller]
    fn attach(server: &ServerProcess, threads: Threads, options: &[&str]) -> Self {
        let trace = Directory::new();
        let mut command = tool("strace");
        command.arg("-qq").args(options).arg("-o");
        command.arg(trace.at("trace"));
        if threads == Threads::All {
            command.arg("-f");
        }
        command.args(["-p", &server.id().to_string()]);
        let mut injection = Self {
            strace: Some(command.spawn().expect("strace starts")),
            trace,
        };

        let tasks = format!("/proc/{}/task", server.id());
        eventually("strace attaches", || {
            let strace = injection.strace.as_mut().expect("it was started");
            let status = strace.try_wait().expect("it is our child");
            assert!(status.is_none(), "strace cannot attach: {status:?}");
            let traced = |task: String| {
                let status = fs::read_to_string(format!("{tasks}/{task}/status"));
                status.is_ok_and(|status| !status.contains("TracerPid:\t0\n"))
            };
            match threads {
                Threads::Main => traced(server.id().to_string()),
                Threads::All => fs::read_dir(&tasks)
                    .expect("it runs")
                    .all(|task| traced(task.unwrap().file_name().into_string().unwrap())),
            }
        });

        injection
    }

    /// Returns how many calls have failed, or were delayed, so far.
    pub(crate) fn failures(&self) -> usize {
        let trace = fs::read_to_string(self.trace.at("trace")).unwrap_or_default();
        trace
            .lines()
            .filter(|line| line.contains("(INJECTED)") || line.contains("(DELAYED)"))
            .count()
    }

    /// Ends it, and returns how many calls have failed, or were delayed.
    pub(crate) fn ends(mut self) -> usize {
        self.detach();
        self.failures()
    }

    /// Ends it, and returns how often each call was made. A call that was interrupted counts once.
    pub(crate) fn calls(mut self) -> BTreeMap<String, usize> {
        self.detach();
        let trace = fs::read_to_string(self.trace.at("trace")).expect("strace has written it");

        let mut calls = BTreeMap::new();
        for line in trace.lines() {
            let call = line.split_whitespace().nth(1).unwrap_or_default();
            if let Some((name, _)) = call.split_once('(') {
                *calls.entry(name.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// Asks strace to end, so that it lets the server go unharmed.
    fn detach(&mut self) {
        if let Some(mut strace) = self.strace.take() {
            let script = format!("kill -TERM {}", strace.id());
            // The shell's own `kill` is never missing. This can run while a test fails.
            if !Command::new("sh")
                .args(["-c", &script])
                .status()
                .is_ok_and(|kill| kill.success())
            {
                let _ = strace.kill();
            }
            let _ = strace.wait();
        }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.detach();
    }
}

/// A separate network, with a loopback that is up. It goes with its test.
pub(crate) struct Namespace(String);

impl Namespace {
    #[track_caller]
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let namespace = Self(format!("synchat-{}-{number}", std::process::id()));
        runs(tool("ip").args(["netns", "add", &namespace.0]));
        namespace.ip("link set lo up");
        namespace
    }

    pub(crate) fn name(&self) -> &str {
        &self.0
    }

    /// Runs `ip` in it.
    #[track_caller]
    pub(crate) fn ip(&self, arguments: &str) {
        runs(tool("ip").args(["-n", &self.0]).args(arguments.split(' ')));
    }

    /// Returns a command that runs a program in it.
    #[track_caller]
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = tool("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Starts a server in it.
    #[track_caller]
    pub(crate) fn server(&self, arguments: &[&str]) -> ServerProcess {
        ServerProcess::starts_from(self.command(&binary()).args(arguments))
    }

    /// Checks that another client in it is served.
    #[track_caller]
    pub(crate) fn assert_serves(&self, address: &Address) {
        let address = address.as_socket_addr().expect("it is TCP");
        let mut client = self.command("bash");
        client.args(["-c", &format!("{}; ask next", bash_client(address))]);
        assert_eq!(runs(&mut client), "next\r\n");
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "del", &self.0])
            .stderr(Stdio::null())
            .status();
    }
}

/// The beginning of a client script. It connects as descriptor 3, and `ask WORD` prints the reply.
pub(crate) fn bash_client(address: SocketAddr) -> String {
    let (ip, port) = (address.ip(), address.port());
    format!(
        r#"exec 3<>/dev/tcp/{ip}/{port} || exit 1
           ask() {{ printf '%s\r\n' "$1" >&3; IFS= read -r -t 10 reply <&3 || exit 2; echo "$reply"; }}"#
    )
}

/// A control group of one kind (cgroup v1), which processes can be put into, and gone with its test.
pub(crate) struct Group(PathBuf);

impl Group {
    /// Makes one, as root, where this kind is mounted.
    #[track_caller]
    pub(crate) fn new(kind: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("synchat-{}-{number}", std::process::id());
        let path = Path::new("/sys/fs/cgroup").join(kind).join(name);
        Self::at(path)
    }

    /// One in it.
    #[track_caller]
    pub(crate) fn inner(&self) -> Self {
        Self::at(self.0.join("inner"))
    }

    #[track_caller]
    fn at(path: PathBuf) -> Self {
        fs::create_dir(&path)
            .unwrap_or_else(|error| panic!("{}: cannot be made: {error}", path.display()));
        Self(path)
    }

    /// Sets one of its numbers or states.
    #[track_caller]
    pub(crate) fn set(&self, file: &str, value: &str) {
        fs::write(self.0.join(file), value)
            .unwrap_or_else(|error| panic!("{file} cannot be {value}: {error}"));
    }

    /// One of its numbers or states.
    #[track_caller]
    pub(crate) fn get(&self, file: &str) -> String {
        let text = fs::read_to_string(self.0.join(file)).expect("it is there");
        text.trim_end().to_owned()
    }

    pub(crate) fn takes(&self, process: u32) {
        self.set("cgroup.procs", &process.to_string());
    }

    /// A command that runs a program in it.
    pub(crate) fn command(&self, program: &str) -> Command {
        let mut command = tool("sh");
        let script = r#"echo $$ >"$1"/cgroup.procs && shift && exec "$@""#;
        command.args(["-c", script, "sh"]).arg(&self.0).arg(program);
        command
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Not while a process is in it, or its end is not over.
        for _ in 0..200 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
