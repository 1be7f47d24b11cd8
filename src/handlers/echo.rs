//! The article's `EchoHandler`: sends each message back, complete and with its terminator.
//!
//! Compare it with the Python: `__init__` is `handle_connect`, `ibuffer` is one `Vec` instead of a
//! list of pieces, and `send_data` has the same three steps. It also covers the other two kinds of
//! terminator. With a count it sends only the bytes. With no terminator it sends bytes as they
//! arrive, like the `asyncore` echo.
//!
//! Talk to it: `nc -C 127.0.0.1 7007`.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};

use super::NamedHandler;
use crate::conversation::{Chat, CloseReason, Handler, HandlerResult};
use crate::framing::Terminator;
use crate::log_target::SESSION;

/// The row of this handler in the shelf.
pub(super) const NAMED: NamedHandler = NamedHandler {
    name: "echo",
    about: "sends each message back, with its terminator",
    make: |terminator| Box::new(Echo::new(terminator.clone())),
};

/// A handler that sends each message back. See the [crate's example](crate).
#[derive(Debug, Clone)]
pub struct Echo {
    terminator: Terminator,
    ibuffer: Vec<u8>,
}

impl Echo {
    /// Returns a handler that echoes messages which end with `terminator`.
    pub fn new(terminator: impl Into<Terminator>) -> Self {
        Self {
            terminator: terminator.into(),
            ibuffer: Vec::new(),
        }
    }

    fn expect_message(&self, chat: &mut Chat) {
        chat.set_terminator(self.terminator.clone());
    }

    #[inline]
    fn send_data(&mut self, chat: &mut Chat) -> HandlerResult {
        if let Terminator::Bytes(terminator) = &self.terminator {
            self.ibuffer.extend_from_slice(terminator);
        }

        chat.append(&mut self.ibuffer)?;
        Ok(())
    }

    /// Tells the operator, once, about a peer whose lines end with LF where CR LF is awaited: somebody
    /// who types into a plain `nc`, for instance.
    fn hint_at_bare_line_feeds(&self) {
        static WAS_TOLD: AtomicBool = AtomicBool::new(false);

        let is_bare = self.terminator == Terminator::CRLF && self.ibuffer.ends_with(b"\n");
        if is_bare && !WAS_TOLD.swap(true, Ordering::Relaxed) {
            log::warn!(
                target: SESSION,
                "a peer ended its line with a bare LF, but messages end with CR LF: use --terminator lf, \
                 or a client that sends CR LF, such as nc -C"
            );
        }
    }

    /// Sends an error line, if the peer can tell it from an echo.
    fn send_error(&mut self, error: fmt::Arguments<'_>, chat: &mut Chat) -> HandlerResult {
        self.ibuffer.clear();

        if let Some(line) = self.terminator.frame(format!("error: {error}")) {
            chat.push(line)?;
        }
        Ok(())
    }
}

impl Handler for Echo {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        self.expect_message(chat);
        Ok(())
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        self.ibuffer.extend_from_slice(data);

        match self.terminator {
            Terminator::None => self.send_data(chat),
            Terminator::Bytes(_) | Terminator::Length(_) => Ok(()),
        }
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        if let Terminator::Length(_) = self.terminator {
            // A count holds for one message.
            self.expect_message(chat);
        }
        self.send_data(chat)
    }

    fn message_too_long(&mut self, limit: u64, chat: &mut Chat) -> HandlerResult {
        if let Terminator::Length(_) = self.terminator {
            self.expect_message(chat);
        }
        self.send_error(format_args!("message longer than {limit} bytes"), chat)
    }

    fn timed_out(&mut self, reason: &CloseReason, chat: &mut Chat) -> HandlerResult {
        match reason {
            CloseReason::MessageDeadline { limit } => {
                self.hint_at_bare_line_feeds();
                let awaited = self.terminator.in_words();
                self.send_error(format_args!("too slow, no {awaited} within {limit:?}"), chat)
            }
            reason => self.send_error(format_args!("too slow, {reason}"), chat),
        }
    }
}
