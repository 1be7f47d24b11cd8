//! The order to stop: given once, and seen by every thread that waits for a socket.
//!
//! It is a pipe whose writing end is closed when the order is given. From then on its reading end is
//! at its end, for `poll` of any thread, without anybody having to read it. A thread that is not
//! waiting looks at the flag instead, which costs one load.

use std::io::{self, PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// An event that happens at most once.
#[derive(Debug)]
pub(crate) struct StopEvent {
    is_set: AtomicBool,
    reader: PipeReader,
    writer: Mutex<Option<PipeWriter>>,
}

impl StopEvent {
    /// Fails for want of descriptors: it takes two.
    pub(crate) fn new() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self {
            is_set: AtomicBool::new(false),
            reader,
            writer: Mutex::new(Some(writer)),
        })
    }

    /// Gives the order. Giving it again changes nothing.
    pub(crate) fn set(&self) {
        self.is_set.store(true, Ordering::Release);
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }
}

/// Readable once the event has happened.
impl AsFd for StopEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
