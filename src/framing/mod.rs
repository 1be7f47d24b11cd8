//! Bytes to messages. This layer knows nothing of handlers, sockets or threads.
//!
//! Read the files in this order:
//!
//! 1. `terminator.rs` says what ends a message: a byte string, a byte count, or nothing.
//! 2. `scanner.rs` cuts a stream into events. Read [`Scanner::next_event`] first. `message.rs` is what it
//!    knows of the message that is arriving.
//! 3. `input.rs` is the read buffer: a `BufReader` that also takes bytes back.
//! 4. `matcher.rs` finds a byte string wherever reads split it.
//! 5. `byte_search.rs` finds one byte, fast.
//!
//! ```text
//! any Read ─▶ Input ─▶ Scanner ─▶ Data, Data, Terminator, Data, …, Eof
//!                         │
//!                      Matcher ─▶ byte_search
//! ```
//!
//! You can use a [`Scanner`] by itself, over anything that implements [`Read`](std::io::Read). To see what
//! it does, read `tests/it/framing.rs`.

mod terminator;

mod byte_search;
mod matcher;

mod input;
mod message;

mod scanner;

pub(crate) use input::READ_SIZE;
pub use scanner::{Event, Scanner};
pub use terminator::{NonEmptyBytes, Terminator};
