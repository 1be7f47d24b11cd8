//! The one system call that `std` lacks, and the only `unsafe` code of the crate.

#![allow(
    unsafe_code,
    reason = "foreign functions are unsafe to call; every other file denies it"
)]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

// SAFETY: the declaration is that of POSIX, in the C library that `std` links anyway. The function
// takes no pointers, and the kernel checks both numbers, so it is safe to call with any.
unsafe extern "C" {
    #[link_name = "listen"]
    safe fn c_listen(socket: c_int, backlog: c_int) -> c_int;
}

/// Sets how many connections may wait to be accepted on a bound socket, which listens from then on
/// if it did not before.
///
/// `std` listens with 128 and has no way to change it; calling `listen` again does. The kernel caps
/// the number silently (`net.core.somaxconn`).
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    match c_listen(socket.as_raw_fd(), backlog) {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
