//! Terminators that contain their own beginning (F3). When a match fails late, the search goes on
//! from the longest beginning that still fits, and does not start again.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use synchat::{Event, Scanner, Terminator};

use crate::support::time_limit;

/// Returns the length of the first message with its terminator, or `None` if it does not end.
fn end_of_message(needle: &[u8], stream: &[u8], chunk: usize) -> Option<usize> {
    let chunk = NonZeroUsize::new(chunk).unwrap();
    let mut scanner = Scanner::with_capacity(chunk, u64::MAX, stream);
    scanner.set_terminator(&Terminator::from(needle.to_vec()));
    let mut data = 0;
    loop {
        match scanner.next_event() {
            Some(Event::Data(bytes)) => data += bytes.len(),
            Some(Event::Terminator) => return Some(data + needle.len()),
            Some(Event::Eof { .. }) => return None,
            Some(event) => panic!("there is no limit, but {event:?}"),
            None => drop(scanner.fill().unwrap()),
        }
    }
}

/// Returns the same, by looking at every place.
fn first_place(needle: &[u8], stream: &[u8]) -> Option<usize> {
    let mut places = stream.windows(needle.len());
    places
        .position(|place| place == needle)
        .map(|at| at + needle.len())
}

#[track_caller]
fn check(needle: &[u8], stream: &[u8]) {
    for chunk in [1, 3, stream.len()] {
        assert_eq!(
            end_of_message(needle, stream, chunk),
            first_place(needle, stream),
            "{} in {}, {chunk} bytes at a time",
            needle.escape_ascii(),
            stream.escape_ascii()
        );
    }
}

#[test]
fn a_terminator_is_found_after_a_beginning_of_itself() {
    time_limit::begins();
    let cases = [
        ("aabaaac", "aabaaabaaac"),
        ("aabaaac", "xaabaaabaaabaaacx"),
        ("aabaab", "aabaaabaab"),
        ("abacabab", "abacabacabab"),
        ("\r\n\r\r\n\r\r", "\r\n\r\r\n\r\n\r\r\n\r\r"),
        ("abaababaabaab", "abaababaabaababaabaab"),
    ];
    for (needle, stream) in cases {
        assert!(first_place(needle.as_bytes(), stream.as_bytes()).is_some());
        check(needle.as_bytes(), stream.as_bytes());
    }
}

/// Returns all byte strings of this length over the first letters.
fn strings(letters: u32, length: u32) -> impl Iterator<Item = Vec<u8>> {
    (0..letters.pow(length)).map(move |mut number| {
        let byte = |_| {
            let letter = b'a' + (number % letters) as u8;
            number /= letters;
            letter
        };
        (0..length).map(byte).collect()
    })
}

#[test]
fn every_short_terminator_after_each_of_its_beginnings() {
    time_limit::begins();
    let started = Instant::now();
    let needles = strings(3, 7).chain(strings(2, 10));
    for needle in needles {
        for kept in 1..needle.len() {
            check(&needle, &[&needle[..kept], &needle[..]].concat());
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it hangs");
    }
}
