//! The log of the real program: its lines with their fixed words, and what each verbosity shows.
//! Neither a peer nor a log that cannot be written does harm.

use std::fs::{self, File};
use std::io::{self, PipeReader, Read};
use std::iter;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use synchat::Address;

use crate::support::peer::Peer;
use crate::support::process::{
    Directory, Running, ServerProcess, complaint, file_with, run, run_to_its_end, synchat,
};

/// A log line, in its parts: `created`, level, thread, target, message.
#[derive(Debug)]
struct Line<'a> {
    /// Seconds with their fraction, or an empty text with `--log-time none`.
    created: &'a str,
    level: &'a str,
    thread: u64,
    target: &'a str,
    message: &'a str,
}

impl<'a> Line<'a> {
    /// Splits a line, with its end, into its parts. Returns `None` if a part is not as it should
    /// be.
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.strip_suffix('\n')?;
        if line.contains(char::is_control) {
            return None;
        }
        let (created, rest) = match line.split_once(' ') {
            Some((created, rest)) if !created.is_empty() => (created, rest),
            _ => ("", line),
        };

        let (level, rest) = rest.split_at_checked(8)?;
        let mut parts = rest.strip_prefix(' ')?.splitn(3, ' ');
        let (thread, target, message) = (parts.next()?, parts.next()?, parts.next()?);
        let line = Self {
            created,
            level: level.trim_start(),
            thread: thread.parse().ok()?,
            target,
            message,
        };

        let is_level = ["DEBUG", "INFO", "WARNING", "ERROR", "TRACE"].contains(&line.level);
        let is_ours = target == "synchat" || target.starts_with("synchat::");
        (is_level && is_ours && !message.is_empty()).then_some(line)
    }

    /// Returns the microseconds since 1970 of a `created` with six decimals.
    fn micros(&self) -> Option<u64> {
        let (seconds, fraction) = self.created.split_once('.')?;
        let digits = [seconds, fraction].concat();
        let is_number = fraction.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit());
        is_number.then(|| digits.parse().ok())?
    }
}

#[track_caller]
fn parsed(line: &str) -> Line<'_> {
    Line::parse(line).unwrap_or_else(|| panic!("not a log line: {line:?}"))
}

/// Returns the messages of these lines, all of which must parse.
#[track_caller]
fn messages(lines: &[String]) -> Vec<&str> {
    lines.iter().map(|line| parsed(line).message).collect()
}

/// Lets a client send this, expects it back, and returns the log up to the end of the connection.
fn conversation(server: &mut ServerProcess, text: &str) -> Vec<String> {
    let mut peer = server.client();
    peer.sends(text).expects(text);
    peer.half_closes().expects_eof();
    server.logs_up_to("conn_closed: ")
}

/// Runs many short conversations, each with its echo.
fn assert_serves(server: &ServerProcess) {
    for number in 0..50 {
        let line = format!("line {number}\r\n");
        let mut peer = server.client();
        peer.sends(&line).expects(&line);
        peer.half_closes().expects_eof();
    }
}

/// Starts a server that does not print its address, on a socket that it inherits.
fn unheard(command: &mut Command) -> ServerProcess {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    command.arg("fd:0").stdin(OwnedFd::from(listener));
    ServerProcess::starts_unheard(command, address)
}

#[test]
fn a_line_has_time_level_thread_target_and_message() {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = now();
    let mut server = ServerProcess::starts(&[]);
    let lines = conversation(&mut server, "hello\r\n");
    let (earliest, latest) = (before, now());
    let targets = ["::server", "::server", "", "::session", "::session"];
    assert_eq!(lines.len(), targets.len(), "{lines:#?}");

    for (line, target) in lines.iter().zip(targets) {
        let parts = parsed(line);
        let created = parts.micros().expect("seconds and six decimals");
        let created = Duration::from_micros(created);
        let slack = Duration::from_secs(60); // somebody can set the clock meanwhile
        assert!(earliest <= created + slack && created <= latest + slack);
        assert_eq!(parts.level, "INFO");
        assert_eq!(parts.target, format!("synchat{target}"));
        let start = format!("{}     INFO {} ", parts.created, parts.thread);
        assert!(line.starts_with(&start), "{line}");
    }

    let threads: Vec<_> = lines.iter().map(|line| parsed(line).thread).collect();
    assert_eq!(threads, [1, 1, 1, 2, 2]);
}

#[test]
fn the_log_has_the_documented_targets() {
    // The table of targets in the crate's documentation.
    let library = include_str!("../../src/lib.rs");
    let rows = library.split("//! | `synchat").skip(1);
    let mut documented: Vec<_> = rows
        .map(|row| format!("synchat{}", row.split('`').next().unwrap()))
        .collect();
    documented.sort();

    let mut server = ServerProcess::starts(&["-vv"]);
    conversation(&mut server, "hello\r\n");
    server.signal("TERM");
    let (_, log) = server.ends_with_log();
    let mut server = ServerProcess::starts(&["-vv"]);
    let lines = conversation(&mut server, "hello\r\n");
    let lines = lines
        .iter()
        .map(String::as_str)
        .chain(log.split_inclusive('\n'));
    let mut targets: Vec<_> = lines.map(|line| parsed(line).target.to_owned()).collect();
    targets.sort();
    targets.dedup();
    assert_eq!(targets, documented);
}

#[test]
fn a_connection_logs_its_beginning_and_its_end() {
    let mut server = ServerProcess::starts(&[]);
    let address = server.address().to_string();
    let lines = conversation(&mut server, "one\r\ntwo\r\n");
    let [bind, listen, memory, made, closed] = messages(&lines)[..] else {
        panic!("{lines:#?}");
    };
    assert_eq!(bind, format!("bind: address={address}"));
    assert_eq!(listen, "listen: backlog=4096");
    assert!(memory.starts_with("memory: at_most="), "{memory}");

    let client = made.strip_prefix("conn_made: client_address=").expect(made);
    let client: Address = client.parse().expect("it is an address");
    let (closed, seconds) = closed.split_once(" duration=").expect(closed);
    assert_eq!(
        closed,
        format!(
            "conn_closed: client_address={client} reason=end-of-stream \
             messages=2 too_long=0 bytes_in=10 bytes_out=10"
        )
    );

    let seconds: f64 = seconds.parse().expect("it is a number");
    assert!((0.0..60.0).contains(&seconds), "{seconds}");
}

#[test]
fn verbose_shows_each_callback_in_order() {
    for option in ["-v", "--verbose"] {
        let mut server = ServerProcess::starts(&[option, "--log-time", "none"]);
        let lines = conversation(&mut server, "one\r\n\r\n");
        let callbacks: Vec<_> = messages(&lines)
            .into_iter()
            .skip_while(|message| !message.starts_with("conn_made: "))
            .skip(1)
            .take_while(|message| !message.starts_with("conn_closed: "))
            .collect();
        assert_eq!(
            callbacks,
            [
                "collect_incoming_data: [one]",
                "found_terminator",
                r"sending: [one\r\n]",
                "found_terminator",
                r"sending: [\r\n]",
            ]
        );
        let levels = lines.iter().map(|line| parsed(line).level);
        // At the start three lines name the settings: the option, the time, the address.
        assert_eq!(levels.filter(|level| *level == "DEBUG").count(), 3 + 5);
    }
}

#[test]
fn very_verbose_shows_each_read_and_write_too() {
    let mut server = ServerProcess::starts(&["-vv"]);
    let mut peer = server.client();
    peer.sends("one\r\n").expects("one\r\n");
    peer.sends("three\r\n").expects("three\r\n");
    peer.half_closes().expects_eof();

    let lines = server.logs_up_to("conn_closed");
    let lines = lines.iter().map(|line| parsed(line));
    let traced = lines.filter(|line| line.level == "TRACE");
    assert_eq!(
        traced.map(|line| line.message).collect::<Vec<_>>(),
        [
            "read: bytes=5",
            "written: bytes=5",
            "read: bytes=7",
            "written: bytes=7",
            "read: bytes=0",
        ]
    );
}

#[test]
fn quiet_shows_the_greeting_but_no_connections() {
    for arguments in [&["-q"][..], &["--quiet"], &["-v", "-q"], &["-vq"]] {
        let mut command = synchat();
        command.args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let server = unheard(&mut command);
        assert_serves(&server);
        let greeting = server.prints();
        assert!(
            greeting.starts_with("synchat: serving echo on "),
            "{greeting}"
        );
        let (printed, logged) = server.killed();
        assert!(printed.is_empty() && logged.is_empty(), "{printed}{logged}");
    }
}

#[test]
fn a_line_can_begin_with_a_date_or_no_time() {
    let mut server = ServerProcess::starts(&["--log-time", "rfc3339"]);
    for line in conversation(&mut server, "hello\r\n") {
        let created = parsed(&line).created.to_owned();
        let shape: String = created
            .chars()
            .map(|char| if char.is_ascii_digit() { '0' } else { char })
            .collect();
        let (shape, zone) = shape.split_at_checked(19).expect("it is a date and a time");
        assert_eq!(shape, "0000-00-00T00:00:00", "{created}");
        let fraction = zone.strip_suffix('Z').expect("the zone is UTC");
        let mut fraction = fraction.bytes();
        assert!(matches!(fraction.next(), None | Some(b'.')), "{created}");
        assert!(fraction.all(|byte| byte == b'0'), "{created}");
    }

    let mut server = ServerProcess::starts(&["--log-time", "none"]);
    for line in conversation(&mut server, "hello\r\n") {
        assert_eq!(parsed(&line).created, "");
        assert!(line.starts_with("    INFO "), "{line}");
    }
}

#[test]
fn a_log_file_is_appended_to() {
    let directory = Directory::new();
    let path = directory.at("log");
    let text = path.to_str().unwrap();
    fs::write(&path, "before\n").unwrap();
    for run in 1..=2 {
        let server = ServerProcess::starts(&["--log-file", text]);
        let mut peer = server.client();
        peer.sends("hello\r\n").expects("hello\r\n");
        file_with(&path, run, "conn_made: ");
        let (_, logged) = server.killed();
        assert_eq!(logged, "", "standard error is left alone");
    }

    let log = fs::read_to_string(&path).unwrap();
    let (first, rest) = log.split_once('\n').unwrap();
    assert_eq!(first, "before");

    let lines: Vec<_> = rest.split_inclusive('\n').map(str::to_owned).collect();
    let messages = messages(&lines);
    let count = |start| {
        let starting = messages.iter().filter(|message| message.starts_with(start));
        starting.count()
    };
    assert_eq!((count("bind: "), count("conn_made: ")), (2, 2), "{log}");
}

#[test]
fn a_log_file_that_cannot_be_opened_is_named() {
    let directory = Directory::new();
    for path in [directory.at("missing/log"), directory.at(".")] {
        let path = path.to_str().unwrap();
        let line = complaint(&run(&["127.0.0.1:0", "--log-file", path]), 1);
        let told = format!("synchat: cannot log to {path}: ");
        assert!(line.starts_with(&told), "{line}");
    }
    assert!(!directory.at("missing").exists());
}

#[test]
fn a_peers_bytes_cannot_forge_a_line() {
    let mut server = ServerProcess::starts(&["-v", "--terminator", "bytes:END"]);
    let forged = "1600000000.000000     INFO 1 synchat::server conn_made: client_address=1.2.3.4:5";
    let ends: [&[u8]; 7] = [
        b"\n",
        b"\r",
        b"\r\n",
        b"\0",
        b"\x1b[2K\x1b[1A",
        b"\x0b\x0c\x08\x7f",
        b"\xc2\x85\xe2\x80\xa8\xff",
    ];
    let mut peer = server.client();
    for end in ends {
        let message = [b"x", end, forged.as_bytes(), end, b"END"].concat();
        peer.sends(&message).expects(&message);
    }

    // And a message that the end of the stream cuts: its data is logged as it comes.
    peer.sends([b"\n", forged.as_bytes(), b"\n"].concat());
    peer.half_closes().expects_eof();
    let lines = server.logs_up_to(" reason=mid-message ");
    let messages = messages(&lines);
    let made = messages.iter().filter(|text| text.starts_with("conn_made"));
    assert_eq!(made.count(), 1, "{messages:#?}");

    let collected = format!(r"collect_incoming_data: [x\x1b[2K\x1b[1A{forged}\x1b[2K\x1b[1A]");
    assert!(messages.contains(&&*collected), "{messages:#?}");

    let sent = format!(r"sending: [x\n{forged}\nEND]");
    assert!(messages.contains(&&*sent), "{messages:#?}");
}

#[test]
fn a_path_with_a_line_end_cannot_forge_a_line() {
    let directory = Directory::new();
    let name = "echo\n\x1b[2K\u{85}";
    let mut command = synchat();
    command.arg(directory.socket(name));
    command.stdout(Stdio::null()).stderr(Stdio::piped());
    let address = Address::Unix(directory.at(name));
    let mut server = ServerProcess::starts_unheard(&mut command, address);
    let lines = server.logs_up_to("listen: ");
    let [bind, _] = messages(&lines)[..] else {
        panic!("{lines:#?}");
    };
    assert!(bind.ends_with(r"/echo\n\u{1b}[2K\u{85}"), "{bind}");
    server.client().sends("hello\r\n").expects("hello\r\n");
}

#[test]
fn long_data_is_cut_and_its_length_shown() {
    let mut server = ServerProcess::starts(&["-v"]);
    let text = "0123456789".repeat(30);
    let lines = conversation(&mut server, &format!("{text}\r\n"));
    let messages = messages(&lines);
    let start = &text[..128];
    for message in [
        format!("collect_incoming_data: [{start}... 300 bytes in all]"),
        format!("sending: [{start}... 302 bytes in all]"),
    ] {
        assert!(messages.contains(&&*message), "{messages:#?}");
    }
}

#[test]
fn lines_of_many_connections_do_not_mix() {
    // All their lines fit into the log's queue, so none is lost.
    const CLIENTS: usize = 16;
    const MESSAGES: usize = 20;
    let mut server = ServerProcess::starts(&["-v"]);
    thread::scope(|scope| {
        for client in 0..CLIENTS {
            let mut peer = server.client();
            scope.spawn(move || {
                for number in 0..MESSAGES {
                    let line = format!("client {client} line {number}\r\n");
                    peer.sends(&line).expects(&line);
                }
                peer.half_closes().expects_eof();
            });
        }
    });

    let closings = iter::repeat_with(|| server.logs_up_to("conn_closed: "));
    let lines: Vec<_> = closings.take(CLIENTS).flatten().collect();
    let messages = messages(&lines);
    for word in ["collect_incoming_data: ", "found_terminator", "sending: "] {
        let count = messages
            .iter()
            .filter(|text| text.starts_with(word))
            .count();
        assert_eq!(count, CLIENTS * MESSAGES, "{word}");
    }
}

#[test]
fn clients_do_not_notice_a_full_device() {
    let full = || File::options().write(true).open("/dev/full").unwrap();
    assert_serves(&ServerProcess::starts(&["-v", "--log-file", "/dev/full"]));
    assert_serves(&unheard(synchat().arg("-v").stdout(full()).stderr(full())));
}

#[test]
fn clients_do_not_notice_a_closed_pipe() {
    let broken = || {
        let (_, writer) = io::pipe().unwrap();
        Stdio::from(writer)
    };
    let mut command = synchat();
    command.arg("-v").stdout(broken()).stderr(broken());
    assert_serves(&unheard(&mut command));
}

/// Starts a server that logs with `-v` to a pipe. Returns the other end too, which nobody reads
/// yet.
fn unread() -> (ServerProcess, PipeReader) {
    let (log, writer) = io::pipe().unwrap();
    let mut command = synchat();
    command.arg("-v").stdout(Stdio::null()).stderr(writer);
    (unheard(&mut command), log)
}

/// More empty messages than a pipe and the log's queue can hold lines. With `-v` each makes two
/// lines, `found_terminator` and `sending`, however the messages are read.
const FLOOD: usize = 5000;

#[test]
fn an_unread_pipe_blocks_nobody_and_lost_lines_are_counted() {
    let (mut server, log) = unread();
    let flood = "\r\n".repeat(FLOOD);
    let mut peers = [server.client(), server.client()];
    for peer in &mut peers {
        peer.sends(&flood).expects(&flood);
    }
    server.logs_to(log);
    server.logs_up_to("conn_made: ");

    // The line of the other connection, and all messages.
    let expected = 1 + peers.len() * 2 * FLOOD;
    let (mut logged, mut lost) = (0, 0);
    while logged + lost < expected {
        let line = server.logs("");
        let Line { level, message, .. } = parsed(&line);
        match message.strip_prefix("log: lines_lost=") {
            None => logged += 1,
            Some(told) => {
                let number = told.strip_suffix(", the log is written too slowly");
                lost += number.expect(told).parse::<usize>().expect(told);
                assert_eq!(level, "WARNING");
            }
        }
    }
    assert_eq!(logged + lost, expected);
    assert!(lost > 0 && logged > 1024, "{logged} are logged");

    let lines = conversation(&mut server, "hello\r\n");
    assert!(messages(&lines).contains(&"collect_incoming_data: [hello]"));
}

/// Returns the memory that a process uses, in KiB.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let number = line.and_then(|line| line.trim().strip_suffix(" kB"));
    number.expect(&status).parse().expect(&status)
}

#[test]
fn a_flood_for_a_slow_reader_takes_bounded_memory() {
    let (server, mut log) = unread();
    thread::spawn(move || {
        // The thread reads until the server ends.
        while matches!(log.read(&mut [0; 1024]), Ok(1..)) {
            thread::sleep(Duration::from_millis(1));
        }
    });

    // Each byte takes four in the log, and each message is logged twice: 25 MB in all.
    let messages = [&[1; 120][..], b"\r\n"].concat().repeat(100);
    let mut peer = server.client();
    peer.sends(&messages).expects(&messages);
    let before = resident(server.id());
    for _ in 0..250 {
        peer.sends(&messages).expects(&messages);
    }

    let grown = resident(server.id()).saturating_sub(before);
    assert!(grown < 16 * 1024, "by {grown} KiB");
}

/// Lets a server of this command echo these messages. Then it shuts the listening socket down,
/// which ends the server.
fn loses_its_socket(mut command: Command, messages: &[u8]) -> Running {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = Address::from(listener.local_addr().unwrap());
    let stdin = OwnedFd::from(listener.try_clone().unwrap());
    command.args(["-v", "fd:0"]).stdin(stdin);
    let server = Running::from(command.spawn().unwrap());
    Peer::connects(&address).sends(messages).expects(messages);
    let socket = TcpStream::from(OwnedFd::from(listener));
    socket.shutdown(Shutdown::Both).unwrap();
    server
}

#[test]
fn all_lines_are_written_before_the_last_error() {
    let (log, writer) = io::pipe().unwrap();
    let mut command = synchat();
    command.stdout(Stdio::null()).stderr(writer);

    // The queue can hold these lines, but the pipe cannot hold their bytes: some wait in the queue.
    let messages = [&[1; 120][..], b"\r\n"].concat().repeat(300);
    let mut server = loses_its_socket(command, &messages);
    server.logs_to(log);
    let output = server.ends();
    let text = String::from_utf8(output.stderr).unwrap();
    let mut lines: Vec<_> = text.split_inclusive('\n').map(str::to_owned).collect();
    let complaint = lines.pop().unwrap();
    assert!(
        complaint.starts_with("synchat: cannot accept on "),
        "{text}"
    );

    let messages = self::messages(&lines);
    let found = messages.iter().filter(|text| **text == "found_terminator");
    assert_eq!(found.count(), 300);
    assert!(
        messages.last().unwrap().starts_with("conn_closed: "),
        "{text}"
    );
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_unread_pipe_does_not_delay_the_exit() {
    let (_unread, writer) = io::pipe().unwrap();
    let mut command = synchat();
    command.args(["--log-file", "/dev/stdout"]);
    command.stdout(writer).stderr(Stdio::piped());
    let server = loses_its_socket(command, "\r\n".repeat(FLOOD).as_bytes());
    let line = complaint(&server.ends(), 1);
    assert!(line.starts_with("synchat: cannot accept on "), "{line}");
}

#[test]
fn a_writer_without_a_thread_fails_with_one_line() {
    // More than the address space holds. It is the stack size for threads that ask for none.
    let mut command = synchat();
    command.env("RUST_MIN_STACK", (1_u64 << 47).to_string());
    let line = complaint(&run_to_its_end(command.arg("127.0.0.1:0")), 1);
    assert!(
        line.starts_with("synchat: cannot start the log's thread: "),
        "{line}"
    );
}

#[test]
fn the_operator_hears_once_of_bare_line_feeds() {
    let server = ServerProcess::starts(&["--message-timeout=200ms"]);
    for _ in 0..2 {
        let mut peer = server.client();
        peer.sends("typed into plain nc\n");
        peer.expects("error: too slow, no CR LF within 200ms\r\n");
        peer.expects_eof();
    }
    let mut other = server.client();
    other
        .sends("half")
        .expects("error: too slow, no CR LF within 200ms\r\n");
    other.expects_eof();
    server.signal("TERM");
    let (_, log) = server.ends_with_log();
    assert_eq!(log.matches("use --terminator lf").count(), 1, "{log}");
}

#[test]
fn the_backlog_in_force_is_logged() {
    let most = fs::read_to_string("/proc/sys/net/core/somaxconn");
    let Ok(most) = most.as_deref().map(str::trim) else {
        panic!("this test needs Linux");
    };
    let mut server = ServerProcess::starts(&["--backlog", "2147483647"]);
    let line = server.logs("listen: ");
    let words = format!("listen: backlog={most} asked=2147483647, ");
    assert!(line.contains(&words), "{line}");
}
