//! The system calls that `std` lacks. This is the only file with `unsafe` code.
//!
//! Each is one line of POSIX, in the C library that `std` links anyway. So this file declares them,
//! and the crate needs no package for them.

#![allow(
    unsafe_code,
    reason = "foreign functions are unsafe to call; every other file denies it"
)]

use std::ffi::{c_int, c_short, c_uint, c_ulong, c_void};
use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::Duration;

use super::arrivals::note_signal;

/// `struct pollfd`
#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

/// `nfds_t`
#[cfg(target_os = "linux")]
type Count = std::ffi::c_ulong;
#[cfg(not(target_os = "linux"))]
type Count = std::ffi::c_uint;

/// `sigset_t`, or more: no system has a larger one.
#[repr(C, align(16))]
struct SignalSet([u64; 16]);

// SAFETY: these are the declarations of POSIX, and of BSD for `flock`. `listen` and `flock` take no
// pointers, and the kernel checks both numbers, so you can call them with any. `umask` takes a
// number, which is as wide as `c_uint` here, or narrower and passed in the same way. The address of a handler is an integer here, as wide as
// a pointer.
unsafe extern "C" {
    #[link_name = "listen"]
    safe fn c_listen(socket: c_int, backlog: c_int) -> c_int;
    #[link_name = "flock"]
    safe fn c_flock(file: c_int, operation: c_int) -> c_int;
    #[link_name = "umask"]
    safe fn c_umask(mask: c_uint) -> c_uint;
    fn poll(descriptors: *mut PollFd, count: Count, milliseconds: c_int) -> c_int;
    fn signal(number: c_int, action: usize) -> usize;
    #[cfg_attr(target_os = "netbsd", link_name = "__sigemptyset14")]
    fn sigemptyset(set: *mut SignalSet) -> c_int;
    #[cfg_attr(target_os = "netbsd", link_name = "__sigaddset14")]
    fn sigaddset(set: *mut SignalSet, number: c_int) -> c_int;
    fn pthread_sigmask(how: c_int, set: *const SignalSet, before: *mut SignalSet) -> c_int;
    fn setsockopt(
        socket: c_int,
        level: c_int,
        name: c_int,
        value: *const c_void,
        length: c_uint,
    ) -> c_int;
    fn getsockopt(
        socket: c_int,
        level: c_int,
        name: c_int,
        value: *mut c_int,
        length: *mut c_uint,
    ) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn ioctl(descriptor: c_int, request: c_ulong, ...) -> c_int;
}

/// Sets how many connections can wait to be accepted on a bound socket, and makes it listen.
///
/// `std` listens with 128 and cannot change that. A second call of `listen` can. The kernel caps the
/// number silently (`net.core.somaxconn`).
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    checked(c_listen(socket.as_raw_fd(), backlog)).map(drop)
}

/// Turns -1 into the error of the last call.
fn checked(result: c_int) -> io::Result<c_int> {
    match result {
        -1 => Err(io::Error::last_os_error()),
        result => Ok(result),
    }
}

/// Waits until one of these descriptors can be read without blocking, has ended or has failed.
/// Returns true if so.
///
/// It waits for at most this time, in steps of a millisecond. A signal handler ends the wait early.
/// It fails if the kernel has no memory for it, and then it has not waited.
///
/// `std` can wait for one socket, but not for the first of two.
pub(crate) fn wait_readable<const N: usize>(
    any: [BorrowedFd<'_>; N],
    at_most: Duration,
) -> io::Result<bool> {
    const POLLIN: c_short = 1;
    wait(any, POLLIN, at_most)
}

/// Does the same for a descriptor that can be written without blocking.
///
/// Somebody else can have made standard error non-blocking, and `std` cannot wait for it.
///
/// # Errors
///
/// The kernel has no memory for the wait.
pub fn wait_writable(descriptor: BorrowedFd<'_>, at_most: Duration) -> io::Result<bool> {
    const POLLOUT: c_short = 4;
    wait([descriptor], POLLOUT, at_most)
}

fn wait<const N: usize>(
    any: [BorrowedFd<'_>; N],
    events: c_short,
    at_most: Duration,
) -> io::Result<bool> {
    let mut descriptors = any.map(|descriptor| PollFd {
        fd: descriptor.as_raw_fd(),
        events,
        revents: 0,
    });

    // Rounded up, since a wait that ends too early would be repeated without a pause.
    let milliseconds = at_most.as_nanos().div_ceil(1_000_000);
    let milliseconds = c_int::try_from(milliseconds).unwrap_or(c_int::MAX);

    // SAFETY: the pointer is to as many entries as the count says. They live until the call returns,
    // and their descriptors are borrowed for longer.
    let ready = unsafe { poll(descriptors.as_mut_ptr(), N as Count, milliseconds) };

    match ready {
        0.. => Ok(ready > 0),
        _ => match io::Error::last_os_error() {
            error if error.kind() == ErrorKind::Interrupted => Ok(false),
            error => Err(error),
        },
    }
}

/// Sets a socket option. The value is the struct that the option takes.
fn set_option<T>(socket: BorrowedFd<'_>, level: c_int, name: c_int, value: &T) -> io::Result<()> {
    let pointer = (&raw const *value).cast();

    // SAFETY: the pointer is to a value of this size, which lives until the call returns.
    match unsafe {
        setsockopt(
            socket.as_raw_fd(),
            level,
            name,
            pointer,
            size_of::<T>() as c_uint,
        )
    } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// `SOL_SOCKET` and `SO_LINGER`, which Linux on MIPS has from the BSDs.
const SOL_SOCKET: c_int = if IS_LINUX_OWN { 1 } else { 0xffff };
const SO_LINGER: c_int = if IS_LINUX_OWN { 13 } else { 0x80 };
const IS_LINUX_OWN: bool = cfg!(all(
    any(target_os = "linux", target_os = "android"),
    not(any(
        target_arch = "mips",
        target_arch = "mips64",
        target_arch = "sparc64"
    ))
));

/// Makes the close of this socket a reset, which drops its output. The kernel would otherwise keep
/// unsent output for as long as the peer acknowledges probes, even past the end of the process.
///
/// `std` has this only in its unstable part.
pub(super) fn reset_on_close(socket: BorrowedFd<'_>) -> io::Result<()> {
    // `struct linger`: it is on, for 0 seconds.
    set_option(socket, SOL_SOCKET, SO_LINGER, &[1 as c_int, 0])
}

/// Bounds the time for which the kernel keeps output that the peer does not take, also after the
/// close. Only Linux can do it. Elsewhere this does nothing.
pub(super) fn bound_unsent(socket: BorrowedFd<'_>, time: Duration) -> io::Result<()> {
    const IPPROTO_TCP: c_int = 6;
    const TCP_USER_TIMEOUT: c_int = 18;

    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return Ok(());
    }
    let milliseconds = c_uint::try_from(time.as_millis()).unwrap_or(c_uint::MAX);
    set_option(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &milliseconds.max(1))
}

/// Returns true if the kernel holds output of this socket that the peer has not acknowledged. Only
/// Linux tells. Elsewhere this is always false.
pub(super) fn has_unsent(socket: BorrowedFd<'_>) -> bool {
    const TIOCOUTQ: c_ulong = if IS_LINUX_OWN { 0x5411 } else { 0x7472 };

    if !cfg!(any(target_os = "linux", target_os = "android")) {
        return false;
    }
    let mut bytes: c_int = 0;
    // SAFETY: this request writes one `int`, and the pointer is to one that lives until the call
    // returns.
    let result = unsafe { ioctl(socket.as_raw_fd(), TIOCOUTQ, &raw mut bytes) };
    result == 0 && bytes > 0
}

/// Lets a socket receive urgent data in its place among the other data. Otherwise a read skips it.
///
/// A TCP socket that Linux accepts inherits this from the listening one. Other sockets do not.
pub(super) fn receive_urgent_data_inline(socket: BorrowedFd<'_>) -> io::Result<()> {
    const SO_OOBINLINE: c_int = if IS_LINUX_OWN { 10 } else { 0x100 };
    set_option(socket, SOL_SOCKET, SO_OOBINLINE, &(1 as c_int))
}

/// Returns true if a socket is one of streams, and false if it is one of datagrams or packets.
///
/// `std` takes any socket for a stream, and a read of a packet drops the part that does not fit.
pub(super) fn is_stream(socket: BorrowedFd<'_>) -> io::Result<bool> {
    const SO_TYPE: c_int = if IS_LINUX_OWN { 3 } else { 0x1008 };
    const SOCK_STREAM: c_int = match () {
        () if cfg!(any(target_arch = "mips", target_arch = "mips64")) => 2,
        () if cfg!(any(target_os = "solaris", target_os = "illumos")) => 2,
        () => 1,
    };
    let (mut kind, mut length): (c_int, _) = (0, size_of::<c_int>() as c_uint);
    let (socket, kind_at, length_at) = (socket.as_raw_fd(), &raw mut kind, &raw mut length);

    // SAFETY: the pointers are to numbers that live until the call returns. The first one has the size
    // that the second one says.
    let result = unsafe { getsockopt(socket, SOL_SOCKET, SO_TYPE, kind_at, length_at) };
    checked(result).map(|_| kind == SOCK_STREAM)
}

/// Closes a standard stream, and puts an input that has ended in its place.
pub(super) fn end_standard_stream(stream: BorrowedFd<'_>) -> io::Result<()> {
    let (ended, _) = io::pipe()?;
    let (ended, stream) = (ended.as_raw_fd(), stream.as_raw_fd());

    match stream {
        // SAFETY: nobody owns a standard stream. `std` only borrows it for each call.
        0..=2 => checked(unsafe { dup2(ended, stream) }).map(drop),
        _ => Err(ErrorKind::InvalidInput.into()),
    }
}

/// Locks an open file or directory, if nobody else has it locked. Returns true if it has. The lock
/// ends when the descriptor is closed.
///
/// `std` can lock files since Rust 1.89.
pub(super) fn try_lock(file: BorrowedFd<'_>) -> io::Result<bool> {
    const LOCK_EX: c_int = 2;
    const LOCK_NB: c_int = 4;

    match checked(c_flock(file.as_raw_fd(), LOCK_EX | LOCK_NB)) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(false),
        result => result.map(|_| true),
    }
}

/// Sets the rights that new files do not get, and returns those of before.
pub(super) fn set_umask(rights: u32) -> u32 {
    c_umask(rights) & 0o777
}

/// The action of a signal: the default, none, or a handler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Action(usize);

impl Action {
    /// `SIG_IGN`.
    pub(crate) const IGNORE: Self = Self(1);

    /// Notes each arrival.
    pub(crate) fn note() -> Self {
        Self(note_signal as *const () as usize)
    }
}

/// Gives a signal another action, and returns the action before.
pub(crate) fn set_action(number: c_int, action: Action) -> io::Result<Action> {
    const SIG_ERR: usize = usize::MAX;

    // SAFETY: the action is one of ours or was in force before. Our handler can run at any time,
    // since it only changes atomic numbers and calls `send`, which POSIX lists as async-signal-safe.
    match unsafe { signal(number, action.0) } {
        SIG_ERR => Err(io::Error::last_os_error()),
        before => Ok(Action(before)),
    }
}

/// Lets these signals come to the calling thread, and to the threads that it starts later.
///
/// A process inherits blocked signals from its parent, and a signal that is blocked in every thread
/// never comes.
pub(crate) fn unblock(numbers: &[c_int]) -> io::Result<()> {
    const SIG_UNBLOCK: c_int = match () {
        () if cfg!(any(target_arch = "mips", target_arch = "mips64")) => 2,
        () if cfg!(any(target_os = "linux", target_os = "android")) => 1,
        () => 2,
    };
    let mut set = SignalSet([0; 16]);

    // SAFETY: the pointers are to a set that lives until the last call returns and is not smaller
    // than the system's. A null pointer asks for no earlier mask.
    let error = unsafe {
        sigemptyset(&raw mut set);
        for &number in numbers {
            sigaddset(&raw mut set, number);
        }
        pthread_sigmask(SIG_UNBLOCK, &raw const set, std::ptr::null_mut())
    };

    match error {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}
