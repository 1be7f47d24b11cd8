//! The bytes that wait to be scanned: a `BufReader`, and in front of it what was read but has to be
//! read again.
//!
//! A terminator that changes in mid-stream gives bytes back: those that were held back as a
//! possible beginning of the former one. `BufReader` cannot take them, so they wait here. They are
//! never more than the longest terminator.

use std::io::{self, BufRead, BufReader, Read};

/// A reader with a buffer that is looked into without reading, and that bytes can be put back to.
#[derive(Debug)]
pub(crate) struct Input<R> {
    /// Put back: comes before what `reader` holds. Empty, unless `taken` is less than its length.
    returned: Vec<u8>,
    /// How many bytes of `returned` were consumed again.
    taken: usize,
    reader: BufReader<R>,
}

impl<R: Read> Input<R> {
    pub(crate) fn new(capacity: usize, inner: R) -> Self {
        Self {
            returned: Vec::new(),
            taken: 0,
            reader: BufReader::with_capacity(capacity, inner),
        }
    }

    /// The bytes at hand that come next, perhaps not all of them, or none if reading is needed.
    #[inline]
    pub(crate) fn chunk(&self) -> &[u8] {
        if self.returned.is_empty() {
            self.reader.buffer()
        } else {
            &self.returned[self.taken..]
        }
    }

    /// Moves past the first bytes of the chunk, at most all of them.
    #[inline]
    pub(crate) fn consume(&mut self, bytes: usize) {
        if self.returned.is_empty() {
            return self.reader.consume(bytes);
        }
        self.taken += bytes;
        if self.taken == self.returned.len() {
            self.returned.clear();
            self.taken = 0;
        }
    }

    /// Makes these the bytes that come next.
    pub(crate) fn put_back(&mut self, bytes: &[u8]) {
        self.returned.splice(..self.taken, bytes.iter().copied());
        self.taken = 0;
    }

    /// Drops all bytes at hand.
    pub(crate) fn discard(&mut self) {
        self.returned.clear();
        self.taken = 0;
        self.reader.consume(self.reader.buffer().len());
    }

    /// Reads once, when no bytes are at hand; returns how many came, 0 for the end of the stream.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        self.reader.fill_buf().map(<[u8]>::len)
    }
}
