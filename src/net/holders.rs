//! Finds out whether others have a socket open, too.
//!
//! A supervisor can keep the socket that it passes on, for the next server, or not. The kernel has no
//! call that tells. But Linux lists the descriptors of each process, and names their sockets. So this
//! looks through the lists.
//!
//! The lists of other users' processes cannot be read, nor those of programs with privileges that we do
//! not have. If our parent is one of them, or another child of it, others may have the socket: a
//! supervisor passes its sockets to its children. If any doubt is left, the answer is
//! that others have it, too. This is the safe answer, since clients are then left to them.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, Instant};

/// How long to look. It lasts for about 100,000 descriptors.
const AT_MOST: Duration = Duration::from_millis(250);

/// Returns false if only these descriptors of ours are for this socket, and true if others are, or
/// could be. `ours` is their number.
pub(super) fn has_others(socket: BorrowedFd<'_>, ours: usize) -> bool {
    Search::new(socket)
        .and_then(|search| search.finds_others(ours))
        .unwrap_or(true)
}

/// A search for the descriptors of one socket.
struct Search {
    /// The name of the socket in the lists, as in `socket:[12345]`.
    name: PathBuf,
    deadline: Instant,
}

impl Search {
    fn new(socket: BorrowedFd<'_>) -> io::Result<Self> {
        Ok(Self {
            name: fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()))?,
            deadline: Instant::now() + AT_MOST,
        })
    }

    /// An error means that it could not look everywhere.
    fn finds_others(&self, ours: usize) -> io::Result<bool> {
        let (own, parent) = (process::id().to_string(), parent_id().to_string());
        // The lists can be those of another namespace, where the numbers are different.
        if fs::read_link("/proc/self")? != Path::new(&own) {
            return Err(ErrorKind::Unsupported.into());
        }
        // A parent in another namespace has the number 0, and no list.
        if self.descriptors_of(&parent)? > 0 || self.descriptors_of(&own)? > ours {
            return Ok(true);
        }

        for process in fs::read_dir("/proc")? {
            let name = process?.file_name();
            let process = name.to_str().filter(|name| is_number(name));
            let Some(process) = process.filter(|process| *process != own) else {
                continue;
            };

            match self.descriptors_of(process) {
                Ok(0) => {}
                Err(error) if is_hidden_or_gone(&error) && parent_of(process)? != parent => {}
                found => return found.map(|_| true),
            }
        }
        Ok(false)
    }

    /// Returns how many descriptors of a process are for the socket.
    fn descriptors_of(&self, process: &str) -> io::Result<usize> {
        let mut count = 0;

        for descriptor in fs::read_dir(format!("/proc/{process}/fd"))? {
            if Instant::now() >= self.deadline {
                return Err(ErrorKind::TimedOut.into());
            }
            let target = fs::read_link(descriptor?.path());
            count += usize::from(target.is_ok_and(|target| target == self.name));
        }
        Ok(count)
    }
}

/// Returns the parent of a process, and an empty text if the process is gone.
fn parent_of(process: &str) -> io::Result<String> {
    let status = match fs::read(format!("/proc/{process}/stat")) {
        Err(error) if is_hidden_or_gone(&error) => return Ok(String::new()),
        status => String::from_utf8_lossy(&status?).into_owned(),
    };

    // The name stands in brackets, and can have any characters.
    let behind_the_name = status.rsplit_once(") ").map(|(_, fields)| fields);
    let parent = behind_the_name.and_then(|fields| fields.split(' ').nth(1));
    Ok(parent.unwrap_or_default().to_owned())
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Returns true if this is the process of another user, or has ended.
fn is_hidden_or_gone(error: &io::Error) -> bool {
    const ESRCH: i32 = 3;

    matches!(
        error.kind(),
        ErrorKind::PermissionDenied | ErrorKind::NotFound
    ) || error.raw_os_error() == Some(ESRCH)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::TcpListener;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn the_parent_of_a_process_is_found() {
        let own = process::id().to_string();
        assert_eq!(parent_of(&own).unwrap(), parent_id().to_string());
        assert_eq!(parent_of("0").unwrap(), "");
    }

    // One test, since a child that another test starts has all our sockets for an instant.
    #[test]
    fn descriptors_of_others_are_found_until_they_are_closed() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let second = socket.try_clone().unwrap();

        assert!(has_others(socket.as_fd(), 1));
        assert!(!has_others(socket.as_fd(), 2));
        drop(second);
        assert!(!has_others(socket.as_fd(), 1));

        let stdin = socket.as_fd().try_clone_to_owned().unwrap();
        let mut child = process::Command::new("sleep")
            .arg("60")
            .stdin(stdin)
            .spawn()
            .unwrap();
        assert!(has_others(socket.as_fd(), 1));

        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!has_others(socket.as_fd(), 1));
    }
}
