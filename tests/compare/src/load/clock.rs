//! Clocks in nanoseconds: the common time, the running and waiting time of the calling thread, and
//! the running time of the whole program.
//!
//! They are plain numbers, not `Instant`s, because a timer for an absolute time needs the kernel's
//! numbers. Reading the time takes about 25 ns. So it is read once for each read from a socket, not
//! once for each line.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Returns the time since some moment in the past.
pub fn now() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Returns the time for which the calling thread has run.
pub fn processor_time() -> u64 {
    read(ClockId::CLOCK_THREAD_CPUTIME_ID)
}

/// Returns the time for which all threads of this program have run, added up.
pub fn program_time() -> u64 {
    read(ClockId::CLOCK_PROCESS_CPUTIME_ID)
}

/// Returns the time for which the calling thread was ready to run and waited for a processor.
pub fn waiting_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    let mut numbers = text.split_whitespace();
    numbers
        .nth(1)
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// Converts a duration to nanoseconds.
pub fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn read(clock: ClockId) -> u64 {
    let time = clock_gettime(clock).expect("Linux has these clocks");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
