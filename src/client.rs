//! The client side of a conversation. It runs the same loop as a server. `async_chat` is a client and a
//! server in one class, too.

use crate::conversation::{Conversation, Handler, Limits, Summary};
use crate::error::Error;
use crate::net::{Address, Deadlines, Stream, TimedWriter};

/// Connects, talks until the conversation ends, and gives the handler back.
///
/// A panic of the handler is passed on. While the handler's output is being written, nothing is read.
/// So do not push more than the kernel's buffers hold to a server that answers as it reads.
///
/// ```
/// use synchat::{Chat, Echo, Handler, HandlerResult, Limits, Server, Terminator, connect};
///
/// /// Sends a line, keeps what comes back.
/// #[derive(Default)]
/// struct Hello(Vec<u8>);
///
/// impl Handler for Hello {
///     fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
///         chat.set_terminator(Terminator::CRLF);
///         Ok(chat.push("hello\r\n")?)
///     }
///     fn collect_incoming_data(&mut self, data: &[u8], _: &mut Chat) -> HandlerResult {
///         self.0.extend_from_slice(data);
///         Ok(())
///     }
///     fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
///         chat.close_when_done();
///         Ok(())
///     }
/// }
///
/// let server = Server::bind("127.0.0.1:0")?;
/// let (address, handle) = (server.local_addr().clone(), server.handle());
/// let serving = std::thread::spawn(|| server.serve_forever(|_| Echo::new(Terminator::CRLF)));
///
/// let (hello, summary) = connect(&address, Hello::default(), &Limits::default())?;
/// assert_eq!(hello.0, b"hello");
/// assert_eq!(summary.reason.name(), "closed-by-handler");
///
/// handle.stop();
/// assert_eq!(serving.join().unwrap()?.accepted, 1);
/// # Ok::<(), synchat::Error>(())
/// ```
///
/// # Errors
///
/// [`Error::Connect`]. A later failure is the summary's [`reason`](Summary::reason).
pub fn connect<H: Handler>(
    address: &Address,
    mut handler: H,
    limits: &Limits,
) -> Result<(H, Summary), Error> {
    let stream =
        Stream::connect(address, limits.connect_timeout).map_err(|source| Error::Connect {
            address: address.clone(),
            source,
        })?;
    let socket = stream.socket();
    let deadlines = Deadlines::new(socket, limits, None);
    let writer = TimedWriter::new(socket, limits);
    let mut conversation = Conversation::new(socket, writer, deadlines, limits);

    let reason = conversation.talk(&mut handler);
    stream.end_output(reason.parting());
    handler.handle_close(&reason);

    let traffic = conversation.traffic;
    drop(conversation);
    stream.finish(reason.parting(), limits);
    Ok((handler, Summary { reason, traffic }))
}
