//! What ends a message: a byte string, a byte count, or nothing.
//!
//! Python's `set_terminator` takes `bytes`, an `int` or `None` and looks at the type at every read.
//! Here the three are an enum, and the values that asynchat treats as none (`b""` and `0`) become
//! [`Terminator::None`] on the way in, so that whoever holds a byte string knows that it has a
//! first byte.

use std::borrow::Cow;
use std::fmt;
use std::num::NonZeroU64;
use std::ops::Deref;

/// What ends the message that is being received.
///
/// Made by conversion: `Terminator::from(b"\r\n")`, from a `str`, a `Vec<u8>` or a `String` for a
/// byte string, from a `u64` for a count. Empty bytes and a count of 0 mean none, as in asynchat. A
/// literal is not copied.
///
/// ```
/// use synchat::Terminator;
///
/// assert_eq!(Terminator::from(b"\r\n"), Terminator::CRLF);
/// assert_eq!(Terminator::from(""), Terminator::None);
/// assert_eq!(Terminator::from(0), Terminator::None);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Terminator {
    /// The message ends with exactly these bytes, wherever reads split them.
    Bytes(NonEmptyBytes),
    /// The message ends after this many bytes more. One-shot: once they have come, the terminator
    /// is [`None`](Self::None).
    Length(NonZeroU64),
    /// No message ends: bytes are handed on as they arrive.
    #[default]
    None,
}

/// A byte string that has at least one byte: the inside of [`Terminator::Bytes`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonEmptyBytes(Cow<'static, [u8]>);

impl Terminator {
    /// Carriage return and line feed: the line end of the article's echo server and of the
    /// internet's text protocols.
    pub const CRLF: Self = Self::Bytes(NonEmptyBytes(Cow::Borrowed(b"\r\n")));

    /// What is left to wait for after `received` bytes of a message: a count shrinks and ends as
    /// none.
    pub(crate) fn advance(&mut self, received: u64) {
        if let Self::Length(count) = self {
            *self = Self::from(count.get().saturating_sub(received));
        }
    }

    fn from_bytes(bytes: Cow<'static, [u8]>) -> Self {
        if bytes.is_empty() {
            Self::None
        } else {
            Self::Bytes(NonEmptyBytes(bytes))
        }
    }
}

impl Deref for NonEmptyBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl From<u64> for Terminator {
    fn from(count: u64) -> Self {
        NonZeroU64::new(count).map_or(Self::None, Self::Length)
    }
}

impl From<&'static [u8]> for Terminator {
    fn from(bytes: &'static [u8]) -> Self {
        Self::from_bytes(Cow::Borrowed(bytes))
    }
}

impl<const N: usize> From<&'static [u8; N]> for Terminator {
    fn from(bytes: &'static [u8; N]) -> Self {
        Self::from_bytes(Cow::Borrowed(bytes))
    }
}

impl From<&'static str> for Terminator {
    fn from(text: &'static str) -> Self {
        Self::from_bytes(Cow::Borrowed(text.as_bytes()))
    }
}

impl From<Vec<u8>> for Terminator {
    fn from(bytes: Vec<u8>) -> Self {
        Self::from_bytes(Cow::Owned(bytes))
    }
}

impl From<String> for Terminator {
    fn from(text: String) -> Self {
        Self::from(text.into_bytes())
    }
}

/// The form that the command line takes: escaped bytes, `length:N`, or `none`.
impl fmt::Display for Terminator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => bytes.escape_ascii().fmt(f),
            Self::Length(count) => write!(f, "length:{count}"),
            Self::None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_bytes_and_a_count_of_zero_mean_none() {
        let nothings: [Terminator; 6] = [
            b"".into(),
            "".into(),
            Vec::new().into(),
            String::new().into(),
            0.into(),
            Terminator::default(),
        ];
        assert!(nothings.iter().all(|nothing| *nothing == Terminator::None));
    }

    #[test]
    fn a_count_shrinks_and_ends_as_none_and_nothing_else_changes() {
        let mut count = Terminator::from(5);
        count.advance(2);
        assert_eq!(count, Terminator::from(3));
        count.advance(3);
        assert_eq!(count, Terminator::None);
        let mut bytes = Terminator::CRLF;
        bytes.advance(1);
        assert_eq!(bytes, Terminator::CRLF);
    }

    #[test]
    fn a_terminator_prints_as_the_command_line_takes_it() {
        assert_eq!(Terminator::CRLF.to_string(), r"\r\n");
        assert_eq!(Terminator::from(7).to_string(), "length:7");
        assert_eq!(Terminator::None.to_string(), "none");
    }
}
