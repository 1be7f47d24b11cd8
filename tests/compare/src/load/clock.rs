//! Clocks, in nanoseconds: the time that all threads and timers share, how long the calling thread
//! has run and has waited to run, and how long the whole program has run.
//!
//! Plain numbers and not `Instant`s, because a timer that goes off at a given time wants the
//! kernel's own. Reading the time takes some 25 ns, so it is read once for each read from a socket,
//! and not once a line.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// The time, from some moment in the past.
pub fn now() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// For how long the calling thread has been on a processor.
pub fn processor_time() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// For how long all threads of this program have been on one.
pub fn program_time() -> u64 {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// For how long the calling thread has been ready to run, and waited for a processor.
pub fn waiting_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut numbers = text.split_whitespace();
    numbers
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// A duration on these clocks.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("Linux has these clocks");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
