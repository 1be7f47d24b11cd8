//! `synchat ping`, the real program, against the real server and against servers that misbehave.

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use synchat::{Address, ServerOptions};

use crate::support::peer::{PATIENCE, Peer};
use crate::support::process::{
    Directory, Running, ServerProcess, complaint, run, run_to_its_end, send, synchat,
};

/// Pings to the end, with a longer timeout than the default, because tests share their processors.
fn pings(address: &Address, options: &[&str]) -> Output {
    let address = address.to_string();
    run(&[&["ping", &address, "-W10s"], options].concat())
}

/// Expects this exit code and an empty standard error, and returns the printed lines.
#[track_caller]
fn printed(output: &Output, code: i32) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.stderr.escape_ascii().to_string(), "", "{text}");
    assert_eq!(output.status.code(), Some(code), "{text}");
    text.lines().map(str::to_owned).collect()
}

/// Expects that one line is sent and lost, and returns the reason.
#[track_caller]
fn loss(address: &Address, options: &[&str]) -> String {
    only_loss(address, options, "1 sent, 0 received, 1 lost (100%)")
}

/// Expects that one line cannot be sent, and returns why.
#[track_caller]
fn no_connection(address: &Address, options: &[&str]) -> String {
    only_loss(
        address,
        options,
        "0 sent, 0 received, 0 lost (0%), 1 not sent",
    )
}

#[track_caller]
fn only_loss(address: &Address, options: &[&str], summary: &str) -> String {
    let options = [options, &["-c1"]].concat();
    let lines = printed(&pings(address, &options), 1);
    assert_eq!(lines[1..], [summary]);
    let why = lines[0].strip_prefix("seq=1: ");
    why.unwrap_or_else(|| panic!("{lines:?}")).to_owned()
}

#[track_caller]
fn assert_all_come_back(address: &Address, options: &[&str]) {
    let options = [options, &["-c2", "-i0", "-q"]].concat();
    let lines = printed(&pings(address, &options), 0);
    assert_eq!(lines[0], "2 sent, 2 received, 0 lost (0%)", "{options:?}");
}

/// Starts a server that calls `serve` for each connection, with its number from 1. The next
/// connection waits until it returns.
fn a_server(
    serve: impl Fn(usize, BufReader<TcpStream>) -> io::Result<()> + Send + 'static,
) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().into();
    thread::spawn(move || {
        for (number, stream) in (1..).zip(listener.incoming()) {
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            stream.set_read_timeout(Some(PATIENCE)).unwrap();
            // The client can be gone, as it should be.
            let _ = serve(number, BufReader::new(stream));
        }
    });
    address
}

/// Starts a server that answers the first line of each connection with this, and then waits for its
/// end.
fn answers(reply: impl Into<Vec<u8>>) -> Address {
    let reply = reply.into();
    a_server(move |_, mut client| {
        receives(&mut client)?;
        client.get_mut().write_all(&reply)?;
        receives_the_end(&mut client)
    })
}

fn receives(client: &mut BufReader<TcpStream>) -> io::Result<String> {
    let mut line = String::new();
    match client.read_line(&mut line)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(line),
    }
}

fn receives_the_end(client: &mut BufReader<TcpStream>) -> io::Result<()> {
    client.read_to_end(&mut Vec::new()).map(drop)
}

/// Starts pings whose output the test reads as it comes.
fn starts(address: &Address, options: &[&str]) -> Running {
    let mut command = synchat();
    command.args(["ping", &address.to_string()]).args(options);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::from(command.spawn().expect("the binary starts"))
}

#[test]
fn each_echo_has_a_line_and_the_run_a_summary() {
    let server = ServerProcess::starts(&[]);
    let lines = printed(&pings(server.address(), &["-i0"]), 0);
    assert_eq!(lines.len(), 6, "{lines:?}");

    let mut times: Vec<_> = (1..=4)
        .map(|number| {
            let begin = format!("32 bytes from {}: seq={number} time=", server.address());
            let time = lines[number - 1].strip_prefix(&begin);
            let time = time.and_then(|time| time.strip_suffix(" ms"));
            time.unwrap_or_else(|| panic!("{lines:?}")).to_owned()
        })
        .collect();
    times.sort_by(|a, b| a.parse::<f64>().unwrap().total_cmp(&b.parse().unwrap()));

    let [min, median, _, max] = &times[..] else {
        panic!("{times:?}")
    };
    assert_eq!(lines[4], "4 sent, 4 received, 0 lost (0%)");
    assert_eq!(
        lines[5],
        format!("min={min} median={median} p99={max} max={max} ms")
    );
}

#[test]
fn quiet_prints_only_the_summary() {
    let server = ServerProcess::starts(&[]);
    let lines = printed(&pings(server.address(), &["-qc1"]), 0);
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0], "1 sent, 1 received, 0 lost (0%)");
}

#[test]
fn unix_sockets_and_host_names_work() {
    let directory = Directory::new();
    let address = directory.socket("echo");
    let server = ServerProcess::starts_from(synchat().arg(&address));
    let lines = printed(&pings(server.address(), &["-c1"]), 0);
    assert!(lines[0].starts_with(&format!("32 bytes from {address}: seq=1 time=")));

    let server = ServerProcess::starts(&[]);
    let port = server.address().as_socket_addr().unwrap().port();
    assert_all_come_back(&format!("localhost:{port}").parse().unwrap(), &[]);
    // The address of a server in a container, and its variable.
    assert_all_come_back(&format!("0.0.0.0:{port}").parse().unwrap(), &[]);
}

#[test]
fn a_run_uses_one_connection() {
    let mut server = ServerProcess::starts(&[]);
    printed(&pings(server.address(), &["-qc100", "-i0"]), 0);
    let summary = server.logs("conn_closed");
    assert!(summary.contains("messages=100"), "{summary}");
}

#[test]
fn every_kind_of_terminator_works() {
    for terminator in [
        "lf",
        "nul",
        "none",
        "length:1",
        "length:70000",
        "bytes:n",
        "bytes:aa",
        "a bc",
        "1",
        "_",
    ] {
        let option = format!("--terminator={terminator}");
        let server = ServerProcess::starts(&[&option, "--max-message=70000"]);
        assert_all_come_back(server.address(), &[&option]);
    }
}

#[test]
fn lines_have_the_right_size_and_number() {
    for size in [3, 32, 100, 100_000] {
        let (line, lines) = mpsc::channel();
        let address = a_server(move |_, mut client| {
            loop {
                let text = receives(&mut client)?;
                client.get_mut().write_all(text.as_bytes())?;
                let _ = line.send(text);
            }
        });
        let size_option = format!("-s{size}");
        printed(&pings(&address, &["-c3", "-i0", &size_option]), 0);
        for number in 1..=3 {
            let line = lines.recv_timeout(PATIENCE).unwrap();
            assert!(line.len() == size && line.ends_with("\r\n"), "{size}");
            let (number, whole) = (number.to_string(), format!("synchat ping {number} "));
            assert!(line.starts_with(if size > 3 { &whole } else { &number }));
        }
    }
}

#[test]
fn the_pause_between_two_lines_is_kept() {
    let server = ServerProcess::starts(&[]);
    let started = Instant::now();
    printed(&pings(server.address(), &["-qc3", "-i", "150ms"]), 0);
    assert!(started.elapsed() >= Duration::from_millis(300));
}

#[test]
fn after_a_lost_echo_a_new_connection_is_made() {
    let (line, lines) = mpsc::channel();
    let address = a_server(move |number, mut client| {
        let _ = line.send((number, receives(&mut client)?));
        receives_the_end(&mut client)
    });

    let lines_printed = printed(&pings(&address, &["-c2", "-i0", "-W100ms"]), 1);
    assert_eq!(
        lines_printed,
        [
            "seq=1: no echo within 100ms",
            "seq=2: no echo within 100ms",
            "2 sent, 0 received, 2 lost (100%)"
        ]
    );

    for number in 1..=2 {
        let (connection, line) = lines.recv_timeout(PATIENCE).unwrap();
        assert_eq!(connection, number);
        assert!(
            line.starts_with(&format!("synchat ping {number} ")),
            "{line}"
        );
    }
}

#[test]
fn a_wrong_echo_is_shown_escaped_and_cut() {
    let cases = [
        ("no\r\n", "no"),
        ("\r\n", ""),
        ("\x1b[31m\"\n\r\n", r#"\x1b[31m\"\n"#),
        // Right, except for its end or its beginning.
        ("synchat ping 1 abc\r\n", "synchat ping 1 abc"),
        (
            "synchat ping 1 abcdefghijklmno.\r\n",
            "synchat ping 1 abcdefghijklmno.",
        ),
        (
            "synchat ping 2 abcdefghijklmno\r\n",
            "synchat ping 2 abcdefghijklmno",
        ),
    ];
    for (reply, shown) in cases {
        let why = loss(&answers(reply), &[]);
        assert_eq!(why, format!("wrong echo: {shown}"));
    }
    let long = format!("wrong echo: {}...", "x".repeat(80));
    assert_eq!(loss(&answers("x".repeat(1000) + "\r\n"), &[]), long);
    // Also without an end, and at once.
    assert_eq!(loss(&answers("x".repeat(10_000_000)), &["-W1m"]), long);
    assert_eq!(
        loss(&answers("HTTP/1.1 400"), &["-W100ms"]),
        "wrong echo: HTTP/1.1 400"
    );
}

#[test]
fn a_refusals_text_is_shown() {
    let server = ServerProcess::starts(&["--max-message=16"]);
    let why = loss(server.address(), &[]);
    assert_eq!(why, "wrong echo: error: message longer than 16 bytes");
}

/// Expects a refusal: its own exit code, and one line on standard error that says why.
#[track_caller]
fn refusal(address: &Address, options: &[&str]) -> String {
    let output = pings(address, options);
    let [printed, told] =
        [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes).into_owned());
    assert_eq!(output.status.code(), Some(3), "{printed}{told}");
    let why = told.strip_prefix(&format!("synchat: ping {address}: refused: "));
    let why = why.and_then(|why| why.strip_suffix('\n')).expect(&told);
    let is_quiet = options.iter().any(|option| option.contains('q'));
    let shown = format!("seq=1: refused: {why}\n");
    assert_eq!(printed.contains(&shown), !is_quiet, "{printed}");
    assert!(printed.contains(" sent, 0 received, "), "{printed}");
    why.to_owned()
}

#[test]
fn a_server_that_lives_and_refuses_has_an_exit_code_of_its_own() {
    let server = ServerProcess::starts(&["--max-connections=1"]);
    let mut first = Peer::connects(server.address());
    first.sends("hello\r\n").expects("hello\r\n");
    for options in [&["-c1"][..], &["-qc1"], &["-c3", "-i0"]] {
        let why = refusal(server.address(), options);
        assert_eq!(why, "too many connections, the limit is 1");
    }

    let server = ServerProcess::starts(&["--max-per-address=1"]);
    let mut first = Peer::connects(server.address());
    first.sends("hello\r\n").expects("hello\r\n");
    let why = refusal(server.address(), &["-qc1"]);
    assert_eq!(
        why,
        "too many connections from this address, the limit is 1"
    );

    let server = ServerProcess::starts(&["--allow=10.0.0.0/8", "--terminator=lf"]);
    let why = refusal(server.address(), &["-qc1", "--terminator=lf"]);
    assert_eq!(why, "not allowed from this address");
}

#[test]
fn quiet_pings_that_fail_say_why_in_one_line() {
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let cases = [
        (answers("no\r\n"), "wrong echo: no"),
        (answers(""), "no echo within 100ms"),
        (free.into(), "cannot connect to"),
        (
            a_server(|_, mut client| receives(&mut client).map(drop)),
            "connection closed: end-of-stream",
        ),
    ];
    for (address, why) in cases {
        let address_text = address.to_string();
        let output = run(&["ping", &address_text, "-qc1", "-W100ms"]);
        let told = String::from_utf8(output.stderr).unwrap();
        let start = format!("synchat: ping {address}: {why}");
        assert!(
            told.starts_with(&start) && told.lines().count() == 1,
            "{told}"
        );
        assert_eq!(output.status.code(), Some(1));
        let summary = String::from_utf8(output.stdout).unwrap();
        assert_eq!(summary.lines().count(), 1, "{summary}");
    }
}

#[test]
fn refusals_and_a_loss_are_a_failure() {
    let address = a_server(|number, mut client| {
        receives(&mut client)?;
        let refusal = "error: too busy, try again later\r\n";
        let reply = if number == 2 { "no\r\n" } else { refusal };
        client.get_mut().write_all(reply.as_bytes())
    });
    let lines = printed(&pings(&address, &["-c3", "-i0"]), 1);
    assert_eq!(lines[0], "seq=1: refused: too busy, try again later");
    assert_eq!(lines[1], "seq=2: wrong echo: no");
}

#[test]
fn a_closed_connection_is_a_loss_with_its_reason() {
    let address = a_server(|_, mut client| receives(&mut client).map(drop));
    assert_eq!(loss(&address, &[]), "connection closed: end-of-stream");
    let address = a_server(|_, mut client| {
        let line = receives(&mut client)?;
        client.get_mut().write_all(&line.as_bytes()[..8])
    });
    assert_eq!(
        loss(&address, &[]),
        "connection closed: mid-message unterminated=8"
    );
    // A socket that is closed with unread input sends a reset.
    let address = a_server(|_, client| client.get_ref().peek(&mut [0]).map(drop));
    assert_eq!(loss(&address, &[]), "connection closed: reset-by-peer");
}

#[test]
fn a_late_echo_is_not_taken_for_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Address = listener.local_addr().unwrap().into();
    let pings = starts(&address, &["-c2", "-i0", "-W1s"]);
    let (mut first, _) = listener.accept().unwrap();
    assert_eq!(pings.prints(), "seq=1: no echo within 1s\n");

    let (mut second, _) = listener.accept().unwrap();
    let mut line = [0; 32];
    first.read_exact(&mut line).unwrap();
    let _ = first.write_all(&line);
    second.read_exact(&mut line).unwrap();
    second.write_all(&line).unwrap();

    let lines = printed(&pings.ends(), 1);
    assert!(
        lines[0].starts_with(&format!("32 bytes from {address}: seq=2 ")),
        "{lines:?}"
    );
    assert_eq!(lines[1], "2 sent, 1 received, 1 lost (50%)");
}

#[test]
fn a_double_echo_is_not_taken_for_the_next() {
    let address = a_server(|_, mut client| {
        loop {
            let line = receives(&mut client)?;
            client.get_mut().write_all(line.repeat(2).as_bytes())?;
        }
    });
    let lines = printed(&pings(&address, &["-c3", "-i10ms"]), 1);
    assert_eq!(
        lines[1],
        "seq=2: wrong echo: synchat ping 1 abcdefghijklmno"
    );
    assert!(lines[2].contains(" seq=3 time="), "{lines:?}");
    assert_eq!(lines[3], "3 sent, 2 received, 1 lost (33.3%)");
}

#[test]
fn an_echo_can_come_byte_by_byte_within_its_timeout() {
    let drips = |pause: Duration| {
        a_server(move |_, mut client| {
            for byte in receives(&mut client)?.bytes() {
                client.get_mut().write_all(&[byte])?;
                thread::sleep(pause);
            }
            receives_the_end(&mut client)
        })
    };

    let lines = printed(
        &pings(&drips(Duration::from_millis(2)), &["-qc1", "-W10s"]),
        0,
    );
    assert_eq!(lines[0], "1 sent, 1 received, 0 lost (0%)");

    let started = Instant::now();
    let why = loss(&drips(Duration::from_millis(100)), &["-W300ms"]);
    assert_eq!(why, "no echo within 300ms");

    // Its bytes do not extend the timeout: all of it would take 3.2 s.
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[test]
fn a_refused_connection_is_lost_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address: Address = listener.local_addr().unwrap().into();
    drop(listener);
    let told = format!("cannot connect to {address}: Connection refused");
    let lines = printed(&pings(&address, &["-c2", "-i0"]), 1);
    assert!(lines[0].starts_with(&format!("seq=1: {told}")), "{lines:?}");
    assert!(lines[1].starts_with(&format!("seq=2: {told}")), "{lines:?}");
    assert_eq!(lines[2..], ["0 sent, 0 received, 0 lost (0%), 2 not sent"]);

    let directory = Directory::new();
    let path = directory.socket("nothing");
    let why = no_connection(&path.parse().unwrap(), &[]);
    assert!(
        why.starts_with(&format!("cannot connect to {path}: No such file")),
        "{why}"
    );
}

#[test]
fn a_connection_that_nobody_accepts_times_out() {
    let directory = Directory::new();
    for address in ["127.0.0.1:0", &directory.socket("full")] {
        let server = ServerOptions::new().request_queue_size(1);
        let server = server.bind(&address.parse().unwrap()).unwrap();
        let address = server.local_addr();
        // Linux keeps one connection more than the backlog.
        let _waiting = [Peer::connects(address), Peer::connects(address)];
        let started = Instant::now();
        let why = no_connection(address, &["-W200ms"]);
        assert!(
            why.starts_with(&format!("cannot connect to {address}: ")),
            "{why}"
        );
        let took = started.elapsed();
        assert!(took >= Duration::from_millis(200) && took < Duration::from_secs(5));
    }
}

#[test]
fn the_servers_variables_name_the_target() {
    let server = ServerProcess::starts(&["--terminator", "lf"]);
    let mut command = synchat();
    command.env("SYNCHAT_ADDRESS", server.address().to_string());
    command.env("SYNCHAT_TERMINATOR", "lf");

    // Only the server has these variables.
    for name in [
        "COUNT",
        "INTERVAL",
        "TIMEOUT",
        "SIZE",
        "QUIET",
        "MAX_MESSAGE",
        "BACKLOG",
    ] {
        command.env(format!("SYNCHAT_{name}"), "1");
    }

    command.args(["ping", "-c2", "-i0"]);
    let lines = printed(&run_to_its_end(&mut command), 0);
    assert!(lines[1].starts_with("32 bytes from "), "{lines:?}");

    // A flag beats the variable, and so does an address on the command line.
    let other = ServerProcess::starts(&[]);
    command.args(["--terminator=crlf", &other.address().to_string()]);

    let lines = printed(&run_to_its_end(&mut command), 0);
    assert!(lines[0].contains(&other.address().to_string()), "{lines:?}");

    for (name, value) in [
        ("ADDRESS", "nowhere"),
        ("TERMINATOR", r"\q"),
        ("ADDRESS", "fd:0"),
    ] {
        let mut command = synchat();
        command.arg("ping").env(format!("SYNCHAT_{name}"), value);
        let line = complaint(&run_to_its_end(&mut command), 2);
        assert!(line.contains(value), "{line}");
    }
}

#[test]
fn bad_usage_is_one_line_with_advice() {
    let cases: [(&[&str], &str); 18] = [
        (&["-c0"], "--count \"0\": not a number from 1 to 1000000"),
        (&["-c", "1000001"], "--count \"1000001\": not a number from"),
        (&["-qc"], "-c: it needs a value, N"),
        (&["--count"], "--count: it needs a value, N"),
        (&["-i", "1"], "--interval \"1\": not a time as in 500ms"),
        (&["-W0"], "--timeout \"0\": not a time as in 500ms"),
        (&["-s0"], "--size \"0\": not a number of bytes"),
        (&["-s17MiB"], "from 1 to 16MiB"),
        (&["-s2"], "--size 2: a line has at least 3 bytes"),
        (&["--terminator=", "-c1"], "crlf, lf, cr, nul"),
        (
            &["--terminator=length:7", "-s8"],
            "with --terminator length:7 it is 7",
        ),
        (&["--terminator=length:16777217"], "at most 16MiB"),
        (
            &["fd:0"],
            "fd:0 is for a server to listen on; ping takes HOST:PORT",
        ),
        (&["localhost"], "\"localhost\" is not an address: no port"),
        (&["a:1", "b:1"], "only one address"),
        (
            &["-v"],
            "-v: no such option; synchat ping --help lists them",
        ),
        (
            &["--backlog=1"],
            "--backlog: no such option; synchat ping --help",
        ),
        (&["-q=1"], "-=: no such option"),
    ];
    for (arguments, told) in cases {
        let line = complaint(&run(&[&["ping"], arguments].concat()), 2);
        assert!(line.contains(told), "{arguments:?}: no {told:?} in: {line}");
    }

    // Only the first word is a command.
    let line = complaint(&run(&["-v", "ping"]), 2);
    assert!(line.contains("\"ping\" is not an address"), "{line}");
}

#[test]
fn it_has_its_own_help() {
    let long = printed(&run(&["ping", "--help"]), 0).join("\n");
    for text in [
        "Usage: synchat ping [OPTIONS] [ADDRESS]\n",
        "\n  -c, --count N\n",
        "\n  -W, --timeout T\n",
        "environment: SYNCHAT_ADDRESS]",
        "environment: SYNCHAT_TERMINATOR]",
        "\nExit codes: 0 all echoes came back right, 1 one did not, 2 bad usage, 3 the server\n\
         answered, but only to refuse the connection.",
    ] {
        assert!(long.contains(text), "no {text:?} in:\n{long}");
    }
    assert_eq!(long.matches("environment: ").count(), 2);

    let short = printed(&run(&["ping", "-h"]), 0);
    for line in long.lines().chain(short.iter().map(String::as_str)) {
        assert!(line.len() <= 100, "{line}");
    }
    assert!(short.len() < long.lines().count());
    assert_eq!(
        printed(&run(&["ping", "-qV"]), 0),
        printed(&run(&["-V"]), 0)
    );

    let servers = printed(&run(&["--help"]), 0).join("\n");
    assert!(servers.contains("synchat ping [OPTIONS] [ADDRESS]"));
}

#[test]
fn a_closed_pipe_ends_it_quietly() {
    let server = ServerProcess::starts(&[]);
    let mut command = synchat();
    command.args(["ping", "-c1000000", "-i1ms", &server.address().to_string()]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert!(line.contains(" seq=1 time="), "{line}");

    drop(stdout);
    assert!(printed(&Running::from(child).ends(), 0).is_empty());
}

#[test]
fn a_full_device_fails_with_one_line() {
    let server = ServerProcess::starts(&[]);
    for options in [&["-c3", "-i1m"][..], &["-qc1"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut command = synchat();
        command
            .args(["ping", &server.address().to_string()])
            .args(options);
        let child = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap();
        let line = complaint(&Running::from(child).ends(), 1);
        assert!(line.contains("No space left on device"), "{line}");
    }
}

#[test]
fn a_signal_ends_it_with_the_summary_so_far() {
    let server = ServerProcess::starts(&[]);
    for signal in ["INT", "TERM", "HUP"] {
        let pings = starts(server.address(), &["-c3", "-i1m"]);
        assert!(pings.prints().contains(" seq=1 time="));
        send(signal, pings.id());
        let lines = printed(&pings.ends(), 0);
        assert_eq!(lines[0], "1 sent, 1 received, 0 lost (0%)");
        assert!(lines[1].starts_with("min="), "{lines:?}");
    }
}

#[test]
fn a_signal_ends_the_wait_for_an_echo_too() {
    let (line, lines) = mpsc::channel();
    let address = a_server(move |_, mut client| {
        let _ = line.send(receives(&mut client)?);
        receives_the_end(&mut client)
    });
    let pings = starts(&address, &["-W1m"]);
    lines.recv_timeout(PATIENCE).unwrap();
    send("INT", pings.id());
    // Nothing was lost, but nothing shows that the server is up.
    assert_eq!(
        printed(&pings.ends(), 1),
        ["1 sent, 0 received, 0 lost (0%)"]
    );
}

#[test]
fn a_signal_after_a_loss_exits_with_code_1() {
    let pings = starts(&answers("no\r\n"), &["-c3", "-i1m"]);
    assert_eq!(pings.prints(), "seq=1: wrong echo: no\n");
    send("TERM", pings.id());
    assert_eq!(
        printed(&pings.ends(), 1),
        ["1 sent, 0 received, 1 lost (100%)"]
    );
}

#[test]
fn a_second_signal_ends_a_blocked_output() {
    let mut server = ServerProcess::starts(&["-v"]);
    let (_reader, mut writer) = io::pipe().unwrap();
    // Linux keeps this much in a pipe.
    writer.write_all(&[b'x'; 1 << 16]).unwrap();
    let mut command = synchat();
    command.args(["ping", &server.address().to_string()]);
    let pings = Running::from(command.stdout(writer).spawn().expect("the binary starts"));
    server.logs("found_terminator");
    // Two signals of one kind that come together count as one.
    send("INT", pings.id());
    // Sooner, it would be the same request.
    thread::sleep(Duration::from_millis(300));
    send("TERM", pings.id());
    assert_eq!(pings.ends().status.code(), Some(1));
}

#[test]
fn two_signals_at_nearly_the_same_time_do_not_cost_the_summary() {
    let server = ServerProcess::starts(&[]);
    for signals in [
        "kill -TERM $0; kill -TERM $0",
        "kill -INT $0; sleep 0.05; kill -TERM $0",
    ] {
        let pings = starts(server.address(), &["-c3", "-i1m"]);
        assert!(pings.prints().contains(" seq=1 time="));
        let id = pings.id().to_string();
        let status = std::process::Command::new("sh")
            .args(["-c", signals, &id])
            .status();
        // The second one may find nobody.
        assert!(status.is_ok());
        let lines = printed(&pings.ends(), 0);
        assert_eq!(lines[0], "1 sent, 1 received, 0 lost (0%)");
    }
}

#[test]
fn a_summary_that_is_read_late_is_not_lost_to_two_signals_for_one_stop() {
    let mut server = ServerProcess::starts(&["-v"]);
    let (mut reader, mut writer) = io::pipe().unwrap();
    // As much as Linux keeps in a pipe.
    let full = [b'x'; 1 << 16];
    writer.write_all(&full).unwrap();
    let mut command = synchat();
    command.args(["ping", &server.address().to_string()]);
    let pings = Running::from(command.stdout(writer).spawn().expect("the binary starts"));
    drop(command);
    server.logs("found_terminator");
    send("TERM", pings.id());
    send("INT", pings.id());
    // Time enough for both to be noticed.
    thread::sleep(Duration::from_millis(100));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    let lines: Vec<_> = text[full.len()..].lines().collect();
    assert!(
        lines[0].contains(" seq=1 time=") && lines.len() == 3,
        "{lines:?}"
    );
    assert_eq!(lines[1], "1 sent, 1 received, 0 lost (0%)");
    assert_eq!(pings.ends().status.code(), Some(0));
}

#[test]
fn pings_of_a_hung_server_leave_one_thread_behind_and_no_more() {
    let directory = Directory::new();
    let server = ServerOptions::new().request_queue_size(1);
    let server = server
        .bind(&directory.socket("hung").parse().unwrap())
        .unwrap();
    let address = server.local_addr();
    let _waiting = [Peer::connects(address), Peer::connects(address)];

    let pings = starts(address, &["-i0", "-W5ms", "-c1000"]);
    for number in 1..=200 {
        assert!(
            pings
                .prints()
                .starts_with(&format!("seq={number}: cannot connect"))
        );
    }
    let count = |folder: &str| {
        let entries = std::fs::read_dir(format!("/proc/{}/{folder}", pings.id()));
        entries.expect("it goes on").count()
    };
    // The main one, that of signals, and the one that connects.
    assert!(count("task") <= 4, "{} threads", count("task"));
    assert!(count("fd") <= 10, "{} descriptors", count("fd"));
}

#[test]
fn pings_into_a_non_blocking_output_that_is_read_slowly_are_all_printed() {
    let server = ServerProcess::starts(&[]);
    let (mut reader, writer) = std::os::unix::net::UnixStream::pair().unwrap();
    writer.set_nonblocking(true).unwrap();
    reader.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = synchat();
    command.args(["ping", &server.address().to_string(), "-c10000", "-i0"]);
    command
        .stdout(std::os::fd::OwnedFd::from(writer))
        .stderr(Stdio::piped());
    let pings = Running::from(command.spawn().unwrap());
    drop(command);

    // More than the socket holds comes before the first read.
    thread::sleep(Duration::from_millis(300));
    let mut text = String::new();
    reader.read_to_string(&mut text).unwrap();
    assert_eq!(text.matches(" seq=").count(), 10_000);
    assert!(text.contains("\n10000 sent, 10000 received, 0 lost (0%)\n"));
    assert!(printed(&pings.ends(), 0).is_empty());
}

#[test]
fn a_refusal_is_a_sign_of_life_if_that_is_asked() {
    let server = ServerProcess::starts(&["--max-connections", "1"]);
    let mut served = server.client();
    served.sends("hello\r\n").expects("hello\r\n");

    let output = pings(server.address(), &["-qc1", "--alive"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("too many connections, the limit is 1"),
        "{told}"
    );
    assert_eq!(pings(server.address(), &["-qc1"]).status.code(), Some(3));

    // It is no excuse for any other failure.
    drop(served);
    let address = server.address().clone();
    server.signal("TERM");
    assert!(server.ends().status.success());
    let output = pings(&address, &["-qc1", "--alive", "-W200ms"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
