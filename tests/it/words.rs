//! The real binary and the words that people type: misspelt ones, values in any case and unit,
//! variables of others, other forms of an address, and the texts that it generates.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::support::process::{Directory, ServerProcess, complaint, run, run_to_its_end, synchat};

/// Expects that this is bad usage, and that the one line about it has these words.
#[track_caller]
fn assert_refused(arguments: &[&str], words: &[&str]) {
    let line = complaint(&run(arguments), 2);
    for word in words {
        assert!(line.contains(word), "{arguments:?}: no {word:?} in: {line}");
    }
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert_eq!(output.stderr.escape_ascii().to_string(), "");
    assert_eq!(output.status.code(), Some(0));
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

/// Starts a server with these options, and variables, on a free port.
fn server(variables: &[(&str, &str)], options: &[&str]) -> ServerProcess {
    let mut command = synchat();
    command.envs(variables.iter().copied()).arg("127.0.0.1:0");
    ServerProcess::starts_from(command.args(options))
}

/// Returns the log up to the line in which the server says that it listens.
fn log_at_start(variables: &[(&str, &str)], options: &[&str]) -> String {
    server(variables, options).logs_up_to(" listen: ").concat()
}

/// Returns the settings that are printed for these variables and options.
fn config(variables: &[(&str, &str)], options: &[&str]) -> String {
    let mut command = synchat();
    command.envs(variables.iter().copied()).args(options);
    printed(&run_to_its_end(command.arg("--print-config")))
}

/// Returns the lines below a source.
fn of_source<'a>(config: &'a str, source: &str) -> Vec<&'a str> {
    let lines = config
        .lines()
        .skip_while(|line| *line != format!("# source: {source}"));
    let lines = lines.skip(1).take_while(|line| !line.is_empty());
    lines.collect()
}

// Options and choices.

#[test]
fn a_misspelt_option_is_refused_with_the_nearest() {
    for (typed, meant) in [
        ("--max-mesage", "--max-message"),
        ("--max_message=5", "--max-message"),
        ("--MAX-MESSAGE", "--max-message"),
        ("--Help", "--help"),
        ("--verison", "--version"),
        ("--back", "--backlog"),
        ("--connections", "--max-connections"),
        ("--idletimeout", "--idle-timeout"),
        ("--printconfig", "--print-config"),
        ("-backlog", "--backlog"),
    ] {
        assert_refused(&[typed], &[&format!("; did you mean {meant}?"), "--help"]);
    }
    assert_refused(
        &["ping", "--tiemout", "1s"],
        &["did you mean --timeout?", "synchat ping --help"],
    );

    // A guess from afar would mislead.
    for typed in ["--nope", "--port", "-x", "-", "--=1"] {
        let line = complaint(&run(&[typed]), 2);
        assert!(!line.contains("did you mean"), "{line}");
    }
}

#[test]
fn a_word_that_is_no_address_is_refused_with_what_was_meant() {
    for (typed, meant) in [
        ("pign", "synchat ping"),
        ("Ping", "synchat ping"),
        ("help", "--help"),
        ("version", "--version"),
    ] {
        assert_refused(
            &[typed],
            &[&format!("; did you mean {meant}?"), "HOST:PORT"],
        );
    }
    let line = complaint(&run(&["localhost"]), 2);
    assert!(!line.contains("did you mean"), "{line}");
}

#[test]
fn a_choice_is_taken_in_any_case() {
    for options in [
        ["--too-long", "Discard"],
        ["--too-long", "CLOSE"],
        ["--overload", "Wait"],
        ["--log-time", "RFC3339"],
        ["--log-time", "None"],
        ["--handler", "ECHO"],
        ["--allow", "All"],
    ] {
        let server = server(&[], &options);
        server.client().sends("hello\r\n").expects("hello\r\n");
    }
}

#[test]
fn a_misspelt_choice_is_refused_with_the_nearest() {
    for (option, typed, meant) in [
        ("--too-long", "clsoe", "close"),
        ("--too-long", "discrad", "discard"),
        ("--overload", "wiat", "wait"),
        ("--log-time", "rfc-3339", "rfc3339"),
        ("--log-time", "epcoh", "epoch"),
        ("--handler", "ech", "echo"),
    ] {
        assert_refused(
            &[option, typed],
            &[&format!("; did you mean {meant}?"), "one of: "],
        );
    }
}

// Terminators.

#[test]
fn the_keywords_of_terminators_are_taken_in_any_case() {
    for (typed, end) in [
        ("CRLF", "\r\n"),
        ("Crlf", "\r\n"),
        ("LF", "\n"),
        ("Lf", "\n"),
        ("cr", "\r"),
        ("CR", "\r"),
        ("NUL", "\0"),
    ] {
        let server = server(&[], &["--terminator", typed]);
        let line = format!("hello{end}");
        server.client().sends(&line).expects(&line);
    }

    let length = server(&[], &["--terminator", "Length:5"]);
    length.client().sends("helloworld").expects("helloworld");
    let none = server(&[("SYNCHAT_TERMINATOR", "NONE")], &[]);
    none.client().sends("hello").expects("hello");
}

#[test]
fn letters_are_a_terminator_only_if_that_is_asked_for() {
    for (typed, end) in [
        ("bytes:END", "END"),
        ("Bytes:crlf", "crlf"),
        (r"\x45ND", "END"),
        (r"bytes:\r\n.\r\n", "\r\n.\r\n"),
        ("END.", "END."),
    ] {
        let server = server(&[], &["--terminator", typed]);
        let line = format!("hello{end}");
        server.client().sends(&line).expects(&line);
    }
    assert_refused(
        &["--terminator", "END"],
        &["\"END\"", "write bytes:END", "crlf, lf, cr, nul, none"],
    );
    assert_refused(&["--terminator", "é"], &["write bytes:é"]);
    assert_refused(&["--terminator", "bytes:"], &["bytes:TEXT"]);
}

#[test]
fn a_misspelt_terminator_is_refused_with_the_nearest() {
    for (typed, meant) in [
        ("crfl", "crlf"),
        ("CLRF", "crlf"),
        ("crl", "crlf"),
        ("CR+LF", "crlf"),
        ("cr lf", "crlf"),
        ("null", "nul"),
        ("nune", "none"),
        ("lenght:5", "length"),
        ("len:5", "length"),
        ("byte:END", "bytes"),
    ] {
        let hint = format!("did you mean {meant}?");
        assert_refused(&["--terminator", typed], &[&hint]);
        assert_refused(&["ping", "--terminator", typed], &[&hint]);
    }
}

// Sizes and times.

#[test]
fn sizes_are_taken_as_people_write_them() {
    for (typed, limit) in [
        ("10", 10),
        ("10B", 10),
        ("2k", 2048),
        ("2K", 2048),
        ("2KB", 2048),
        ("2kib", 2048),
        ("2KiB", 2048),
    ] {
        let server = server(&[], &["--max-message", typed]);
        let longest = "x".repeat(limit) + "\r\n";
        server.client().sends(&longest).expects(&longest);
        let error = format!("error: message longer than {limit} bytes\r\n");
        server
            .client()
            .sends("x".to_owned() + &longest)
            .expects(&error);
    }

    for typed in ["1M", "1MB", "1024MiB", "1g", "1GB", "1GiB", "1048576KB"] {
        config(&[], &["--max-message", typed]);
    }
}

#[test]
fn a_size_out_of_range_is_refused_with_the_range_in_units() {
    for typed in [
        "0",
        "0k",
        "2G",
        "1025MiB",
        "1T",
        "1.5M",
        "64 k",
        "k",
        "99999999999999999999",
        "18446744073709551615k",
        "17179869184GiB",
    ] {
        assert_refused(&["--max-message", typed], &["as in 64k or 1MiB", "1GiB"]);
    }
    assert_refused(&["--stack-size", "63k"], &["from 64KiB to 1GiB"]);
    assert_refused(&["ping", "-s", "17M"], &["from 1 to 16MiB"]);
}

#[test]
fn times_are_taken_as_people_write_them() {
    for typed in [
        "500ms", "500MS", "2s", "2S", "5m", "5M", "1h", "1H", "1d", "30D",
    ] {
        let log = log_at_start(&[("SYNCHAT_IDLE_TIMEOUT", typed)], &["-v"]);
        let setting = format!(" setting: idle-timeout={typed} source=environment\n");
        // The default is no change.
        assert_eq!(
            log.contains(&setting),
            !["5m", "5M"].contains(&typed),
            "{log}"
        );
        assert!(!log.contains("--idle-timeout is off"), "{log}");
    }

    for typed in ["0", "0s", "0ms", "0m", "0h", "0d"] {
        let log = log_at_start(&[], &["--idle-timeout", typed]);
        assert!(log.contains("--idle-timeout is off"), "{log}");
    }

    let brief = server(&[], &["--idle-timeout", "100MS"]);
    let mut client = brief.client();
    client.expects("error: too slow, idle limit=100ms\r\n");
}

#[test]
fn a_time_out_of_range_is_refused_with_the_range() {
    for typed in [
        "30",
        "31d",
        "721h",
        "1w",
        "1.5s",
        "-1s",
        "1 s",
        "h",
        "99999999999999999999s",
        "18446744073709551615d",
    ] {
        assert_refused(&["--grace", typed], &["500ms, 30s, 5m, 1h or 1d", "30d"]);
    }
    assert_refused(&["ping", "-W", "0s"], &["up to 30d"]);
}

// Variables.

#[test]
fn a_variable_of_no_option_is_warned_about_with_the_nearest() {
    for (name, hint) in [
        ("SYNCHAT_MAX_MESAGE", "did you mean SYNCHAT_MAX_MESSAGE?"),
        ("SYNCHAT_ADRESS", "did you mean SYNCHAT_ADDRESS?"),
        (
            "SYNCHAT_CONNECTIONS",
            "did you mean SYNCHAT_MAX_CONNECTIONS?",
        ),
        ("synchat_grace", "did you mean SYNCHAT_GRACE?"),
        ("SYNCHAT_FOO", "synchat --help lists them"),
    ] {
        let warning = format!("environment: {name} is not the variable of an option; {hint}\n");
        // Also where only warnings are logged.
        for options in [&[][..], &["-v"]] {
            let log = log_at_start(&[(name, "5")], options);
            assert!(log.contains(&warning), "{name}: {log}");
            assert_eq!(log.matches("WARNING").count(), 1, "{log}");
        }
    }
}

#[test]
fn variables_of_container_engines_are_left_alone() {
    let log = log_at_start(
        &[
            ("SYNCHAT_PORT", "tcp://10.0.0.1:7007"),
            ("SYNCHAT_PORT_7007_TCP", "tcp://10.0.0.1:7007"),
            ("SYNCHAT_PORT_7007_TCP_ADDR", "10.0.0.1"),
            ("SYNCHAT_SERVICE_HOST", "10.0.0.1"),
            ("SYNCHAT_SERVICE_PORT", "7007"),
            ("SYNCHAT_SERVICE_PORT_LINES", "7007"),
            ("SYNCHAT_LF_SERVICE_HOST", "10.0.0.1"),
            ("SYNCHAT_NAME", "/web/synchat"),
            ("SYNCHAT_ENV_PATH", "/bin"),
            ("SYNCHAT_", ""),
        ],
        &[],
    );
    assert!(!log.contains("WARNING"), "{log}");
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let config = config(&[], &[]);
    let variables = config
        .lines()
        .filter_map(|line| line.trim_start_matches("# ").split_once(['=', ':']))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("SYNCHAT_"));
    let empty: BTreeMap<_, _> = variables.map(|name| (name, "")).collect();
    assert_eq!(empty.len(), 22, "{empty:?}");

    let mut command = synchat();
    command.envs(&empty).arg("--print-config");
    assert_eq!(printed(&run_to_its_end(&mut command)), config);

    let mut command = synchat();
    command.env("SYNCHAT_MAX_MESAGE", "").envs(&empty);
    let mut server = ServerProcess::starts_from(command.arg("127.0.0.1:0"));
    let log = server.logs_up_to(" listen: ").concat();
    assert!(!log.contains("WARNING"), "{log}");
    server.client().sends("hello\r\n").expects("hello\r\n");
}

// Where settings come from.

#[test]
fn the_log_names_each_changed_setting_and_its_source() {
    let variables = [
        ("SYNCHAT_GRACE", "3s"),
        ("SYNCHAT_BACKLOG", "7"),
        ("SYNCHAT_TOO_LONG", "close"),
    ];
    let options = [
        "-v",
        "--backlog=9",
        "--max-message",
        "4k",
        "--overload=refuse",
    ];
    let log = log_at_start(&variables, &options);
    let settings: Vec<_> = log
        .lines()
        .filter_map(|line| line.split_once(" synchat setting: "))
        .map(|(_, setting)| setting)
        .collect();
    // Values that are the default are no changes.
    let expected = [
        "grace=3s source=environment",
        "verbose=1 source=flag",
        "backlog=9 source=flag",
        "max-message=4k source=flag",
        "address=127.0.0.1:0 source=flag",
    ];
    assert_eq!(settings, expected);

    let log = log_at_start(&variables, &[]);
    assert!(!log.contains("setting: "), "{log}");
}

#[test]
fn the_settings_are_printed_with_their_sources() {
    let variables = [("SYNCHAT_GRACE", "3s"), ("SYNCHAT_BACKLOG", "7")];
    let options = ["--backlog", "9", "--terminator", r"\r\n.\r\n", "[::1]:7"];
    let config = config(&variables, &options);

    assert_eq!(
        of_source(&config, "flag"),
        [
            "SYNCHAT_BACKLOG=9",
            r"SYNCHAT_TERMINATOR='\r\n.\r\n'",
            "SYNCHAT_ADDRESS=[::1]:7"
        ]
    );
    assert_eq!(of_source(&config, "environment"), ["SYNCHAT_GRACE=3s"]);
    let defaults = of_source(&config, "default");
    assert_eq!(defaults.len(), 18, "{config}");
    for line in [
        "SYNCHAT_MAX_MESSAGE=64KiB",
        "SYNCHAT_ALLOW=all",
        "SYNCHAT_QUIET=0",
        "# SYNCHAT_MAX_CONNECTIONS: 1024",
        "# SYNCHAT_LOG_FILE: standard error",
    ] {
        assert!(defaults.contains(&line), "no {line} in {config}");
    }

    // Every line is a comment, empty, or a setting: systemd and docker take no others.
    for line in config.lines() {
        let is_setting = line.starts_with("SYNCHAT_") && line.contains('=') && !line.contains(" #");
        assert!(
            is_setting || line.is_empty() || line.starts_with("# "),
            "{line}"
        );
    }
}

#[test]
fn the_printed_settings_are_an_env_file_for_the_same_settings() {
    let options = [
        &["-qv", "--max-message", "4k", "--log-file", "it's $HOME #1"][..],
        &["-v", "-q", "--allow=::1", "--allow", "10.0.0.0/8"],
        &["-vv", "--terminator", r"a \\b'\x00", "unix:/tmp/a b"],
        &["--max-connections=7", "--idle-timeout=0s"],
        &[],
    ];
    let directory = Directory::new();
    let file = directory.at("env");
    let settings = |config: &str| -> Vec<String> {
        let lines = config.lines().filter(|line| line.starts_with("SYNCHAT_"));
        let mut lines: Vec<_> = lines.map(str::to_owned).collect();
        lines.sort();
        lines
    };

    for options in options {
        let config = config(&[("SYNCHAT_QUIET", "1")], options);
        fs::write(&file, &config).unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "set -a; . \"$0\"; exec \"$1\" --print-config"]);
        shell.arg(&file).arg(synchat().get_program());
        let again = printed(&run_to_its_end(&mut shell));
        assert_eq!(settings(&again), settings(&config), "{options:?}");
        assert!(!again.contains("# source: flag"), "{again}");
    }
}

#[test]
fn settings_that_are_wrong_are_refused_and_not_printed() {
    assert_refused(&["--print-config", "--backlog", "x"], &["--backlog \"x\""]);
    assert_refused(&["--print-config=1"], &["--print-config takes no value"]);
    assert_refused(&["ping", "--print-config"], &["no such option"]);
    assert_refused(
        &[
            "--terminator",
            "length:9",
            "--max-message=8",
            "--print-config",
        ],
        &["raise"],
    );
}

#[test]
fn a_misspelt_variable_is_told_beside_the_settings() {
    let mut command = synchat();
    command.env("SYNCHAT_MAX_MESAGE", "5").arg("--print-config");
    let output = run_to_its_end(&mut command);
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout.starts_with(b"# The settings of synchat "));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(
        told.ends_with("did you mean SYNCHAT_MAX_MESSAGE?\n"),
        "{told}"
    );
    assert_eq!(told.lines().count(), 1);
}

// Addresses.

#[test]
fn an_address_in_another_form_is_refused_with_the_right_one() {
    for (typed, hint) in [
        ("localhost", "write localhost:7007"),
        ("127.0.0.1", "write 127.0.0.1:7007"),
        ("[::1]", "write [::1]:7007"),
        ("7007", "write 127.0.0.1:7007"),
        ("tcp://127.0.0.1:0", "without tcp://, as 127.0.0.1:0"),
        ("TCP:127.0.0.1:0", "without TCP:, as 127.0.0.1:0"),
        ("http://localhost:80/x", "without http://, as localhost:80"),
        ("localhost:7007/x", "write localhost:7007"),
        ("localhost 7007", "write localhost:7007"),
        ("/run/echo.sock", "write unix:/run/echo.sock"),
        ("./echo.sock", "write unix:./echo.sock"),
        ("::1", "as in [::1]:7007"),
        ("::1:80", "as in [::1]:80"),
        ("[localhost]:80", "write localhost:80"),
        ("*:80", "write 0.0.0.0:80 or [::]:80"),
        ("[::1%nowhere]:0", "no network interface \"nowhere\""),
    ] {
        assert_refused(&[typed], &[hint]);
        assert_refused(&["ping", typed], &[hint]);
        let line = complaint(&run_to_its_end(synchat().env("SYNCHAT_ADDRESS", typed)), 2);
        assert!(line.contains(hint), "{line}");
    }
}

#[test]
fn a_zone_is_taken_by_name_and_by_number() {
    for address in ["[::1%lo]:0", "[::1%1]:0"] {
        let server = ServerProcess::starts_from(synchat().arg(address));
        server.client().sends("hello\r\n").expects("hello\r\n");
    }
    // No such address is there, but the zone was found.
    let line = complaint(&run(&["[fe80::1%lo]:0"]), 1);
    assert!(line.contains("[fe80::1%1]:0"), "{line}");

    // A sign makes a name of it, and no interface has that.
    let line = complaint(&run(&["[fe80::1%+1]:0"]), 2);
    assert!(line.contains("\"+1\""), "{line}");
}

#[test]
fn a_link_local_address_without_its_zone_is_told_so() {
    let hint = "a link-local address needs its zone, as in [fe80::1%2]:7007";
    let line = complaint(&run(&["[fe80::1]:0"]), 1);
    assert!(line.contains(hint), "{line}");

    let output = run(&["ping", "-c1", "[fe80::1]:7007"]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(printed.contains(hint), "{printed}");
}

#[test]
fn the_prefix_of_a_unix_path_is_taken_in_any_case() {
    let directory = Directory::new();
    let address = directory.socket("echo").replace("unix:", "UNIX:");
    let server = ServerProcess::starts_from(synchat().arg(address));
    server.client().sends("hello\r\n").expects("hello\r\n");
}

#[test]
fn advice_on_a_unix_path_speaks_of_paths() {
    let directory = Directory::new();
    let address = directory.socket("echo");
    let _server = ServerProcess::starts_from(synchat().arg(&address));
    let line = complaint(&run(&[&address]), 1);
    assert!(line.ends_with("or choose another path"), "{line}");
    assert!(!line.contains("port"), "{line}");
}

#[test]
fn a_name_that_does_not_resolve_is_told_with_advice() {
    let line = complaint(&run(&["no such.invalid:7007"]), 2);
    assert!(line.contains("not a name"), "{line}");
    // A part of more than 63 letters is refused before any resolver is asked.
    let address = "a".repeat(64) + ".invalid:7007";
    let line = complaint(&run(&[&address]), 1);
    assert!(
        line.ends_with("; check the name, or write an IP address"),
        "{line}"
    );
}

#[test]
fn a_socket_from_systemd_that_would_go_unused_is_refused() {
    let starts = |variables: &str, address: &str| {
        let mut shell = Command::new("sh");
        shell.args(["-c", &format!("{variables} exec \"$0\" {address}")]);
        run_to_its_end(shell.arg(synchat().get_program()).stdin(Stdio::null()))
    };
    let line = complaint(&starts("LISTEN_PID=$$ LISTEN_FDS=1", "127.0.0.1:0"), 2);
    for word in ["LISTEN_FDS=1", "fd:0", "StandardInput=socket", "--inetd"] {
        assert!(line.contains(word), "no {word} in {line}");
    }
    // The address is right, and only the socket is missing.
    let line = complaint(&starts("LISTEN_PID=$$ LISTEN_FDS=1", "fd:0"), 1);
    assert!(line.contains("cannot listen on fd:0"), "{line}");

    // The sockets of a parent are not for its children.
    for (name, value) in [("LISTEN_PID", "1"), ("LISTEN_PID", ""), ("LISTEN_FDS", "0")] {
        let mut command = synchat();
        command.env("LISTEN_FDS", "1").env(name, value);
        let server = ServerProcess::starts_from(command.arg("127.0.0.1:0"));
        server.client().sends("hello\r\n").expects("hello\r\n");
    }
}

// Generated files, and their installation.

#[test]
fn a_generated_file_has_every_option() {
    let help = printed(&run(&["-h"])) + &printed(&run(&["ping", "-h"]));
    let options: Vec<_> = help
        .split_whitespace()
        .filter_map(|word| word.strip_prefix("--"))
        .filter(|word| word.starts_with(|c: char| c.is_ascii_lowercase()))
        .map(|word| word.trim_end_matches(|c: char| !c.is_ascii_alphanumeric()))
        .collect();
    assert!(options.len() > 25, "{options:?}");

    for kind in ["man", "bash", "zsh", "fish"] {
        let text = printed(&run(&["--generate", kind]));
        for option in &options {
            let form = match kind {
                "man" => format!(r"\-\-{}", option.replace('-', r"\-")),
                "fish" => format!("-l {option} "),
                _ => format!("--{option}"),
            };
            assert!(text.contains(&form), "no {form} for {kind}");
        }
    }
    assert!(!help.contains("generate"), "{help}");
    assert_refused(&["--generate", "zhs"], &["did you mean zsh?"]);
    assert_refused(&["--generate"], &["man, bash, zsh, fish"]);
}

#[test]
fn the_manual_page_has_its_sections_and_no_stray_macro() {
    let page = printed(&run(&["--generate", "man"]));
    for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXAMPLES"] {
        assert!(page.contains(&format!("\n.SH {section}\n")), "no {section}");
    }
    let macros = [".TH ", ".SH ", ".TP", ".PP", ".br", ".nf", ".fi", ".\\\" "];
    for line in page.lines().filter(|line| line.starts_with(['.', '\''])) {
        assert!(macros.iter().any(|name| line.starts_with(name)), "{line}");
    }
    assert_eq!(
        page.matches("\n.nf\n").count(),
        page.matches("\n.fi\n").count()
    );
}

/// Runs `make` in the project, with a script in place of cargo.
fn make(target: &str, cargo: &Path, variables: &[String]) -> Output {
    let mut command = Command::new("make");
    // The tests may be run by a make of their own.
    for name in ["MAKEFLAGS", "MAKELEVEL", "PREFIX", "DESTDIR", "ARGS"] {
        command.env_remove(name);
    }
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg(target)
        .arg(format!("CARGO={}", cargo.display()))
        .args(variables);
    run_to_its_end(&mut command)
}

/// Writes a script that can be run, and returns its path.
fn script(directory: &Directory, text: &str) -> PathBuf {
    let path = directory.at("cargo");
    fs::write(&path, format!("#!/bin/sh\n{text}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// Returns all files below a folder, by their paths in it.
fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let inside = path.strip_prefix(folder).unwrap();
                found.push(inside.display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn make_installs_what_cargo_has_built_and_removes_exactly_that() {
    let directory = Directory::new();
    let binary = synchat().get_program().to_str().unwrap().to_owned();
    let messages = format!(
        "[ \"$1 $2 $3\" = 'build --release --locked' ] || exit 9\n\
         echo '{{\"reason\":\"compiler-artifact\",\"executable\":null}}'\n\
         echo '{{\"reason\":\"compiler-artifact\",\"executable\":\"{binary}\",\"fresh\":true}}'\n"
    );
    let cargo = script(&directory, &messages);

    let stage = directory.at("a stage");
    let variables = [
        format!("DESTDIR={}", stage.display()),
        "PREFIX=/opt/x".into(),
    ];
    let output = make("install", &cargo, &variables);
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");

    let root = stage.join("opt/x");
    assert_eq!(
        files(&stage),
        [
            "opt/x/bin/synchat",
            "opt/x/lib/systemd/system/synchat.service",
            "opt/x/share/bash-completion/completions/synchat",
            "opt/x/share/fish/vendor_completions.d/synchat.fish",
            "opt/x/share/man/man1/synchat.1",
            "opt/x/share/zsh/site-functions/_synchat",
        ]
    );
    assert_eq!(
        fs::read(root.join("bin/synchat")).unwrap(),
        fs::read(&binary).unwrap()
    );
    for file in files(&root) {
        let mode = fs::metadata(root.join(&file)).unwrap().permissions().mode();
        let expected = if file == "bin/synchat" { 0o755 } else { 0o644 };
        assert_eq!(mode & 0o777, expected, "{file}");
    }

    let unit = fs::read_to_string(root.join("lib/systemd/system/synchat.service")).unwrap();
    assert!(unit.contains("\nExecStart=/opt/x/bin/synchat "), "{unit}");
    for (kind, file) in [
        ("man", "share/man/man1/synchat.1"),
        ("bash", "share/bash-completion/completions/synchat"),
        ("zsh", "share/zsh/site-functions/_synchat"),
        ("fish", "share/fish/vendor_completions.d/synchat.fish"),
    ] {
        let text = fs::read_to_string(root.join(file)).unwrap();
        assert_eq!(text, printed(&run(&["--generate", kind])), "{file}");
    }

    // Files of others stay.
    fs::write(root.join("bin/other"), "").unwrap();
    assert!(make("uninstall", &cargo, &variables).status.success());
    assert_eq!(files(&stage), ["opt/x/bin/other"]);
    assert!(make("uninstall", &cargo, &variables).status.success());
}

#[test]
fn make_installs_nothing_after_a_build_that_failed() {
    let directory = Directory::new();
    let stage = directory.at("stage");
    let variables = [format!("DESTDIR={}", stage.display())];
    let output = make("install", Path::new("false"), &variables);
    assert!(!output.status.success());
    assert!(!stage.exists());
}

#[test]
fn make_run_lets_cargo_say_that_it_builds() {
    let directory = Directory::new();
    let cargo = script(&directory, "echo \"cargo $@\"\n");
    let output = make("run", &cargo, &["ARGS=[::1]:0 -v".to_owned()]);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        printed.contains("cargo run --release --locked -- [::1]:0 -v\n"),
        "{printed}"
    );
}
