//! Python's `asynchat` on blocking threads: terminators, callbacks and producers, with only the
//! standard library and the package `log`.
//!
//! You write a [`Handler`]. synchat passes it each message's bytes, tells it when the terminator
//! arrives, and sends what it pushes. Where asynchat drives all connections from one event loop, here
//! each connection has its own thread, which blocks.
//!
//! synchat is not an HTTP server, has no TLS, and is not for tens of thousands of busy connections.
//!
//! # An echo server and its client
//!
//! ```
//! use std::io::{BufRead, BufReader, Write};
//! use std::net::TcpStream;
//! use synchat::{Echo, Server, Terminator};
//!
//! let server = Server::bind("127.0.0.1:0")?;
//! let (address, handle) = (server.local_addr().as_socket_addr().unwrap(), server.handle());
//! let serving = std::thread::spawn(|| server.serve_forever(|_peer| Echo::new(Terminator::CRLF)));
//!
//! let mut client = BufReader::new(TcpStream::connect(address)?);
//! client.get_mut().write_all(b"hello\r\n")?;
//! let mut line = String::new();
//! client.read_line(&mut line)?;
//! assert_eq!(line, "hello\r\n");
//!
//! handle.stop();
//! let report = serving.join().unwrap()?;
//! assert_eq!((report.accepted, report.traffic.messages), (1, 1));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! If you know Python's module, read [`from_asynchat`]: it has each of its names, and ours.
//!
//! # Words
//!
//! Each word means one thing in the code, the documentation, the log and the help.
//!
//! | word | meaning |
//! |---|---|
//! | conversation | the messages exchanged with one peer, from `handle_connect` to `handle_close` |
//! | connection | the socket that a conversation runs on |
//! | peer | the other end of a connection |
//! | handler | your protocol: one value per conversation |
//! | message | the bytes up to a terminator |
//! | terminator | the byte string, or the byte count, that ends a message |
//! | producer | a source of output that gives one chunk at a time |
//! | queue | the output that was pushed and is not yet sent |
//! | place | one of the connections that a server can hold at once |
//! | spare thread | a thread that has ended its conversation and waits for the next connection |
//! | refusal | the reason to close a connection before its conversation begins |
//! | report | the counts of a server |
//! | timeout, deadline | a length of time, and the point in time at which it is over |
//!
//! # The source, in the order of the data
//!
//! ```text
//! listener ── accept ──▶ one thread per connection
//!                        socket ─▶ scanner ─▶ handler ─▶ queue ─▶ socket
//!                                 (messages) (callbacks) (FIFO, bounded)
//! ```
//!
//! Each layer uses only layers above it in this table. Each folder's `mod.rs` is a short tour.
//!
//! | layer | its part |
//! |---|---|
//! | `log_target.rs` | the fixed targets of log lines |
//! | `framing/` | bytes to messages |
//! | `conversation/` | **the loop that calls your handler; no socket, no thread** |
//! | `handlers/` | ready protocols, one file each |
//! | `net/` | sockets, deadlines, signals, and the only `unsafe` code |
//! | `error.rs` | the errors around conversations |
//! | `server/` | the accept loop, limits, an orderly end |
//! | `client.rs` | the same conversation from the other side |
//!
//! Begin with `conversation/run.rs`, whose `fn run` is the loop. Then read `framing/`, the rest of
//! `conversation/` and `handlers/echo.rs`, and stop there: that is the whole idea, in one to two
//! hours. The other layers make a safe server of it.
//!
//! # The log
//!
//! The library logs through the [`log`] package. To see the lines, install any logger for it at the
//! start of your `main`, for instance `env_logger::init()` from the package `env_logger`. Without a
//! logger nothing is logged, and logging costs next to nothing.
//!
//! You can filter by target. The targets are fixed strings:
//!
//! | target | lines |
//! |---|---|
//! | `synchat::server` | the listening socket, the accept loop, refusals and limits |
//! | `synchat::session` | `conn_made` and `conn_closed` of each connection |
//! | `synchat::conversation` | each callback (debug), each read and write (trace) |
//! | `synchat` | the command: start, stop, reports |

#[cfg(not(unix))]
compile_error!("synchat needs a Unix: Unix sockets, inherited descriptors, listen(2)");

mod log_target;

mod framing;

mod conversation;

mod handlers;

mod net;

mod error;

mod server;

mod client;

pub use client::connect;
pub use conversation::{
    Chat, CloseReason, Handler, HandlerResult, IterProducer, Limits, Producer, PushAfterClose,
    ReadProducer, SimpleProducer, Summary, TooLong, Traffic, converse,
};
pub use error::Error;
pub use framing::{Event, NonEmptyBytes, Scanner, Terminator};
pub use handlers::{Echo, HANDLERS, NamedHandler};
#[doc(hidden)] // for the log of the program `synchat`
pub use net::wait_writable;
pub use net::{Address, AddressError, Peer, Signal, Signals};
pub use server::{
    IpNetwork, IpNetworkError, Overload, Refusal, Report, Server, ServerHandle, ServerOptions,
};

#[cfg(doc)]
pub mod from_asynchat;

/// Compiles the examples of the README with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
