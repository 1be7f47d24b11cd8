//! The place where the log's thread writes: standard error, or a file that can be opened again.
//!
//! Only the log's thread writes here, so it can wait as long as it likes. Either place can be
//! non-blocking, for example because another process with the same terminal made it so. A write that
//! would block then waits for room and goes on with the rest, so no line is torn.
//!
//! A file can be a FIFO. To open one blocks until somebody reads it. So it is opened without waiting,
//! and while nobody reads it, the log's thread looks for a reader now and then. Meanwhile the lines
//! wait in the queue, which drops and counts those that have no room.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use super::log_queue::LineSink;

/// The pause between two looks for a reader of a FIFO.
const PAUSE: Duration = Duration::from_millis(100);

/// Standard error, or a file.
pub(super) struct Output {
    /// `None`: standard error.
    path: Option<PathBuf>,
    open: Mutex<Open>,
}

struct Open {
    /// `None`: standard error, or a FIFO that nobody reads yet.
    file: Option<File>,
    /// The last write failed inside of a line, for example when the disk was full.
    is_torn: bool,
}

impl Output {
    /// Opens the file, if there is one.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = match path.map(|path| (path, open_to_append(path))) {
            None => None,
            Some((path, Err(error))) if is_unread(path, &error) => None,
            Some((_, result)) => Some(result?),
        };
        let open = Open {
            file,
            is_torn: false,
        };

        Ok(Self {
            path: path.map(PathBuf::from),
            open: Mutex::new(open),
        })
    }

    /// Returns the path of a file.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Returns true if lines can be written: the output is not a FIFO that nobody reads yet.
    pub(super) fn is_open(&self) -> bool {
        self.path.is_none() || self.lock().file.is_some()
    }

    /// Opens the path again and returns the file, for [`continue_in`](Self::continue_in).
    pub(super) fn open_again(&self) -> io::Result<File> {
        let Some(path) = &self.path else {
            return Err(io::Error::other("standard error has no path"));
        };
        open_to_append(path).map_err(|error| match is_unread(path, &error) {
            true => io::Error::other("it is a pipe that nobody reads"),
            false => error,
        })
    }

    /// Writes to this file from now on, and closes the one before.
    pub(super) fn continue_in(&self, file: File) {
        *self.lock() = Open {
            file: Some(file),
            is_torn: false,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes on the calling thread. A line that cannot be written is lost, for example if the disk is
/// full or the reader has gone.
impl LineSink for Output {
    fn put(&self, mut lines: Vec<u8>) {
        let mut open = self.lock();

        // Lines of one output do not go on in the middle of a torn one.
        if open.is_torn {
            lines.insert(0, b'\n');
        }
        let mut left = &*lines;
        match &self.path {
            None => drop(write_all(&mut io::stderr(), &mut left)),
            Some(path) => {
                let file = open.file.get_or_insert_with(|| wait_for_reader(path));
                let _ = write_all(file, &mut left);
            }
        }

        let written = &lines[..lines.len() - left.len()];
        if let Some(last) = written.last() {
            open.is_torn = *last != b'\n';
        }
    }
}

/// Opens a file to append to it, and makes it if it is not there. Does not wait for a FIFO's reader.
fn open_to_append(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    if is_fifo(path) {
        options.custom_flags(O_NONBLOCK);
    }

    options.open(path)
}

const O_NONBLOCK: i32 = match () {
    () if cfg!(any(target_arch = "mips", target_arch = "mips64")) => 0o200,
    () if cfg!(any(target_os = "linux", target_os = "android")) => 0o4000,
    () => 4,
};

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// Returns true if a FIFO could not be opened because nobody reads it. The path of a socket has the
/// same error.
fn is_unread(path: &Path, error: &io::Error) -> bool {
    const ENXIO: i32 = 6;
    error.raw_os_error() == Some(ENXIO) && is_fifo(path)
}

/// Opens a file as soon as that works.
fn wait_for_reader(path: &Path) -> File {
    loop {
        match open_to_append(path) {
            Ok(file) => return file,
            Err(_) => thread::sleep(PAUSE),
        }
    }
}

/// Writes all bytes that are left, however long it takes, or as many as it can before an error.
pub(super) fn write_all<W: Write + AsFd>(output: &mut W, left: &mut &[u8]) -> io::Result<()> {
    while !left.is_empty() {
        match output.write(left) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(length) => *left = &left[length..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => wait_for_room(output.as_fd()),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Waits until there is room, or a little while: the kernel can say that there is room and then have
/// too little.
fn wait_for_room(output: BorrowedFd<'_>) {
    const LITTLE: Duration = Duration::from_millis(1);

    let can_write = synchat::wait_writable(output, Duration::from_secs(10));
    if !can_write.is_ok_and(|is_ready| !is_ready) {
        thread::sleep(LITTLE);
    }
}
