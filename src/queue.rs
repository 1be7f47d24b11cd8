//! The FIFO of output: bytes and producers in, one stream of bytes out, in the order in which they
//! were pushed.
//!
//! Replies are short and many, system calls are dear: so pushed bytes are joined in one buffer, and
//! a batch of replies leaves in one write. asynchat keeps each push as an entry of a `deque` and
//! sends one entry per turn of its loop.
//!
//! The cost: pushed bytes are copied once. What is large should be pushed as a producer, whose
//! chunks are written from where they lie.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::mem;

use crate::producer::Producer;

/// What waits behind the bytes that are ready.
enum Entry {
    Bytes(Vec<u8>),
    Produce(Box<dyn Producer>),
}

/// Output that was pushed and is not yet written.
#[derive(Default)]
pub(crate) struct ProducerQueue {
    /// The head of the queue.
    ready: Vec<u8>,
    /// What comes after `ready`; its first entry is a producer, and no two entries of bytes are
    /// neighbours.
    waiting: VecDeque<Entry>,
    /// The size of the queue: bytes in `ready` and `waiting`, and a token sum for each producer.
    size: usize,
}

/// Why the queue could not be drained.
#[derive(Debug)]
pub(crate) enum DrainError {
    /// A producer failed. What was before it has been written; what was behind it is dropped.
    Producer(io::Error),
    /// The writer failed, and nobody knows how much it took.
    Writer(io::Error),
}

impl ProducerQueue {
    /// What a producer counts for in the size of the queue: asynchat's chunk of a
    /// `simple_producer`.
    const PRODUCER_SIZE: usize = 512;

    /// Room that `ready` keeps between batches. A connection whose replies stay within its bounds
    /// never asks for more; one that once sent a huge reply does not hold on to it.
    const KEPT_ROOM: usize = 256 * 1024;

    /// Appends bytes.
    #[inline]
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.size += bytes.len();
        match self.waiting.back_mut() {
            None => self.ready.extend_from_slice(bytes),
            Some(Entry::Bytes(last)) => last.extend_from_slice(bytes),
            Some(Entry::Produce(_)) => self.waiting.push_back(Entry::Bytes(bytes.to_vec())),
        }
    }

    /// Appends a producer.
    pub(crate) fn push_with_producer(&mut self, producer: Box<dyn Producer>) {
        self.size += Self::PRODUCER_SIZE;
        self.waiting.push_back(Entry::Produce(producer));
    }

    /// Bytes queued, with 512 for each producer.
    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Drops all of it.
    pub(crate) fn clear(&mut self) {
        self.ready.clear();
        self.waiting.clear();
        self.size = 0;
    }

    /// Writes all of it, and adds to `written` what the writer took. After an error, or a
    /// producer's panic, the queue is empty, except for bytes that are in order and were not yet
    /// passed to the writer.
    #[inline]
    pub(crate) fn drain(
        &mut self,
        writer: &mut impl Write,
        written: &mut u64,
    ) -> Result<(), DrainError> {
        // Whatever ends this early takes what is behind it along.
        let mut waiting = mem::take(&mut self.waiting);
        self.size = self.ready.len();
        loop {
            self.write_ready(writer, written)?;
            match waiting.pop_front() {
                None => break,
                Some(Entry::Bytes(bytes)) => self.ready = bytes,
                Some(Entry::Produce(mut producer)) => loop {
                    match producer.more().map_err(DrainError::Producer)? {
                        [] => break,
                        chunk => write(chunk, writer, written)?,
                    }
                },
            }
        }
        self.waiting = waiting; // empty, but for its room
        Ok(())
    }

    #[inline]
    fn write_ready(
        &mut self,
        writer: &mut impl Write,
        written: &mut u64,
    ) -> Result<(), DrainError> {
        if self.ready.is_empty() {
            return Ok(());
        }
        let result = write(&self.ready, writer, written);
        self.ready.clear();
        self.ready.shrink_to(Self::KEPT_ROOM);
        self.size = 0;
        result
    }
}

#[inline]
fn write(bytes: &[u8], writer: &mut impl Write, written: &mut u64) -> Result<(), DrainError> {
    writer
        .write_all(bytes)
        .and_then(|()| writer.flush())
        .map_err(DrainError::Writer)?;
    *written += bytes.len() as u64;
    Ok(())
}

impl fmt::Debug for ProducerQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProducerQueue")
            .field("ready", &self.ready.len())
            .field("waiting", &self.waiting.len())
            .field("size", &self.size)
            .finish()
    }
}
