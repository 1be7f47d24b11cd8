//! The real binary where it takes Linux, root, other programs or time: under failures that those
//! bring about, and as it is deployed. A program that is missing fails its tests; nothing is
//! skipped.

use std::time::Duration;

#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    reason = "it is made for the tests of `it`, which use all of it"
)]
mod support;
mod system;

mod book_keeping;
mod deploy;
mod disks;
mod faults;
mod limits;
mod scale;

/// A test that takes longer ends the run: see `../it/support/time_limit.rs`.
const TIME_LIMIT: Duration = Duration::from_secs(300);
