//! The real program's arguments and environment: what it accepts, what it refuses and how, and what
//! it prints.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Output, Stdio};

use synchat::Address;

use crate::support::process::{
    Directory, Running, ServerProcess, complaint, file_with, run, run_to_its_end, synchat,
};

/// The variables of all options and of the address.
const VARIABLES: [&str; 22] = [
    "SYNCHAT_ADDRESS",
    "SYNCHAT_ALLOW",
    "SYNCHAT_BACKLOG",
    "SYNCHAT_GRACE",
    "SYNCHAT_HANDLER",
    "SYNCHAT_IDLE_TIMEOUT",
    "SYNCHAT_LOG_FILE",
    "SYNCHAT_LOG_TIME",
    "SYNCHAT_MAX_CONNECTIONS",
    "SYNCHAT_MAX_MESSAGE",
    "SYNCHAT_MAX_PER_ADDRESS",
    "SYNCHAT_MESSAGE_TIMEOUT",
    "SYNCHAT_OVERLOAD",
    "SYNCHAT_QUIET",
    "SYNCHAT_REPORT_INTERVAL",
    "SYNCHAT_SOCKET_MODE",
    "SYNCHAT_SPARE_THREADS",
    "SYNCHAT_STACK_SIZE",
    "SYNCHAT_TERMINATOR",
    "SYNCHAT_TOO_LONG",
    "SYNCHAT_VERBOSE",
    "SYNCHAT_WRITE_TIMEOUT",
];

/// Expects bad usage, with one line that contains all of these words.
#[track_caller]
fn assert_refused(arguments: &[&str], told: &[&str]) {
    let line = complaint(&run(arguments), 2);
    for word in told {
        assert!(line.contains(word), "{arguments:?}: no {word:?} in: {line}");
    }
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(output.stderr.escape_ascii().to_string(), "");
    String::from_utf8(output.stdout.clone()).expect("it prints text")
}

fn server_with_environment(variables: &[(&str, &str)], arguments: &[&str]) -> ServerProcess {
    ServerProcess::starts_from(
        synchat()
            .arg("127.0.0.1:0")
            .envs(variables.iter().copied())
            .args(arguments),
    )
}

/// Returns the backlog that a server has logged.
fn backlog(mut server: ServerProcess) -> String {
    let line = server.logs("listen:");
    let (_, backlog) = line.trim_end().split_once(" backlog=").expect("it has one");
    backlog.to_owned()
}

/// Returns a listening socket for a server to inherit. The test knows its address beforehand.
fn a_listening_socket() -> (Stdio, Address) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (OwnedFd::from(listener).into(), address.into())
}

/// Returns a pipe that nobody reads.
fn a_broken_pipe() -> Stdio {
    let (_, writer) = io::pipe().unwrap();
    writer.into()
}

/// Returns a device that is always full.
fn a_full_device() -> Stdio {
    let device = File::options().write(true).open("/dev/full");
    device.expect("Linux has this device").into()
}

#[test]
fn an_unknown_option_is_named() {
    for option in ["--nope", "--Help", "--back", "-x", "--backlogs=1", "-"] {
        let name = option.split('=').next().unwrap();
        assert_refused(&[option], &[&format!(" {name}: no such option"), "--help"]);
    }
    assert_refused(&["-vx"], &[" -x: no such option"]);
    assert_refused(&["-v=1"], &[" -=: no such option"]);
    assert_refused(&["--=1"], &["no such option"]);
    assert_refused(&["127.0.0.1:0", "--nope"], &["--nope"]);
}

#[test]
fn an_option_without_its_value_is_named() {
    for (option, value) in [
        ("--handler", "NAME"),
        ("--terminator", "T"),
        ("--max-message", "BYTES"),
        ("--too-long", "close|discard"),
        ("--backlog", "N"),
        ("--stack-size", "BYTES"),
        ("--spare-threads", "N"),
        ("--log-file", "PATH"),
        ("--log-time", "epoch|rfc3339|none"),
    ] {
        assert_refused(
            &["127.0.0.1:0", option],
            &[&format!("{option}: it needs a value, {value}")],
        );
    }
}

#[test]
fn a_switch_takes_no_value() {
    for option in ["--verbose=1", "--quiet="] {
        let (name, _) = option.split_once('=').unwrap();
        assert_refused(&[option], &[option, &format!("{name} takes no value")]);
    }
}

#[test]
fn help_and_version_take_no_value() {
    for option in ["--help=1", "--version="] {
        let (name, _) = option.split_once('=').unwrap();
        assert_refused(&[option], &[option, &format!("{name} takes no value")]);
    }
}

#[test]
fn a_bad_value_is_named_with_a_good_form() {
    let bytes = "a number of bytes, or of k, M or G as in 64k or 1MiB, from ";
    let number = "a number from 1 to 2147483647";
    let too_long = "one of: close, discard";
    let log_time = "one of: epoch, rfc3339, none";
    let cases = [
        ("--max-message", "", bytes),
        ("--max-message", "0", bytes),
        ("--max-message", "-1", bytes),
        ("--max-message", "64Kb/s", bytes),
        ("--max-message", "1 MiB", bytes),
        ("--max-message", "1025MiB", "from 1 to 1GiB"),
        ("--max-message", "99999999999999999999", bytes),
        ("--stack-size", "1", "from 64KiB to 1GiB"),
        ("--stack-size", "63KiB", "from 64KiB "),
        ("--stack-size", "lots", bytes),
        ("--backlog", "", number),
        ("--backlog", "0", number),
        ("--backlog", "2147483648", number),
        ("--backlog", "1KiB", number),
        ("--backlog", "--quiet", number),
        ("--too-long", "Closed", too_long),
        ("--too-long", "", too_long),
        ("--log-time", "iso", log_time),
        ("--handler", "ech", "one of: echo"),
        ("--log-file", "", "path of a file"),
    ];
    for (option, value, form) in cases {
        let told = format!("{option} {value:?}: not ");
        assert_refused(&[option, value], &[&told, form]);
        assert_refused(&[&format!("{option}={value}")], &[&told, form]);
    }
}

#[test]
fn a_bad_terminator_is_named_with_the_good_forms() {
    let escapes = r"\r \n \t \0 \\ \xHH";
    let cases = [
        ("", "crlf, lf, cr, nul, none, length:N or bytes:TEXT"),
        (r"\q", escapes),
        (r"a\", escapes),
        (r"\x0", escapes),
        (r"\xzz", escapes),
        ("length:", "length:N"),
        ("length:0", "length:N"),
        ("length:-4", "length:N"),
        ("length:4KiB", "length:N"),
        ("length:99999999999999999999", "length:N"),
    ];
    for (value, form) in cases {
        let told = format!("--terminator {value:?}: not ");
        assert_refused(&["--terminator", value], &[&told, form]);
    }
}

#[test]
fn a_length_above_max_message_is_refused_with_advice() {
    assert_refused(
        &["--terminator", "length:65537"],
        &["--terminator length:65537", "--max-message 64KiB", "raise"],
    );
    assert_refused(
        &["--max-message", "9", "--terminator", "length:10"],
        &["--terminator length:10", "--max-message 9", "raise"],
    );
    let server = ServerProcess::starts(&["--terminator=length:10", "--max-message=10"]);
    server.client().sends("0123456789").expects("0123456789");
}

#[test]
fn two_addresses_are_both_named() {
    assert_refused(
        &["127.0.0.1:0", "[::1]:0"],
        &["\"127.0.0.1:0\"", "\"[::1]:0\"", "only one address"],
    );
    assert_refused(&["echo", "127.0.0.1:0"], &["\"echo\"", "only one address"]);
}

#[test]
fn a_bad_address_is_named_with_the_good_forms() {
    let cases = [
        ("", "no port"),
        ("localhost", "no port"),
        ("7007", "no port"),
        (":7007", "no host; 0.0.0.0 and [::] mean"),
        ("localhost:", "the port is not a number up to 65535"),
        ("localhost:http", "the port is not a number up to 65535"),
        ("127.0.0.1:65536", "the port is not a number up to 65535"),
        (
            "::1:7007",
            "write an IPv6 address in brackets, as in [::1]:7007",
        ),
        ("[::1]", "no port"),
        ("two words:1", "the host is not a name"),
        ("unix:", "no path after unix:"),
        ("fd:1", "only descriptor 0 can be inherited"),
        ("fd:", "only descriptor 0 can be inherited"),
    ];
    for (address, problem) in cases {
        assert_refused(
            &[address],
            &[
                &format!("{address:?} is not an address: {problem}"),
                "HOST:PORT, [V6]:PORT, unix:PATH or fd:0",
            ],
        );
    }
}

#[test]
fn an_argument_that_is_not_utf_8_is_refused() {
    let bad = OsStr::from_bytes(b"unix:/tmp/\xff");
    let attached = OsStr::from_bytes(b"--log-file=\xff");
    let option = OsStr::new("--log-file");
    for arguments in [&[bad][..], &[attached], &[option, bad]] {
        let line = complaint(&run_to_its_end(synchat().args(arguments)), 2);
        assert!(line.contains(r"\xFF") && line.contains("UTF-8"), "{line}");
    }
}

#[test]
fn line_ends_in_an_argument_are_escaped_in_the_error() {
    for arguments in [
        &["--no\nsuch"][..],
        &["-\n"],
        &["--verbose=\n"],
        &["--backlog=\n"],
        &["--terminator", "\n\\"],
        &["a\nb:x"],
        &["a\nb", "c"],
    ] {
        assert_refused(arguments, &[r"\n"]);
    }

    let output = run_to_its_end(synchat().env("SYNCHAT_BACKLOG", "1\n2"));
    let line = complaint(&output, 2);
    assert!(line.contains("SYNCHAT_BACKLOG"), "{line}");
}

#[test]
fn a_bad_value_in_any_variable_is_refused_by_name() {
    for name in VARIABLES {
        // Any text is the path of a file, so this one must be where no file can be made.
        let (value, code) = match name {
            "SYNCHAT_LOG_FILE" => ("/nonexistent/log", 1),
            _ => (r"\q", 2),
        };
        let output = run_to_its_end(synchat().env(name, value));
        let line = complaint(&output, code);
        assert!(line.contains(name) || code == 1, "{line}");
        assert!(line.contains(value), "{line}");
    }
}

#[test]
fn a_variable_that_is_not_utf_8_is_named() {
    for name in VARIABLES {
        let value = OsStr::from_bytes(b"\xff");
        let line = complaint(&run_to_its_end(synchat().env(name, value)), 2);
        assert!(line.contains(name) && line.contains("UTF-8"), "{line}");
    }
}

#[test]
fn variables_set_what_flags_set() {
    let directory = Directory::new();
    let log = directory.at("log");
    let variables: [(&str, OsString); 22] = [
        ("SYNCHAT_ADDRESS", directory.socket("echo").into()),
        ("SYNCHAT_ALLOW", "10.0.0.0/8".into()),
        ("SYNCHAT_BACKLOG", "7".into()),
        ("SYNCHAT_GRACE", "7s".into()),
        ("SYNCHAT_HANDLER", "echo".into()),
        ("SYNCHAT_IDLE_TIMEOUT", "300ms".into()),
        ("SYNCHAT_LOG_FILE", log.clone().into()),
        ("SYNCHAT_LOG_TIME", "none".into()),
        ("SYNCHAT_MAX_CONNECTIONS", "1".into()),
        ("SYNCHAT_MAX_MESSAGE", "4".into()),
        ("SYNCHAT_MAX_PER_ADDRESS", "7".into()),
        ("SYNCHAT_MESSAGE_TIMEOUT", "0".into()),
        ("SYNCHAT_OVERLOAD", "refuse".into()),
        ("SYNCHAT_QUIET", "0".into()),
        ("SYNCHAT_REPORT_INTERVAL", "50ms".into()),
        ("SYNCHAT_SOCKET_MODE", "0700".into()),
        ("SYNCHAT_SPARE_THREADS", "2".into()),
        ("SYNCHAT_STACK_SIZE", "64KiB".into()),
        ("SYNCHAT_TERMINATOR", "lf".into()),
        ("SYNCHAT_TOO_LONG", "discard".into()),
        ("SYNCHAT_VERBOSE", "1".into()),
        ("SYNCHAT_WRITE_TIMEOUT", "0".into()),
    ];
    assert!(variables.iter().map(|(name, _)| *name).eq(VARIABLES));

    let server = ServerProcess::starts_from(synchat().envs(variables));
    assert_eq!(server.address(), &Address::Unix(directory.at("echo")));

    let mut peer = server.client();
    peer.sends("four\nlonger\nnext\n");
    peer.expects("four\nerror: message longer than 4 bytes\nnext\n");
    let mut one_more = server.client();
    one_more.expects("error: too many connections, the limit is 1\n");
    peer.expects("error: too slow, idle limit=300ms\n")
        .expects_eof();
    let log = file_with(&log, 1, "conn_closed: ");
    for line in [
        "    INFO 1 synchat::server bind: ",
        " listen: backlog=7\n",
        "--message-timeout is off",
        "--write-timeout is off",
        "collect_incoming_data: [four]",
        " report: accepted=1 open=1 ",
    ] {
        assert!(log.contains(line), "no {line:?} in {log}");
    }
}

#[test]
fn synchat_quiet_silences_the_log_but_not_the_greeting() {
    let mut command = synchat();
    command.arg("127.0.0.1:0").env("SYNCHAT_QUIET", "1");
    let (server, greeting) = ServerProcess::starts_and_greets(&mut command);
    assert!(
        greeting.starts_with("synchat: serving echo on "),
        "{greeting}"
    );
    server.client().sends("hello\r\n").expects("hello\r\n");
    let (printed, logged) = server.killed();
    assert_eq!((printed + &logged).as_str(), "");
}

#[test]
fn a_flag_beats_the_environment_which_beats_the_default() {
    let environment = [("SYNCHAT_BACKLOG", "7")];
    let flag = ["--backlog", "9"];
    assert_eq!(backlog(server_with_environment(&[], &[])), "4096");
    assert_eq!(backlog(server_with_environment(&environment, &[])), "7");
    assert_eq!(backlog(server_with_environment(&environment, &flag)), "9");
    assert_eq!(backlog(server_with_environment(&[], &flag)), "9");

    // An address on the command line beats the one of the variable.
    let environment = [("SYNCHAT_ADDRESS", "unix:/nonexistent/path")];
    let server = server_with_environment(&environment, &[]);
    assert!(server.address().as_socket_addr().is_some());

    // Of -q and -v the flag wins over the variable.
    let mut server = server_with_environment(&[("SYNCHAT_QUIET", "1")], &["-v"]);
    server.client().sends("hello\r\n").expects("hello\r\n");
    server.logs("found_terminator");
}

#[test]
fn a_value_can_be_attached_or_separate() {
    for arguments in [&["--backlog=9"][..], &["--backlog", "9"]] {
        assert_eq!(backlog(ServerProcess::starts(arguments)), "9");
    }
    // Only the first = belongs to the option.
    let server = ServerProcess::starts(&["--terminator=="]);
    server.client().sends("a=").expects("a=");
}

#[test]
fn the_last_of_two_equal_options_counts() {
    let server = ServerProcess::starts(&["--backlog", "3", "--backlog=4"]);
    assert_eq!(backlog(server), "4");
    let mut server = ServerProcess::starts(&["-q", "-v"]);
    server.client().sends("hello\r\n").expects("hello\r\n");
    server.logs("found_terminator");
}

#[test]
fn the_address_can_stand_before_or_after_the_options() {
    for arguments in [
        &["127.0.0.1:0", "--backlog", "9"][..],
        &["--backlog", "9", "127.0.0.1:0"],
        &["--backlog", "9", "--", "127.0.0.1:0"],
    ] {
        let server = ServerProcess::starts_from(synchat().args(arguments));
        assert_eq!(backlog(server), "9");
    }
}

#[test]
fn two_dashes_end_the_options() {
    assert_refused(&["--", "--help"], &["\"--help\" is not an address"]);
    assert_refused(&["--", "-v"], &["\"-v\" is not an address"]);
    assert_refused(&["--", "--"], &["\"--\" is not an address"]);
}

#[test]
fn help_describes_every_option_and_variable() {
    let help = printed(&run(&["--help"]));
    for option in [
        "--handler NAME",
        "--terminator T",
        "--max-message BYTES",
        "--too-long close|discard",
        "--max-connections N",
        "--overload refuse|wait",
        "--max-per-address N",
        "--allow NETWORK",
        "--idle-timeout T",
        "--message-timeout T",
        "--write-timeout T",
        "--grace T",
        "--report-interval T",
        "--backlog N",
        "--socket-mode MODE",
        "--stack-size BYTES",
        "--spare-threads N",
        "-v, --verbose",
        "-q, --quiet",
        "--log-file PATH",
        "--log-time epoch|rfc3339|none",
        "-h, --help",
        "-V, --version",
        "--print-config",
    ] {
        let has = help.lines().any(|line| line.trim_start() == option);
        assert!(has, "no line {option:?} in:\n{help}");
    }

    for name in VARIABLES {
        assert!(help.contains(&format!("environment: {name}]")), "{name}");
    }
    assert_eq!(help.matches("environment: ").count(), VARIABLES.len());

    for text in [
        "Usage: synchat [OPTIONS] [ADDRESS]\n",
        "Examples:\n",
        "[default: 127.0.0.1:7007; ",
        "[default: 64KiB; ",
        "Exit codes: 0 done or drained, 1 failed at run time, 2 bad usage.\n",
    ] {
        assert!(help.contains(text), "no {text:?} in:\n{help}");
    }
    assert!(help.lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn the_short_help_has_a_line_for_each_option() {
    let help = printed(&run(&["-h"]));
    let lines = help.lines().filter(|line| line.starts_with("  -"));
    let rest = help.lines().filter(|line| line.starts_with("      --"));
    assert_eq!(lines.count() + rest.count(), 24, "{help}");
    assert!(help.len() < printed(&run(&["--help"])).len());
}

#[test]
fn the_version_is_that_of_the_package() {
    let version = format!("synchat {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(printed(&run(&["-V"])), version);
    assert_eq!(printed(&run(&["--version"])), version);
}

#[test]
fn help_wins_over_everything_else() {
    let help = printed(&run(&["--help"]));
    assert_eq!(printed(&run(&["127.0.0.1:0", "-v", "--help"])), help);
    assert_eq!(printed(&run(&["--help", "--nope"])), help);
    assert_eq!(printed(&run(&["-vh"])), printed(&run(&["-h"])));
}

/// Runs the program to its end, with this standard output.
fn run_printing_to(stdout: Stdio, arguments: &[&str]) -> Output {
    let mut command = synchat();
    command
        .args(arguments)
        .stdout(stdout)
        .stderr(Stdio::piped());
    Running::from(command.spawn().expect("the binary starts")).ends()
}

#[test]
fn help_for_a_closed_pipe_succeeds() {
    for option in ["-h", "--help", "-V"] {
        assert_eq!(printed(&run_printing_to(a_broken_pipe(), &[option])), "");
    }
}

#[test]
fn help_on_a_full_device_fails_with_one_line() {
    for option in ["-h", "--help", "-V"] {
        let line = complaint(&run_printing_to(a_full_device(), &[option]), 1);
        assert!(line.contains("No space left on device"), "{line}");
    }
}

#[test]
fn an_error_that_nobody_can_read_keeps_its_exit_code() {
    for stderr in [a_broken_pipe(), a_full_device()] {
        let mut command = synchat();
        command.arg("--nope").stdout(Stdio::null()).stderr(stderr);
        let child = command.spawn().expect("the binary starts");
        assert_eq!(Running::from(child).ends().status.code(), Some(2));
    }
}

/// Expects that a server runs on although it cannot print its greeting.
fn assert_serves_without_its_greeting(command: &mut Command) {
    let (socket, address) = a_listening_socket();
    command.arg("fd:0").stdin(socket).stderr(Stdio::piped());
    let mut server = ServerProcess::starts_unheard(command, address);
    let listens = server.logs("listen:");
    assert!(listens.contains(" INFO "), "{listens}");
    for _ in 0..3 {
        server.client().sends("hello\r\n").expects("hello\r\n");
    }
}

#[test]
fn a_greeting_that_cannot_be_printed_stops_nothing() {
    assert_serves_without_its_greeting(synchat().stdout(a_broken_pipe()));
    assert_serves_without_its_greeting(synchat().stdout(a_full_device()));
}

#[test]
fn each_thread_has_the_stack_size_that_was_asked_for() {
    for (asked, kib) in [("64KiB", 64), ("1MiB", 1024)] {
        let server = ServerProcess::starts(&["--stack-size", asked, "-vv"]);
        // The smallest stack must be enough for the longest message, with every callback logged.
        let line = [&[b'x'; 65_536][..], b"\r\n"].concat();
        let mut client = server.client();
        client.sends(&line).expects(&line);
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", server.id())).unwrap();
        let sizes = maps.lines().filter_map(|map| {
            let (from, to) = map.split(' ').next()?.split_once('-')?;
            let number = |digits| u64::from_str_radix(digits, 16).ok();
            Some((number(to)? - number(from)?) / 1024)
        });
        assert!(
            sizes.into_iter().any(|size| size == kib),
            "no map of {kib} KiB:\n{maps}"
        );
    }
}
