//! The read buffer: a `BufReader`, and in front of it the bytes that must be read again.
//!
//! Most peers send short lines, and many are silent for most of the time. So the buffer is small at
//! first, and grows when a read has filled it. That saves 3 KiB for an idle connection.
//!
//! When the terminator changes in mid-stream, the scanner gives back the bytes that it held as a
//! possible beginning of the old one. A `BufReader` cannot take bytes back, so they wait here. They
//! are never more than the longest terminator.

use std::io::{self, BufRead, BufReader, Read};
use std::num::NonZeroUsize;

/// The default of the largest size of a read: asynchat's 64 KiB, less 256 bytes.
///
/// With a power of two, the buffer that is allocated next begins 16 bytes further within its page
/// than this one. Copies between the two then run at 3 GB/s instead of 60: x86's `rep movsb` slows
/// down when two addresses are alike in their last 12 bits.
pub(crate) const READ_SIZE: NonZeroUsize = NonZeroUsize::new(64 * 1024 - 256).unwrap();

/// The size of the first read, and the growth after a read that fills the buffer.
const FIRST: usize = 1024;
const GROWTH: usize = 8;

/// A reader with a buffer that can be looked at without reading, and that takes bytes back.
///
/// Invariants:
/// - `returned` is empty, or `taken` is less than its length.
/// - The next byte is `returned[taken]`, or the reader's first if `returned` is empty.
#[derive(Debug)]
pub(crate) struct Input<R> {
    /// Bytes that were put back. They come before those of `reader`.
    returned: Vec<u8>,
    /// How many bytes of `returned` were consumed again.
    taken: usize,
    reader: BufReader<Movable<R>>,
    /// The largest size of the buffer.
    most: usize,
    /// The last read has filled the buffer, and it can grow.
    is_too_small: bool,
}

/// A reader that can move from one buffer to another. It is always there.
#[derive(Debug)]
struct Movable<R>(Option<R>);

impl<R: Read> Read for Movable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.as_mut().map_or(Ok(0), |reader| reader.read(buffer))
    }
}

impl<R: Read> Input<R> {
    /// Returns a reader whose buffer grows up to a size.
    pub(crate) fn new(most: usize, reader: R) -> Self {
        Self {
            returned: Vec::new(),
            taken: 0,
            reader: BufReader::with_capacity(FIRST.min(most), Movable(Some(reader))),
            most,
            is_too_small: false,
        }
    }

    /// Returns the next bytes at hand, perhaps not all of them. Empty means that a read is needed.
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

    /// Makes these the next bytes.
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

    /// Reads once, if no bytes are at hand. Returns how many are at hand then; 0 is the end of the
    /// stream.
    pub(crate) fn fill(&mut self) -> io::Result<usize> {
        if !self.returned.is_empty() {
            return Ok(self.chunk().len());
        }

        if self.is_too_small && self.reader.buffer().is_empty() {
            self.grow();
        }
        let bytes = self.reader.fill_buf()?.len();
        self.is_too_small = bytes == self.reader.capacity() && bytes < self.most;
        Ok(bytes)
    }

    /// Exchanges the buffer, which is empty, for a larger one.
    fn grow(&mut self) {
        let size = self.most.min(GROWTH * self.reader.capacity());
        let reader = self.reader.get_mut().0.take();
        self.reader = BufReader::with_capacity(size, Movable(reader));
        // The next read tells, even if it fails at first.
        self.is_too_small = false;
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    /// Gives these numbers of bytes, and between them finds none yet.
    struct Hesitant(Vec<usize>);

    impl Read for Hesitant {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.pop().unwrap_or(0);
            match length.min(buffer.len()) {
                0 => Err(ErrorKind::WouldBlock.into()),
                length => Ok(length),
            }
        }
    }

    fn capacity_after(mut reads: Vec<usize>, most: usize) -> usize {
        reads.reverse();
        let turns = reads.len();
        let mut input = Input::new(most, Hesitant(reads));
        for _ in 0..turns {
            let _ = input.fill();
            input.discard();
        }
        input.reader.capacity()
    }

    #[test]
    fn the_buffer_grows_only_when_a_read_fills_it() {
        let most = READ_SIZE.get();
        assert_eq!(capacity_after(vec![FIRST - 1; 9], most), FIRST);
        assert_eq!(capacity_after(vec![FIRST, 1, 1], most), GROWTH * FIRST);
        assert_eq!(capacity_after(vec![usize::MAX; 9], most), most);
        assert_eq!(capacity_after(vec![usize::MAX; 9], 5000), 5000);
        assert_eq!(capacity_after(vec![usize::MAX; 9], 1), 1);
    }

    #[test]
    fn reads_that_fail_do_not_make_it_grow() {
        let reads = vec![FIRST, 0, 0, 0, 1, 0];
        assert_eq!(capacity_after(reads, READ_SIZE.get()), GROWTH * FIRST);
    }
}
