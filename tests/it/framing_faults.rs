//! Empty messages by count, error lines within a peer's framing, and bytes at hand that need no
//! reading (F4, F8, F9).
//!
//! F9: a count of 0 is an empty message, and `found_terminator` follows at once. A handler that asks
//! for such messages without end is stopped with a handler error after a bounded number.

use std::io::{self, Read};
use std::num::NonZeroUsize;

use synchat::{
    Chat, Event, Handler, HandlerResult, Limits, Scanner, ServerOptions, Terminator, converse,
};

use crate::server::{Serving, endings};
use crate::support::hostile::{Call, Calls, Chunks};
use crate::support::peer::Peer;
use crate::support::process::{ServerProcess, synchat};
use crate::support::script::{Heard, Script};
use crate::support::time_limit;

use Heard::{Connect, Found};

fn data(bytes: impl AsRef<[u8]>) -> Heard {
    Heard::Data(bytes.as_ref().to_vec())
}

fn close(reason: &str) -> Heard {
    Heard::Close(reason.to_owned())
}

/// Frames of a length in four bytes and as many bytes: answers each with its length and a dot.
#[derive(Default)]
struct Frames {
    piece: Vec<u8>,
    in_body: bool,
}

impl Handler for Frames {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(4);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
        self.piece.extend_from_slice(data);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        let piece = std::mem::take(&mut self.piece);
        if self.in_body {
            chat.push(format!("{}.", piece.len()))?;
            chat.set_terminator(4);
        } else {
            let length = u32::from_be_bytes(piece.as_slice().try_into()?);
            chat.set_terminator(u64::from(length));
        }
        self.in_body = !self.in_body;
        Ok(())
    }
}

fn frame(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap();
    [&length.to_be_bytes()[..], body].concat()
}

#[test]
fn f9_an_empty_frame_is_a_frame_however_reads_cut_it() {
    let stream = [frame(b""), frame(b"abc"), frame(b""), frame(b"")].concat();
    for capacity in [1, 3, 4, 5, 64] {
        for split in 0..stream.len() {
            let limits = Limits {
                input_buffer: NonZeroUsize::new(capacity).unwrap(),
                ..Limits::default()
            };
            let (before, after) = stream.split_at(split);
            let mut output = Vec::new();
            let reads = Chunks::new([before, after]);
            let summary = converse(reads, &mut output, &mut Frames::default(), &limits);
            let told = (
                output.escape_ascii().to_string(),
                summary.reason.to_string(),
            );
            let expected = ("0.3.0.0.".to_owned(), "end-of-stream".to_owned());
            assert_eq!(told, expected, "split at {split}, {capacity} at a time");
        }
    }
}

#[test]
fn f9_a_hundred_thousand_empty_frames_in_a_row_are_answered() {
    time_limit::begins();
    let stream = frame(b"").repeat(100_000);
    let mut output = Vec::new();
    let limits = Limits::default();
    let summary = converse(&stream[..], &mut output, &mut Frames::default(), &limits);
    assert_eq!(output.len(), 200_000, "{:?}", summary.reason);
    assert_eq!(summary.reason.name(), "end-of-stream");
}

#[test]
fn f9_the_limit_holds_behind_an_empty_frame() {
    let limits = Limits {
        max_message: 1000,
        ..Limits::default()
    };
    let options = ServerOptions::new().limits(limits);
    let server = options.bind(&"127.0.0.1:0".parse().unwrap()).unwrap();
    let serving = Serving::starts(server, |_| Frames::default());
    let mut peer = serving.client();
    peer.sends(frame(b"")).expects("0.");
    peer.sends(frame(&[b'x'; 1000])).expects("1000.");
    let _ = peer.tries_to_send(frame(&[b'x'; 100_000]));
    peer.expects_eof();
    serving.client().sends(frame(b"next")).expects("4.");
    drop(peer);
    assert_eq!(endings(&serving.stops(), "message-too-long"), 1);
}

#[test]
fn f9_an_empty_message_needs_no_input_and_leaves_no_terminator() {
    let calls = Calls::default();
    let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
        match heard {
            Connect => chat.set_terminator(0),
            Found => {
                let is_none = *chat.get_terminator() == Terminator::None;
                chat.push(if is_none { "none" } else { "some" })?;
            }
            _ => {}
        }
        Ok(())
    });
    converse(
        calls.reader(&b"rest"[..]),
        calls.writer(),
        &mut handler,
        &Limits::default(),
    );
    assert_eq!(
        handler.heard,
        [Connect, Found, data("rest"), close("end-of-stream")]
    );
    let written = Call::Write(b"none".to_vec());
    assert_eq!(calls.noted(), [written, Call::Read(4), Call::Read(0)]);
}

#[test]
fn f9_an_empty_message_is_told_in_its_place_among_others() {
    let stream = b"ab;cd;ef;";
    for split in 0..stream.len() {
        let mut found = 0;
        let mut handler = Script::new(|heard: &Heard, chat: &mut Chat| {
            match heard {
                Connect => chat.set_terminator(";"),
                Found => {
                    found += 1;
                    // Behind the first message three empty ones, and then as before.
                    match found {
                        1..=3 => chat.set_terminator(0),
                        4 => chat.set_terminator(";"),
                        _ => {}
                    }
                }
                _ => {}
            }
            Ok(())
        });
        let (before, after) = stream.split_at(split);
        let reads = Chunks::new([before, after]);
        converse(reads, io::sink(), &mut handler, &Limits::default());
        let expected = [
            Connect,
            data("ab"),
            Found,
            Found,
            Found,
            Found,
            data("cd"),
            Found,
            data("ef"),
            Found,
            close("end-of-stream"),
        ];
        assert_eq!(handler.heard, expected, "split at {split}");
    }
}

#[test]
fn f9_a_scanner_finds_an_empty_message_without_reading() {
    time_limit::begins();
    struct Unread;
    impl Read for Unread {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            panic!("it was read from")
        }
    }
    let mut scanner = Scanner::new(Unread);
    for _ in 0..3 {
        scanner.set_terminator(&Terminator::from(0));
        assert_eq!(scanner.next_event(), Some(Event::Terminator));
        assert_eq!(scanner.next_event(), None);
    }
}

/// Asks for one empty message after the other, from the first byte on.
struct Insatiable(u64);

impl Handler for Insatiable {
    fn collect_incoming_data(&mut self, _: &[u8], chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(0);
        Ok(chat.push("more")?)
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        self.0 += 1;
        assert!(self.0 < 1 << 20, "there is no bound");
        chat.set_terminator(0);
        Ok(())
    }
}

#[test]
fn f9_who_asks_for_empty_messages_without_end_is_stopped() {
    let mut handler = Insatiable(0);
    let mut output = Vec::new();
    let limits = Limits::default();
    let summary = converse(&b"x"[..], &mut output, &mut handler, &limits);
    assert_eq!(
        summary.reason.name(),
        "handler-error",
        "after {}",
        handler.0
    );
    assert!(handler.0 > 100, "a few of them are legitimate");
    let bound = format!("more than {} empty messages", handler.0);
    let told = summary.reason.to_string();
    assert!(told.contains(&bound), "{told}, after {}", handler.0);

    let server = ServerOptions::new().bind(&"127.0.0.1:0".parse().unwrap());
    let serving = Serving::starts(server.unwrap(), |_| Insatiable(0));
    for _ in 0..2 {
        serving.client().sends("x").expects("more").expects_eof();
    }
    let report = serving.stops();
    assert_eq!(endings(&report, "handler-error"), 2, "{report}");
}

// Error lines.

/// Whether this is a line of the error's place: none, or one that the terminator ends and that has
/// none in it.
fn is_framed(error: &[u8], terminator: &str) -> bool {
    let terminator = terminator.as_bytes();
    let mut places = error.windows(terminator.len());
    let first = places.position(|place| place == terminator);
    error.is_empty() || first == Some(error.len() - terminator.len())
}

/// Letters, words and signs of the error lines, and such that their last letters begin them.
const TERMINATORS: [&str; 9] = ["r", "e", " ", ":", "error", "ss", "11", "ms", "0"];

/// A terminator as an option takes it, whatever words it knows.
fn escaped(terminator: &str) -> String {
    let bytes = terminator.bytes();
    bytes.map(|byte| format!(r"\x{byte:02x}")).collect()
}

/// Runs a check for each terminator, and says for which it received what.
fn check_framed(options: &[&str], provoke: impl Fn(&ServerProcess, &str) -> Vec<u8>) {
    let mut broken = Vec::new();
    for terminator in TERMINATORS {
        let mut command = synchat();
        command.args(["127.0.0.1:0", "--terminator", &escaped(terminator)]);
        command.args(options);
        let server = ServerProcess::starts_from(&mut command);
        let error = provoke(&server, terminator);
        if !is_framed(&error, terminator) {
            broken.push(format!("{terminator:?}: {}", error.escape_ascii()));
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// A message, as its peer would send it.
fn message(text: &str, terminator: &str) -> String {
    format!("{text}{terminator}")
}

#[test]
fn the_line_of_a_long_message_does_not_break_its_peers_framing() {
    let options = ["--max-message=11", "--too-long=discard"];
    check_framed(&options, |server, terminator| {
        let (whole, long) = (
            message("xy", terminator),
            message(&"x".repeat(50), terminator),
        );
        let mut peer = server.client();
        peer.sends([&*whole, &long, &whole].concat()).half_closes();
        let replies = peer.reads_to_the_end();
        let rest = replies.strip_prefix(whole.as_bytes());
        let error = rest.and_then(|rest| rest.strip_suffix(whole.as_bytes()));
        error.expect("both others are echoed").to_vec()
    });
}

#[test]
fn the_line_of_a_timeout_does_not_break_its_peers_framing() {
    let options = ["--idle-timeout=200ms", "--message-timeout=211ms"];
    for last in ["", "x"] {
        check_framed(&options, |server, terminator| {
            let whole = message("xy", terminator);
            let mut peer = server.client();
            peer.sends([&whole, last].concat()).expects(&whole);
            let error = peer.reads_to_the_end();
            server.client().sends(&whole).expects(&whole);
            error
        });
    }
}

#[test]
fn the_line_of_a_refusal_does_not_break_its_peers_framing() {
    let options = ["--max-connections=2", "--max-per-address=1"];
    check_framed(&options, |server, terminator| {
        let whole = message("xy", terminator);
        let mut served: Peer = server.client();
        served.sends(&whole).expects(&whole);
        let error = server.client().reads_to_the_end();
        served.sends(&whole).expects(&whole);
        error
    });
}

// Bytes at hand.

#[test]
fn a_fill_does_not_read_while_bytes_that_were_given_back_are_at_hand() {
    time_limit::begins();
    let calls = Calls::default();
    let mut scanner = Scanner::new(calls.reader(&b"a;;"[..]));
    scanner.set_terminator(&Terminator::from(";;;"));
    assert_eq!(scanner.fill().unwrap(), 3);
    assert_eq!(scanner.next_event(), Some(Event::Data(b"a")));
    scanner.set_terminator(&Terminator::from("!"));

    // It says how many there are, as it does where they are in its buffer.
    assert_eq!(scanner.fill().unwrap(), 2);
    assert_eq!(calls.noted(), [Call::Read(3)]);
    assert_eq!(scanner.next_event(), Some(Event::Data(b";;")));
    assert_eq!(scanner.next_event(), None);
    assert_eq!(scanner.fill().unwrap(), 0);
    assert_eq!(scanner.next_event(), Some(Event::Eof { unterminated: 3 }));
}

#[test]
fn a_fill_does_not_read_while_bytes_that_it_has_read_are_at_hand() {
    time_limit::begins();
    let calls = Calls::default();
    let mut scanner = Scanner::new(calls.reader(&b"a;b;"[..]));
    scanner.set_terminator(&Terminator::from(";"));
    assert_eq!(scanner.fill().unwrap(), 4);
    assert_eq!(scanner.next_event(), Some(Event::Data(b"a")));
    assert_eq!(scanner.next_event(), Some(Event::Terminator));
    assert_eq!(scanner.fill().unwrap(), 2);
    assert_eq!(calls.noted(), [Call::Read(4)]);
    assert_eq!(scanner.next_event(), Some(Event::Data(b"b")));
}
