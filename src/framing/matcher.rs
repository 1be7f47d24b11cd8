//! Finds a byte string in a stream that arrives in chunks, in linear time.
//!
//! Goal: report every byte as data or as part of a match as early as possible, wherever the chunks
//! are cut. The work must stay linear for every needle and stream, also for `a…ab` in a stream of
//! `a`.
//!
//! Plan: the automaton of Knuth, Morris and Pratt. Its state is one number, `matched`: how many of
//! the last bytes are a beginning of the needle. While that is 0, [`skip_through`] jumps to the next
//! possible beginning. Bytes that may belong to a terminator must be held back at the end of a
//! chunk. They equal the needle's own first bytes, so the matcher keeps only their number.
//!
//! The cost: if the needle begins with a byte that is frequent in the data, the search goes byte by
//! byte, at about 1 ns each. A search for the needle's rarest byte (as in the `memchr` package's
//! `memmem`) would be faster there, but one number could not carry its state over chunks.

use super::byte_search::skip_through;

/// A byte string, and how far a stream of chunks has matched it.
///
/// The stream is `held` bytes of earlier chunks, then the chunk. Pass a chunk to
/// [`feed`](Self::feed) again, without its used bytes, until all of it is used.
///
/// Invariants:
/// - `borders` has an entry for each byte of `needle`, and `borders[i] <= i`.
/// - The bytes that are held back equal `needle[..held]`.
/// - `held == needle.len()`, and not 0, means that the needle was found.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    /// The byte string to find. Empty only before the first [`set_needle`](Self::set_needle).
    needle: Vec<u8>,
    /// `borders[i]`: the length of the longest proper prefix of `needle[..=i]` that is also its
    /// suffix.
    borders: Vec<usize>,
    /// How many bytes of earlier chunks are held back.
    held: usize,
    /// How many looks at bytes there were. A test proves with it that the work is linear.
    #[cfg(test)]
    pub(crate) examined: u64,
}

/// Bytes that are now known to be data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// This many of the bytes that were held back: the needle's first ones.
    Held(usize),
    /// This many bytes at the beginning of the chunk.
    Chunk(usize),
}

impl Matcher {
    /// Starts again with another needle, which must not be empty. Reuses the memory of the last one.
    pub(crate) fn set_needle(&mut self, needle: &[u8]) {
        self.reset();
        self.needle.clear();
        self.needle.extend_from_slice(needle);

        // The needle is matched against itself, one byte behind.
        self.borders.clear();
        self.borders.push(0);
        let mut border = 0;
        for &byte in &needle[1..] {
            while border > 0 && byte != needle[border] {
                border = self.borders[border - 1];
            }
            border += usize::from(byte == needle[border]);
            self.borders.push(border);
        }
    }

    /// Forgets what is held back.
    pub(crate) fn reset(&mut self) {
        self.held = 0;
    }

    /// Returns the bytes that are held back: used, but not yet reported.
    pub(crate) fn held(&self) -> &[u8] {
        &self.needle[..self.held]
    }

    /// Returns the needle's first bytes, for [`Data::Held`].
    pub(crate) fn prefix(&self, length: usize) -> &[u8] {
        &self.needle[..length]
    }

    /// Returns true once the needle was found. [`reset`](Self::reset) the matcher to find the next one.
    pub(crate) fn has_match(&self) -> bool {
        self.held == self.needle.len() && self.held > 0
    }

    /// Ends the stream: the bytes that are held back were data. Returns their number.
    pub(crate) fn release(&mut self) -> usize {
        let held = self.held;
        self.reset();
        held
    }

    /// Searches a chunk up to the end of the first match. Returns the data in it, perhaps none, and
    /// how many bytes of the chunk are used. Call it again with the rest.
    #[inline]
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> (Data, usize) {
        if self.held > 0 {
            return self.feed_on(chunk);
        }

        let Some(first) = skip_through(self.needle[0], chunk) else {
            self.count_looks(chunk.len());
            return (Data::Chunk(chunk.len()), chunk.len());
        };
        self.count_looks(first);

        // Nearly always the needle's other bytes follow, and are there.
        let others = self.needle.len() - 1;
        if let Some(next) = chunk.get(first..first + others) {
            self.count_looks(others);
            if next.iter().eq(&self.needle[1..]) {
                self.held = self.needle.len();
                return (Data::Chunk(first - 1), first + others);
            }
        }

        // A possible beginning of the needle at the end is held back.
        let (scanned, matched) = self.run(chunk, first, 1);
        self.held = matched;
        (Data::Chunk(scanned - matched), scanned)
    }

    /// Goes on where a former chunk ended with a possible beginning of the needle.
    fn feed_on(&mut self, chunk: &[u8]) -> (Data, usize) {
        let held = self.held;
        let (scanned, matched) = self.run(chunk, 0, held);

        if matched > scanned {
            self.held = matched;
            (Data::Held(held + scanned - matched), scanned)
        } else {
            // The held bytes are reported first, by themselves. The next call scans the chunk again.
            self.held = 0;
            (Data::Held(held), 0)
        }
    }

    /// Runs the automaton: the last `matched` bytes before `scanned` are the needle's first ones. It
    /// stops at the end of a match, at the end of the chunk, or as soon as no held byte can be part of
    /// a match any more. Returns its state then.
    #[inline(never)]
    fn run(&mut self, chunk: &[u8], mut scanned: usize, mut matched: usize) -> (usize, usize) {
        let held = self.held;

        while scanned < chunk.len()
            && matched < self.needle.len()
            && (held == 0 || matched > scanned)
        {
            let before = scanned;
            if matched == 0 {
                let skipped = skip_through(self.needle[0], &chunk[scanned..]);
                matched = usize::from(skipped.is_some());
                scanned = skipped.map_or(chunk.len(), |skipped| scanned + skipped);
            } else if chunk[scanned] == self.needle[matched] {
                scanned += 1;
                matched += 1;
            } else {
                matched = self.borders[matched - 1];
            }
            self.count_looks((scanned - before).max(1));
        }
        (scanned, matched)
    }

    /// Counts looks at bytes, for a test.
    #[inline]
    fn count_looks(&mut self, _looks: usize) {
        #[cfg(test)]
        {
            self.examined += _looks as u64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a stream in chunks. Returns the number of looks at bytes.
    fn work(needle: &[u8], stream: &[u8], chunk_size: usize) -> u64 {
        let mut matcher = Matcher::default();
        matcher.set_needle(needle);

        for mut chunk in stream.chunks(chunk_size) {
            while !chunk.is_empty() {
                let (_, used) = matcher.feed(chunk);
                chunk = &chunk[used..];
                if matcher.has_match() {
                    matcher.reset();
                }
            }
        }

        matcher.examined
    }

    #[test]
    fn each_byte_is_looked_at_at_most_three_times() {
        let a_b = |a: usize| [b"a".repeat(a), b"b".to_vec()].concat();
        let cases: [(Vec<u8>, Vec<u8>); 8] = [
            (b"\r\n".to_vec(), b"\r\n".repeat(5000)),
            (b"\r\n".to_vec(), b"\r".repeat(10_000)),
            (b"\r\n".to_vec(), b"x\r".repeat(5000)),
            (a_b(99), b"a".repeat(10_000)),
            (a_b(4999), b"a".repeat(10_000)),
            (a_b(9), b"aaaaaaaac".repeat(1111)),
            (b"abaababaabaab".to_vec(), b"abaababaabaac".repeat(769)),
            (b"aab".to_vec(), b"aaab".repeat(2500)),
        ];
        for (needle, stream) in cases {
            for chunk_size in [1, 2, 3, 7, 64, 4096, stream.len()] {
                let examined = work(&needle, &stream, chunk_size);
                let needle = needle.escape_ascii();
                assert!(
                    (stream.len() as u64..=3 * stream.len() as u64).contains(&examined),
                    "{needle}, chunks of {chunk_size}: {examined} looks at {} bytes",
                    stream.len()
                );
            }
        }
    }
}
