//! The order to stop: given once, seen by every thread that waits for a socket.
//!
//! It is a pipe, whose writing end is closed when the order is given. From then on `poll` finds the
//! reading end ready in every thread, and nobody needs to read it. A thread that does not wait looks at
//! the flag instead, which costs one load.

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
    /// Makes the event. It needs two descriptors, and fails without them.
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

    /// Returns true once the order was given.
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Acquire)
    }
}

/// It is readable once the event has happened.
impl AsFd for StopEvent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}
