//! The message that is arriving.

/// The number and the length of a message.
#[derive(Debug, Default)]
pub(super) struct Message {
    /// Differs from that of every other message of this scanner.
    pub(super) number: u64,
    /// Its bytes so far, without its terminator.
    pub(super) length: u64,
    /// It was reported as too long. Its other bytes are dropped.
    pub(super) is_too_long: bool,
}

impl Message {
    /// Leaves this message, whole or not, and goes on to the next one.
    #[inline]
    pub(super) fn abandon(&mut self) {
        self.number += 1;
        self.length = 0;
        self.is_too_long = false;
    }
}
