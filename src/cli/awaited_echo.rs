//! An echo that `ping` waits for: compared piece by piece, not kept.

use std::time::{Duration, Instant};

use synchat::CloseReason;

use super::tally::Loss;

/// An echo that has not come yet.
pub(super) struct Awaited {
    /// The line, without its terminator.
    line: Vec<u8>,
    since: Instant,
    /// The number of bytes that have come.
    received: usize,
    /// The first of those bytes.
    excerpt: Vec<u8>,
    is_wrong: bool,
}

/// The length of an excerpt, which is enough to recognise an error message.
const EXCERPT: usize = 80;

impl Awaited {
    pub(super) fn new(line: Vec<u8>, since: Instant) -> Self {
        Self {
            line,
            since,
            received: 0,
            excerpt: Vec::new(),
            is_wrong: false,
        }
    }

    /// Returns the time since the line was sent.
    pub(super) fn age(&self) -> Duration {
        self.since.elapsed()
    }

    /// Returns true if enough of a wrong echo has come to show it.
    pub(super) fn is_hopeless(&self) -> bool {
        self.is_wrong && self.received > EXCERPT
    }

    /// Returns true if the echo is right. Call it when the echo is complete.
    pub(super) fn is_right(&mut self) -> bool {
        self.is_wrong |= self.received != self.line.len();
        !self.is_wrong
    }

    /// Compares the next piece.
    pub(super) fn take(&mut self, data: &[u8]) {
        let expected = self.line.get(self.received..).unwrap_or_default();
        self.is_wrong |= !expected.starts_with(data);
        self.received += data.len();

        let room = EXCERPT - self.excerpt.len();
        self.excerpt.extend(data.iter().take(room));
    }

    /// Says why the echo did not come back right, after the conversation ended for this reason.
    pub(super) fn loss(&self, reason: &CloseReason, timeout: Duration) -> Loss {
        if let Some(refusal) = self.refusal() {
            return Loss::Refused(refusal);
        }

        Loss::Lost(match reason {
            _ if self.is_wrong => {
                let is_cut = self.received > self.excerpt.len();
                let cut = if is_cut { "..." } else { "" };
                format!("wrong echo: {}{cut}", self.excerpt.escape_ascii())
            }
            // The client closes early only when the echo is wrong or late.
            CloseReason::Idle { .. }
            | CloseReason::MessageDeadline { .. }
            | CloseReason::WriteStall
            | CloseReason::ClosedByHandler => format!("no echo within {timeout:?}"),
            _ => format!("connection closed: {reason}"),
        })
    }

    /// Returns the words of a server that refused the connection.
    fn refusal(&self) -> Option<String> {
        let line = str::from_utf8(&self.excerpt).ok()?.trim_end();
        let words = line.strip_prefix("error: ")?;
        let is_refusal = REFUSALS.iter().any(|start| words.starts_with(start));
        is_refusal.then(|| words.to_owned())
    }
}

/// The beginnings of the lines of a server that refuses a connection.
const REFUSALS: [&str; 4] = [
    "too many connections",
    "not allowed from this address",
    "too busy",
    "the server is stopping",
];

/// Makes a line that differs from its neighbours.
///
/// The shortest line has only the last digits of the number. Longer lines have the whole number and
/// the name of the program, and then letters.
///
/// The line does not contain the first byte of the terminator, which can be a letter. So no
/// terminator begins inside the line.
pub(super) fn distinct_line(number: u64, length: usize, terminator: &[u8]) -> Vec<u8> {
    const FILLER: &[u8] = b" abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    const IN_PLACE_OF_THAT_BYTE: u8 = b'_';

    let text = format!("synchat ping {number}");
    let from = text.len().saturating_sub(length);
    let bytes = text
        .bytes()
        .skip(from)
        .chain(FILLER.iter().copied().cycle());

    bytes
        .take(length)
        .map(|byte| match terminator.first() {
            Some(first) if *first == byte => IN_PLACE_OF_THAT_BYTE,
            _ => byte,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use synchat::Refusal;

    use super::*;

    #[test]
    fn every_refusal_of_a_server_is_recognised() {
        let refusals = [
            Refusal::NotAllowed,
            Refusal::Full { limit: 7 },
            Refusal::AddressFull { limit: 1 << 20 },
            Refusal::NoThread,
            Refusal::Stopping,
        ];
        let echo = |text: String| {
            let mut echo = Awaited::new(b"line".to_vec(), Instant::now());
            echo.take(text.as_bytes());
            echo
        };

        for refusal in refusals {
            let found = echo(format!("error: {refusal}")).refusal();
            assert_eq!(found, Some(refusal.to_string()));
        }
        for other in [
            "error: too slow",
            "too many connections",
            "error: message longer",
        ] {
            assert_eq!(echo(other.to_owned()).refusal(), None, "{other}");
        }
    }

    #[test]
    fn a_line_tells_its_number_as_far_as_there_is_room() {
        assert_eq!(distinct_line(12, 20, b"\r\n"), b"synchat ping 12 abcd");
        assert_eq!(distinct_line(12, 15, b"\r\n"), b"synchat ping 12");
        assert_eq!(distinct_line(12, 4, b"\r\n"), b"g 12");
        assert_eq!(distinct_line(12, 1, b"\r\n"), b"2");
        assert_eq!(distinct_line(1, 1000, b"").len(), 1000);
    }

    #[test]
    fn no_terminator_begins_within_a_line() {
        for byte in 0..=u8::MAX {
            for end in [&[byte][..], &[byte, byte], &[byte, b'a']] {
                let text = distinct_line(1_234_567_890, 200, end);
                assert!(!text.contains(&byte), "{byte}");
                // The replacement must not make two lines equal.
                assert_ne!(distinct_line(1, 2, end), distinct_line(2, 2, end), "{byte}");
            }
        }
    }
}
