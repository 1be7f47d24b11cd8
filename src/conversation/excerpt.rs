//! Makes a peer's bytes safe to log: escaped, so that they cannot forge a line, and cut.

use std::fmt;

/// Prints the first bytes of a byte string, escaped as in a Rust literal. If it is longer, its length
/// follows.
pub(crate) struct Excerpt<'a>(pub(crate) &'a [u8]);

/// How many bytes are shown: enough to recognise a message, and a log line stays readable.
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
    fn unsafe_bytes_are_escaped() {
        assert_eq!(
            Excerpt(b"a\r\n\x1b[31m\"\xff").to_string(),
            r#"a\r\n\x1b[31m\"\xff"#
        );
    }

    #[test]
    fn a_long_byte_string_is_cut_and_tells_its_length() {
        assert_eq!(Excerpt(&[b'a'; 128]).to_string(), "a".repeat(128));
        assert_eq!(
            Excerpt(&[b'a'; 129]).to_string(),
            "a".repeat(128) + "... 129 bytes in all"
        );
    }
}
