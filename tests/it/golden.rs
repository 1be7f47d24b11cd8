//! Replays conversations that were recorded from Python's own asynchat. The messages, the leftover
//! and the output must be the same.
//!
//! `tests/golden/record.py` made the conversations up, played them with Python 3.11 and wrote
//! `tests/golden/traces.txt`. The head of that file explains its format. Where this crate differs
//! from asynchat on purpose, the recording holds two traces. The first is asynchat's. The second is
//! what this crate promises: it comes from a subclass of asynchat that differs only in the points
//! of [`Difference`]. The Rust code had no part in either.
//!
//! Only concatenations are compared, because the pieces of the data depend on the reads. For the
//! same reason nobody records `get_terminator` inside `collect_incoming_data`. There, for a count,
//! this crate returns what remains behind the piece, while asynchat subtracts the piece after the
//! callback.

use std::collections::BTreeMap;
use std::io::{self, Read};

use synchat::{
    Chat, CloseReason, Handler, HandlerResult, Limits, PushAfterClose, SimpleProducer, Terminator,
    converse,
};

use crate::support::time_limit;

const RECORDING: &str = include_str!("../golden/traces.txt");

/// The points in which this crate does not do what asynchat does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Difference {
    /// asynchat loses bytes that it held back as a possible beginning of the terminator when the
    /// stream ends, a final `\r` for instance. Here they are data.
    LostTail,
    /// asynchat goes on reading and parsing after `close_when_done`. Here the callback that asked
    /// for the close is the last one.
    ParsesOnAfterClose,
    /// asynchat queues what is pushed after `close_when_done`, and never sends it. Here the caller
    /// is told by an error.
    PushAfterCloseIsRefused,
    /// asynchat drops output that is still queued when the peer ends its stream. Here it is sent.
    DropsOutputAtEof,
    /// asynchat subtracts from a count after `collect_incoming_data`, and so spoils a terminator
    /// that was set there, or crashes. Here it stays; `found_terminator` is still called for the
    /// count that was reached.
    CountResetWins,
    /// asynchat has looked past the data when it calls `collect_incoming_data`, so that a
    /// terminator set there leaves the old one's bytes, or a beginning of them, as they were seen.
    /// Here it governs the very next byte.
    SetInCollectIsImmediate,
    /// asynchat's `discard_buffers` also takes back a `close_when_done`. Here it stays asked for.
    DiscardKeepsClose,
    /// asynchat tries to send within each push, and one entry at a time. Here output is sent when
    /// all that was read is dealt with, and then all of it: `discard_buffers` finds more to drop
    /// among what was pushed since the last read, and nothing among what was pushed before it.
    SendsBeforeReading,
    /// asynchat takes a count of 0 for no terminator. Here it is an empty message, and
    /// `found_terminator` follows at once.
    CountOfZeroIsAMessage,
}

impl Difference {
    const ALL: [Self; 9] = [
        Self::LostTail,
        Self::ParsesOnAfterClose,
        Self::PushAfterCloseIsRefused,
        Self::DropsOutputAtEof,
        Self::CountResetWins,
        Self::SetInCollectIsImmediate,
        Self::DiscardKeepsClose,
        Self::SendsBeforeReading,
        Self::CountOfZeroIsAMessage,
    ];

    fn named(name: &str) -> Self {
        Self::ALL
            .into_iter()
            .find(|difference| format!("{difference:?}") == name)
            .unwrap_or_else(|| panic!("a difference that is not listed: {name}"))
    }
}

/// One line of the recording.
struct Case<'a> {
    terminator: Terminator,
    reads: Vec<Vec<u8>>,
    script: BTreeMap<&'a str, Vec<Action>>,
    asynchat: &'a str,
    /// The reasons for another trace than asynchat's, and that trace.
    difference: Option<(Vec<Difference>, &'a str)>,
}

/// An action of a callback.
enum Action {
    SetTerminator(Terminator),
    Push(Vec<u8>),
    PushWithProducer { data: Vec<u8>, buffer_size: usize },
    CloseWhenDone,
    DiscardBuffers,
}

impl<'a> Case<'a> {
    fn parse(line: &'a str) -> Self {
        let fields: Vec<_> = line.split(' ').collect();
        // The first field is asynchat's pace. It does not matter here: a blocking write takes
        // everything.
        let [_, terminator, reads, script, asynchat, ref difference @ ..] = fields[..] else {
            panic!("too few fields");
        };
        Self {
            terminator: parse_terminator(terminator),
            reads: items(reads, ',').map(parse_bytes).collect(),
            script: items(script, ',').map(parse_actions).collect(),
            asynchat,
            difference: match difference {
                [] => None,
                [names, promised] => {
                    Some((items(names, '+').map(Difference::named).collect(), promised))
                }
                _ => panic!("neither one trace nor two"),
            },
        }
    }

    /// Returns the trace that this crate promises.
    fn promised(&self) -> &'a str {
        self.difference
            .as_ref()
            .map_or(self.asynchat, |(_, promised)| promised)
    }
}

/// Returns the items of a list.
fn items(list: &str, separator: char) -> impl Iterator<Item = &str> {
    list.split(separator).filter(|item| *item != ".")
}

fn parse_bytes(hexadecimal: &str) -> Vec<u8> {
    let (pairs, rest) = hexadecimal.as_bytes().as_chunks::<2>();
    assert!(rest.is_empty(), "half a byte in {hexadecimal}");
    pairs
        .iter()
        .map(|pair| {
            let pair = str::from_utf8(pair).expect("the recording is ASCII");
            u8::from_str_radix(pair, 16).unwrap_or_else(|error| panic!("{pair}: {error}"))
        })
        .collect()
}

fn parse_terminator(text: &str) -> Terminator {
    match text.split_at(1) {
        ("b", bytes) => parse_bytes(bytes).into(),
        ("n", count) => count.parse::<u64>().expect("n and a count").into(),
        ("-", "") => Terminator::None,
        _ => panic!("no terminator: {text}"),
    }
}

fn parse_actions(item: &str) -> (&str, Vec<Action>) {
    let (call, actions) = item.split_once('=').expect("CALL=ACTIONS");
    (call, items(actions, '+').map(parse_action).collect())
}

fn parse_action(text: &str) -> Action {
    match text.split_at(1) {
        ("t", terminator) => Action::SetTerminator(parse_terminator(terminator)),
        ("p", data) => Action::Push(parse_bytes(data)),
        ("r", producer) => {
            let (size, data) = producer.split_once(':').expect("rSIZE:BYTES");
            Action::PushWithProducer {
                data: parse_bytes(data),
                buffer_size: size.parse().expect("a buffer size"),
            }
        }
        ("q", "") => Action::CloseWhenDone,
        ("d", "") => Action::DiscardBuffers,
        _ => panic!("no action: {text}"),
    }
}

impl Action {
    fn perform(&self, chat: &mut Chat) -> Result<(), PushAfterClose> {
        match self {
            Self::SetTerminator(terminator) => chat.set_terminator(terminator.clone()),
            Self::Push(data) => return chat.push(data),
            Self::PushWithProducer { data, buffer_size } => {
                return chat.push_with_producer(SimpleProducer::new(&**data, *buffer_size));
            }
            Self::CloseWhenDone => chat.close_when_done(),
            Self::DiscardBuffers => chat.discard_buffers(),
        }
        Ok(())
    }
}

/// A reader whose reads return what the recorded ones returned.
struct Reads<'a>(std::slice::Iter<'a, Vec<u8>>);

impl Read for Reads<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(chunk) = self.0.next() else {
            return Ok(0);
        };
        buffer[..chunk.len()].copy_from_slice(chunk);
        Ok(chunk.len())
    }
}

/// A handler that notes what it is told, as the recording does, and follows the script.
struct Replay<'a> {
    case: &'a Case<'a>,
    collects: usize,
    /// In the form that a trace has.
    messages: Vec<String>,
    collected: Vec<u8>,
    refused: usize,
}

impl<'a> Replay<'a> {
    /// Plays the case with this crate, and returns the trace.
    fn trace(case: &'a Case<'a>) -> String {
        let mut replay = Self {
            case,
            collects: 0,
            messages: Vec::new(),
            collected: Vec::new(),
            refused: 0,
        };

        let mut output = Vec::new();
        let reads = Reads(case.reads.iter());
        let end = match converse(reads, &mut output, &mut replay, &Limits::default()).reason {
            CloseReason::ClosedByHandler => "closed".to_owned(),
            CloseReason::EndOfStream | CloseReason::MidMessage { .. } => "eof".to_owned(),
            unexpected => unexpected.to_string(),
        };

        let messages = match &*replay.messages.join(";") {
            "" => ".".to_owned(),
            messages => messages.to_owned(),
        };

        let (leftover, output) = (hexadecimal(&replay.collected), hexadecimal(&output));
        format!("{messages}/{leftover}/{output}/{}/{end}", replay.refused)
    }

    fn act(&mut self, call: &str, chat: &mut Chat) {
        for action in self.case.script.get(call).into_iter().flatten() {
            self.refused += usize::from(action.perform(chat).is_err());
        }
    }
}

impl Handler for Replay<'_> {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        chat.set_terminator(self.case.terminator.clone());
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        self.collected.extend_from_slice(data);
        self.collects += 1;
        self.act(&format!("c{}", self.collects - 1), chat);
        Ok(())
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        let message = hexadecimal(&std::mem::take(&mut self.collected));
        let terminator = match chat.get_terminator() {
            Terminator::Bytes(bytes) => format!("b{}", hexadecimal(bytes)),
            // asynchat does not tell a count of 0 from none.
            Terminator::Length(0) | Terminator::None => "-".to_owned(),
            Terminator::Length(count) => format!("n{count}"),
        };
        self.messages.push(format!("{message}@{terminator}"));
        self.act(&format!("f{}", self.messages.len() - 1), chat);
        Ok(())
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return ".".to_owned();
    }
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the lines that are cases, with their numbers.
fn lines() -> impl Iterator<Item = (usize, &'static str)> {
    time_limit::begins();
    RECORDING
        .lines()
        .enumerate()
        .map(|(index, line)| (index + 1, line))
        .filter(|(_, line)| !line.starts_with('#'))
}

#[test]
fn every_trace_replays_but_for_the_listed_differences() {
    let mut replayed = 0;
    let mut failures = Vec::new();
    for (number, line) in lines() {
        let case = Case::parse(line);
        let (promised, ours) = (case.promised(), Replay::trace(&case));
        if ours != promised {
            failures.push(format!(
                "traces.txt:{number}: {line}\n  promised {promised}\n  ours     {ours}"
            ));
        }
        replayed += 1;
    }

    let (count, first) = (failures.len(), &failures[..failures.len().min(10)]);
    assert!(
        failures.is_empty(),
        "{count} of {replayed} differ, the first:\n{}",
        first.join("\n")
    );
    assert!(
        replayed >= 2000,
        "only {replayed} conversations are recorded"
    );
}

#[test]
fn every_listed_difference_has_a_trace_of_its_own() {
    for difference in Difference::ALL {
        let shows = lines().any(|(_, line)| {
            Case::parse(line)
                .difference
                .is_some_and(|(differences, _)| differences == [difference])
        });
        assert!(
            shows,
            "no conversation differs by {difference:?} and nothing else"
        );
    }
}

#[test]
fn synchats_own_trace_stands_only_where_it_differs() {
    for (number, line) in lines() {
        let case = Case::parse(line);
        if let Some((differences, promised)) = &case.difference {
            let asynchat = case.asynchat;
            assert_ne!(asynchat, *promised, "traces.txt:{number}: {differences:?}");
            assert!(
                !differences.is_empty(),
                "traces.txt:{number}: differs for no reason"
            );
        }
    }
}
