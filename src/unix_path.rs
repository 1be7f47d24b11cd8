//! The path of a Unix socket: taken when free or left over, given back at the end.
//!
//! A server that ends without warning leaves its path behind, and `bind` refuses a path that
//! exists. So a path is replaced if it is a socket on which nothing answers, and only then. Between
//! that look and the replacement another server could take the path; starting two on one path at
//! the same instant is for the operator to avoid.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long a server on the path may take to answer before it counts as alive but busy.
const PATIENCE: Duration = Duration::from_secs(1);

/// A path that we made by binding a socket, removed when this is dropped, if it is still that file.
#[derive(Debug)]
pub(crate) struct OwnedPath {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl OwnedPath {
    /// Binds a listening socket to a path that is free, or left over from a server that is no more.
    pub(crate) fn bind(path: &Path) -> io::Result<(UnixListener, Self)> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                Self::check_left_over(path)?;
                log::info!(
                    "replacing a socket on which nothing answers: path={}",
                    path.display()
                );
                fs::remove_file(path)?;
                UnixListener::bind(path)?
            }
            result => result?,
        };
        let identity = Self::identity(path)?;
        Ok((
            listener,
            Self {
                path: path.to_owned(),
                identity,
            },
        ))
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Is `Ok` if the path is a socket that no server listens on.
    fn check_left_over(path: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(path)?.file_type().is_socket() {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "a file that is not a socket has this path",
            ));
        }
        match connect(path, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
            _ => Err(io::Error::new(
                ErrorKind::AddrInUse,
                "a server listens on this path",
            )),
        }
    }
}

/// Connects to a path, on a thread that is left behind if that takes longer: it blocks while the
/// server's backlog is full, and a Unix socket has no timeout for that.
pub(crate) fn connect(path: &Path, at_most: Duration) -> io::Result<UnixStream> {
    let (answer, answered) = mpsc::channel();
    let path = path.to_owned();
    thread::Builder::new().spawn(move || answer.send(UnixStream::connect(path)))?;
    answered
        .recv_timeout(at_most)
        .unwrap_or_else(|_| Err(io::Error::new(ErrorKind::TimedOut, "no answer in time")))
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
