//! Tests the files in `tests/deploy`. systemd's units are verified, and started as far as that
//! works without a running systemd. The container's image is made and started without an engine.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use synchat::Address;

use crate::support::process::{Directory, ServerProcess, run_to_its_end, send, synchat};
use crate::system::{runs, tool};

const BINARY: &str = env!("CARGO_BIN_EXE_synchat");

fn project() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn deploy(name: &str) -> String {
    let path = project().join("tests/deploy").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn both(output: &Output) -> [String; 2] {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}

// systemd.

/// Returns the value that the service's unit has for this name.
fn setting(name: &str) -> String {
    let unit = deploy("synchat.service");
    let value = unit
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {name}")).to_owned()
}

#[track_caller]
fn assert_are_units(names: &[&str]) {
    let directory = Directory::new();
    fs::create_dir(directory.at("synchat.service.d")).unwrap();
    for name in names {
        // The program is not installed where tests run.
        let unit = deploy(name).replace("/usr/local/bin/synchat", BINARY);
        fs::write(directory.at(name), unit).unwrap();
    }

    let units = names.iter().filter(|name| !name.ends_with(".conf"));
    let mut verify = tool("systemd-analyze");
    verify
        .arg("verify")
        .args(units.map(|name| directory.at(name)));
    let output = verify.output().unwrap();
    let [_, complaints] = both(&output);
    assert!(output.status.success(), "{complaints}");
    assert!(!complaints.contains("synchat"), "{complaints}");
}

#[test]
fn systemd_accepts_the_service() {
    assert_are_units(&["synchat.service"]);
}

#[test]
fn systemd_accepts_the_socket_activated_service() {
    assert_are_units(&[
        "synchat.service",
        "synchat.socket",
        "synchat.service.d/socket.conf",
    ]);
}

#[test]
fn the_units_limits_hold_the_default_connections() {
    let mut command = tool("prlimit");
    let descriptors: u64 = setting("LimitNOFILE").parse().unwrap();
    let tasks: u64 = setting("TasksMax").parse().unwrap();
    command.arg(format!("--nofile={descriptors}"));
    let mut server = ServerProcess::starts_from(command.args([BINARY, "127.0.0.1:0"]));
    let line = server.logs("max_connections=");
    assert!(line.contains("INFO") && line.contains("=1024;"), "{line}");
    assert!(tasks > 1024 + 10);
}

#[test]
fn the_server_makes_no_call_that_its_unit_forbids() {
    let directory = Directory::new();
    let calls = directory.at("calls");
    let mut command = tool("strace");
    command.args(["-f", "-qq", "-o"]).arg(&calls);
    let mut server = ServerProcess::starts_from(command.args([BINARY, "127.0.0.1:0", "-v"]));
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");
    let traced = child_of(server.id());
    send("USR1", traced);
    server.logs(" report: ");
    send("TERM", traced);
    client.expects_eof();
    assert_eq!(server.ends().status.code(), Some(0));

    let unit = deploy("synchat.service");
    let filters = unit
        .lines()
        .filter_map(|line| line.strip_prefix("SystemCallFilter="));
    let mut allowed = BTreeSet::new();
    for filter in filters {
        match filter.strip_prefix('~') {
            Some(sets) => {
                let forbidden = system_calls(sets);
                allowed.retain(|call| !forbidden.contains(call));
            }
            None => allowed.extend(system_calls(filter)),
        }
    }

    let trace = fs::read_to_string(calls).unwrap();
    // The first call is strace's own, and always allowed.
    let made = trace.lines().skip(1).filter_map(|line| {
        let call = line.split_once(' ')?.1.trim_start().split_once('(')?.0;
        call.chars()
            .all(|char| char.is_alphanumeric() || char == '_')
            .then_some(call)
    });
    let made: BTreeSet<_> = made.map(str::to_owned).collect();
    assert!(made.contains("accept4") && made.contains("clone3"));

    let forbidden: Vec<_> = made.difference(&allowed).collect();
    assert!(forbidden.is_empty(), "{forbidden:?}");
}

/// Returns the system calls in these sets of systemd.
fn system_calls(sets: &str) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for set in sets.split(' ') {
        let listed = runs(tool("systemd-analyze").args(["syscall-filter", set]));
        for word in listed.lines().skip(1).map(str::trim) {
            match word.split_once('@') {
                _ if word.is_empty() || word.starts_with('#') => {}
                Some(("", _)) => calls.extend(system_calls(word)),
                _ => drop(calls.insert(word.to_owned())),
            }
        }
    }
    calls
}

/// Starts the binary as systemd does at the first connection to a socket.
#[track_caller]
fn assert_is_started_by_a_connection(socket: &str, address: Address) {
    let mut command = tool("systemd-socket-activate");
    command.args(["--inetd", "-l", socket, BINARY, "fd:0"]);
    command.stderr(Stdio::piped());
    let mut server = ServerProcess::starts_unheard(&mut command, address.clone());
    server.logs("Listening on");
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");
    server.client().sends("two\r\n").expects("two\r\n");
    server.signal("TERM");
    client.expects_eof();
    let output = server.ends();
    let [_, log] = both(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains(&format!("bind: address={address}")), "{log}");
}

#[test]
fn a_connection_to_systemds_socket_starts_the_server() {
    let directory = Directory::new();
    let path = directory.at("socket");
    assert_is_started_by_a_connection(path.to_str().unwrap(), Address::Unix(path.clone()));
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    assert_is_started_by_a_connection(&address.to_string(), Address::Tcp(address));
}

// The container.

/// The image that the Containerfile makes.
struct Image {
    /// The place of its files.
    root: PathBuf,
    /// The instructions that follow its files, with their arguments.
    instructions: Vec<(String, String)>,
}

impl Image {
    /// Returns the arguments of the only instruction of this name.
    fn says(&self, name: &str) -> &str {
        let said: Vec<_> = self
            .instructions
            .iter()
            .filter(|(instruction, _)| instruction == name)
            .collect();
        assert_eq!(said.len(), 1, "{name}: {said:?}");
        &said[0].1
    }

    /// Returns a command that starts the image through `program`. Only root can run it.
    fn start(&self, program: Command) -> Command {
        self.runs(program, words(self.says("ENTRYPOINT")))
    }

    fn health_check(&self) -> Vec<&str> {
        words(self.says("HEALTHCHECK").strip_prefix("CMD ").unwrap())
    }

    /// Returns a command that runs these words through `program`, with the image's user,
    /// environment and root directory.
    fn runs(&self, mut program: Command, words: Vec<&str>) -> Command {
        program
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)));
        let (name, value) = self.says("ENV").split_once('=').unwrap();
        program.env(name, value);
        program.arg("chroot");
        program.arg(format!("--userspec={}", self.says("USER")));
        program.arg(&self.root).args(words);
        program
    }
}

/// Returns the words of an exec form, `["a", "b"]`.
#[track_caller]
fn words(form: &str) -> Vec<&str> {
    let list = form
        .strip_prefix("[\"")
        .and_then(|form| form.strip_suffix("\"]"));
    let list = list.unwrap_or_else(|| panic!("not in exec form: {form}"));
    list.split("\", \"").collect()
}

/// Does what the Containerfile says, once. A folder takes the place of each stage's root directory.
/// The base of each stage must be here already, and so must the Rust toolchain.
fn image() -> &'static Image {
    static IMAGE: OnceLock<Image> = OnceLock::new();
    IMAGE.get_or_init(|| {
        let all = Path::new(env!("CARGO_TARGET_TMPDIR")).join("container");
        let mut root = PathBuf::new();
        let mut workdir = String::from("/");
        let mut instructions = Vec::new();
        for line in deploy("Containerfile").lines() {
            let Some((instruction, rest)) = line.split_once(' ').filter(|(name, _)| *name != "#")
            else {
                continue;
            };
            match instruction {
                "FROM" => {
                    let (_, stage) = rest.split_once(" AS ").unwrap_or(("", "last"));
                    root = all.join(stage);
                    "/".clone_into(&mut workdir);
                    instructions.clear();
                }
                "WORKDIR" => rest.clone_into(&mut workdir),
                "COPY" => copy(rest, &all, &root, &workdir),
                "RUN" => run(rest, &inside(&root, &workdir)),
                _ => instructions.push((instruction.to_owned(), rest.to_owned())),
            }
        }
        Image { root, instructions }
    })
}

/// Returns the place of a path that starts at this root directory.
fn inside(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

/// `[--from=STAGE] SOURCE… TARGET`
fn copy(arguments: &str, stages: &Path, root: &Path, workdir: &str) {
    let mut sources: Vec<_> = arguments.split(' ').collect();
    let target = sources.pop().unwrap();
    let from = sources[0].strip_prefix("--from=").map(|stage| {
        sources.remove(0);
        stages.join(stage)
    });
    let from = from.as_deref().unwrap_or(project());
    let folder = match target.starts_with('/') {
        true => root.to_owned(),
        false => inside(root, workdir),
    };

    fs::create_dir_all(&folder).unwrap();
    for source in sources {
        let source = inside(from, source);
        let mut target = inside(&folder, target);
        if target.is_dir() && source.is_file() {
            target.push(source.file_name().unwrap());
        }
        // With their times, so that the build knows what has changed.
        runs(tool("rm").arg("-rf").arg(&target));
        runs(tool("cp").arg("-a").arg(&source).arg(&target));
    }
}

/// Runs a script in a stage. The stage is not a real root directory, and the build in it is not
/// ours.
fn run(script: &str, workdir: &Path) {
    let mut shell = tool("timeout");
    shell.args(["500", "sh", "-c", script]).current_dir(workdir);
    for name in ["CARGO_TARGET_DIR", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"] {
        shell.env_remove(name);
    }
    let output = shell.output().expect("it starts");
    let [_, complaints] = both(&output);
    assert!(output.status.success(), "{script}: {complaints}");
}

/// Returns the only child of a process.
fn child_of(id: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
    children.trim().parse().expect("it has one child")
}

/// Returns what the kernel says of a process under this name.
fn status_of(id: u32, name: &str) -> Vec<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let values = line.unwrap().trim_start_matches(':').split_whitespace();
    values.map(str::to_owned).collect()
}

#[test]
fn the_image_has_one_file_and_the_right_settings() {
    let image = image();
    let files: Vec<_> = fs::read_dir(&image.root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(files, ["synchat"]);

    let port = image.says("EXPOSE");
    assert_eq!(image.says("ENV"), format!("SYNCHAT_ADDRESS=0.0.0.0:{port}"));
    assert_eq!(image.says("STOPSIGNAL"), "SIGTERM");

    let (user, group) = image.says("USER").split_once(':').unwrap();
    assert!(
        [user, group]
            .iter()
            .all(|id| id.parse::<u32>().unwrap() > 0)
    );
    assert_eq!(words(image.says("ENTRYPOINT")), ["/synchat"]);

    assert_eq!(
        image.health_check(),
        ["/synchat", "ping", "-qc1", "--alive"]
    );
}

#[test]
fn the_static_binary_serves_in_an_empty_root() {
    let mut command = image().start(tool("env"));
    let mut server = ServerProcess::starts_from(command.env("SYNCHAT_ADDRESS", "127.0.0.1:0"));
    let root = fs::read_link(format!("/proc/{}/root", server.id())).unwrap();
    assert_eq!(root, image().root);
    let id = image().says("USER").split_once(':').unwrap().0;
    assert!(status_of(server.id(), "Uid").iter().all(|uid| uid == id));
    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");
    server.signal("USR1");
    server.logs(" report: ");
    server.signal("TERM");
    client.expects_eof();
    assert_eq!(server.ends().status.code(), Some(0));
}

/// Runs as the first process of a container, which the kernel protects from signals that it does
/// not catch.
#[track_caller]
fn assert_drains_as_process_1(signal: &str) {
    let mut unshare = tool("unshare");
    unshare.args(["--pid", "--fork", "--kill-child"]);
    let mut command = image().start(unshare);
    let server = ServerProcess::starts_from(command.env("SYNCHAT_ADDRESS", "127.0.0.1:0"));
    let first = child_of(server.id());
    assert_eq!(status_of(first, "NSpid").last().unwrap(), "1");

    let mut client = server.client();
    client.sends("hello\r\n").expects("hello\r\n");
    let lines = "a line\r\n".repeat(4096);
    client.sends(&lines);
    send(signal, first);
    client.expects(&lines).expects_eof();
    let output = server.ends();
    let [_, log] = both(&output);
    assert_eq!(output.status.code(), Some(0), "{log}");
    assert!(log.contains("report: accepted=1 open=0"), "{log}");
}

#[test]
fn as_process_1_it_drains_at_sigterm_and_sigint() {
    assert_drains_as_process_1("TERM");
    assert_drains_as_process_1("INT");
}

#[test]
fn the_health_check_asks_where_the_server_was_told_to_listen() {
    for address in ["127.0.0.1:7100", "0.0.0.0:7101", "[::1]:7102", "[::]:7103"] {
        // In a network of its own, since the port may be in use here.
        let mut unshare = tool("unshare");
        unshare.args(["--net", "--pid", "--fork", "--kill-child"]);
        unshare.args(["sh", "-c", "ip link set lo up && exec \"$@\"", "sh"]);
        let mut command = image().start(unshare);
        let server = ServerProcess::starts_from(command.env("SYNCHAT_ADDRESS", address));

        let first = child_of(server.id()).to_string();
        let mut check = tool("nsenter");
        check.args(["--net", "--target", &first]);
        let mut check = image().runs(check, image().health_check());
        let output = run_to_its_end(check.env("SYNCHAT_ADDRESS", address));
        assert_eq!(output.status.code(), Some(0), "{address}: {output:?}");

        send("TERM", first.parse().unwrap());
        assert_eq!(server.ends().status.code(), Some(0));
    }
}

#[test]
fn the_images_command_listens_where_the_image_says() {
    let mut unshare = tool("unshare");
    // In a separate network, because the port can be in use here.
    unshare.args(["--net", "--pid", "--fork", "--kill-child"]);
    let script = "ip link set lo up && exec \"$@\"";
    unshare.args(["sh", "-c", script, "sh"]);
    let mut command = image().start(unshare);
    let server = ServerProcess::starts_from(&mut command);
    let first = child_of(server.id()).to_string();
    let mut client = tool("nsenter");
    client.args(["--net", "--target", &first, "sh", "-c"]);
    let port = image().says("EXPOSE");
    client.arg(format!("printf 'hello\\r\\n' | nc -N 127.0.0.1 {port}"));

    let [printed, _] = both(&run_to_its_end(&mut client));
    assert_eq!(printed, "hello\r\n");

    let mut check = tool("nsenter");
    check.args(["--net", "--target", &first]);

    let mut check = image().runs(check, image().health_check());
    let [summary, _] = both(&run_to_its_end(&mut check));
    assert!(summary.contains("1 sent, 1 received"), "{summary}");

    send("TERM", first.parse().unwrap());
    assert_eq!(server.ends().status.code(), Some(0));
}

#[test]
fn units_and_image_leave_time_for_the_grace_period() {
    // One second more, for those who are ended by force.
    let seconds: u64 = setting("TimeoutStopSec")
        .trim_end_matches('s')
        .parse()
        .unwrap();
    assert!(seconds > 8 + 1);
    assert!(deploy("compose.yaml").contains("stop_grace_period: 12s"));
    let [help, _] = both(&run_to_its_end(synchat().arg("--help")));
    assert!(help.contains("[default: 8s; environment: SYNCHAT_GRACE]"));
}
