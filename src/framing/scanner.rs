//! Cuts a stream of bytes into messages, at a terminator that can change after every event.
//!
//! Goals:
//! - It never reads by itself, so the caller can send its replies before it waits for input.
//! - It copies nothing: data is lent straight out of the read buffer.
//! - It scans nothing twice, and keeps nothing of a message but what is in the buffer.
//!
//! Plan: [`Scanner::next_event`] looks only at bytes at hand, and returns `None` when they do not
//! suffice. Then [`Scanner::fill`] reads, once. asynchat has the same split between the loop in
//! `handle_read` and `recv`. But asynchat copies the rest of its buffer at every message
//! (`self.ac_in_buffer = self.ac_in_buffer[index+terminator_len:]`), which is quadratic.
//!
//! The cost is that an event borrows the scanner. A caller that wants to keep data must copy it.

use std::io::{self, ErrorKind, Read};
use std::mem;
use std::num::NonZeroUsize;

use super::input::{Input, READ_SIZE};
use super::matcher::{Data, Matcher};
use super::message::Message;
use super::terminator::Terminator;

/// The next thing that a scanner finds in its stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// The next piece of the message. It is never empty and never contains terminator bytes. A long
    /// message comes in several pieces.
    Data(&'a [u8]),
    /// The message is complete: its whole terminator has arrived.
    Terminator,
    /// The message is longer than the limit. This comes once for such a message, in place of the
    /// piece that passed the limit. The rest of the message is dropped as it arrives.
    TooLong,
    /// A message that was too long has ended. This comes in place of `Terminator`.
    EndOfTooLong,
    /// The stream has ended.
    Eof {
        /// How many bytes of a last message came without its terminator. It is 0 at a clean end,
        /// and at any end without a terminator.
        unterminated: u64,
    },
}

/// Cuts the bytes that it reads from `R` into messages.
///
/// ```
/// use synchat::{Event, Scanner, Terminator};
///
/// let mut scanner = Scanner::new(&b"one\r\ntwo"[..]);
/// scanner.set_terminator(&Terminator::CRLF);
/// assert_eq!(scanner.next_event(), None); // nothing was read yet
/// scanner.fill()?;
/// assert_eq!(scanner.next_event(), Some(Event::Data(b"one")));
/// assert_eq!(scanner.next_event(), Some(Event::Terminator));
/// assert_eq!(scanner.next_event(), Some(Event::Data(b"two")));
/// assert_eq!(scanner.next_event(), None); // more of it may come
/// scanner.fill()?;
/// assert_eq!(scanner.next_event(), Some(Event::Eof { unterminated: 3 }));
/// # Ok::<(), std::io::Error>(())
/// ```
// Invariants:
// - `matcher` holds bytes only while `awaited` is `Match`.
// - `awaited` is `Count(0)` only from the time when it is set to the next event.
// - `lent` is at most the length of the chunk.
#[derive(Debug)]
pub struct Scanner<R> {
    input: Input<R>,
    /// The search for a byte string.
    matcher: Matcher,
    awaited: Awaited,
    message: Message,
    /// The message is complete, and that was not reported yet.
    is_whole: bool,
    /// Bytes of the chunk that the last event used. The event borrows them, so they are consumed
    /// when the next event is asked for.
    lent: usize,
    /// A message with more bytes than this is too long.
    max_message: u64,
    /// The reader is at its end.
    at_end: bool,
    /// How many empty messages by count there were in a row, with no byte between them.
    empty_in_a_row: u32,
}

/// The condition that ends the message.
#[derive(Debug)]
enum Awaited {
    /// The matcher finds its needle.
    Match,
    /// This many bytes more arrive. With 0, the message is complete at once.
    Count(u64),
    /// No message ends.
    Nothing,
}

impl<R: Read> Scanner<R> {
    /// Returns a scanner without terminator and without limit, which reads up to 64 KiB at a time.
    /// The buffer is small at first, and grows when a read fills it.
    pub fn new(reader: R) -> Self {
        Self::with_capacity(READ_SIZE, u64::MAX, reader)
    }

    /// Returns a scanner without terminator, which reads up to `capacity` bytes at a time. A message
    /// of more than `max_message` bytes is too long; its terminator does not count.
    pub fn with_capacity(capacity: NonZeroUsize, max_message: u64, reader: R) -> Self {
        Self {
            input: Input::new(capacity.get(), reader),
            matcher: Matcher::default(),
            awaited: Awaited::Nothing,
            message: Message::default(),
            is_whole: false,
            lent: 0,
            max_message,
            at_end: false,
            empty_in_a_row: 0,
        }
    }

    /// Sets the terminator, from the byte after the last event on. Bytes that were held back, because
    /// they could begin the old terminator, are scanned again.
    pub fn set_terminator(&mut self, terminator: &Terminator) {
        self.input.consume(mem::take(&mut self.lent));

        if !self.matcher.held().is_empty() {
            self.input.put_back(self.matcher.held());
            self.is_whole = false;
        }
        self.matcher.reset();

        self.awaited = match terminator {
            Terminator::Bytes(bytes) => {
                self.matcher.set_needle(bytes);
                Awaited::Match
            }
            Terminator::Length(count) => Awaited::Count(*count),
            Terminator::None => {
                self.message.abandon();
                Awaited::Nothing
            }
        };
    }

    /// Returns the next event in the bytes at hand, or `None` if it needs [`fill`](Self::fill).
    ///
    /// After the end of the stream it always returns [`Event::Eof`].
    // Every second event is the end of a message. This part is small, so that it costs no call.
    #[inline(always)]
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.input.consume(mem::take(&mut self.lent));

        match self.is_whole {
            true => Some(self.end_message()),
            false => self.search(),
        }
    }

    /// Returns the next event of a message that was not complete before.
    #[inline(never)]
    fn search(&mut self) -> Option<Event<'_>> {
        loop {
            if self.is_whole {
                return Some(self.end_message());
            }

            // How many bytes are surely data, and how much of the chunk does that use up?
            let chunk = self.input.chunk();
            let has_end = !matches!(self.awaited, Awaited::Nothing);
            let (data, used) = match self.awaited {
                Awaited::Match if !chunk.is_empty() => {
                    let fed = self.matcher.feed(chunk);
                    self.is_whole = self.matcher.has_match();
                    fed
                }
                // An empty message needs no input.
                Awaited::Count(0) => {
                    self.empty_in_a_row += 1;
                    (self.awaited, self.is_whole) = (Awaited::Nothing, true);
                    continue;
                }
                Awaited::Count(_) | Awaited::Nothing if !chunk.is_empty() => self.take_chunk(),
                _ if !self.at_end => return None,
                _ => match self.matcher.release() {
                    0 => {
                        let unterminated = self.message.length;
                        return Some(Event::Eof { unterminated });
                    }
                    // No more can come, so the held bytes were data.
                    held => (Data::Held(held), 0),
                },
            };

            // Without a terminator there is no message that could be too long.
            let (Data::Held(bytes) | Data::Chunk(bytes)) = data;
            self.empty_in_a_row = 0;
            if has_end {
                self.message.length += bytes as u64;
            }

            // Lend the data to the caller.
            if bytes > 0 && self.message.length <= self.max_message {
                self.lent = used;
                return Some(Event::Data(match data {
                    Data::Held(bytes) => self.matcher.prefix(bytes),
                    Data::Chunk(bytes) => &self.input.chunk()[..bytes],
                }));
            }

            // There is none, or it belongs to a message that is too long: drop it and look further.
            self.input.consume(used);
            let is_too_long = self.message.length > self.max_message;
            if is_too_long && !mem::replace(&mut self.message.is_too_long, true) {
                return Some(Event::TooLong);
            }
        }
    }

    /// Takes data without a search: up to the count, or all of the chunk.
    #[inline(never)]
    fn take_chunk(&mut self) -> (Data, usize) {
        let chunk = self.input.chunk();
        let Awaited::Count(left) = &mut self.awaited else {
            return (Data::Chunk(chunk.len()), chunk.len());
        };

        let most = usize::try_from(*left).unwrap_or(usize::MAX);
        let taken = chunk.len().min(most);
        *left -= taken as u64;
        if *left == 0 {
            // A count holds for one message.
            (self.awaited, self.is_whole) = (Awaited::Nothing, true);
        }
        (Data::Chunk(taken), taken)
    }

    /// Goes on to the next message.
    #[inline(always)]
    fn end_message(&mut self) -> Event<'static> {
        self.matcher.reset();
        self.is_whole = false;
        let was_too_long = self.message.is_too_long;
        self.message.abandon();

        if was_too_long {
            Event::EndOfTooLong
        } else {
            Event::Terminator
        }
    }

    /// Reads once, and blocks until something comes. Returns the number of bytes; 0 is the end of the
    /// stream.
    ///
    /// Call it when [`next_event`](Self::next_event) returns `None`. Otherwise bytes are at hand
    /// already, and it returns their number without reading.
    ///
    /// # Errors
    ///
    /// Those of the reader, except an interruption, after which it reads again. An error leaves the
    /// scanner as it was, so you can call both functions again after a timeout.
    pub fn fill(&mut self) -> io::Result<usize> {
        loop {
            match self.fill_once() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads once, like [`fill`](Self::fill), but also returns when it is interrupted, so that the
    /// caller can look at the clock.
    pub(crate) fn fill_once(&mut self) -> io::Result<usize> {
        let bytes = self.input.fill()?;
        self.at_end = bytes == 0;
        Ok(bytes)
    }

    /// Returns the number of the message of which some bytes have come but not its end, if there is
    /// one. A byte that may only belong to the terminator counts, too.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        let has_begun = self.message.length > 0 || !self.matcher.held().is_empty();
        has_begun.then_some(self.message.number)
    }

    /// Drops the bytes at hand, and forgets the unfinished message. A terminator that was found is
    /// still reported. The terminator in force stays, with the rest of a count.
    pub fn discard(&mut self) {
        self.lent = 0;
        self.input.discard();

        if !self.is_whole {
            self.matcher.reset();
        }
        self.message.abandon();
    }

    /// Returns true if no terminator is in force: none was set, or a count is used up.
    pub(crate) fn has_no_terminator(&self) -> bool {
        matches!(self.awaited, Awaited::Nothing)
    }

    /// Returns how many empty messages by count there were in a row, with no byte between them.
    pub(crate) fn empty_in_a_row(&self) -> u32 {
        self.empty_in_a_row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_unfinished_from_its_first_byte_to_its_end() {
        let reads = b"a".chain(&b"\r"[..]).chain(&b"\n"[..]);
        let mut scanner = Scanner::new(reads.chain(&b"\r"[..]).chain(&b"b"[..]));
        scanner.set_terminator(&Terminator::CRLF);
        let mut read = || {
            scanner.fill().unwrap();
            while scanner.next_event().is_some() {}
            scanner.unfinished()
        };

        let first = read();
        assert!(first.is_some());
        assert_eq!(read(), first, "half a terminator does not end it");
        assert_eq!(read(), None, "it has ended, and no other has begun");

        let second = read();
        assert!(second.is_some(), "this byte may be data");
        assert_ne!(second, first);
        assert_eq!(read(), second);
    }
}
