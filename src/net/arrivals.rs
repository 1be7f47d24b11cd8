//! The arrivals of signals: a handler notes them, and a thread takes them.
//!
//! A handler runs in the middle of anything, so it only changes atomic numbers and writes a byte.

use std::ffi::c_int;
use std::io::{self, Write};
use std::os::unix::net::UnixStream;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// The number of arrivals of each signal that were not yet taken, by its number.
static ARRIVED: [AtomicU32; 32] = [const { AtomicU32::new(0) }; 32];
/// The two ends of a socket, which gets a byte when there is something to take. A handler can run at
/// any time, so they are never closed.
static WAKE: OnceLock<[UnixStream; 2]> = OnceLock::new();
/// That byte was written, and nobody has acted on it yet.
static IS_WOKEN: AtomicBool = AtomicBool::new(false);

/// Counts the signal and wakes the thread that waits for it.
///
/// It does nothing else, since a handler runs in the middle of anything. It takes no lock and no
/// memory. It leaves `errno` alone, since the socket always has room for one byte.
pub(super) extern "C" fn note_signal(number: c_int) {
    ARRIVED[number as usize].fetch_add(1, Ordering::SeqCst);
    if !IS_WOKEN.swap(true, Ordering::SeqCst)
        && let Some([_, wake]) = WAKE.get()
    {
        let _ = (&*wake).write(&[0]); // `std` makes one call of `send`
    }
}

/// Returns the socket that gets a byte when a noted signal comes. Call it before you note signals.
pub(super) fn wake_receiver() -> io::Result<&'static UnixStream> {
    if WAKE.get().is_none() {
        let (receiver, wake) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        // If another thread was faster, its pair is as good.
        let _ = WAKE.set([receiver, wake]);
    }

    let [receiver, _] = WAKE.get().expect("it was just set");
    Ok(receiver)
}

/// Allows the next byte to be sent. Call it after a byte was received, before you look for signals.
pub(super) fn rearm_wake() {
    IS_WOKEN.store(false, Ordering::SeqCst);
}

/// Takes one arrival of this signal, if there was one.
pub(super) fn take_signal(number: c_int) -> bool {
    let one_less = |count: u32| count.checked_sub(1);
    ARRIVED[number as usize]
        .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less)
        .is_ok()
}

/// Forgets the arrivals of this signal.
pub(super) fn forget_signal(number: c_int) {
    ARRIVED[number as usize].store(0, Ordering::SeqCst);
}
