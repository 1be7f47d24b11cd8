//! The loop that drives a handler from a stream of bytes: the heart of this crate.
//!
//! An event loop calls asynchat when its socket is readable or writable, and asynchat returns. Here
//! the loop belongs to the conversation, and waiting is a blocking read or write. So things happen in
//! the order of the lines. The loop works on any `Read` and `Write`: whole conversations run in
//! memory, and a client uses the same loop as a server.
//!
//! The cost of blocking is that no input is read while output is written. If two peers both write more than
//! the kernel buffers, and only then read, they wait for each other until one gives up. An event loop
//! would do both at once.

use std::convert::Infallible;
use std::io::{Read, Write};
use std::mem;

use super::chat::Chat;
use super::close_reason::CloseReason;
use super::excerpt::Excerpt;
use super::handler::Handler;
use super::limits::{Limits, TooLong};
use super::output_queue::DrainError;
use super::traffic::Traffic;
use crate::framing::{Event, Scanner, Terminator};
use crate::log_target::CONVERSATION;

/// The result of a conversation.
#[derive(Debug)]
pub struct Summary {
    /// The reason why it ended.
    pub reason: CloseReason,
    /// The messages and bytes that passed before.
    pub traffic: Traffic,
}

/// Runs a handler over a stream of input and a stream of output, until the conversation ends.
///
/// [`connect`](crate::connect) does this with a socket, a test with a slice and a `Vec`. A panic of
/// the handler is passed on.
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
    let mut conversation = Conversation::new(input, output, Blocking, limits);

    let reason = conversation.talk(handler);
    handler.handle_close(&reason);

    let traffic = conversation.traffic;
    Summary { reason, traffic }
}

/// How many empty messages by count a handler can ask for in a row, with no byte between them. A real
/// protocol asks for a few.
const MOST_EMPTY: u32 = 1000;

/// Supplies input when the scanner needs it.
pub(crate) trait FillScanner<R> {
    /// Fills the scanner once. Returns the number of bytes, 0 at the end of the stream. An error is
    /// the reason to end the conversation.
    fn fill(&mut self, scanner: &mut Scanner<R>, traffic: &Traffic) -> Result<usize, CloseReason>;
}

/// Waits for input for as long as the reader does.
struct Blocking;

impl<R: Read> FillScanner<R> for Blocking {
    fn fill(&mut self, scanner: &mut Scanner<R>, _: &Traffic) -> Result<usize, CloseReason> {
        scanner.fill().map_err(CloseReason::from_io)
    }
}

/// A conversation between a reader and a writer.
pub(crate) struct Conversation<'a, R, W, F> {
    scanner: Scanner<R>,
    chat: Chat,
    writer: W,
    /// Waits for input.
    filler: F,
    limits: &'a Limits,
    pub(crate) traffic: Traffic,
}

impl<'a, R: Read, W: Write, F: FillScanner<R>> Conversation<'a, R, W, F> {
    pub(crate) fn new(reader: R, writer: W, filler: F, limits: &'a Limits) -> Self {
        Self {
            scanner: Scanner::with_capacity(limits.input_buffer, limits.max_message, reader),
            chat: Chat::default(),
            writer,
            filler,
            limits,
            traffic: Traffic::default(),
        }
    }

    /// Calls the handler until the conversation ends, and sends all output that can still be sent.
    /// The caller must call `handle_close`.
    #[inline(never)]
    pub(crate) fn talk<H: Handler + ?Sized>(&mut self, handler: &mut H) -> CloseReason {
        let Err(mut reason) = self.run(handler);

        // A peer that was too slow gets a last word from the handler.
        if reason.is_timeout() {
            log::debug!(target: CONVERSATION, "timed_out: {reason}");
            if let Err(error) = handler.timed_out(&reason, &mut self.chat) {
                reason = error.into();
            }
        }

        // An end is orderly only if the last replies were sent.
        match self.flush() {
            Err(error) if !reason.is_failure() => error.into(),
            _ => reason,
        }
    }

    /// The loop. It has one exit: the reason to end.
    fn run<H: Handler + ?Sized>(&mut self, handler: &mut H) -> Result<Infallible, CloseReason> {
        handler.handle_connect(&mut self.chat)?;

        loop {
            self.carry_out_requests()?;

            match self.scanner.next_event() {
                None => self.wait_for_input()?,
                Some(Event::Data(bytes)) => {
                    log::debug!(target: CONVERSATION, "collect_incoming_data: [{}]", Excerpt(bytes));
                    self.chat.terminator.advance(bytes.len() as u64);
                    handler.collect_incoming_data(bytes, &mut self.chat)?;
                }
                Some(Event::Terminator) => {
                    log::debug!(target: CONVERSATION, "found_terminator");
                    self.traffic.messages += 1;
                    self.note_used_up_count()?;
                    handler.found_terminator(&mut self.chat)?;
                }
                Some(Event::TooLong) => {
                    let limit = self.limits.max_message;
                    log::debug!(target: CONVERSATION, "message_too_long: limit={limit}");
                    self.traffic.too_long += 1;
                    if self.limits.too_long == TooLong::Close {
                        handler.message_too_long(limit, &mut self.chat)?;
                        return Err(CloseReason::MessageTooLong { limit });
                    }
                }
                Some(Event::EndOfTooLong) => {
                    // A count is used up. No callback has run, so none has set another terminator.
                    self.chat.terminator.advance(u64::MAX);
                    handler.message_too_long(self.limits.max_message, &mut self.chat)?;
                }
                Some(Event::Eof { unterminated: 0 }) => return Err(CloseReason::EndOfStream),
                Some(Event::Eof { unterminated }) => {
                    return Err(CloseReason::MidMessage { unterminated });
                }
            }
        }
    }

    /// Carries out the requests of the last callback.
    #[inline(always)]
    fn carry_out_requests(&mut self) -> Result<(), CloseReason> {
        if mem::take(&mut self.chat.has_requests) {
            self.change_course()?;
        }

        // Past its bound, the queue must be sent before more input is read.
        if self.chat.queue.size() > self.limits.max_queued {
            self.flush()?;
        }
        Ok(())
    }

    /// Sets a new terminator, drops unread input, or ends the conversation.
    fn change_course(&mut self) -> Result<(), CloseReason> {
        if mem::take(&mut self.chat.has_new_terminator) {
            self.scanner.set_terminator(&self.chat.terminator);
        }
        if mem::take(&mut self.chat.discards_input) {
            self.scanner.discard();
        }
        if self.chat.is_closing {
            return Err(CloseReason::ClosedByHandler);
        }
        Ok(())
    }

    /// Ends a count that is used up. A handler that asks for empty messages without end would keep the
    /// loop from its input, so it is stopped.
    #[inline]
    fn note_used_up_count(&mut self) -> Result<(), CloseReason> {
        if self.scanner.has_no_terminator() {
            self.chat.terminator = Terminator::None;
            if self.scanner.empty_in_a_row() > MOST_EMPTY {
                let problem = format!("asked for more than {MOST_EMPTY} empty messages in a row");
                return Err(CloseReason::HandlerError(problem.into()));
            }
        }
        Ok(())
    }

    /// Sends the replies, then waits for input.
    #[inline]
    fn wait_for_input(&mut self) -> Result<(), CloseReason> {
        // Never sleep on unsent replies.
        self.flush()?;

        let bytes = self.filler.fill(&mut self.scanner, &self.traffic)?;
        log::trace!(target: CONVERSATION, "read: bytes={bytes}");
        self.traffic.bytes_in += bytes as u64;
        Ok(())
    }

    /// Sends everything that is queued.
    #[inline]
    fn flush(&mut self) -> Result<(), DrainError> {
        let before = self.traffic.bytes_out;

        let drained = self
            .chat
            .queue
            .drain(&mut self.writer, &mut self.traffic.bytes_out);

        let bytes = self.traffic.bytes_out - before;
        if bytes > 0 {
            log::trace!(target: CONVERSATION, "written: bytes={bytes}");
        }
        drained
    }

    /// Sends the output that was pushed before the handler panicked, if the peer still takes it.
    pub(crate) fn flush_after_panic(&mut self) {
        let _ = self.flush();
    }
}
