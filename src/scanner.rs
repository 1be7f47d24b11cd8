//! Bytes in, events out: cuts a stream into messages at a terminator that may change after every
//! event.
//!
//! Goals: nothing is read that was not asked for, so that the caller can send its replies before it
//! waits; nothing is copied, so data is lent straight out of the read buffer; nothing is scanned
//! twice; nothing but the buffer is kept of a message, however long it grows or says it will.
//!
//! Plan: [`Scanner::next_event`] only looks at bytes at hand, and says `None` when they do not
//! suffice. Then [`Scanner::fill`] reads, once. asynchat has the same split between `handle_read`'s
//! loop and `recv`, but its buffer is copied at every message (`self.ac_in_buffer =
//! self.ac_in_buffer[index+terminator_len:]`), which is quadratic.
//!
//! The cost of lending: an event borrows the scanner, so a caller that wants to keep data copies
//! it.

use std::io::{self, ErrorKind, Read};
use std::mem;
use std::num::NonZeroUsize;

use crate::input::Input;
use crate::matcher::{Data, Matcher};
use crate::terminator::Terminator;

/// What a scanner finds in its stream.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes of the message: never none, never a byte of the terminator. A long message comes in
    /// pieces.
    Data(&'a [u8]),
    /// The message has ended: all of its terminator has come.
    Terminator,
    /// The message is longer than the limit. It comes once for such a message, in place of the
    /// piece that went past the limit. The rest of the message is dropped as it arrives.
    TooLong,
    /// A message that was too long has ended: this comes in place of `Terminator`.
    EndOfTooLong,
    /// The stream has ended.
    Eof {
        /// How many bytes of a last message came without its terminator. 0 is a clean end; so is
        /// any end without a terminator set.
        unterminated: u64,
    },
}

/// Cuts what it reads from `R` into messages.
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
/// assert_eq!(scanner.next_event(), None); // it may go on
/// scanner.fill()?;
/// assert_eq!(scanner.next_event(), Some(Event::Eof { unterminated: 3 }));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Scanner<R> {
    input: Input<R>,
    awaited: Awaited,
    /// The search for a byte string; at rest while something else is awaited.
    matcher: Matcher,
    /// The message is whole, and that was not yet told.
    ended: bool,
    /// How much of the chunk the last event dealt with: consumed when the next is asked for, since
    /// the event borrows it.
    lent: usize,
    /// Bytes of the message so far, without its terminator; 0 while there is no terminator.
    length: u64,
    /// Past this length a message is too long.
    max_message: u64,
    /// That the message is too long was told. What comes of it from there on is dropped.
    too_long: bool,
    /// How many messages have ended.
    messages: u64,
    /// The reader has said that there is no more.
    at_end: bool,
}

/// What will end the message.
#[derive(Debug)]
enum Awaited {
    /// The matcher's needle.
    Match,
    /// So many bytes more; 0 only while `ended`.
    Count(u64),
    Nothing,
}

/// Room for one read: asynchat's 64 KiB, less 256 bytes.
///
/// With a power of two, the buffer that is allocated next, to which data will be copied, begins 16
/// bytes further within its page than this one. From there on x86 copies more than 2 KiB at 3 GB/s
/// instead of 60: `rep movsb` stumbles over addresses that look overlapping in their last 12 bits.
pub(crate) const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(64 * 1024 - 256).unwrap();

impl<R: Read> Scanner<R> {
    /// A scanner without terminator and without limit, that reads up to 64 KiB at a time.
    pub fn new(reader: R) -> Self {
        Self::with_capacity(DEFAULT_CAPACITY, u64::MAX, reader)
    }

    /// A scanner without terminator, that reads up to `capacity` bytes at a time and finds a
    /// message too long that has more than `max_message` bytes, its terminator not counted.
    pub fn with_capacity(capacity: NonZeroUsize, max_message: u64, reader: R) -> Self {
        Self {
            input: Input::new(capacity.get(), reader),
            awaited: Awaited::Nothing,
            matcher: Matcher::default(),
            ended: false,
            lent: 0,
            length: 0,
            max_message,
            too_long: false,
            messages: 0,
            at_end: false,
        }
    }

    /// Sets what ends the message, from the byte behind the last event on: bytes that were held
    /// back because they might have begun the former terminator are looked at again.
    pub fn set_terminator(&mut self, terminator: &Terminator) {
        self.input.consume(mem::take(&mut self.lent));
        if !self.matcher.held().is_empty() {
            self.input.put_back(self.matcher.held());
            self.ended = false;
        }
        self.matcher.reset();
        self.awaited = match terminator {
            Terminator::Bytes(bytes) => {
                self.matcher.set_needle(bytes);
                Awaited::Match
            }
            Terminator::Length(count) => Awaited::Count(count.get()),
            Terminator::None => {
                (self.length, self.too_long) = (0, false);
                Awaited::Nothing
            }
        };
    }

    /// The next event in the bytes at hand, or `None` if there is none without
    /// [`fill`](Self::fill).
    ///
    /// After the end of the stream it is [`Event::Eof`] for ever.
    #[inline]
    pub fn next_event(&mut self) -> Option<Event<'_>> {
        self.input.consume(mem::take(&mut self.lent));
        loop {
            if self.ended {
                return Some(self.end_message());
            }
            let chunk = self.input.chunk();
            let (data, used) = match &mut self.awaited {
                _ if chunk.is_empty() && !self.at_end => return None,
                _ if chunk.is_empty() => match self.matcher.release() {
                    0 => {
                        return Some(Event::Eof {
                            unterminated: self.length,
                        });
                    }
                    held => (Data::Held(held), 0),
                },
                Awaited::Match => {
                    let fed = self.matcher.feed(chunk);
                    self.ended = self.matcher.has_match();
                    fed
                }
                Awaited::Count(left) => {
                    let taken = chunk
                        .len()
                        .min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= taken as u64;
                    self.ended = *left == 0;
                    (Data::Chunk(taken), taken)
                }
                Awaited::Nothing => (Data::Chunk(chunk.len()), chunk.len()),
            };
            let (Data::Held(bytes) | Data::Chunk(bytes)) = data;
            if !matches!(self.awaited, Awaited::Nothing) {
                self.length += bytes as u64;
            }
            if bytes > 0 && self.length <= self.max_message {
                self.lent = used;
                return Some(Event::Data(match data {
                    Data::Held(bytes) => self.matcher.prefix(bytes),
                    Data::Chunk(bytes) => &self.input.chunk()[..bytes],
                }));
            }
            self.input.consume(used);
            if self.length > self.max_message && !mem::replace(&mut self.too_long, true) {
                return Some(Event::TooLong);
            }
        }
    }

    /// Goes on behind a message that is whole.
    #[inline]
    fn end_message(&mut self) -> Event<'static> {
        match self.awaited {
            Awaited::Match => self.matcher.reset(),
            // Spent. Any other terminator was set since.
            Awaited::Count(0) => self.awaited = Awaited::Nothing,
            Awaited::Count(_) | Awaited::Nothing => {}
        }
        (self.ended, self.length) = (false, 0);
        self.messages += 1;
        if mem::take(&mut self.too_long) {
            Event::EndOfTooLong
        } else {
            Event::Terminator
        }
    }

    /// Reads once, and waits for it. Returns the number of bytes that came; 0 is the end of the
    /// stream.
    ///
    /// To be called when [`next_event`](Self::next_event) is `None`: else bytes are at hand
    /// already, and it says how many without reading.
    ///
    /// # Errors
    ///
    /// Those of the reader, except an interruption, after which it reads again. The scanner stays
    /// as it was, so that after a timeout both functions can be called again.
    pub fn fill(&mut self) -> io::Result<usize> {
        loop {
            match self.fill_once() {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }

    /// Reads once, like [`fill`](Self::fill), but returns when it is interrupted, so that the caller
    /// can look at the clock.
    pub(crate) fn fill_once(&mut self) -> io::Result<usize> {
        let bytes = self.input.fill()?;
        self.at_end = bytes == 0;
        Ok(bytes)
    }

    /// The number of the message of which some bytes have come but not its end, if there is one. A
    /// byte that may only be the terminator's counts, too.
    pub(crate) fn unfinished(&self) -> Option<u64> {
        (self.length > 0 || !self.matcher.held().is_empty()).then_some(self.messages)
    }

    /// Drops what was read but not handed on, and what is known of the unfinished message. A
    /// terminator that was found is still told, and the one in force stays, with what remains of a
    /// count.
    pub fn discard(&mut self) {
        self.lent = 0;
        self.input.discard();
        if !self.ended {
            self.matcher.reset();
        }
        (self.length, self.too_long) = (0, false);
    }
}
