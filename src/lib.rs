//! Python's `asynchat` on blocking threads: terminators, callbacks and producers, on the standard
//! library alone.
//!
//! A [`Handler`] collects incoming data, is told when a terminator was found, and answers through a
//! queue of [`Producer`]s. Where asynchat drives all connections from one event loop, here each
//! connection has a thread that blocks. This is not an HTTP server, has no TLS, and is not for tens
//! of thousands of connections that are all busy.
//!
//! # The data path
//!
//! ```text
//! listener ── accept ──▶ one thread per connection
//!                        socket ─▶ scanner ─▶ handler ─▶ producer queue ─▶ socket
//!                                  (messages) (callbacks) (FIFO, bounded)
//! ```
//!
//! The files stand in that order, and each uses only files above it:
//!
//! | file | its idea |
//! |---|---|
//! | `terminator.rs` | what ends a message: a byte string, a count, or nothing |
//! | `byte_search.rs` | the first place of a byte, near or far |
//! | `matcher.rs` | a byte string in a stream of chunks, in linear time |
//! | `input.rs` | the read buffer, to which bytes can be put back |
//! | `scanner.rs` | bytes in, events out |
//! | `producer.rs` | where output comes from, a chunk at a time |
//! | `queue.rs` | the FIFO of output |
//! | `excerpt.rs` | a peer's bytes, safe to log |
//! | `chat.rs` | all that a callback may do |
//! | `close_reason.rs` | why a conversation ended |
//! | `handler.rs` | what a protocol is |
//! | `limits.rs` | every limit, and why that number |
//! | `courtesy.rs` | who goes first after a reply |
//! | `connection.rs` | **the conversation: the loop that is the crate** |
//! | `handlers/mod.rs` | ready protocols, by name |
//! | `handlers/echo.rs` | the article's echo |
//! | `address.rs` | where to listen and connect, as text |
//! | `error.rs` | what goes wrong around conversations |
//! | `network.rs` | a range of IP addresses, as text |
//! | `sys.rs` | the three system calls that `std` lacks |
//! | `signals.rs` | SIGTERM, SIGINT and SIGUSR1 as values |
//! | `stop_event.rs` | the order to stop, which every thread sees |
//! | `unix_path.rs` | the path of a Unix socket, taken and given back |
//! | `deadlines.rs` | how long a conversation waits |
//! | `net.rs` | TCP and Unix sockets, behind one type each |
//! | `backoff.rs` | what a failing `accept` is a sign of |
//! | `capacity.rs` | how many connections the system can hold |
//! | `refusal.rs` | connections that are turned away |
//! | `report.rs` | what a server has done, in numbers |
//! | `registry.rs` | the open connections, and how to end them |
//! | `handle.rs` | a server in other threads' hands |
//! | `session.rs` | the life of one connection |
//! | `options.rs` | how a server is configured |
//! | `server.rs` | the accept loop |
//! | `client.rs` | the same conversation from the other side |
//!
//! # From asynchat
//!
//! | asynchat | here |
//! |---|---|
//! | subclass of `async_chat` | a type that implements [`Handler`] |
//! | `self.set_terminator(b"\r\n")` | [`chat.set_terminator(b"\r\n")`](Chat::set_terminator) |
//! | `self.push(data)` | [`chat.push(data)?`](Chat::push) |
//! | `self.push_with_producer(p)`, `more()` | [`chat.push_with_producer(p)?`](Chat::push_with_producer), [`Producer::more`] |
//! | `simple_producer` | [`SimpleProducer`] |
//! | a `None` in the queue, `close_when_done()` | [`chat.close_when_done()`](Chat::close_when_done) |
//! | `asyncore.loop()` | [`Server::serve_forever`] |
//!
//! # An echo server and a client of it
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

#[cfg(not(unix))]
compile_error!("synchat needs a Unix: Unix sockets, inherited descriptors, listen(2)");

mod terminator;

mod byte_search;
mod matcher;

mod input;
mod scanner;

mod producer;
mod queue;

mod excerpt;

mod chat;
mod close_reason;
mod handler;
mod limits;

mod courtesy;

mod connection;

mod handlers;

mod address;
mod error;
mod network;

mod sys;

mod signals;
mod stop_event;
mod unix_path;

mod deadlines;
mod net;

mod backoff;
mod capacity;
mod refusal;
mod report;

mod registry;

mod handle;

mod session;

mod options;
mod server;

mod client;

pub use address::{Address, AddressError};
pub use chat::{Chat, PushAfterClose};
pub use client::connect;
pub use close_reason::CloseReason;
pub use connection::{Summary, Traffic, converse};
pub use error::Error;
pub use handle::Handle;
pub use handler::{Handler, HandlerResult};
pub use handlers::{Echo, HANDLERS, NamedHandler};
pub use limits::{Limits, TooLong};
pub use net::Peer;
pub use network::{Network, NetworkError};
pub use options::{Overload, ServerOptions};
pub use producer::{IterProducer, Producer, ReadProducer, SimpleProducer};
pub use refusal::Refusal;
pub use report::Report;
pub use scanner::{Event, Scanner};
pub use server::Server;
pub use signals::{Signal, Signals};
pub use terminator::{NonEmptyBytes, Terminator};

/// The examples of the README, to be compiled with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
