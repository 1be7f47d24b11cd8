//! The integration tests, one module for each kind of behaviour.

mod support;

mod addresses;
mod asynchat_suite;
mod command_line;
mod deadlines;
mod economy;
mod endings;
mod exhaustive;
mod framing;
mod golden;
mod hostile_peers;
mod house_rules;
mod limits;
mod logging;
mod notify;
mod output;
mod ping;
mod server;
mod shortage;
mod shutdown;
mod wire;
