//! A lock on the directory of a path, against other servers that want the same path.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use super::sys;

/// How long to wait for another server. It can check for a second whether somebody listens.
const PATIENCE: Duration = Duration::from_secs(3);

/// A lock that ends with this value, or with the process. It leaves no file behind.
#[derive(Debug)]
pub(super) struct DirectoryLock {
    /// Closing it ends the lock.
    _directory: File,
}

impl DirectoryLock {
    /// Locks the directory of this path. Returns `None` if it cannot, for instance because we may not
    /// read the directory, or because somebody keeps it locked. The bind then tries without a lock.
    pub(super) fn of(path: &Path) -> Option<Self> {
        // With a dot at its end, only a directory can be opened. The open of a FIFO would block.
        let directory = path.parent()?.join(".");
        let directory = File::open(directory).ok()?;

        let started = Instant::now();
        while !sys::try_lock(directory.as_fd()).ok()? {
            if started.elapsed() > PATIENCE {
                return None;
            }
            thread::sleep(Duration::from_millis(5));
        }
        Some(Self {
            _directory: directory,
        })
    }
}
