//! The integration tests, one module for each kind of behaviour.

use std::time::Duration;

mod support;

mod addresses;
mod asynchat_suite;
mod batches;
mod blame;
mod borders;
mod command_line;
mod deadlines;
mod economy;
mod endings;
mod examples;
mod exhaustive;
mod framing;
mod framing_faults;
mod giving_up;
mod golden;
mod hostile_peers;
mod house_rules;
mod limits;
mod log_output;
mod logging;
mod notify;
mod output;
mod partings;
mod ping;
mod put_back;
mod server;
mod shortage;
mod shutdown;
mod signals;
mod sockets;
mod spare_threads;
mod time_limits;
mod wire;
mod words;

/// A test that takes longer ends the run: see `support/time_limit.rs`. The slowest one takes some
/// seconds on an idle machine.
const TIME_LIMIT: Duration = Duration::from_secs(120);
