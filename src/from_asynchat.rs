//! From asynchat, and from the article, to synchat: each name there, and the name here.
//!
//! | asynchat, or the article | synchat | notes |
//! |---|---|---|
//! | `asynchat.async_chat`, subclassed | [`Handler`](crate::Handler) and [`Chat`](crate::Chat) | one is your protocol, the other its requests |
//! | `collect_incoming_data`, `found_terminator` | the same | methods of `Handler` |
//! | `set_terminator`, `get_terminator` | the same | methods of `Chat`; `bytes`, `int` or `None` is a [`Terminator`](crate::Terminator) |
//! | `push`, `push_with_producer` | the same | methods of `Chat` |
//! | `close_when_done`, `discard_buffers` | the same | methods of `Chat` |
//! | a producer, `more()` | [`Producer`](crate::Producer), `more()` | an empty chunk is the end in both |
//! | `simple_producer` | [`SimpleProducer`](crate::SimpleProducer) | also [`ReadProducer`](crate::ReadProducer), [`IterProducer`](crate::IterProducer) |
//! | `producer_fifo`, a `None` in it | the queue behind `Chat` | `close_when_done` sets a flag, so nothing can be pushed behind it |
//! | `find_prefix_at_end` | the state of `framing/matcher.rs` | |
//! | `ac_in_buffer_size` | [`Limits::input_buffer`](crate::Limits::input_buffer) | the same 64 KiB, less 256 bytes |
//! | `ac_out_buffer_size` | [`Limits::max_queued`](crate::Limits::max_queued) | the same 64 KiB |
//! | `ibuffer`, `_collect_incoming_data`, `_get_data` | the `ibuffer` of [`Echo`](crate::Echo) | a handler keeps its own buffer |
//! | `EchoHandler`, `LINE_TERMINATOR`, `send_data` | `Echo`, [`Terminator::CRLF`](crate::Terminator::CRLF), `send_data` | `handlers/echo.rs` |
//! | `EchoHandler.__init__(conn_sock, client_address, server)` | the closure that makes a handler, and `handle_connect` | it gets the peer; the loop keeps the socket |
//! | a handler's `handle_close` | [`Handler::handle_close`](crate::Handler::handle_close) | with the one [`CloseReason`](crate::CloseReason) |
//! | `EchoServer(address, handlerClass)` | [`Server::bind`](crate::Server::bind), [`Server::serve_forever`](crate::Server::serve_forever) | `server_main.py` is `main.rs` |
//! | `create_socket`, `server_bind`, `bind`, `server_activate`, `listen` | [`ServerOptions::bind`](crate::ServerOptions::bind), [`from_listener`](crate::ServerOptions::from_listener) | |
//! | `request_queue_size = 5`, `BACKLOG` | [`ServerOptions::request_queue_size`](crate::ServerOptions::request_queue_size), `--backlog` | the default is 4096 |
//! | `allow_reuse_address`, `set_reuse_addr` | – | always on: `std` sets it on a Unix |
//! | `address_family`, `socket_type` | [`Address`](crate::Address) | the form of the address says it |
//! | `fileno` | `AsFd` | |
//! | `serve_forever`, `asyncore.loop()` | `Server::serve_forever` | until [`ServerHandle::stop`](crate::ServerHandle::stop) |
//! | `handle_request` (a TODO in the article) | [`Server::handle_request`](crate::Server::handle_request) | with a timeout |
//! | `handle_accept`, `accept` | the accept loop | `server/accept_loop.rs` |
//! | `verify_request`, `process_request` | the same | the first is an option, the second is private |
//! | the server's `handle_close`, `close` | `Drop`, `ServerHandle::stop` | a reset in the accept queue closes the article's listener, not ours |
//! | `handle_read`, `handle_write`, `recv`, `send`, `initiate_send`, `readable`, `writable` | – | they belong to an event loop; here `conversation/run.rs` reads and writes |
//! | `logging.basicConfig(format=…)`, `log` | `cli/logging.rs` | the same format and words |
//! | `SIZE = 1024` | – | the article does not use it either |
//! | `use_encoding`, `encoding` | – | bytes stay bytes |
//!
//! The behaviour differs on purpose in a few cases. `tests/README.md` lists them, each with the traces
//! that were recorded from Python's own module.
