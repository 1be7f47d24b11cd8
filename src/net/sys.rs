//! The three system calls that `std` lacks. This is the only file with `unsafe` code.
//!
//! Each is one line of POSIX, in the C library that `std` links anyway. So this file declares them,
//! and the crate needs no package for them.

#![allow(
    unsafe_code,
    reason = "foreign functions are unsafe to call; every other file denies it"
)]

use std::ffi::{c_int, c_short};
use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

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

// SAFETY: these are the declarations of POSIX. `listen` takes no pointers, and the kernel checks
// both numbers, so you can call it with any.
unsafe extern "C" {
    #[link_name = "listen"]
    safe fn c_listen(socket: c_int, backlog: c_int) -> c_int;
    fn poll(descriptors: *mut PollFd, count: Count, milliseconds: c_int) -> c_int;
    fn signal(number: c_int, handler: extern "C" fn(c_int)) -> usize;
}

/// Sets how many connections can wait to be accepted on a bound socket, and makes it listen.
///
/// `std` listens with 128 and cannot change that. A second call of `listen` can. The kernel caps the
/// number silently (`net.core.somaxconn`).
pub(crate) fn listen(socket: BorrowedFd<'_>, backlog: u32) -> io::Result<()> {
    let backlog = c_int::try_from(backlog).unwrap_or(c_int::MAX);
    match c_listen(socket.as_raw_fd(), backlog) {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Waits until one of these descriptors can be read without blocking, has ended or has failed.
/// Returns whether that is so.
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
    let mut descriptors = any.map(|descriptor| PollFd {
        fd: descriptor.as_raw_fd(),
        events: POLLIN,
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

/// The number of arrivals of each signal that were not yet taken, by its number.
static ARRIVED: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];
/// Gets a byte when there is something to take.
static WAKE: OnceLock<UnixStream> = OnceLock::new();
/// That byte was written, and nobody has acted on it yet.
static IS_WOKEN: AtomicBool = AtomicBool::new(false);

/// Counts the signal and wakes the thread that waits for it.
///
/// It does nothing else, since a handler runs in the middle of anything. It takes no lock and no
/// memory. It leaves `errno` alone, since the socket always has room for one byte.
extern "C" fn note_signal(number: c_int) {
    ARRIVED[number as usize].fetch_add(1, Ordering::SeqCst);
    if !IS_WOKEN.swap(true, Ordering::SeqCst)
        && let Some(mut wake) = WAKE.get()
    {
        let _ = wake.write(&[0]); // `std` makes one call of `send`
    }
}

/// Notes these signals (numbers below 32) from now on, and sends a byte to `wake` when one comes.
///
/// # Errors
///
/// It was called before, or the system does not know a signal.
pub(crate) fn note_signals(numbers: &[c_int], wake: UnixStream) -> io::Result<()> {
    const SIG_ERR: usize = usize::MAX;

    wake.set_nonblocking(true)?;
    WAKE.set(wake)
        .map_err(|_| io::Error::new(ErrorKind::AlreadyExists, "signals are caught already"))?;

    for &number in numbers {
        assert!((1..32).contains(&number), "{number} is no signal");
        // SAFETY: the handler can run at any time. It only changes atomic numbers and calls `send`,
        // which POSIX lists as async-signal-safe.
        if unsafe { signal(number, note_signal) } == SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }

    Ok(())
}

/// Allows the next byte to be sent. Call it after a byte was received, before you look for signals.
pub(crate) fn rearm_wake() {
    IS_WOKEN.store(false, Ordering::SeqCst);
}

/// Takes one arrival of this signal, if there was one.
pub(crate) fn take_signal(number: c_int) -> bool {
    let one_less = |count: u32| count.checked_sub(1);
    ARRIVED[number as usize]
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        .is_ok()
}
