//! The terminator: the byte string, the byte count, or nothing, that ends a message.
//!
//! Python's `set_terminator` takes `bytes`, an `int` or `None`, and looks at the type at every read.
//! Here the three are an enum. Empty bytes become [`Terminator::None`] when they are converted, so a
//! byte string always has a first byte.
//!
//! asynchat also takes a count of 0 for none. That makes a length-prefixed protocol deaf at its first
//! empty frame. Here a count of 0 is an empty message.

use std::borrow::Cow;
use std::fmt;
use std::ops::Deref;

/// Ends the message that is being received.
///
/// You make it by conversion: from `b"\r\n"`, a `str`, a `Vec<u8>` or a `String` for a byte string,
/// from a `u64` for a count. Empty bytes mean none, as in asynchat. A count of 0 means an empty
/// message, which is complete at once. A literal is not copied.
///
/// ```
/// use synchat::Terminator;
///
/// assert_eq!(Terminator::from(b"\r\n"), Terminator::CRLF);
/// assert_eq!(Terminator::from(""), Terminator::None);
/// assert_eq!(Terminator::from(5), Terminator::Length(5));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Terminator {
    /// The message ends with exactly these bytes, wherever reads split them.
    Bytes(NonEmptyBytes),
    /// The message ends after this many bytes more. It holds for one message: once they have come,
    /// the terminator is [`None`](Self::None).
    Length(u64),
    /// No message ends. Bytes are passed on as they arrive.
    #[default]
    None,
}

/// A byte string with at least one byte, as [`Terminator::Bytes`] holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NonEmptyBytes(Cow<'static, [u8]>);

impl Terminator {
    /// Carriage return and line feed. The article's echo server and most text protocols of the
    /// internet end their lines with it.
    pub const CRLF: Self = Self::Bytes(NonEmptyBytes(Cow::Borrowed(b"\r\n")));

    /// Takes `received` bytes of a message from a count. A count that is used up ends as none.
    pub(crate) fn advance(&mut self, received: u64) {
        if let Self::Length(count) = self {
            *self = match count.saturating_sub(received) {
                0 => Self::None,
                left => Self::Length(left),
            };
        }
    }

    /// Returns the text as one message, with this terminator at its end.
    ///
    /// Returns `None` if the peer could not take it for one message: if messages do not end with a
    /// byte string, or if the terminator would already be found before the end.
    ///
    /// ```
    /// use synchat::Terminator;
    ///
    /// assert_eq!(Terminator::CRLF.frame("sorry"), Some(b"sorry\r\n".to_vec()));
    /// assert_eq!(Terminator::from("r").frame("sorry"), None);
    /// assert_eq!(Terminator::from(5).frame("sorry"), None);
    /// ```
    pub fn frame(&self, text: impl AsRef<[u8]>) -> Option<Vec<u8>> {
        let Self::Bytes(end) = self else {
            return None;
        };

        let message = [text.as_ref(), end].concat();
        let first = message.windows(end.len()).position(|bytes| bytes == &**end);
        (first == Some(message.len() - end.len())).then_some(message)
    }

    /// Returns the terminator in words that a peer can read.
    pub(crate) fn in_words(&self) -> String {
        match self {
            Self::Bytes(bytes) => match &**bytes {
                b"\r\n" => "CR LF".to_owned(),
                b"\n" => "LF".to_owned(),
                b"\r" => "CR".to_owned(),
                b"\0" => "NUL".to_owned(),
                bytes => format!("\"{}\"", bytes.escape_ascii()),
            },
            Self::Length(count) => format!("{count} bytes"),
            Self::None => "bytes".to_owned(),
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
        Self::Length(count)
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

/// Prints the form that the command line takes: escaped bytes, `length:N`, or `none`.
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
    fn empty_bytes_mean_none() {
        let nothings: [Terminator; 5] = [
            b"".into(),
            "".into(),
            Vec::new().into(),
            String::new().into(),
            Terminator::default(),
        ];
        assert!(nothings.iter().all(|nothing| *nothing == Terminator::None));
    }

    #[test]
    fn a_byte_string_keeps_its_bytes_whatever_it_is_made_from() {
        let terminators: [Terminator; 5] = [
            b"ab".into(),
            b"ab".as_slice().into(),
            "ab".into(),
            b"ab".to_vec().into(),
            "ab".to_owned().into(),
        ];
        for terminator in terminators {
            assert!(matches!(&terminator, Terminator::Bytes(bytes) if **bytes == *b"ab"));
        }
    }

    #[test]
    fn a_text_is_framed_only_if_it_comes_out_as_one_message() {
        let framed = |terminator: Terminator, text: &str| terminator.frame(text);
        assert_eq!(framed("\r\n".into(), "one"), Some(b"one\r\n".to_vec()));
        assert_eq!(framed("--".into(), ""), Some(b"--".to_vec()));

        // The terminator would be found inside of the text, or begin in it.
        assert_eq!(framed("n".into(), "one"), None);
        assert_eq!(framed("--".into(), "one-"), None);

        // Nothing that is sent would end such a message.
        assert_eq!(framed(3.into(), "one"), None);
        assert_eq!(framed(Terminator::None, "one"), None);
    }

    #[test]
    fn only_a_count_shrinks_and_it_ends_as_none() {
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
