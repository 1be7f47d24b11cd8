//! The ends of connections, on real sockets (E1 to E4). Every reply that is owed arrives, and a bad
//! handler loses only its own connection.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use synchat::{
    Address, Chat, CloseReason, Handler, HandlerResult, Limits, Producer, Server, ServerOptions,
    Terminator,
};

use crate::server::{Serving, endings};
use crate::support::peer::{PATIENCE, Peer};

struct PanickingProducer;

impl Producer for PanickingProducer {
    fn more(&mut self) -> io::Result<&[u8]> {
        panic!("told to panic in a producer")
    }
}

/// A handler that does what each line says.
#[derive(Default)]
struct Obedient {
    line: Vec<u8>,
    closed: Arc<Mutex<Vec<String>>>,
}

impl Handler for Obedient {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(Terminator::CRLF);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        self.line.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        let line = String::from_utf8(std::mem::take(&mut self.line))?;
        chat.push(format!("{line}: done\r\n"))?;
        match line.as_str() {
            "quit" => chat.close_when_done(),
            "fail" => return Err("told to fail".into()),
            "panic" => panic!("told to panic"),
            "panic in a producer" => {
                chat.push_with_producer(PanickingProducer)?;
                chat.push("never sent\r\n")?;
            }
            _ => {}
        }
        Ok(())
    }

    fn handle_close(&mut self, reason: &CloseReason) {
        self.closed.lock().unwrap().push(reason.to_string());
    }
}

/// Starts a server of obedient handlers. Also returns the reasons that they are told.
fn obedient() -> (Serving, Arc<Mutex<Vec<String>>>) {
    let closed = Arc::new(Mutex::new(Vec::new()));
    let server = Server::bind("127.0.0.1:0").unwrap();
    let serving = Serving::starts(server, {
        let closed = Arc::clone(&closed);
        move |_| Obedient {
            line: Vec::new(),
            closed: Arc::clone(&closed),
        }
    });
    (serving, closed)
}

#[test]
fn e1_a_half_closed_peer_gets_every_reply() {
    let (serving, closed) = obedient();
    let mut client = serving.client();
    client.sends(b"x\r\n".repeat(1000)).half_closes();
    client.expects(b"x: done\r\n".repeat(1000)).expects_eof();
    assert_eq!(endings(&serving.stops(), "end-of-stream"), 1);
    assert_eq!(*closed.lock().unwrap(), ["end-of-stream"]);
}

#[test]
fn e2_the_last_reply_arrives_despite_unread_input() {
    let (serving, _) = obedient();
    for ending in ["quit", "fail", "panic"] {
        // Far more than one read takes, behind the line that ends the conversation.
        let mut client = serving.client();
        let mut writer = client.clone();
        let flood = thread::spawn(move || {
            let rest = [
                format!("{ending}\r\n").into_bytes(),
                b"more\r\n".repeat(200_000),
            ]
            .concat();
            let _ = writer.tries_to_send(rest);
        });
        client.expects(format!("{ending}: done\r\n"));
        flood.join().unwrap();
        client.expects_eof();
    }

    let report = serving.stops();
    assert_eq!(report.traffic.messages, 3, "{report}");
}

#[test]
fn e2_the_wait_for_a_persistent_sender_is_bounded() {
    let limits = Limits {
        linger_time: Duration::from_millis(300),
        ..Limits::default()
    };

    let options = ServerOptions::new().limits(limits);
    let server = options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let serving = Serving::starts(server, |_| Obedient::default());
    let mut client = serving.client();
    client
        .sends("quit\r\n")
        .expects("quit: done\r\n")
        .expects_eof();

    // The client keeps its half open, but the server does not wait for ever.
    let started = Instant::now();
    while client.tries_to_send("drip").is_ok() {
        assert!(
            started.elapsed() < Duration::from_secs(5),
            "the server still reads"
        );
        thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(endings(&serving.stops(), "closed-by-handler"), 1);
}

#[test]
fn e3_every_connection_has_exactly_one_close_reason() {
    let (serving, closed) = obedient();
    let ends = [
        ("", "end-of-stream"),
        ("hal", "mid-message unterminated=3"),
        ("quit\r\n", "closed-by-handler"),
        ("fail\r\n", r#"handler-error error="told to fail""#),
        ("panic\r\n", r#"handler-panic panic="told to panic""#),
        (
            "panic in a producer\r\n",
            r#"handler-panic panic="told to panic in a producer""#,
        ),
    ];
    for (sent, expected) in ends {
        let mut client = serving.client();
        client.sends(sent).half_closes();
        let received = client.reads_to_the_end();
        assert!(
            !received.windows(5).any(|window| window == b"never"),
            "{}",
            received.escape_ascii()
        );
        let deadline = Instant::now() + Duration::from_secs(10);
        while closed
            .lock()
            .unwrap()
            .last()
            .is_none_or(|reason| reason != expected)
        {
            assert!(Instant::now() < deadline, "no {expected} in {closed:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }
    let report = serving.stops();
    assert_eq!(report.accepted, 6);
    assert_eq!(closed.lock().unwrap().len(), 6);
    for (_, reason) in ends {
        let name = reason.split(' ').next().unwrap();
        assert_eq!(
            endings(&report, name),
            if name == "handler-panic" { 2 } else { 1 },
            "{report}"
        );
    }
}

#[test]
fn e3_a_reset_is_not_an_orderly_close() {
    let (serving, closed) = obedient();
    let mut client = serving.client();
    client.sends("x\r\n");
    // A socket that is closed with an unread reply sends a reset.
    thread::sleep(Duration::from_millis(100));
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(10);
    while closed.lock().unwrap().is_empty() {
        assert!(Instant::now() < deadline, "the connection does not end");
        thread::sleep(Duration::from_millis(1));
    }
    assert_eq!(*closed.lock().unwrap(), ["reset-by-peer"]);
    assert_eq!(endings(&serving.stops(), "reset-by-peer"), 1);
}

#[test]
fn e4_a_panic_ends_only_its_own_connection() {
    let (serving, _) = obedient();
    let mut bystander = serving.client();
    bystander.sends("before\r\n").expects("before: done\r\n");
    for _ in 0..100 {
        let mut client = serving.client();
        client
            .sends("a\r\npanic\r\n")
            .expects("a: done\r\npanic: done\r\n")
            .expects_eof();
    }

    bystander.sends("after\r\n").expects("after: done\r\n");
    let report = serving.stops();
    assert_eq!(
        (
            endings(&report, "handler-panic"),
            endings(&report, "drained")
        ),
        (100, 1),
        "{report}"
    );
}

#[test]
fn e4_a_panic_outside_the_callbacks_ends_one_connection() {
    struct Rude;
    impl Handler for Rude {
        fn collect_incoming_data(&mut self, _: &[u8], _: &mut Chat) -> HandlerResult {
            Ok(())
        }
        fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
            Ok(())
        }
        fn handle_close(&mut self, _: &CloseReason) {
            panic!("handle_close panics")
        }
    }

    impl Drop for Rude {
        fn drop(&mut self) {
            assert!(
                thread::panicking(),
                "dropped without the panic of handle_close"
            );
        }
    }

    let made = Arc::new(AtomicUsize::new(0));
    let server = Server::bind("127.0.0.1:0").unwrap();
    let serving = Serving::starts(server, move |_| {
        assert!(
            made.fetch_add(1, Ordering::Relaxed) != 0,
            "the factory panics"
        );
        Rude
    });

    let address: Address = serving.address.clone();
    serving.client().half_closes().expects_eof();
    serving.client().half_closes().expects_eof();
    assert_eq!(address, serving.address);

    let report = serving.stops();
    assert_eq!(
        (
            endings(&report, "handler-panic"),
            endings(&report, "end-of-stream")
        ),
        (1, 1),
        "{report}"
    );
}

/// Panics in each place that its letters name: in a callback (c), in a producer that was queued
/// before (p), in the drop of the value that a callback throws (t), in `handle_close` (h), in its
/// own drop (d), in the `Display` of the error that a callback returns (e).
struct Explosive(&'static str);

struct ThrownBomb;

impl Drop for ThrownBomb {
    fn drop(&mut self) {
        panic!("what was thrown panics when it is dropped")
    }
}

#[derive(Debug)]
struct UnprintableError;

impl std::fmt::Display for UnprintableError {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("an error panics when it is printed")
    }
}

impl std::error::Error for UnprintableError {}

impl Handler for Explosive {
    fn collect_incoming_data(&mut self, _: &[u8], chat: &mut Chat) -> HandlerResult {
        chat.push("last words")?;
        if self.0.contains('p') {
            chat.push_with_producer(PanickingProducer)?;
        }
        if self.0.contains('t') {
            std::panic::panic_any(ThrownBomb);
        }
        if self.0.contains('e') {
            return Err(UnprintableError.into());
        }
        assert!(!self.0.contains('c'), "a callback panics");
        Ok(())
    }

    fn found_terminator(&mut self, _: &mut Chat) -> HandlerResult {
        Ok(())
    }

    fn handle_close(&mut self, _: &CloseReason) {
        assert!(!self.0.contains('h'), "handle_close panics");
    }
}

impl Drop for Explosive {
    fn drop(&mut self) {
        assert!(!self.0.contains('d'), "the drop of a handler panics");
    }
}

#[test]
fn e4_a_connection_that_panics_again_is_counted_once() {
    let plans = [
        "c", "p", "cp", "t", "h", "d", "hd", "cphd", "tphd", "e", "ephd",
    ];
    let made = AtomicUsize::new(0);
    let server = Server::bind("127.0.0.1:0").unwrap();
    let serving = Serving::starts(server, move |_| {
        Explosive(
            plans
                .get(made.fetch_add(1, Ordering::Relaxed))
                .unwrap_or(&""),
        )
    });

    for plan in plans {
        let mut client = serving.client();
        client.sends("x").half_closes();
        assert_eq!(client.reads_to_the_end(), b"last words", "{plan}");
    }

    serving.client().sends("x").expects("last words");
    let report = serving.stops();
    assert_eq!(
        (report.accepted, report.open),
        (plans.len() as u64 + 1, 0),
        "{report}"
    );

    // In the last plan a panic of what was queued before follows the error.
    let counts = [
        endings(&report, "handler-panic"),
        endings(&report, "handler-error"),
    ];
    assert_eq!(counts, [7, 1], "{report}");
}

#[test]
fn e4_handle_request_survives_a_panic() {
    for plan in ["cphd", "tphd", "ephd"] {
        let server = Server::bind("127.0.0.1:0").unwrap();
        let mut client = Peer::connects(server.local_addr());
        client.sends("x").half_closes();
        let summary = server
            .handle_request(|_| Explosive(plan), Some(PATIENCE))
            .unwrap()
            .unwrap();
        assert!(summary.reason.name().starts_with("handler-"), "{plan}");
        assert_eq!(client.reads_to_the_end(), b"last words");
    }
}

#[test]
fn an_endless_timeout_does_not_overflow() {
    let limits = Limits {
        linger_time: Duration::MAX,
        ..Limits::default()
    };

    let server = ServerOptions::new()
        .limits(limits)
        .bind(&"127.0.0.1:0".parse().unwrap());
    let serving = Serving::starts(server.unwrap(), |_| Obedient::default());
    let mut client = serving.client();
    client
        .sends("quit\r\n")
        .expects("quit: done\r\n")
        .half_closes()
        .expects_eof();
    drop(client);
    assert_eq!(endings(&serving.stops(), "closed-by-handler"), 1);
}
