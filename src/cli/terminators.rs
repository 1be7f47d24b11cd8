//! Parses terminators: a keyword, `length:N`, or bytes.

use synchat::Terminator;

use super::nearest::did_you_mean;
use super::values::count;

/// The keywords, which you can type in any case.
pub(crate) const KEYWORDS: &[&str] = &["crlf", "lf", "cr", "nul", "none"];
/// The words with something behind a colon.
pub(crate) const PREFIXES: &[&str] = &["length", "bytes"];

/// The longest terminator, in bytes. Each connection keeps copies of it, and the memory that the
/// server promises has room for this much.
const LONGEST: usize = 2048;

/// The part of the long help about the value.
pub(crate) const FORMS: &str = "crlf, lf, cr, nul, none, length:N for N bytes, or bytes:TEXT for the bytes of a text, at most 2048. The text \
                                can have the escapes \\r \\n \\t \\0 \\\\ \\xHH. You can leave bytes: out if the text has more than \
                                letters. With none, bytes pass as they arrive.";

/// Parses a terminator.
///
/// Letters only are no bytes: a misspelt keyword would wait for bytes that no client sends. The
/// same is true of keywords with something between them, as in `CR+LF`, and of a word before a
/// colon.
pub(crate) fn terminator(text: &str) -> Result<Terminator, String> {
    if let Some(terminator) = keyword(text) {
        return Ok(terminator);
    }

    let form = "one of crlf, lf, cr, nul, none, length:N or bytes:TEXT";
    match text.split_once(':') {
        Some((word, length)) if word.eq_ignore_ascii_case("length") => count(length, 1..=u64::MAX)
            .map(Terminator::from)
            .map_err(|form| format!("length:N, N {form}")),

        Some((word, text)) if word.eq_ignore_ascii_case("bytes") && !text.is_empty() => bytes(text),

        Some((word, _)) if is_letters(word) => {
            Err(form.to_owned() + &did_you_mean(word, PREFIXES.iter().copied()))
        }

        _ if text.is_empty() => Err(format!("{form}; for no terminator write none")),

        _ if is_letters(&letters_of(text)) && keyword(&letters_of(text)).is_some() => {
            Err(form.to_owned() + &did_you_mean(&letters_of(text), KEYWORDS.iter().copied()))
        }

        _ if is_letters(text) => Err(format!(
            "{form}; for these letters write bytes:{text}{}",
            did_you_mean(text, KEYWORDS.iter().copied())
        )),

        _ => bytes(text),
    }
}

fn bytes(text: &str) -> Result<Terminator, String> {
    let bytes = unescape(text)?;
    if bytes.len() > LONGEST {
        return Err(format!("at most {LONGEST} bytes"));
    }

    Ok(Terminator::from(bytes))
}

fn keyword(text: &str) -> Option<Terminator> {
    match text.to_ascii_lowercase().as_str() {
        "crlf" => Some(Terminator::CRLF),
        "lf" => Some(Terminator::from(b"\n")),
        "cr" => Some(Terminator::from(b"\r")),
        "nul" => Some(Terminator::from(b"\0")),
        "none" => Some(Terminator::None),
        _ => None,
    }
}

fn is_letters(text: &str) -> bool {
    !text.is_empty() && text.chars().all(char::is_alphabetic)
}

/// Returns the text without what people put between `CR` and `LF`.
fn letters_of(text: &str) -> String {
    text.replace([' ', '+', '-', '_', '/', ',', '"', '\''], "")
}

/// Returns the bytes of a text, and those behind its escapes `\r \n \t \0 \\ \xHH`.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut rest = text;

    while let Some((before, after)) = rest.split_once('\\') {
        bytes.extend_from_slice(before.as_bytes());

        let hex = after.strip_prefix('x').and_then(|after| after.get(..2));
        let hex = hex.filter(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()));

        let (byte, length) = match (
            after.bytes().next(),
            hex.and_then(|digits| u8::from_str_radix(digits, 16).ok()),
        ) {
            (Some(b'r'), _) => (b'\r', 1),
            (Some(b'n'), _) => (b'\n', 1),
            (Some(b't'), _) => (b'\t', 1),
            (Some(b'0'), _) => (b'\0', 1),
            (Some(b'\\'), _) => (b'\\', 1),
            (_, Some(byte)) => (byte, 3),
            _ => {
                return Err(
                    r"bytes in which a backslash begins one of \r \n \t \0 \\ \xHH".to_owned(),
                );
            }
        };

        bytes.push(byte);
        rest = &after[length..];
    }

    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminators_are_keywords_lengths_or_bytes() {
        let good: [(&str, Terminator); 19] = [
            ("crlf", Terminator::CRLF),
            ("CRLF", Terminator::CRLF),
            ("CrLf", Terminator::CRLF),
            ("lf", "\n".into()),
            ("LF", "\n".into()),
            ("cr", "\r".into()),
            ("NUL", "\0".into()),
            ("None", Terminator::None),
            ("length:1", 1.into()),
            ("Length:65536", 65536.into()),
            (r"\r\n", Terminator::CRLF),
            (r"\r\n.\r\n", "\r\n.\r\n".into()),
            (r"a\\\x00\xFf\tz\0", b"a\\\0\xff\tz\0".into()),
            ("bytes:END", "END".into()),
            ("Bytes:crlf", "crlf".into()),
            (r"bytes:length:4\n", "length:4\n".into()),
            (r"\x45ND", "END".into()),
            ("END.", "END.".into()),
            (":", ":".into()),
        ];
        for (text, expected) in good {
            assert_eq!(terminator(text), Ok(expected), "{text}");
        }

        for text in [
            "",
            "\\",
            r"\q",
            r"\x",
            r"\x1",
            r"\xgg",
            r"\x+1",
            r"\xé",
            "length:",
            "length:0",
            "length:-1",
            "length:1KiB",
            "bytes:",
            r"bytes:\q",
            "END",
            "é",
            "a:b",
        ] {
            assert!(terminator(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_terminator_has_at_most_2048_bytes() {
        for escape in [";", r"\0", r"\x3b"] {
            for prefix in ["", "bytes:"] {
                let text = |length| prefix.to_owned() + &escape.repeat(length);
                assert!(terminator(&text(2048)).is_ok());
                assert_eq!(
                    terminator(&text(2049)),
                    Err("at most 2048 bytes".to_owned())
                );
            }
        }
    }

    #[test]
    fn a_misspelt_keyword_is_refused_with_the_nearest() {
        for (text, meant) in [
            ("crfl", "crlf"),
            ("clrf", "crlf"),
            ("crlff", "crlf"),
            ("fl", "lf"),
            ("null", "nul"),
            ("non", "none"),
            ("CR+LF", "crlf"),
            ("cr lf", "crlf"),
            ("cr-lf", "crlf"),
            ("\"crlf\"", "crlf"),
            ("lenght:5", "length"),
            ("byte:x", "bytes"),
        ] {
            let error = terminator(text).expect_err(text);
            assert!(
                error.contains(&format!("did you mean {meant}?")),
                "{text}: {error}"
            );
        }
        let error = terminator("END").expect_err("these are letters only");
        assert!(error.ends_with("write bytes:END"), "{error}");
    }

    #[test]
    fn each_keyword_of_the_list_is_one() {
        for word in KEYWORDS {
            assert!(keyword(word).is_some(), "{word}");
        }
    }
}
