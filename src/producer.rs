//! Where output comes from, a chunk at a time: the [`Producer`] trait and the ready-made ones.
//!
//! A producer is asked for its next chunk only when everything before it has been written, so a
//! file, or an endless source, costs one chunk of memory. asynchat's `more()` returns the chunk as
//! a new `bytes` object; here it is lent, so a producer can hand out the same buffer again and
//! again.

use std::io::{self, ErrorKind, Read};

/// A source of output that is drained in chunks: asynchat's "producer".
///
/// Called by the connection's own thread, when the producer is at the head of the queue and all
/// that was pushed before it is written. It may block, and blocks its own connection alone.
pub trait Producer: Send {
    /// The next chunk, or an empty one when there is no more; then it is not called again.
    ///
    /// # Errors
    ///
    /// An error ends the connection with
    /// [`CloseReason::HandlerError`](crate::CloseReason::HandlerError): what was queued behind the
    /// producer is not sent, so that the peer does not take a reply with a hole for a whole one.
    fn more(&mut self) -> io::Result<&[u8]>;
}

/// Produces a byte string, `buffer_size` bytes at a time: asynchat's `simple_producer`.
#[derive(Debug, Clone)]
pub struct SimpleProducer {
    data: Vec<u8>,
    /// How much of `data` was produced.
    produced: usize,
    buffer_size: usize,
}

impl SimpleProducer {
    /// asynchat's default `buffer_size` is 512 bytes; one of 0 is taken as 1.
    pub fn new(data: impl Into<Vec<u8>>, buffer_size: usize) -> Self {
        Self {
            data: data.into(),
            produced: 0,
            buffer_size: buffer_size.max(1),
        }
    }
}

impl Producer for SimpleProducer {
    fn more(&mut self) -> io::Result<&[u8]> {
        let from = self.produced;
        self.produced = self.data.len().min(from.saturating_add(self.buffer_size));
        Ok(&self.data[from..self.produced])
    }
}

/// Produces what a reader yields, up to its end: a file, a pipe, [`std::io::repeat`].
#[derive(Debug)]
pub struct ReadProducer<R> {
    reader: R,
    buffer: Box<[u8]>,
}

impl<R: Read + Send> ReadProducer<R> {
    /// Large enough that a file costs few calls, small enough for one per connection.
    const BUFFER_SIZE: usize = 16 * 1024;

    /// Reads 16 KiB at a time.
    pub fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: vec![0; Self::BUFFER_SIZE].into(),
        }
    }
}

impl<R: Read + Send> Producer for ReadProducer<R> {
    fn more(&mut self) -> io::Result<&[u8]> {
        loop {
            match self.reader.read(&mut self.buffer) {
                Ok(length) => return Ok(&self.buffer[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Produces the chunks of an iterator, up to its end. Empty chunks are passed over.
#[derive(Debug)]
pub struct IterProducer<I: Iterator> {
    chunks: I,
    /// The one that is lent.
    current: Option<I::Item>,
}

impl<I: Iterator> IterProducer<I> {
    /// Takes the next chunk from `chunks` when it is asked for one.
    pub fn new(chunks: impl IntoIterator<IntoIter = I>) -> Self {
        Self {
            chunks: chunks.into_iter(),
            current: None,
        }
    }
}

impl<I> Producer for IterProducer<I>
where
    I: Iterator<Item: AsRef<[u8]> + Send> + Send,
{
    fn more(&mut self) -> io::Result<&[u8]> {
        self.current = self.chunks.find(|chunk| !chunk.as_ref().is_empty());
        Ok(self.current.as_ref().map_or(&[], AsRef::as_ref))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(mut producer: impl Producer) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        loop {
            match producer.more().unwrap() {
                [] => return chunks,
                chunk => chunks.push(chunk.to_vec()),
            }
        }
    }

    #[test]
    fn a_simple_producer_cuts_its_data_at_the_buffer_size() {
        assert_eq!(
            chunks(SimpleProducer::new("abcde", 2)),
            [b"ab".to_vec(), b"cd".to_vec(), b"e".to_vec()]
        );
        assert_eq!(chunks(SimpleProducer::new("abcd", 2)).len(), 2);
        assert_eq!(chunks(SimpleProducer::new("ab", 0)), [b"a", b"b"]);
        assert_eq!(chunks(SimpleProducer::new("", 512)), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_read_producer_ends_with_its_reader() {
        let long = vec![7; 40_000];
        assert_eq!(chunks(ReadProducer::new(&*long)).concat(), long);
    }

    #[test]
    fn an_iterators_empty_chunks_do_not_end_it() {
        assert_eq!(
            chunks(IterProducer::new(["", "a", "", "bc", ""])),
            [b"a".to_vec(), b"bc".to_vec()]
        );
    }
}
