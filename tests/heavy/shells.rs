//! The files that `make install` puts beside the binary, in the programs that read them: the manual
//! page in groff and man, the completions in bash, zsh and fish. And the installation itself, with a
//! real build.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::support::process::{Directory, ServerProcess, run, run_to_its_end};
use crate::system::{Namespace, binary, runs, tool};

/// Writes a generated file into a folder, and returns its path as text.
fn generated(kind: &str, directory: &Directory) -> String {
    let output = run(&["--generate", kind]);
    assert_eq!(output.status.code(), Some(0), "{kind}");

    let path = directory.at(kind);
    fs::write(&path, output.stdout).unwrap();
    path.to_str().expect("its path is text").to_owned()
}

/// Returns the words that bash completes for a line that is split into these words.
fn completed_by_bash(words: &[&str]) -> Vec<String> {
    let directory = Directory::new();
    let script = r#"source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); cd "${0%/*}"
        _synchat; printf '%s\n' "${COMPREPLY[@]}""#;
    let mut bash = tool("bash");
    bash.args(["--norc", "-c", script, &generated("bash", &directory)]);
    let printed = runs(bash.args(words));
    printed
        .lines()
        .map(str::to_owned)
        .filter(|word| !word.is_empty())
        .collect()
}

#[test]
fn bash_completes_options_and_their_values() {
    let directory = Directory::new();
    runs(tool("bash").args(["-n", &generated("bash", &directory)]));

    for (words, expected) in [
        (&["synchat", "p"][..], &["ping"][..]),
        (&["synchat", "--back"], &["--backlog"]),
        (&["synchat", "--max-m"], &["--max-message"]),
        (&["synchat", "--too-long", ""], &["close", "discard"]),
        // bash splits a word at its =.
        (&["synchat", "--too-long", "="], &["close", "discard"]),
        (&["synchat", "--too-long", "=", "d"], &["discard"]),
        (&["synchat", "-v", "--log-time", "r"], &["rfc3339"]),
        (&["synchat", "--terminator", "c"], &["crlf", "cr"]),
        (&["synchat", "--terminator", "le"], &["length:"]),
        (&["synchat", "--handler", ""], &["echo"]),
        (&["synchat", "--log-file", "ba"], &["bash"]),
        (&["synchat", "--grace", ""], &[]),
        (&["synchat", "127.0.0.1:0", "pi"], &[]),
        (&["synchat", "ping", "--ti"], &["--timeout"]),
        (&["synchat", "ping", "--back"], &[]),
        (&["synchat", "ping", "--count", ""], &[]),
        (&["synchat", "ping", "--terminator", "n"], &["nul", "none"]),
    ] {
        assert_eq!(completed_by_bash(words), expected, "{words:?}");
    }
    let all = completed_by_bash(&["synchat", ""]);
    assert!(
        all.len() > 20 && all.contains(&"--print-config".to_owned()),
        "{all:?}"
    );
}

#[test]
fn zsh_reads_the_completions_and_offers_those_that_fit() {
    let directory = Directory::new();
    let file = generated("zsh", &directory);
    runs(tool("zsh").args(["-f", "-n", &file]));

    let offered = |line: &[&str]| {
        // The function that would draw the list prints its arguments instead.
        let script = r#"words=("$@"); CURRENT=$#; _arguments() { print -rl -- "$@" }; source "$0""#;
        let mut zsh = tool("zsh");
        runs(zsh.args(["-f", "-c", script, &file]).args(line))
    };
    let serve = offered(&["synchat", ""]);
    assert!(
        serve.contains("*--too-long=[") && serve.contains(":(close discard)"),
        "{serve}"
    );
    assert!(serve.contains("\n1: :(ping)\n"), "{serve}");
    let ping = offered(&["synchat", "ping", ""]);
    assert!(
        ping.contains("*--count=[") && !ping.contains("--backlog"),
        "{ping}"
    );
    let later = offered(&["synchat", "-v", ""]);
    assert!(!later.contains("(ping)"), "{later}");
}

#[test]
fn fish_completes_options_and_their_values() {
    let directory = Directory::new();
    let file = generated("fish", &directory);
    runs(tool("fish").args(["--no-config", "-n", &file]));

    let completed = |line: &str| -> Vec<String> {
        let script = format!("source {file}; complete -C '{line}'");
        let mut fish = tool("fish");
        fish.env("HOME", directory.at("home"));
        let printed = runs(fish.args(["--no-config", "-c", &script]));
        let words = printed.lines().filter_map(|line| line.split('\t').next());
        words.map(str::to_owned).collect()
    };
    for (line, expected) in [
        ("synchat p", &["ping"][..]),
        ("synchat --back", &["--backlog"]),
        ("synchat --too-long ", &["close", "discard"]),
        ("synchat --log-time=r", &["--log-time=rfc3339"]),
        ("synchat ping --ti", &["--timeout"]),
        ("synchat ping --back", &[]),
    ] {
        assert_eq!(completed(line), expected, "{line}");
    }
}

#[test]
fn groff_and_man_read_the_manual_page_without_a_warning() {
    let directory = Directory::new();
    let page = generated("man", &directory);
    let without_warning = |command: &mut Command| {
        let Output {
            status,
            stdout,
            stderr,
        } = run_to_its_end(command.env("MANWIDTH", "80"));
        assert!(status.success(), "{command:?}");
        assert_eq!(String::from_utf8_lossy(&stderr), "", "{command:?}");
        String::from_utf8(stdout).expect("it is text")
    };

    without_warning(tool("groff").args(["-man", "-ww", "-Tutf8", "-z", &page]));
    let text = without_warning(tool("man").args(["--warnings", "-P", "cat", "-l", &page]));
    for words in [
        "SYNCHAT(1)",
        "--too-long close|discard",
        r"\r \n \t \0 \\ \xHH",
        "synchat ping",
    ] {
        assert!(text.contains(words), "no {words} in {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}

#[test]
fn make_installs_a_real_build_wherever_cargo_puts_it() {
    let directory = Directory::new();
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    // Kept for the next run, and apart from where a binary may lie already.
    let target = project.join("target/heavy/install");
    let stage = directory.at("stage");

    let make = |goal: &str| {
        let mut make = tool("make");
        make.current_dir(project).arg(goal);
        make.arg(format!("DESTDIR={}", stage.display()));
        make.env("CARGO_TARGET_DIR", &target);
        for name in ["MAKEFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR"] {
            make.env_remove(name);
        }
        let output = make.output().expect("make starts");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{told}");
        told
    };

    let told = make("install");
    assert!(told.contains("Finished"), "it says nothing: {told}");
    let installed = stage.join("usr/local/bin/synchat");
    let built = fs::read(target.join("release/synchat")).unwrap();
    assert!(
        fs::read(&installed).unwrap() == built,
        "another binary is installed"
    );
    let version = runs(Command::new(&installed).arg("--version"));
    assert_eq!(version, format!("synchat {}\n", env!("CARGO_PKG_VERSION")));
    assert!(built.len() < 1_000_000, "{} bytes", built.len());

    make("uninstall");
    assert!(!installed.exists());
}

#[test]
fn a_link_local_server_is_reached_as_its_greeting_says() {
    let namespace = Namespace::new();
    namespace.ip("link add inner type veth peer name outer");
    namespace.ip("link set outer up");
    namespace.ip("link set inner up");
    namespace.ip("addr add fe80::5/64 dev inner nodad");

    let mut command = namespace.command(&binary());
    let (server, greeting) = ServerProcess::starts_and_greets(command.arg("[fe80::5%inner]:0"));
    let text = server.address().to_string();
    let (host, port) = text.rsplit_once(':').expect("it has a port");
    assert!(host.starts_with("[fe80::5%"), "{text}");
    for form in [text.clone(), format!("[fe80::5%inner]:{port}")] {
        runs(namespace.command(&binary()).args(["ping", "-qc1", &form]));
    }

    let (_, client) = greeting.split_once("; try: ").expect("it names a client");
    assert!(client.starts_with("nc -C fe80::5%"), "{client}");
    let script = format!("printf 'hello\\n' | {} -q 1", client.trim());
    let reply = runs(namespace.command("sh").args(["-c", &script]));
    assert_eq!(reply, "hello\r\n");
}
