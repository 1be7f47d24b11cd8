//! The shelf: ready protocols, one file each, found by name.
//!
//! Read `echo.rs` first. To add a protocol, write its file with a row `NAMED`, and add its name to the
//! list at the end of this file. `--handler`, `--help` and the greeting then know it.

use crate::conversation::Handler;
use crate::framing::Terminator;

/// A protocol that can be chosen by name.
#[derive(Debug, Clone, Copy)]
pub struct NamedHandler {
    /// The name, as in `--handler echo`.
    pub name: &'static str,
    /// One line that says what it does.
    pub about: &'static str,
    /// Makes the handler of one conversation, for messages that end with this terminator.
    pub make: fn(&Terminator) -> Box<dyn Handler + Send>,
}

/// Declares each protocol's module and makes the list of all.
macro_rules! shelf {
    ($($module:ident,)+) => {
        $(mod $module;)+

        /// All ready protocols, in the order of `--help`. The first one is the default.
        pub static HANDLERS: &[NamedHandler] = &[$($module::NAMED),+];
    };
}

shelf! {
    echo,
}

pub use echo::Echo;
