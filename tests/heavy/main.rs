//! Tests of the real program that take Linux, root, other programs or time. It runs under failures
//! that those cause, and as it is deployed. A missing program fails its tests. No test is skipped.

use std::time::Duration;

#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    reason = "it is made for the tests of `it`, which use all of it"
)]
mod support;
mod system;

mod blame;
mod book_keeping;
mod deploy;
mod disks;
mod economy;
mod faults;
mod giving_up;
mod limits;
mod room;
mod scale;
mod shells;
mod signals;
mod sockets;

/// A test that takes longer ends the run: see `../it/support/time_limit.rs`.
const TIME_LIMIT: Duration = Duration::from_secs(600);
