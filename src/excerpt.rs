//! A peer's bytes in a form that is safe to log: escaped, so that they cannot forge a line, and
//! cut.

use std::fmt;

/// The first bytes of a byte string, escaped as in a Rust literal, and how long it was if it was
/// longer.
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

/// Enough to recognise a message by, and to keep a log line within a terminal's.
const LIMIT: usize = 128;

impl fmt::Display for Excerpt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        match bytes.split_at_checked(LIMIT) {
            Some((first, rest)) if !rest.is_empty() => {
                write!(
                    f,
                    "{}... {} bytes in all",
                    first.escape_ascii(),
                    bytes.len()
                )
            }
            _ => bytes.escape_ascii().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_bytes_quotes_and_bytes_beyond_ascii_are_escaped() {
        assert_eq!(
            Excerpt(b"a\r\n\x1b[31m\"\xff").to_string(),
            r#"a\r\n\x1b[31m\"\xff"#
        );
    }

    #[test]
    fn a_long_byte_string_is_cut_and_says_how_long_it_was() {
        assert_eq!(Excerpt(&[b'a'; 128]).to_string(), "a".repeat(128));
        assert_eq!(
            Excerpt(&[b'a'; 129]).to_string(),
            "a".repeat(128) + "... 129 bytes in all"
        );
    }
}
