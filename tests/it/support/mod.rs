//! The parts of which tests are made.

pub(crate) mod hostile;
pub(crate) mod peer;
pub(crate) mod process;
pub(crate) mod script;
pub(crate) mod time_limit;
