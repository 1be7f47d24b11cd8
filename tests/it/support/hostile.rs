//! Readers and writers that do everything that a socket can do: cut, interrupt, fail, take little.
//! They also count.

use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, Mutex};

use super::time_limit;

/// Reads given chunks, one at a time, each after an interruption. Then comes the end of the stream,
/// or an error.
pub(crate) struct Chunks<'a> {
    chunks: Vec<&'a [u8]>,
    interrupt: bool,
    end: Option<ErrorKind>,
}

impl<'a> Chunks<'a> {
    pub(crate) fn new(chunks: impl IntoIterator<Item = &'a [u8]>) -> Self {
        time_limit::begins();
        let mut chunks: Vec<_> = chunks
            .into_iter()
            .filter(|chunk| !chunk.is_empty())
            .collect();
        chunks.reverse();
        Self {
            chunks,
            interrupt: true,
            end: None,
        }
    }

    /// Makes it fail at the end.
    pub(crate) fn then_fails(mut self, kind: ErrorKind) -> Self {
        self.end = Some(kind);
        self
    }
}

impl Read for Chunks<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if !self.interrupt {
            return Err(ErrorKind::Interrupted.into());
        }
        let Some(chunk) = self.chunks.last_mut() else {
            return self.end.map_or(Ok(0), |kind| Err(kind.into()));
        };
        let length = chunk.len().min(buffer.len());
        buffer[..length].copy_from_slice(&chunk[..length]);
        *chunk = &chunk[length..];
        if chunk.is_empty() {
            self.chunks.pop();
        }
        Ok(length)
    }
}

/// A call on either side of a conversation, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Read(usize),
    Write(Vec<u8>),
}

/// Notes each call of the reader and writer that share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<Vec<Call>>>);

impl Calls {
    pub(crate) fn noted(&self) -> Vec<Call> {
        self.0.lock().unwrap().clone()
    }

    pub(crate) fn writes(&self) -> Vec<Vec<u8>> {
        let writes = self.noted().into_iter().filter_map(|call| match call {
            Call::Write(bytes) => Some(bytes),
            Call::Read(_) => None,
        });
        writes.collect()
    }

    pub(crate) fn reader<R: Read>(&self, inner: R) -> Noted<R> {
        Noted {
            calls: self.clone(),
            inner,
        }
    }

    pub(crate) fn writer(&self) -> Noted<()> {
        Noted {
            calls: self.clone(),
            inner: (),
        }
    }
}

pub(crate) struct Noted<T> {
    calls: Calls,
    inner: T,
}

impl<R: Read> Read for Noted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.calls.0.lock().unwrap().push(Call::Read(length));
        Ok(length)
    }
}

impl Write for Noted<()> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.calls
            .0
            .lock()
            .unwrap()
            .push(Call::Write(bytes.to_vec()));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Takes a few bytes at a time, each time after an interruption. Fails after `fails_after` bytes,
/// if that is set.
#[derive(Debug, Default)]
pub(crate) struct Reluctant {
    pub(crate) taken: Vec<u8>,
    pub(crate) fails_after: Option<usize>,
    pub(crate) interrupt: bool,
}

impl Write for Reluctant {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.interrupt = !self.interrupt;
        if self.interrupt {
            return Err(ErrorKind::Interrupted.into());
        }
        let length = bytes.len().min(3);
        if self
            .fails_after
            .is_some_and(|limit| self.taken.len() + length > limit)
        {
            return Err(ErrorKind::BrokenPipe.into());
        }
        self.taken.extend_from_slice(&bytes[..length]);
        Ok(length)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
