//! Producers: sources of output that give one chunk at a time.
//!
//! A producer is asked for its next chunk only when everything before it is written. So a file, or an
//! endless source, needs the memory of one chunk. asynchat's `more()` returns each chunk as a new
//! `bytes` object. Here a chunk is lent, so a producer can use one buffer again and again.

use std::io::{self, ErrorKind, Read};

/// A source of output that is drained in chunks: asynchat's "producer".
///
/// The conversation's own thread calls it, when the producer is at the head of the queue and
/// everything before it is written. It can block, which blocks only its own conversation.
pub trait Producer: Send {
    /// Returns the next chunk. An empty chunk is the end; after it, `more` is not called again.
    ///
    /// # Errors
    ///
    /// An error ends the conversation with
    /// [`CloseReason::HandlerError`](crate::CloseReason::HandlerError). Output that was queued behind
    /// the producer is not sent. Otherwise the peer would take a reply with a hole for a complete one.
    fn more(&mut self) -> io::Result<&[u8]>;
}

/// Gives a byte string, `buffer_size` bytes at a time: asynchat's `simple_producer`.
#[derive(Debug, Clone)]
pub struct SimpleProducer {
    data: Vec<u8>,
    /// How many bytes of `data` were given.
    produced: usize,
    buffer_size: usize,
}

impl SimpleProducer {
    /// Returns a producer of `data`. asynchat's default `buffer_size` is 512 bytes; 0 is taken as 1.
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

/// Gives everything that a reader reads, up to its end: a file, a pipe, [`std::io::repeat`].
#[derive(Debug)]
pub struct ReadProducer<R> {
    reader: R,
    buffer: Box<[u8]>,
}

impl<R: Read + Send> ReadProducer<R> {
    /// Large, so that a file needs few calls, and small, since each connection can have one.
    const BUFFER_SIZE: usize = 16 * 1024;

    /// Returns a producer that reads 16 KiB at a time.
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

/// Gives the chunks of an iterator, up to its end. It skips empty chunks.
#[derive(Debug)]
pub struct IterProducer<I: Iterator> {
    chunks: I,
    /// The chunk that is lent.
    current: Option<I::Item>,
}

impl<I: Iterator> IterProducer<I> {
    /// Returns a producer that takes a chunk from `chunks` each time it is asked for one.
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
