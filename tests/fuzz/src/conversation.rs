//! A conversation with the echo, against an oracle that sees all that was received at once.

#![no_main]

mod pieces;

use std::io::{self, ErrorKind, Write};
use std::num::NonZeroUsize;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use log::{LevelFilter, Log, Metadata, Record};
use synchat::{Echo, Limits, Terminator, TooLong, Traffic, converse};

use pieces::{Alphabet, Ending, Reads};

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    alphabet: Alphabet,
    terminator: Ending<'a>,
    discards_too_long: bool,
    max_message: u8,
    input_buffer: u8,
    max_queued: u8,
    /// The number of bytes that the writer takes before it fails.
    room: Option<u8>,
    is_logged: bool,
    /// See [`Reads`].
    reads: &'a [u8],
    stream: &'a [u8],
}

fuzz_target!(
    init: log::set_logger(&Lines).expect("no other logger"),
    |case: Case<'_>| {
        log::set_max_level(match case.is_logged {
            true => LevelFilter::Trace,
            false => LevelFilter::Off,
        });
        let stream = case.alphabet.spell(case.stream);
        let terminator = case.terminator.terminator(case.alphabet);
        let limits = Limits {
            max_message: case.max_message.into(),
            too_long: match case.discards_too_long {
                true => TooLong::Discard,
                false => TooLong::Close,
            },
            input_buffer: NonZeroUsize::MIN.saturating_add(case.input_buffer.into()),
            max_queued: case.max_queued.into(),
            ..Limits::default()
        };
        let mut reads = Reads::new(&stream, case.reads);
        let mut writer = Reluctant::new(case.room.map_or(usize::MAX, usize::from));
        let summary = converse(
            &mut reads,
            &mut writer,
            &mut Echo::new(terminator.clone()),
            &limits,
        );

        // An echo of empty messages would never read, so it is stopped.
        if terminator == Terminator::Length(0) {
            assert_eq!((summary.reason.name(), reads.given), ("handler-error", 0));
            return;
        }

        let received = &stream[..reads.given];
        let expected = oracle(received, reads.has_ended, &terminator, &limits);
        let reason = summary.reason.to_string();
        if writer.has_failed {
            // All that is known of the output is that it was right.
            assert_eq!(reason, "reset-by-peer");
            assert!(expected.output.starts_with(&writer.taken));
            assert!(summary.traffic.bytes_out <= writer.taken.len() as u64);
        } else {
            assert_eq!(reason, expected.reason);
            assert_eq!(writer.taken, expected.output);
            assert_eq!(summary.traffic, expected.traffic);
        }
    }
);

/// The result that a conversation must have.
#[derive(Default)]
struct Expected {
    output: Vec<u8>,
    reason: String,
    traffic: Traffic,
}

/// Returns what an echo makes of these bytes. If `!has_ended`, more would have come without an
/// error or the end of the conversation.
fn oracle(received: &[u8], has_ended: bool, terminator: &Terminator, limits: &Limits) -> Expected {
    let mut expected = Expected::default();
    let limit = limits.max_message;
    let mut rest = received;
    loop {
        let (message, next) = cut(rest, has_ended, terminator);
        let is_too_long = message.len() as u64 > limit && *terminator != Terminator::None;
        let closes = is_too_long && limits.too_long == TooLong::Close;
        expected.traffic.too_long += u64::from(is_too_long);
        expected.traffic.messages += u64::from(!is_too_long && next.is_some());
        let error = format!("error: message longer than {limit} bytes").into_bytes();
        let reply = match terminator {
            Terminator::Bytes(needle) if closes || next.is_some() => {
                let reply = [if is_too_long { &error } else { message }, needle].concat();
                // An error line that would be more than one message is not sent.
                let end = reply.len() - needle.len();
                let first = (0..=end).find(|place| reply[*place..].starts_with(needle));
                if is_too_long && first < Some(end) {
                    Vec::new()
                } else {
                    reply
                }
            }
            Terminator::Length(_) if !is_too_long && next.is_some() => message.to_vec(),
            Terminator::None => message.to_vec(),
            Terminator::Bytes(_) | Terminator::Length(_) => Vec::new(),
        };
        expected.output.extend(reply);
        match next {
            _ if closes => expected.reason = format!("message-too-long limit={limit}"),
            Some(next) => {
                rest = &rest[next..];
                continue;
            }
            None if !has_ended => {
                let error = io::Error::from(ErrorKind::WouldBlock).to_string();
                expected.reason = format!("transport-error error={error:?}");
            }
            None if message.is_empty() || *terminator == Terminator::None => {
                expected.reason = "end-of-stream".to_owned();
            }
            None => expected.reason = format!("mid-message unterminated={}", message.len()),
        }
        expected.traffic.bytes_in = received.len() as u64;
        expected.traffic.bytes_out = expected.output.len() as u64;
        return expected;
    }
}

/// Returns the first message, as far as it is known to be data, and where the next one begins if
/// this one is whole.
fn cut<'a>(stream: &'a [u8], is_all: bool, terminator: &Terminator) -> (&'a [u8], Option<usize>) {
    let first = |is_there: &dyn Fn(&[u8]) -> bool| {
        (0..stream.len()).find(|place| is_there(&stream[*place..]))
    };
    match terminator {
        Terminator::Bytes(needle) => {
            if let Some(end) = first(&|rest| rest.starts_with(needle)) {
                return (&stream[..end], Some(end + needle.len()));
            }
            let held_back = first(&|rest| needle.starts_with(rest)).filter(|_| !is_all);
            (&stream[..held_back.unwrap_or(stream.len())], None)
        }
        Terminator::Length(count) => match usize::try_from(*count) {
            Ok(count) if count <= stream.len() => (&stream[..count], Some(count)),
            _ => (stream, None),
        },
        Terminator::None => (stream, None),
    }
}

/// Takes up to three bytes at a time, each time after an interruption, and fails when it is full.
struct Reluctant {
    taken: Vec<u8>,
    room: usize,
    is_interrupted: bool,
    has_failed: bool,
}

impl Reluctant {
    fn new(room: usize) -> Self {
        Self {
            taken: Vec::new(),
            room,
            is_interrupted: false,
            has_failed: false,
        }
    }
}

impl Write for Reluctant {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_interrupted = !self.is_interrupted;
        if self.is_interrupted {
            return Err(ErrorKind::Interrupted.into());
        }
        let length = bytes.len().min(3).min(self.room - self.taken.len());
        if length == 0 {
            self.has_failed = true;
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.taken.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A log that checks that a peer's bytes can neither end a line nor move a cursor.
struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let line = record.args().to_string();
        assert!(!line.contains(char::is_control), "{line:?}");
    }

    fn flush(&self) {}
}
