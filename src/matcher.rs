//! Finds a byte string in a stream that arrives in chunks, looking at each byte a bounded number of
//! times.
//!
//! Goal: every byte is reported as data or as part of a match as early as it can be, wherever the
//! chunks are cut, and the work is linear whatever the needle and the stream (`a…ab` against a
//! stream of `a` included).
//!
//! Plan: Knuth, Morris and Pratt's automaton, whose state is one number, `matched`: how many of the
//! last bytes are a beginning of the needle. While that is 0, `std`'s vectorised byte search skips
//! to the next possible beginning. Bytes that may turn out to be the terminator have to be held
//! back over a chunk's end, and the automaton makes that free: a held-back byte is by definition
//! equal to the needle's own, so only their number is kept.
//!
//! The cost: a needle that begins with a byte frequent in the data is searched a byte at a time, at
//! about 1 ns each. A search by the needle's rarest byte (as in the `memchr` package's `memmem`)
//! would avoid that; its state does not carry over chunks in one number.

use crate::byte_search::skip_through;

/// A byte string, and how far a stream of chunks has matched it.
///
/// Seen from here the stream is `held` bytes that were consumed already, then the chunk. A chunk is
/// passed to [`feed`](Self::feed) again, less what was used of it, until all of it is used.
#[derive(Debug, Default)]
pub(crate) struct Matcher {
    /// What is searched for. Empty only before the first [`set_needle`](Self::set_needle).
    needle: Vec<u8>,
    /// `borders[i]`: the length of the longest proper prefix of `needle[..=i]` that is also its
    /// suffix.
    borders: Vec<usize>,
    /// Bytes of earlier chunks that are held back: they equal `needle[..held]`. All of the needle:
    /// it was found.
    held: usize,
    /// How many bytes were looked at, one as often as it was, for the proof that the work is
    /// linear.
    #[cfg(test)]
    pub(crate) examined: u64,
}

/// What is now known to be data.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Data {
    /// So many of the bytes that were held back: the needle's first ones.
    Held(usize),
    /// So many bytes at the beginning of the chunk.
    Chunk(usize),
}

impl Matcher {
    /// Starts afresh with another needle, which must not be empty. Reuses the room of the former
    /// one.
    pub(crate) fn set_needle(&mut self, needle: &[u8]) {
        self.reset();
        self.needle.clear();
        self.needle.extend_from_slice(needle);
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

    /// The bytes that were used but not yet told to be data, as long as the needle is the same.
    pub(crate) fn held(&self) -> &[u8] {
        &self.needle[..self.held]
    }

    /// The needle's first bytes: what [`Data::Held`] counts.
    pub(crate) fn prefix(&self, length: usize) -> &[u8] {
        &self.needle[..length]
    }

    /// Whether all of the needle has been found. To look for the next, [`reset`](Self::reset) it.
    pub(crate) fn has_match(&self) -> bool {
        self.held == self.needle.len() && self.held > 0
    }

    /// Ends the stream: what is held back was data. Returns how much.
    pub(crate) fn release(&mut self) -> usize {
        let held = self.held;
        self.reset();
        held
    }

    /// Looks on through a chunk, up to the end of the first match. Returns what is data, perhaps
    /// none, and how many bytes of the chunk are used. The next call is for the rest.
    #[inline]
    pub(crate) fn feed(&mut self, chunk: &[u8]) -> (Data, usize) {
        let held = self.held;
        let needle = &*self.needle;
        // The automaton: the last `matched` bytes before `scanned` are the needle's first ones. It
        // runs to the end of a match, to the end of the chunk, or to where nothing of what was held
        // back is part of a match any more.
        let (mut scanned, mut matched) = (0, held);
        while scanned < chunk.len() && matched < needle.len() && (held == 0 || matched > scanned) {
            #[cfg(test)]
            let before = scanned;
            if matched == 0 {
                let skipped = skip_through(needle[0], &chunk[scanned..]);
                matched = usize::from(skipped.is_some());
                scanned = skipped.map_or(chunk.len(), |skipped| scanned + skipped);
            } else if chunk[scanned] == needle[matched] {
                scanned += 1;
                matched += 1;
            } else {
                matched = self.borders[matched - 1];
            }
            #[cfg(test)]
            {
                self.examined += (scanned - before).max(1) as u64;
            }
        }
        if held == 0 {
            self.held = matched;
            (Data::Chunk(scanned - matched), scanned)
        } else if matched > scanned {
            self.held = matched;
            (Data::Held(held + scanned - matched), scanned)
        } else {
            // What was held back is told first, by itself. The chunk is then begun anew.
            self.held = 0;
            (Data::Held(held), 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a stream, in chunks, and returns how many bytes were looked at.
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
    fn each_byte_is_looked_at_at_most_three_times_whatever_the_needle_the_stream_and_its_chunks() {
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
