//! The fault campaign: the real binary under failures that take Linux, root, other programs or time
//! to bring about. A program that is missing fails its tests; nothing is skipped.

#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    reason = "it is made for the tests of `it`, which use all of it"
)]
mod support;
mod system;

mod faults;
