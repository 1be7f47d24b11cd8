//! The conversation: the loop that drives a handler from a stream of bytes, and the heart of this
//! crate.
//!
//! asynchat is called by an event loop when its socket is readable or writable, and returns. Here
//! the loop belongs to the conversation, and waiting is a blocking read or write: the order of
//! things is the order of the lines. It knows any `Read` and `Write`, so whole conversations run in
//! memory, and a client's loop is the server's.
//!
//! The cost of blocking: while output is written no input is read. Two peers that both write more
//! than the kernel buffers, and read only then, wait for each other until one gives up; an event
//! loop would do both at once.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::mem;
use std::ops::AddAssign;

use crate::chat::Chat;
use crate::close_reason::CloseReason;
use crate::courtesy::Courtesy;
use crate::excerpt::Excerpt;
use crate::handler::Handler;
use crate::limits::{Limits, TooLong};
use crate::queue::DrainError;
use crate::scanner::{Event, Scanner};

/// How a conversation went.
#[derive(Debug)]
pub struct Summary {
    /// Why it ended.
    pub reason: CloseReason,
    /// How much passed before it did.
    pub traffic: Traffic,
}

/// What has passed in one conversation, or in all of a server's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages that were received whole, and handed to [`Handler::found_terminator`].
    pub messages: u64,
    /// Messages that were longer than the limit.
    pub too_long: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes sent. What a failed write may have sent is not counted.
    pub bytes_out: u64,
}

impl AddAssign for Traffic {
    fn add_assign(&mut self, other: Self) {
        self.messages += other.messages;
        self.too_long += other.too_long;
        self.bytes_in += other.bytes_in;
        self.bytes_out += other.bytes_out;
    }
}

/// Runs a handler over a stream of input and one of output, to the end.
///
/// The two may be the halves of anything: [`connect`](crate::connect) does it
/// with a socket, a test with a slice and a `Vec`. A panic of the handler is passed on.
///
/// ```
/// use synchat::{Echo, Limits, Terminator, converse};
///
/// let mut output = Vec::new();
/// let mut echo = Echo::new(Terminator::CRLF);
/// let summary = converse(&b"to be\r\nor n"[..], &mut output, &mut echo, &Limits::default());
/// assert_eq!(output, b"to be\r\n");
/// assert_eq!(summary.reason.to_string(), "mid-message unterminated=4");
/// ```
pub fn converse<H: Handler + ?Sized>(
    input: impl Read,
    output: impl Write,
    handler: &mut H,
    limits: &Limits,
) -> Summary {
    let mut connection = Connection::new(input, output, limits);
    let reason = connection.talk(handler, |scanner, _| {
        scanner.fill().map_err(CloseReason::from_io)
    });
    handler.handle_close(&reason);
    Summary {
        reason,
        traffic: connection.traffic,
    }
}

/// A conversation's state, between a reader and a writer.
pub(crate) struct Connection<'a, R, W> {
    scanner: Scanner<R>,
    chat: Chat,
    writer: W,
    courtesy: Courtesy,
    limits: &'a Limits,
    pub(crate) traffic: Traffic,
}

impl<'a, R: Read, W: Write> Connection<'a, R, W> {
    pub(crate) fn new(reader: R, writer: W, limits: &'a Limits) -> Self {
        Self {
            scanner: Scanner::with_capacity(limits.input_buffer, limits.max_message, reader),
            chat: Chat::default(),
            writer,
            courtesy: Courtesy::default(),
            limits,
            traffic: Traffic::default(),
        }
    }

    /// Calls the handler until the conversation is over, and sees to it that all is sent that can
    /// be; `handle_close` is left to the caller. When the scanner is dry `fill` is to fill it, or to
    /// say why the conversation ends.
    pub(crate) fn talk<H: Handler + ?Sized>(
        &mut self,
        handler: &mut H,
        fill: impl FnMut(&mut Scanner<R>, &Traffic) -> Result<usize, CloseReason>,
    ) -> CloseReason {
        self.run(handler, fill).unwrap_or_else(|reason| {
            self.flush_what_is_left();
            reason
        })
    }

    /// Sends what was pushed before a failure, if the connection still takes it.
    pub(crate) fn flush_what_is_left(&mut self) {
        let _ = self.flush();
    }

    /// The loop. An orderly end, all output sent, is `Ok`.
    fn run<H: Handler + ?Sized>(
        &mut self,
        handler: &mut H,
        mut fill: impl FnMut(&mut Scanner<R>, &Traffic) -> Result<usize, CloseReason>,
    ) -> Result<CloseReason, CloseReason> {
        handler.handle_connect(&mut self.chat)?;
        self.adopt()?;
        while !self.chat.is_closing {
            let Some(event) = self.scanner.next_event() else {
                // Never sleep on unsent replies.
                if self.flush()? {
                    self.courtesy.give_way();
                }
                let bytes = match fill(&mut self.scanner, &self.traffic) {
                    Ok(bytes) => bytes,
                    Err(reason) => return self.give_up(reason, handler),
                };
                log::trace!("read: bytes={bytes}");
                self.traffic.bytes_in += bytes as u64;
                continue;
            };
            match event {
                Event::Data(bytes) => {
                    log::debug!("collect_incoming_data: [{}]", Excerpt(bytes));
                    self.chat.terminator.advance(bytes.len() as u64);
                    handler.collect_incoming_data(bytes, &mut self.chat)?;
                }
                Event::Terminator => {
                    log::debug!("found_terminator");
                    self.traffic.messages += 1;
                    handler.found_terminator(&mut self.chat)?;
                }
                Event::TooLong => {
                    let limit = self.limits.max_message;
                    log::debug!("message_too_long: limit={limit}");
                    self.traffic.too_long += 1;
                    if self.limits.too_long == TooLong::Close {
                        handler.message_too_long(limit, &mut self.chat)?;
                        self.flush()?;
                        return Ok(CloseReason::MessageTooLong { limit });
                    }
                }
                Event::EndOfTooLong => {
                    // If it was a count, it is spent. No callback has run meanwhile, so none has
                    // set another.
                    self.chat.terminator.advance(u64::MAX);
                    handler.message_too_long(self.limits.max_message, &mut self.chat)?;
                }
                Event::Eof { unterminated } => {
                    self.flush()?;
                    return Ok(match unterminated {
                        0 => CloseReason::EndOfStream,
                        _ => CloseReason::MidMessage { unterminated },
                    });
                }
            }
            self.adopt()?;
        }
        self.flush()?;
        Ok(CloseReason::ClosedByHandler)
    }

    /// Lets the handler have the last word with a peer that was too slow.
    fn give_up<H: Handler + ?Sized>(
        &mut self,
        reason: CloseReason,
        handler: &mut H,
    ) -> Result<CloseReason, CloseReason> {
        if let CloseReason::Idle { .. } | CloseReason::MessageDeadline { .. } = reason {
            log::debug!("timed_out: {reason}");
            handler.timed_out(&reason, &mut self.chat)?;
            self.flush()?;
        }
        Ok(reason)
    }

    /// Carries out what a callback asked for.
    #[inline(always)]
    fn adopt(&mut self) -> Result<(), CloseReason> {
        if mem::take(&mut self.chat.terminator_is_new) {
            self.scanner.set_terminator(&self.chat.terminator);
        }
        if mem::take(&mut self.chat.input_is_unwanted) {
            self.scanner.discard();
        }
        if self.chat.queue.size() > self.limits.max_queued {
            self.flush()?;
        }
        Ok(())
    }

    /// Sends all that is queued; says whether that was anything.
    #[inline]
    fn flush(&mut self) -> Result<bool, DrainError> {
        let before = self.traffic.bytes_out;
        let drained = self
            .chat
            .queue
            .drain(&mut self.writer, &mut self.traffic.bytes_out);
        let bytes = self.traffic.bytes_out - before;
        if bytes > 0 {
            log::trace!("written: bytes={bytes}");
        }
        drained.map(|()| bytes > 0)
    }
}

impl From<Box<dyn Error + Send + Sync>> for CloseReason {
    fn from(error: Box<dyn Error + Send + Sync>) -> Self {
        Self::HandlerError(error)
    }
}

impl From<DrainError> for CloseReason {
    fn from(error: DrainError) -> Self {
        match error {
            DrainError::Producer(error) => Self::HandlerError(error.into()),
            DrainError::Writer(error) if error.kind() == ErrorKind::WouldBlock => Self::WriteStall,
            DrainError::Writer(error) => Self::from_io(error),
        }
    }
}
