//! A listening socket that other processes may share. It came from a supervisor, or from the caller.
//!
//! Processes that share a socket also share its mode and its options. So this never sets the socket
//! back to blocking, not even at the end. Another process could then block in `accept`, and not see
//! the order to stop.
//!
//! Others may do that all the same, at any time. So `accept` has a time limit here. Sockets that are
//! accepted inherit the limit, and it would surprise another program. So it goes with the server.

use std::fs::File;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::holders::has_others;
use super::sys;

/// How long `accept` can block.
const AT_MOST: Duration = Duration::from_secs(1);

/// The socket, for changes of its mode and options.
#[derive(Debug)]
pub(super) struct SharedSocket {
    /// It is no stream, but the same system calls change every socket. `std` has them here.
    socket: TcpStream,
    /// The time limit of `accept` before ours.
    limit_before: Option<Duration>,
}

impl SharedSocket {
    /// How many descriptors of the socket this server has: the listener's and ours.
    const DESCRIPTORS: usize = 2;

    pub(super) fn new(socket: BorrowedFd<'_>) -> io::Result<Self> {
        let socket = TcpStream::from(socket.try_clone_to_owned()?);

        // Another server on this socket may have set our limit. That is none to go back to.
        let limit_before = socket.read_timeout()?.filter(|limit| *limit != AT_MOST);
        Ok(Self {
            socket,
            limit_before,
        })
    }

    /// Makes the next `accept` end. Another process may have changed this.
    pub(super) fn prepare_accept(&self) -> io::Result<()> {
        self.socket.set_nonblocking(true)?;
        self.socket.set_read_timeout(Some(AT_MOST))
    }

    /// Returns true if others have the socket, too, or could have it.
    pub(super) fn is_of_others(&self) -> bool {
        has_others(self.socket.as_fd(), Self::DESCRIPTORS)
    }
}

/// Closes the standard streams that are this socket, so that it closes with its listener.
///
/// A supervisor can pass the socket as standard output and standard error, too. Nobody can write to a
/// listening socket, so nothing is lost. If this fails, the socket closes with the process.
pub(super) fn leave_standard_streams(socket: BorrowedFd<'_>) {
    let (input, output, error) = (io::stdin(), io::stdout(), io::stderr());

    for stream in [input.as_fd(), output.as_fd(), error.as_fd()] {
        let is_it = identity(stream).is_ok_and(|it| identity(socket).is_ok_and(|own| it == own));
        if is_it {
            let _ = sys::end_standard_stream(stream);
        }
    }
}

/// Returns the device and inode behind a descriptor.
fn identity(descriptor: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    let metadata = File::from(descriptor.try_clone_to_owned()?).metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

impl Drop for SharedSocket {
    fn drop(&mut self) {
        let _ = self.socket.set_read_timeout(self.limit_before);
    }
}
