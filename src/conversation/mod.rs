//! One conversation: the loop that drives a handler. This layer knows no socket and no thread.
//!
//! Read the files in this order:
//!
//! 1. `handler.rs` is the trait that you implement.
//! 2. `chat.rs` is what a callback can do: push, set a terminator, close.
//! 3. `run.rs` is **the loop that is this crate**, on one screen: `fn run`.
//! 4. `producer.rs` and `output_queue.rs` are where output comes from, and the order it leaves in.
//! 5. `close_reason.rs` lists every way in which a conversation can end.
//! 6. `limits.rs` has every limit of a conversation, and why it has that number.
//!
//! Smaller parts: `traffic.rs` counts messages and bytes, `excerpt.rs` makes a peer's bytes safe to
//! log, `guard.rs` catches the panics of foreign code, `names.rs` gives the variants of an enum fixed
//! names.
//!
//! ```text
//! Scanner ─▶ run ─▶ Handler ─▶ Chat ─▶ OutputQueue ─▶ any Write
//!             ▲                  │
//!             └── terminator, close, discard
//! ```
//!
//! A whole conversation runs in memory with [`converse`]: most tests do that.

mod guard;
mod names;

mod limits;
mod traffic;

mod excerpt;
mod producer;

mod output_queue;

mod close_reason;

mod chat;
mod handler;

mod run;

pub use chat::{Chat, PushAfterClose};
pub use close_reason::CloseReason;
pub(crate) use close_reason::Parting;
pub(crate) use guard::guarded;
pub use handler::{Handler, HandlerResult};
pub use limits::{Limits, TooLong};
pub(crate) use names::names;
pub use producer::{IterProducer, Producer, ReadProducer, SimpleProducer};
pub(crate) use run::{Conversation, FillScanner};
pub use run::{Summary, converse};
pub(crate) use traffic::LiveTraffic;
pub use traffic::Traffic;
