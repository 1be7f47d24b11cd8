//! What the system has room for (V2, V6): a server promises as many connections as it can hold, by
//! every limit that there is, less what is used already; and the memory that it says suffices.

use std::fs;
use std::io::{ErrorKind, Write};
use std::ops::RangeInclusive;
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Address, ServerOptions};

use crate::support::process::{Directory, Running, ServerProcess, complaint, eventually};
use crate::system::{Group, Stopped, binary, runs, tool};

/// A server without connections has fewer threads, with those that are spare.
const FEW: u64 = 5 + ServerOptions::DEFAULT_SPARE_THREADS as u64;

/// What a server has said of its limits at its start.
struct Said {
    server: ServerProcess,
    connections: usize,
    memory_mib: u64,
    warnings: Vec<String>,
}

/// Starts a server, and reads its log as far as that.
#[track_caller]
fn starts(command: &mut Command) -> Said {
    let mut server = ServerProcess::starts_from(command);
    let mut lines = server.logs_up_to(" memory: at_most=");
    let said = lines.last().expect("it has that line").clone();
    // What more there is to warn of may stand behind it.
    server.signal("USR1");
    lines.extend(server.logs_up_to(" report: "));
    let number = |name: &str| {
        let (_, rest) = said.split_once(name).expect("it says so");
        let digits = rest.split(|c: char| !c.is_ascii_digit()).next();
        digits
            .and_then(|digits| digits.parse::<u64>().ok())
            .expect("a number")
    };
    lines.retain(|line| line.contains("WARNING "));
    Said {
        server,
        connections: usize::try_from(number("max_connections=")).unwrap(),
        memory_mib: number("at_most="),
        warnings: lines,
    }
}

/// The server holds as many as it has said, one more is told so, and it ends well.
#[track_caller]
fn assert_holds_what_it_said(said: Said) {
    let (server, connections) = (said.server, said.connections);
    let mut peers: Vec<_> = (0..connections).map(|_| server.client()).collect();
    for peer in &mut peers {
        let _ = peer.tries_to_send("hello\r\n");
    }
    for (number, peer) in peers.iter_mut().enumerate() {
        let mut first = [0];
        let is_served = peer.read(&mut first).is_ok_and(|_| first == *b"h");
        assert!(is_served, "{number} of {connections} that were promised");
    }
    let full = format!("error: too many connections, the limit is {connections}\r\n");
    server.client().expects(full).expects_eof();
    drop(peers);
    eventually("there is room again", || {
        let mut next = server.client();
        let _ = next.tries_to_send("hello\r\n");
        next.read(&mut [0; 1]).is_ok_and(|_| true)
    });
    let stopped = Stopped::orderly(server);
    assert_eq!(stopped.count("refused-no-thread"), 0, "{}", stopped.log);
    assert_eq!(stopped.lines_with("accept: failing"), 0, "{}", stopped.log);
}

/// A default that does not fit is lowered with a warning that names the limit, and then holds.
#[track_caller]
fn assert_lowers(command: &mut Command, possible: RangeInclusive<usize>, limit: &str) {
    let said = starts(command);
    let lowered = said
        .warnings
        .iter()
        .find(|line| line.contains("lowered from 1024 to"));
    let Some(lowered) = lowered else {
        panic!(
            "nothing is said of {limit}, {} are promised",
            said.connections
        );
    };
    assert!(lowered.contains(limit), "{limit} is not in {lowered}");
    assert!(possible.contains(&said.connections), "{lowered}");
    assert_holds_what_it_said(said);
}

/// A number that is asked for and does not fit is an error that names the limit.
#[track_caller]
fn assert_refuses(command: &mut Command, limit: &str) {
    command
        .arg("-q")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let process = Running::from(command.spawn().expect("it starts"));
    assert_eq!(process.prints(), "", "it serves in spite of {limit}");
    let line = complaint(&process.ends(), 1);
    assert!(line.contains(limit), "{limit} is not in {line}");
}

/// The arguments of a server that is asked for so many connections, or for none in particular.
fn arguments(connections: Option<usize>) -> Vec<String> {
    let asked = connections.map(|number| format!("--max-connections={number}"));
    [binary(), "127.0.0.1:0".to_owned()]
        .into_iter()
        .chain(asked)
        .collect()
}

// Descriptors.

/// A server with 256 descriptors, of which it has inherited 150.
fn with_inherited_descriptors(connections: Option<usize>) -> Command {
    let script = r#"for n in {20..169}; do eval "exec $n</dev/null"; done
                    ulimit -n 256 && exec "$0" "$@""#;
    let mut command = tool("bash");
    command.args(["-c", script]).args(arguments(connections));
    command
}

#[test]
fn descriptors_that_were_inherited_are_not_promised_again() {
    assert_lowers(
        &mut with_inherited_descriptors(None),
        40..=256 - 150,
        "RLIMIT_NOFILE",
    );
    assert_refuses(&mut with_inherited_descriptors(Some(220)), "RLIMIT_NOFILE");
    assert_refuses(&mut with_inherited_descriptors(Some(107)), "RLIMIT_NOFILE");
    assert_holds_what_it_said(starts(&mut with_inherited_descriptors(Some(60))));
}

// Threads.

/// A server in this group.
fn in_group(group: &Group, connections: Option<usize>) -> Command {
    let arguments = arguments(connections);
    let mut command = group.command(&arguments[0]);
    command.args(&arguments[1..]);
    command
}

#[test]
fn a_group_that_may_have_few_threads_is_promised_no_more() {
    let group = Group::new("pids");
    group.set("pids.max", "60");
    assert_lowers(&mut in_group(&group, None), 20..=60, "pids.max");
    assert_refuses(&mut in_group(&group, Some(500)), "pids.max");
    assert_holds_what_it_said(starts(&mut in_group(&group, Some(30))));
}

/// Others that do nothing, and end with their test.
struct Idlers(Vec<Child>);

impl Idlers {
    fn start(number: usize, command: impl Fn() -> Command) -> Self {
        let idlers = (0..number).map(|_| command().spawn().expect("it starts"));
        Self(idlers.collect())
    }
}

impl Drop for Idlers {
    fn drop(&mut self) {
        for idler in &mut self.0 {
            let _ = idler.kill();
            let _ = idler.wait();
        }
    }
}

#[test]
fn the_threads_of_others_in_a_group_are_taken_off() {
    let group = Group::new("pids");
    group.set("pids.max", "60");
    let others = Idlers::start(20, || {
        let mut command = group.command("sleep");
        command.arg("60");
        command
    });
    eventually("they are in the group", || {
        group.get("pids.current") == "20"
    });
    assert_lowers(&mut in_group(&group, None), 10..=40, "pids.max");
    assert_refuses(&mut in_group(&group, Some(45)), "pids.max");
    drop(others);
}

#[test]
fn the_limit_of_a_group_above_holds_too() {
    let above = Group::new("pids");
    above.set("pids.max", "60");
    let group = above.inner();
    assert_eq!(group.get("pids.max"), "max");
    assert_lowers(&mut in_group(&group, None), 20..=60, "pids.max");
}

/// A server that sees this as its control groups, as those of version 2 look, where the machine has
/// another version.
fn in_a_group_of_version_2(files: &[(&str, &str)], connections: Option<usize>) -> Command {
    let script = r#"
        set -e
        mount -t tmpfs none /sys/fs/cgroup
        echo "cpu memory pids" >/sys/fs/cgroup/cgroup.controllers
        mkdir -p /sys/fs/cgroup/system.slice/echo.service
        for file in $FILES; do echo "${file#*=}" >"/sys/fs/cgroup/${file%%=*}"; done
        echo 0::/system.slice/echo.service >/sys/fs/cgroup/own
        mount --bind /sys/fs/cgroup/own /proc/$$/cgroup
        exec "$0" "$@""#;
    let files: Vec<_> = files
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut command = tool("unshare");
    command
        .args(["--mount", "sh", "-c", script])
        .args(arguments(connections));
    command.env("FILES", files.join(" "));
    command
}

#[test]
fn the_limits_of_groups_of_version_2_hold_too() {
    let own = [
        ("system.slice/echo.service/pids.max", "60"),
        ("system.slice/echo.service/pids.current", "1"),
    ];
    assert_lowers(
        &mut in_a_group_of_version_2(&own, None),
        20..=60,
        "pids.max",
    );
    assert_refuses(&mut in_a_group_of_version_2(&own, Some(500)), "pids.max");
    let above = [
        ("system.slice/pids.max", "60"),
        ("system.slice/pids.current", "20"),
        ("system.slice/echo.service/pids.max", "max"),
        ("system.slice/echo.service/pids.current", "1"),
    ];
    assert_lowers(
        &mut in_a_group_of_version_2(&above, None),
        10..=40,
        "pids.max",
    );
    let none = [("system.slice/echo.service/pids.max", "max")];
    let said = starts(&mut in_a_group_of_version_2(&none, Some(100)));
    assert_holds_what_it_said(said);
}

/// A user that no other test is, and a copy of the binary that such a one can reach.
struct User {
    id: u32,
    directory: Directory,
}

impl User {
    fn new(id: u32) -> Self {
        let directory = Directory::new();
        fs::copy(binary(), directory.at("synchat")).unwrap();
        let files = [directory.at(""), directory.at("synchat")];
        runs(tool("chmod").arg("755").args(files));
        Self { id, directory }
    }

    fn command(&self, program: &str) -> Command {
        let mut command = tool("setpriv");
        command.arg(format!("--reuid={}", self.id));
        command.args(["--regid=65534", "--clear-groups", program]);
        command
    }

    /// This user's server, who may have 60 threads.
    fn server(&self, connections: Option<usize>) -> Command {
        let mut command = self.command("prlimit");
        command.arg("--nproc=60").arg(self.directory.at("synchat"));
        command.args(&arguments(connections)[1..]);
        command
    }
}

#[test]
fn a_user_who_may_have_few_threads_is_promised_no_more() {
    let user = User::new(61_001);
    assert_lowers(&mut user.server(None), 20..=60, "RLIMIT_NPROC");
    assert_refuses(&mut user.server(Some(500)), "RLIMIT_NPROC");
    assert_holds_what_it_said(starts(&mut user.server(Some(30))));

    // The limit is not one for root.
    let mut as_root = tool("prlimit");
    as_root.arg("--nproc=60").args(arguments(Some(200)));
    assert_holds_what_it_said(starts(&mut as_root));
}

#[test]
fn the_threads_that_a_user_has_are_taken_off() {
    let user = User::new(61_002);
    let others = Idlers::start(20, || {
        let mut command = user.command("sleep");
        command.arg("60");
        command
    });
    assert_lowers(&mut user.server(None), 10..=40, "RLIMIT_NPROC");
    assert_refuses(&mut user.server(Some(45)), "RLIMIT_NPROC");
    drop(others);
}

#[test]
fn a_machine_that_may_have_few_threads_is_promised_no_more() {
    let load = fs::read_to_string("/proc/loadavg").unwrap();
    let threads = load.split(['/', ' ']).nth(4).expect("running/all");
    let threads: usize = threads.parse().expect("a number");
    let directory = Directory::new();
    fs::write(directory.at("max"), format!("{}\n", threads + 300)).unwrap();
    let with_few = |connections| {
        let script = r#"mount --bind "$0" /proc/sys/kernel/threads-max && exec "$@""#;
        let mut command = tool("unshare");
        command
            .args(["--mount", "sh", "-c", script])
            .arg(directory.at("max"));
        command.args(arguments(connections));
        command
    };
    assert_lowers(&mut with_few(None), 1..=threads + 300, "threads-max");
    assert_refuses(&mut with_few(Some(threads + 301)), "threads-max");
}

#[test]
fn where_no_thread_can_be_had_each_client_is_told_so_at_once() {
    const CLIENTS: u64 = 60;
    let group = Group::new("pids");
    let server = starts(&mut in_group(&group, Some(100))).server;
    // From now on there is none.
    group.set("pids.max", &group.get("pids.current"));
    let since = Instant::now();
    for number in 0..CLIENTS {
        server
            .client()
            .expects("error: too busy, try again later\r\n")
            .expects_eof();
        let took = since.elapsed();
        assert!(
            took < Duration::from_secs(3),
            "{number} were told in {took:?}"
        );
    }
    group.set("pids.max", "max");
    eventually("threads are tried again", || {
        let mut next = server.client();
        let _ = next.tries_to_send("hello\r\n");
        let mut first = [0];
        next.read(&mut first).is_ok_and(|_| first == *b"h")
    });
    let stopped = Stopped::orderly(server);
    let refused = stopped.count("refused-no-thread");
    assert!(refused >= CLIENTS, "{}", stopped.log);
    assert_eq!(stopped.lines_with("accept: failing"), 1, "{}", stopped.log);
}

// Memory.

#[test]
fn a_process_with_a_small_address_space_is_promised_no_more() {
    let limited = |connections| {
        let mut command = tool("prlimit");
        command.arg("--as=167772160").args(arguments(connections));
        command
    };
    assert_lowers(&mut limited(None), 10..=1023, "RLIMIT_AS");
    assert_refuses(&mut limited(Some(1024)), "RLIMIT_AS");
    assert_holds_what_it_said(starts(&mut limited(Some(10))));
}

/// A server at its limit of address space or data holds all that it has said, full of lines that
/// nobody reads, again and again.
#[track_caller]
fn assert_stands_full(limit: &str, arenas: &str) {
    let directory = Directory::new();
    let mut command = tool("prlimit");
    command.args([limit, &binary(), &directory.socket("full")]);
    command.env("MALLOC_ARENA_MAX", arenas);
    let said = starts(&mut command);
    println!("{limit}, arenas {arenas}: {}", said.connections);
    let is_lowered = said.warnings.iter().any(|line| line.contains("RLIMIT_"));
    assert!(is_lowered, "{limit} allows {}", said.connections);

    let line = [&[b'x'; 65_534][..], b"\r\n"].concat();
    for _ in 0..3 {
        let stuffed = stuffs(said.server.address(), said.connections, &line);
        assert!(said.server.threads() > said.connections as u64);
        drop(stuffed);
        eventually("all have left", || said.server.threads() < FEW);
    }
    let stopped = Stopped::orderly(said.server);
    assert_eq!(stopped.count("refused-no-thread"), 0, "{}", stopped.log);
}

#[test]
fn a_server_full_at_its_limits_of_memory_does_not_abort() {
    // 0 is the default number of arenas.
    for (limit, arenas) in [
        ("--as=167772160", "0"),
        ("--as=314572800", "0"),
        ("--as=167772160", "1"),
        ("--as=629145600", "3"),
        ("--data=33554432", "0"),
        ("--data=104857600", "1"),
    ] {
        assert_stands_full(limit, arenas);
    }
}

#[test]
fn a_process_with_little_data_is_promised_no_more() {
    let limited = |connections| {
        let mut command = tool("prlimit");
        command.arg("--data=104857600").args(arguments(connections));
        command
    };
    assert_lowers(&mut limited(None), 10..=500, "RLIMIT_DATA");
    assert_refuses(&mut limited(Some(1024)), "RLIMIT_DATA");
    assert_holds_what_it_said(starts(&mut limited(Some(10))));
}

/// A server that sees another file of this text in place of one of the kernel's.
fn with_file(path: &str, text: &str, connections: Option<usize>) -> Command {
    let script = r#"
        set -e
        mount -t tmpfs none /mnt
        printf -- "$TEXT" >/mnt/file
        mount --bind /mnt/file "$FILE"
        exec "$0" "$@""#;
    let mut command = tool("unshare");
    command.args(["--mount", "sh", "-c", script]);
    command.args(arguments(connections));
    command.envs([("FILE", path), ("TEXT", text)]);
    command
}

#[test]
fn a_machine_that_promises_memory_only_once_is_taken_at_its_word() {
    let script = r#"
        set -e
        mount -t tmpfs none /mnt
        echo 2 >/mnt/policy
        printf 'MemTotal: 4000000 kB\nCommitLimit: 2000000 kB\nCommitted_AS: 1900000 kB\n' >/mnt/memory
        mount --bind /mnt/memory /proc/meminfo
        mount --bind /mnt/policy /proc/sys/vm/overcommit_memory
        exec "$0" "$@""#;
    let strict = |connections| {
        let mut command = tool("unshare");
        command.args(["--mount", "sh", "-c", script]);
        command.args(arguments(connections));
        command
    };
    assert_lowers(&mut strict(None), 10..=260, "vm.overcommit_memory");
    assert_refuses(&mut strict(Some(300)), "vm.overcommit_memory");
    assert_holds_what_it_said(starts(&mut strict(Some(50))));
}

#[test]
fn files_of_the_kernel_that_tell_nothing_limit_nothing() {
    for path in [
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/sys/vm/max_map_count",
        "/proc/sys/kernel/threads-max",
        "/proc/sys/kernel/pid_max",
        "/proc/sys/fs/file-nr",
    ] {
        for text in ["", "nonsense\n", "-1/-1 -1\n", "\\377\\000"] {
            let said = starts(&mut with_file(path, text, Some(100)));
            assert_eq!((said.connections, said.warnings), (100, vec![]), "{path}");
        }
    }
}

/// Whether a server warns at its start that it may take more memory than there is.
fn warns_of_memory(command: &mut Command) -> bool {
    let said = starts(command);
    Stopped::orderly(said.server);
    said.warnings.iter().any(|line| line.contains("memory"))
}

#[test]
fn more_memory_than_the_machine_has_is_warned_of() {
    let with = |options: &[&str]| {
        let mut command = tool(&binary());
        command.arg("127.0.0.1:0").args(options);
        command
    };
    assert!(!warns_of_memory(&mut with(&["--max-connections=100"])));
    // A terabyte.
    let huge = ["--max-message=1024MiB", "--max-connections=500"];
    assert!(warns_of_memory(&mut with(&huge)), "nothing is said of it");
}

#[test]
fn more_memory_than_a_group_may_have_is_warned_of() {
    const MIB_200: &str = "209715200";
    let above = Group::new("memory");
    above.set("memory.limit_in_bytes", MIB_200);
    let inner = above.inner();
    for group in [&above, &inner] {
        assert!(!warns_of_memory(&mut in_group(group, Some(100))));
        assert!(warns_of_memory(&mut in_group(group, None)), "of 1024");
    }
    let v2 = [("system.slice/memory.max", MIB_200)];
    assert!(!warns_of_memory(&mut in_a_group_of_version_2(
        &v2,
        Some(100)
    )));
    assert!(warns_of_memory(&mut in_a_group_of_version_2(&v2, None)));
}

/// Connects so many times, sends each connection this again and again until no more of it is taken,
/// and reads nothing.
fn stuffs(address: &Address, connections: usize, bytes: &[u8]) -> Vec<UnixStream> {
    let Address::Unix(path) = address else {
        panic!("{address} is no Unix socket");
    };
    let connect = |_| {
        let stream = UnixStream::connect(path).expect("it listens");
        stream.set_nonblocking(true).unwrap();
        (stream, 0)
    };
    let mut streams: Vec<_> = (0..connections).map(connect).collect();
    let mut rounds_in_vain = 0;
    while rounds_in_vain < 5 {
        rounds_in_vain += 1;
        for (stream, sent) in &mut streams {
            match stream.write(&bytes[*sent % bytes.len()..]) {
                Ok(length) => (*sent, rounds_in_vain) = (*sent + length, 0),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    streams.into_iter().map(|(stream, _)| stream).collect()
}

/// What it has taken up, when that does not grow any more.
fn settled_kib(server: &ServerProcess) -> u64 {
    let mut before = 0;
    eventually("it has settled", || {
        thread::sleep(Duration::from_millis(200));
        let now = server.resident_kib();
        now == std::mem::replace(&mut before, now)
    });
    before
}

/// A server with these options holds its memory, with so many connections that are silent, then
/// with as many that are stuck in the middle of this.
#[track_caller]
fn assert_memory_suffices(connections: usize, options: &[&str], bytes: &[u8]) {
    // What the process takes up without any.
    const OWN_KIB: u64 = 6 * 1024;
    let own = std::process::id().to_string();
    runs(tool("prlimit").args(["--pid", &own, "--nofile=20000:20000"]));
    let directory = Directory::new();
    let mut command = tool(&binary());
    command.arg(directory.socket("memory")).args(options);
    command.arg(format!("--max-connections={connections}"));
    let said = starts(&mut command);
    let bound = said.memory_mib * 1024 + OWN_KIB;
    let server = said.server;

    let silent: Vec<_> = (0..connections).map(|_| server.client()).collect();
    eventually("all are served", || server.threads() > connections as u64);
    let idle = settled_kib(&server);
    drop(silent);
    eventually("all have left", || server.threads() < FEW);
    let stuffed = stuffs(server.address(), connections, bytes);
    let stuck = settled_kib(&server);
    drop(stuffed);
    let options = options.join(" ");
    let options = options.get(..70).unwrap_or(&options);
    println!("{options}: {idle} KiB idle, {stuck} KiB stuck, {bound} KiB said");
    assert!(idle < bound, "{options}: {idle} KiB of {bound}, idle");
    assert!(stuck < bound, "{options}: {stuck} KiB of {bound}, stuck");
    eventually("there is room again", || {
        let mut next = server.client();
        next.tries_to_send(bytes).is_ok() && next.read(&mut [0]).is_ok_and(|length| length == 1)
    });
}

#[test]
fn the_memory_that_is_said_suffices_with_every_terminator() {
    let line = [&[b'x'; 65_535][..], b"\n"].concat();
    // As long as can be.
    let end = ";".repeat(2048);
    let long = format!("--terminator={end}");
    let long_line = [&[b'x'; 65_535][..], end.as_bytes()].concat();
    let cases: [(&[&str], &[u8]); 6] = [
        (&["--terminator=none", "--max-message=1"], &[b'x'; 1 << 16]),
        (&["--terminator=none"], &[b'x'; 1 << 16]),
        (
            &["--terminator=length:1", "--max-message=1"],
            &[b'x'; 1 << 16],
        ),
        (&["--terminator=length:65536"], &[b'x'; 1 << 16]),
        (&["--terminator=lf"], &line),
        (&[&long], &long_line),
    ];
    for (options, bytes) in cases {
        assert_memory_suffices(600, &[&["--stack-size=64KiB"], options].concat(), bytes);
    }

    // Buffers that grow leave their old places behind.
    let options = ["--stack-size=64KiB", "--terminator=lf", "--max-message=3M"];
    let huge = [&[b'x'; 3 << 20][..], b"\n"].concat();
    assert_memory_suffices(50, &options, &huge);
}

#[test]
fn the_memory_suffices_for_a_long_terminator_or_it_is_refused() {
    let terminator = ";".repeat(60_000);
    let option = format!("--terminator={terminator}");
    let mut command = tool(&binary());
    command.args(["127.0.0.1:0", &option]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let process = Running::from(command.spawn().expect("it starts"));
    if process.prints().is_empty() {
        let line = complaint(&process.ends(), 2);
        assert!(line.contains("--terminator"), "{line}");
        return;
    }
    drop(process);
    assert_memory_suffices(600, &[&option], format!("hello{terminator}").as_bytes());
}
