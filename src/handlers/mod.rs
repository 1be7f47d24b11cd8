//! Ready protocols, one file each, found by name. To add one: write its file, and add a line to
//! [`HANDLERS`].

mod echo;

pub use echo::Echo;

use crate::handler::Handler;
use crate::terminator::Terminator;

/// A protocol that can be asked for by name.
#[derive(Debug, Clone, Copy)]
pub struct NamedHandler {
    /// The name, as in `--handler echo`.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// Makes the handler of one connection, which is to find messages that end with this
    /// terminator.
    pub make: fn(&Terminator) -> Box<dyn Handler + Send>,
}

/// All ready protocols.
pub static HANDLERS: &[NamedHandler] = &[NamedHandler {
    name: "echo",
    about: "sends each message back, with its terminator",
    make: |terminator| Box::new(Echo::new(terminator.clone())),
}];
