//! Sockets and the operating system: connections, deadlines, signals. This layer knows no server.
//!
//! Read the files in this order:
//!
//! 1. `address.rs` is an address as text: `HOST:PORT`, `unix:PATH`, `fd:0`. `zone.rs` finds the number
//!    of a zone, `unix_name.rs` tells paths from abstract names.
//! 2. `peer.rs` names the other end. `stream.rs` is a connected socket, `listener.rs` a listening one.
//!    `shared_socket.rs` is about a listening socket that came from somebody else, `holders.rs` finds
//!    out whether they have kept it.
//! 3. `deadlines.rs` reads with deadlines, `timed_writer.rs` writes with one.
//! 4. `stop_event.rs` is the order to stop, which every waiting thread sees.
//! 5. `connecting.rs` connects within a time limit: `in_time.rs` waits for calls that can block for
//!    longer. `unix_path.rs` owns the path of a Unix socket, with a turn from
//!    `directory_lock.rs` and a mode through `umask.rs`.
//! 6. `signals.rs` turns signals into values, from their `arrivals.rs`.
//! 7. `sys.rs` has the system calls that `std` lacks, and the only `unsafe` code.

mod unix_name;
mod zone;

mod address;
mod arrivals;
mod peer;
mod sys;

mod directory_lock;
mod holders;
mod in_time;
mod signals;
mod stop_event;
mod umask;

mod connecting;
mod deadlines;
mod shared_socket;
mod stream;
mod timed_writer;
mod unix_path;

mod listener;

pub use address::{Address, AddressError};
pub(crate) use deadlines::Deadlines;
pub(crate) use listener::Listener;
pub use peer::Peer;
pub use signals::{Signal, Signals};
pub(crate) use stop_event::StopEvent;
pub(crate) use stream::Stream;
pub use sys::wait_writable;
pub(crate) use timed_writer::TimedWriter;
