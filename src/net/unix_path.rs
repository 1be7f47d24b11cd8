//! The path of a Unix socket: taken if it is free or left over, removed at the end.
//!
//! A server that is killed leaves its path behind, and `bind` refuses a path that exists. So a path
//! is replaced, but only if it is a socket on which nothing answers. Between that check and the
//! replacement another server could take the path. Also, for an instant a new path exists and nothing
//! answers yet. So servers that start at the same time take turns, with a lock on the directory.

use std::fs::{self, Permissions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::connecting::connect_to_path;
use super::directory_lock::DirectoryLock;
use super::umask::StricterUmask;
use crate::log_target::SERVER;

/// How long to wait for a server on the path. One that does not answer in time is alive but busy.
const PATIENCE: Duration = Duration::from_secs(1);

/// A path that we made by binding a socket. Dropping this removes it, if it is still the same file.
#[derive(Debug)]
pub(crate) struct OwnedPath {
    path: PathBuf,
    /// Device and inode.
    identity: (u64, u64),
}

impl OwnedPath {
    /// Binds a listening socket to a path that is free, or left over from a server that has ended.
    /// Without a mode, the path gets the mode that the umask leaves.
    pub(crate) fn bind(path: &Path, mode: Option<u32>) -> io::Result<(UnixListener, Self)> {
        // Until the end of this function no other server looks at the path.
        let _lock = DirectoryLock::of(path);

        let listener = match bind_with_mode(path, mode) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => {
                Self::check_left_over(path)?;
                log::info!(
                    target: SERVER,
                    "replacing a socket on which nothing answers: path={}",
                    path.display()
                );
                fs::remove_file(path)?;
                bind_with_mode(path, mode)?
            }
            result => result?,
        };

        let owned = Self {
            path: path.to_owned(),
            identity: Self::identity(path)?,
        };
        // The umask can have taken rights away that the mode has.
        if let Some(mode) = mode {
            fs::set_permissions(path, Permissions::from_mode(mode))?;
        }
        Ok((listener, owned))
    }

    fn identity(path: &Path) -> io::Result<(u64, u64)> {
        fs::symlink_metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
    }

    /// Returns `Ok` if the path is a socket that no server listens on.
    fn check_left_over(path: &Path) -> io::Result<()> {
        if !fs::symlink_metadata(path)?.file_type().is_socket() {
            return Err(io::Error::new(
                ErrorKind::AlreadyExists,
                "a file that is not a socket has this path",
            ));
        }

        match connect_to_path(path, PATIENCE) {
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            Err(error) if error.kind() != ErrorKind::TimedOut => Err(error),
            _ => Err(io::Error::new(
                ErrorKind::AddrInUse,
                "a server listens on this path",
            )),
        }
    }
}

/// Binds a socket that never has a right that the mode does not have. A client could otherwise connect
/// before the mode is set.
fn bind_with_mode(path: &Path, mode: Option<u32>) -> io::Result<UnixListener> {
    let _umask = mode.map(|mode| StricterUmask::without(!mode & 0o777));
    UnixListener::bind(path)
}

impl Drop for OwnedPath {
    fn drop(&mut self) {
        if Self::identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = fs::remove_file(&self.path);
        }
    }
}
