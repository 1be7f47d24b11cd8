//! A handler that notes what it is told, and does what a test wants.

use synchat::{Chat, CloseReason, Handler, HandlerResult};

use super::time_limit;

/// A callback, as a handler was told it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    Connect,
    /// Adjacent pieces are joined, because the cuts between them depend on the reads.
    Data(Vec<u8>),
    Found,
    TooLong(u64),
    Close(String),
}

/// Notes what it hears, and calls `act` after each callback, with what that callback was told.
pub(crate) struct Script<F> {
    pub(crate) heard: Vec<Heard>,
    act: F,
}

impl<F: FnMut(&Heard, &mut Chat) -> HandlerResult> Script<F> {
    pub(crate) fn new(act: F) -> Self {
        time_limit::begins();
        Self {
            heard: Vec::new(),
            act,
        }
    }

    fn hear(&mut self, heard: Heard, chat: &mut Chat) -> HandlerResult {
        let result = (self.act)(&heard, chat);
        match (self.heard.last_mut(), heard) {
            (Some(Heard::Data(before)), Heard::Data(more)) => before.extend(more),
            (_, heard) => self.heard.push(heard),
        }
        result
    }

    /// Returns the whole messages.
    pub(crate) fn messages(&self) -> Vec<Vec<u8>> {
        let mut messages = Vec::new();
        let mut data = Vec::new();
        for heard in &self.heard {
            match heard {
                Heard::Data(bytes) => data.clone_from(bytes),
                Heard::Found => messages.push(std::mem::take(&mut data)),
                Heard::Connect | Heard::TooLong(_) | Heard::Close(_) => {}
            }
        }
        messages
    }
}

impl<F: FnMut(&Heard, &mut Chat) -> HandlerResult> Handler for Script<F> {
    fn handle_connect(&mut self, chat: &mut Chat) -> HandlerResult {
        self.hear(Heard::Connect, chat)
    }

    fn collect_incoming_data(&mut self, data: &[u8], chat: &mut Chat) -> HandlerResult {
        assert!(
            !data.is_empty(),
            "collect_incoming_data was called for nothing"
        );
        self.hear(Heard::Data(data.to_vec()), chat)
    }

    fn found_terminator(&mut self, chat: &mut Chat) -> HandlerResult {
        self.hear(Heard::Found, chat)
    }

    fn message_too_long(&mut self, limit: u64, chat: &mut Chat) -> HandlerResult {
        self.hear(Heard::TooLong(limit), chat)
    }

    fn handle_close(&mut self, reason: &CloseReason) {
        assert!(
            !matches!(self.heard.last(), Some(Heard::Close(_))),
            "handle_close was called twice"
        );
        self.heard.push(Heard::Close(reason.to_string()));
    }
}
