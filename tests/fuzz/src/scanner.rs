//! The scanner, against an oracle that sees the whole stream.
//!
//! The pieces of a message depend on the reads. So the oracle does not predict events. It knows the
//! place behind the last event, and says whether the next one is allowed. For that it looks each
//! time from this place through all that was read. That is quadratic, but has no state that could
//! be wrong.

#![no_main]

mod pieces;

use std::io::{self, ErrorKind};
use std::mem;
use std::num::NonZeroUsize;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use synchat::{Event, Scanner, Terminator};

use pieces::{Alphabet, Ending, Reads};

#[derive(Arbitrary, Debug)]
struct Case<'a> {
    alphabet: Alphabet,
    capacity: u8,
    max_message: Option<u8>,
    /// See [`Reads`].
    reads: &'a [u8],
    actions: Vec<Action<'a>>,
    stream: &'a [u8],
}

/// An action of a user between two calls that bring events.
#[derive(Arbitrary, Debug)]
enum Action<'a> {
    /// Nothing, this many times.
    Pause(u8),
    SetTerminator(Ending<'a>),
    Discard,
}

fuzz_target!(|case: Case<'_>| {
    let stream = case.alphabet.spell(case.stream);
    let max_message = case.max_message.map_or(u64::MAX, u64::from);
    let mut scanner = Scanner::with_capacity(
        NonZeroUsize::MIN.saturating_add(case.capacity.into()),
        max_message,
        Reads::new(&stream, case.reads),
    );
    let mut oracle = Oracle::new(&stream, max_message);

    let (mut actions, mut pause) = (case.actions.iter(), 0);
    // Says whether it has done anything.
    let mut act = |scanner: &mut Scanner<_>, oracle: &mut Oracle<'_>| {
        if pause > 0 {
            pause -= 1;
            return false;
        }
        match actions.next() {
            Some(Action::SetTerminator(ending)) if !oracle.is_unsure() => {
                let terminator = ending.terminator(case.alphabet);
                scanner.set_terminator(&terminator);
                oracle.set_terminator(terminator);
                true
            }
            Some(Action::Discard) if !oracle.is_unsure() => {
                scanner.discard();
                oracle.discard();
                true
            }
            Some(Action::Pause(steps)) => {
                pause = *steps;
                false
            }
            Some(_) | None => false,
        }
    };

    let mut ends = 0;
    while ends < 3 {
        act(&mut scanner, &mut oracle);
        let event = scanner.next_event();
        let (is_dry, is_end) = (event.is_none(), matches!(event, Some(Event::Eof { .. })));
        oracle.check(event);
        ends += u8::from(is_end);
        if is_dry && !act(&mut scanner, &mut oracle) {
            oracle.read(scanner.fill());
        }
    }
});

struct Oracle<'a> {
    stream: &'a [u8],
    max_message: u64,
    /// The terminator that is awaited, or the rest of a count.
    terminator: Terminator,
    /// The number of bytes of the stream that were read.
    received: usize,
    at_end: bool,
    /// The place behind the last event. For a message that is too long it is the least possible
    /// place, because its pieces are dropped unseen.
    place: usize,
    /// `TooLong` was the last event.
    place_is_a_guess: bool,
    /// Bytes of the message before `place`.
    length: u64,
    too_long: bool,
    /// The bytes of a count have come. The next event says that it is over, whatever is awaited by
    /// then.
    count_is_over: bool,
    /// A terminator stood at the place where everything was discarded. If it had been found, it is
    /// reported.
    may_have_been_found: bool,
}

impl<'a> Oracle<'a> {
    fn new(stream: &'a [u8], max_message: u64) -> Self {
        Self {
            stream,
            max_message,
            terminator: Terminator::None,
            received: 0,
            at_end: false,
            place: 0,
            place_is_a_guess: false,
            length: 0,
            too_long: false,
            count_is_over: false,
            may_have_been_found: false,
        }
    }

    /// Returns the place up to which there is only data of this message.
    fn data_end(&self) -> usize {
        match &self.terminator {
            _ if self.count_is_over => self.place,
            Terminator::Bytes(needle) => {
                let is_needle = |place: &usize| {
                    let rest = &self.stream[*place..self.received];
                    rest.starts_with(needle) || !self.at_end && needle.starts_with(rest)
                };
                let end = (self.place..self.received).find(is_needle);
                end.unwrap_or(self.received)
            }
            Terminator::Length(left) => {
                let left = usize::try_from(*left).unwrap_or(usize::MAX);
                self.received.min(self.place.saturating_add(left))
            }
            Terminator::None => self.received,
        }
    }

    /// Returns whether the message ends at `place`.
    fn is_whole(&self) -> bool {
        match &self.terminator {
            _ if self.count_is_over => true,
            Terminator::Bytes(needle) => self.stream[self.place..self.received].starts_with(needle),
            // A count of 0 is an empty message. No other count is in force once its bytes have come.
            Terminator::Length(left) => *left == 0,
            Terminator::None => false,
        }
    }

    fn take_data(&mut self, end: usize) {
        let bytes = (end - self.place) as u64;
        self.place = end;
        match &mut self.terminator {
            Terminator::Bytes(_) => self.length += bytes,
            Terminator::Length(left) => {
                self.length += bytes;
                *left -= bytes;
                self.count_is_over = *left == 0 && bytes > 0;
                if self.count_is_over {
                    self.terminator = Terminator::None;
                }
            }
            Terminator::None => {}
        }
    }

    fn take_end(&mut self) {
        match &self.terminator {
            _ if mem::take(&mut self.count_is_over) => {}
            Terminator::Bytes(needle) => self.place += needle.len(),
            Terminator::Length(0) => self.terminator = Terminator::None,
            Terminator::Length(_) | Terminator::None => unreachable!("they end by count_is_over"),
        }
        (self.length, self.too_long) = (0, false);
    }

    fn check(&mut self, event: Option<Event<'_>>) {
        let was_found = mem::take(&mut self.may_have_been_found);
        let end = self.data_end();
        match event {
            Some(Event::Data(bytes)) => {
                let piece_end = self.place + bytes.len();
                assert!(!bytes.is_empty() && piece_end <= end && !self.too_long);
                assert_eq!(bytes, &self.stream[self.place..piece_end]);
                self.take_data(piece_end);
                assert!(self.length <= self.max_message);
                return;
            }
            Some(Event::TooLong) => {
                assert!(self.terminator != Terminator::None && !self.too_long);
                assert!(self.length + (end - self.place) as u64 > self.max_message);
                (self.too_long, self.place_is_a_guess) = (true, true);
                return;
            }
            Some(Event::Terminator) if was_found => return,
            _ => {}
        }

        // All data was delivered or, if the message is too long, dropped.
        if self.too_long {
            self.take_data(end);
        }
        self.place_is_a_guess = false;
        assert_eq!(self.place, end);

        match event {
            Some(Event::Terminator) => {
                assert!(self.is_whole() && !self.too_long);
                self.take_end();
            }
            Some(Event::EndOfTooLong) => {
                assert!(self.is_whole() && self.too_long);
                self.take_end();
            }
            Some(Event::Eof { unterminated }) => {
                assert!(self.at_end && !self.is_whole());
                assert_eq!(unterminated, self.length);
            }
            None => assert!(!self.at_end && !self.is_whole()),
            Some(Event::Data(_) | Event::TooLong) => unreachable!("dealt with above"),
        }
    }

    fn read(&mut self, result: io::Result<usize>) {
        match result {
            Ok(bytes) => {
                self.received += bytes;
                self.at_end = bytes == 0;
                assert!(!self.at_end || self.received == self.stream.len());
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }

    /// Returns whether the events so far do not say enough to predict an action.
    fn is_unsure(&self) -> bool {
        self.place_is_a_guess || self.may_have_been_found
    }

    fn set_terminator(&mut self, terminator: Terminator) {
        if terminator == Terminator::None {
            (self.length, self.too_long) = (0, false);
        }
        self.terminator = terminator;
    }

    fn discard(&mut self) {
        let awaits_bytes = matches!(self.terminator, Terminator::Bytes(_));
        self.may_have_been_found = awaits_bytes && !self.count_is_over && self.is_whole();
        self.place = self.received;
        (self.length, self.too_long) = (0, false);
    }
}
