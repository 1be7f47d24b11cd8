//! The queue of output: bytes and producers go in, one stream of bytes comes out, in push order.
//!
//! Replies are short and many, and system calls are expensive. So pushed bytes are joined in one
//! buffer, and a batch of replies leaves in one write. asynchat keeps each push as an entry of a
//! `deque`, and sends one entry per turn of its loop.
//!
//! The cost is one copy of the pushed bytes. Push large output as a producer: its chunks are written
//! without a copy.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, Write};
use std::mem;

use super::guard::guarded;
use super::producer::Producer;

/// An entry of the queue behind the bytes that are ready.
enum Entry {
    Bytes(Vec<u8>),
    Produce(Box<dyn Producer>),
}

/// Output that was pushed and is not written yet.
///
/// Invariants:
/// - The first entry of `waiting` is a producer. Two entries of bytes are never neighbours.
/// - `size` is the number of bytes in `ready` and `waiting`, and 512 for each producer.
/// - A producer leaves the queue before it is dropped, and no two are dropped at once: each drop can
///   panic.
#[derive(Default)]
pub(super) struct OutputQueue {
    /// The bytes at the head of the queue.
    ready: Vec<u8>,
    /// Everything after `ready`.
    waiting: VecDeque<Entry>,
    size: usize,
    /// The first producer is being asked. If it panics, this stays true.
    is_producing: bool,
}

/// The reason why the queue could not be drained.
#[derive(Debug)]
pub(super) enum DrainError {
    /// A producer failed. Everything before it was written; everything behind it is dropped.
    Producer(io::Error),
    /// The writer failed. Nobody knows how many of the bytes it took.
    Writer(io::Error),
}

impl OutputQueue {
    /// The size of a producer in the queue: one chunk of asynchat's `simple_producer`.
    const PRODUCER_SIZE: usize = 512;

    /// How much memory `ready` keeps between batches. Normal replies never need more. After one huge
    /// reply the rest is given back.
    const KEPT_ROOM: usize = 256 * 1024;

    /// Appends bytes.
    #[inline]
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.size += bytes.len();

        match self.waiting.back_mut() {
            None => self.ready.extend_from_slice(bytes),
            Some(Entry::Bytes(last)) => last.extend_from_slice(bytes),
            Some(Entry::Produce(_)) => self.waiting.push_back(Entry::Bytes(bytes.to_vec())),
        }
    }

    /// Appends bytes, and leaves their buffer empty. If nothing is queued, and the buffer has at least as
    /// much room as ours, the two change places, and no byte is copied.
    #[inline]
    pub(super) fn append(&mut self, bytes: &mut Vec<u8>) {
        if self.size > 0 || bytes.capacity() < self.ready.capacity() {
            self.push(bytes);
            bytes.clear();
        } else {
            self.size = bytes.len();
            mem::swap(&mut self.ready, bytes);
        }
    }

    /// Appends a producer.
    pub(super) fn push_with_producer(&mut self, producer: Box<dyn Producer>) {
        self.size += Self::PRODUCER_SIZE;
        self.waiting.push_back(Entry::Produce(producer));
    }

    /// Returns the number of queued bytes, plus 512 for each producer.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Drops everything. If the drop of a producer panics, the entries behind it stay.
    pub(super) fn clear(&mut self) {
        self.ready.clear();
        self.size = 0;
        self.is_producing = false;

        while let Some(entry) = self.waiting.pop_front() {
            drop(entry);
        }
    }

    /// Writes everything, and adds the number of bytes to `written`.
    ///
    /// After an error the queue is empty. After a producer's panic, the next call empties it and
    /// writes nothing: the peer would take a reply with a hole for a complete one.
    #[inline]
    pub(super) fn drain(
        &mut self,
        writer: &mut impl Write,
        written: &mut u64,
    ) -> Result<(), DrainError> {
        let drained = match self.is_producing {
            true => Ok(()),
            false => self.write_all(writer, written),
        };

        if drained.is_err() || self.is_producing {
            self.clear();
        }
        drained
    }

    #[inline]
    fn write_all(&mut self, writer: &mut impl Write, written: &mut u64) -> Result<(), DrainError> {
        loop {
            self.write_ready(writer, written)?;

            match self.waiting.front_mut() {
                None => {
                    self.size = 0;
                    return Ok(());
                }
                Some(Entry::Bytes(bytes)) => {
                    self.ready = mem::take(bytes);
                    self.waiting.pop_front();
                }
                Some(Entry::Produce(producer)) => {
                    self.is_producing = true;
                    write_product(&mut **producer, writer, written)?;
                    self.is_producing = false;
                    drop(self.waiting.pop_front());
                }
            }
        }
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
        result
    }
}

impl Drop for OutputQueue {
    /// Drops each producer by itself. Two panics at once would abort the process.
    fn drop(&mut self) {
        while let Some(entry) = self.waiting.pop_front() {
            let _ = guarded(|| drop(entry));
        }
    }
}

/// Writes everything that a producer gives.
fn write_product(
    producer: &mut dyn Producer,
    writer: &mut impl Write,
    written: &mut u64,
) -> Result<(), DrainError> {
    loop {
        match producer.more().map_err(DrainError::Producer)? {
            [] => return Ok(()),
            chunk => write(chunk, writer, written)?,
        }
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

impl fmt::Debug for OutputQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutputQueue")
            .field("ready", &self.ready.len())
            .field("waiting", &self.waiting.len())
            .field("size", &self.size)
            .finish()
    }
}
