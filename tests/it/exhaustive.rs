//! All short streams, cut in all ways, against an oracle that sees the whole stream at once.
//!
//! The alphabet is the bytes of the terminator and one other byte. So every false start of the
//! terminator occurs. The oracle states the promise in its plainest form: it is quadratic, has a
//! few lines and no state.

use std::io::{self, Read};
use std::num::NonZeroUsize;

use synchat::{Event, Scanner, Terminator};

use crate::support::time_limit;

/// Reads up to the next cut. Bit `n` of `cuts` is a cut behind byte `n`.
struct Cut<'a> {
    stream: &'a [u8],
    cuts: u32,
}

impl Read for Cut<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let to_cut = self.cuts.trailing_zeros() as usize + 1;
        let length = self.stream.len().min(to_cut).min(buffer.len());
        buffer[..length].copy_from_slice(&self.stream[..length]);
        self.stream = &self.stream[length..];
        self.cuts = self.cuts.checked_shr(length as u32).unwrap_or(0);
        Ok(length)
    }
}

/// The messages, and the data without a terminator at the end.
type Messages = (Vec<Vec<u8>>, Vec<u8>);

/// Returns the messages that the scanner must find. The terminator of message `n` is
/// `terminators[n]`, and the last one stays.
fn oracle(stream: &[u8], terminators: &[Terminator]) -> Messages {
    let mut messages = Vec::new();
    let mut rest = stream;
    loop {
        let terminator = terminators
            .get(messages.len())
            .or(terminators.last())
            .unwrap();
        let (message, behind) = match terminator {
            Terminator::Bytes(needle) => match rest
                .windows(needle.len())
                .position(|window| window == &needle[..])
            {
                Some(at) => (&rest[..at], at + needle.len()),
                None => return (messages, rest.to_vec()),
            },
            Terminator::Length(count) => match rest.get(..*count as usize) {
                Some(message) => (message, message.len()),
                None => return (messages, rest.to_vec()),
            },
            Terminator::None => return (messages, rest.to_vec()),
        };
        messages.push(message.to_vec());
        rest = &rest[behind..];
    }
}

/// Returns the messages that the scanner finds.
fn scan(reader: impl Read, capacity: usize, terminators: &[Terminator]) -> Messages {
    let mut scanner =
        Scanner::with_capacity(NonZeroUsize::new(capacity).unwrap(), u64::MAX, reader);
    scanner.set_terminator(&terminators[0]);
    let (mut messages, mut message) = (Vec::new(), Vec::new());
    loop {
        match scanner.next_event() {
            Some(Event::Data(bytes)) => message.extend_from_slice(bytes),
            Some(Event::Terminator) => {
                messages.push(std::mem::take(&mut message));
                // A count holds once, so the last one must be set again.
                scanner.set_terminator(
                    terminators
                        .get(messages.len())
                        .or(terminators.last())
                        .unwrap(),
                );
            }
            Some(Event::Eof { unterminated }) => {
                let in_message = !matches!(
                    terminators.get(messages.len()).or(terminators.last()),
                    Some(Terminator::None)
                );
                assert_eq!(
                    unterminated,
                    if in_message { message.len() as u64 } else { 0 }
                );
                return (messages, message);
            }
            Some(event) => panic!("{event:?} without a limit"),
            None => assert!(scanner.fill().is_ok()),
        }
    }
}

/// Checks all streams of up to `depth` bytes of the alphabet, cut in all ways.
fn check_all(alphabet: &[u8], depth: usize, terminators: &[Terminator]) {
    time_limit::begins();
    let mut checked = 0;
    for length in 0..=depth {
        for number in 0..alphabet.len().pow(length as u32) {
            let digits =
                (0..length as u32).map(|place| number / alphabet.len().pow(place) % alphabet.len());
            let stream: Vec<u8> = digits.map(|digit| alphabet[digit]).collect();
            let expected = oracle(&stream, terminators);
            for cuts in 0..1 << length.saturating_sub(1) {
                let found = scan(
                    Cut {
                        stream: &stream,
                        cuts,
                    },
                    64,
                    terminators,
                );
                assert!(
                    found == expected,
                    "{} under {terminators:?}, cut at {cuts:b}: {found:?}, not {expected:?}",
                    stream.escape_ascii()
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 100_000, "only {checked} cases");
}

fn terminators<const N: usize>(list: [&'static str; N]) -> Vec<Terminator> {
    list.map(|text| {
        text.parse().map_or_else(
            |_| Terminator::from(text),
            |count: u64| Terminator::from(count),
        )
    })
    .to_vec()
}

#[test]
fn every_terminator_in_every_stream_in_every_cut() {
    for terminator in ["a", "aa", "ab", "aaa", "aab", "aba", "abb", "abab"] {
        check_all(b"ab", 10, &terminators([terminator]));
    }
    check_all(b"\r\n.", 7, &[Terminator::CRLF]);
    check_all(b"abc", 7, &terminators(["abc"]));
}

#[test]
fn every_count_in_every_stream_in_every_cut() {
    for count in ["1", "2", "3", "5"] {
        check_all(b"ab", 10, &terminators([count]));
    }
    check_all(b"ab", 10, &[Terminator::None]);
}

#[test]
fn every_terminator_change_holds_from_the_next_byte() {
    for list in [
        ["a", "ab"],
        ["ab", "ba"],
        ["aab", "2"],
        ["2", "aab"],
        ["1", "a"],
        ["aa", ""],
        ["3", ""],
    ] {
        check_all(b"ab", 10, &terminators(list));
    }
    // A count of 0 is an empty message.
    for list in [["a", "0", "ab"], ["0", "2", "aab"], ["ab", "0", "3"]] {
        check_all(b"ab", 10, &terminators(list));
    }
    check_all(b"ab", 10, &terminators(["aa", "2", "aba", "1", "b"]));
    check_all(b"\r\n3", 7, &terminators(["\r\n", "3", "\r\n", "1"]));
}

#[test]
fn a_buffer_of_any_size_finds_the_same() {
    time_limit::begins();
    let stream = b"aaab\r\nab\raab\r\r\n\r\naabaaab\n\r\n".repeat(3);
    for list in [["\r\n"], ["aab"], ["7"], ["aaab"], ["b"]] {
        let terminators = terminators(list);
        let expected = oracle(&stream, &terminators);
        for capacity in 1..stream.len() + 2 {
            assert_eq!(
                scan(&*stream, capacity, &terminators),
                expected,
                "{list:?}, buffer of {capacity}"
            );
        }
    }
}
