//! Parses the values of options. An error is the form of a valid value.

use std::ops::RangeInclusive;
use std::time::Duration;

use synchat::{IpNetwork, IpNetworkError, Terminator};

/// Parses a number of bytes: `65536`, `64KiB`, `1MiB`.
pub(crate) fn size(text: &str, accepted: RangeInclusive<u64>) -> Result<u64, String> {
    let (digits, unit) = match text.strip_suffix("KiB") {
        Some(digits) => (digits, 1 << 10),
        None => text
            .strip_suffix("MiB")
            .map_or((text, 1), |digits| (digits, 1 << 20)),
    };

    number(digits)
        .and_then(|number| number.checked_mul(unit))
        .filter(|bytes| accepted.contains(bytes))
        .ok_or_else(|| {
            format!(
                "a number of bytes, or of KiB or MiB as in 64KiB, from {} to {}",
                accepted.start(),
                accepted.end()
            )
        })
}

/// Parses a number of things that are not bytes.
pub(crate) fn count(text: &str, accepted: RangeInclusive<u64>) -> Result<u64, String> {
    number(text)
        .filter(|count| accepted.contains(count))
        .ok_or_else(|| format!("a number from {} to {}", accepted.start(), accepted.end()))
}

/// Parses digits only. `str::parse` would also take a sign.
fn number(text: &str) -> Option<u64> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())
        .flatten()
}

/// Parses a time: `500ms`, `30s`, `5m`. `0` gives `None`.
pub(crate) fn duration(text: &str) -> Result<Option<Duration>, String> {
    const LONGEST: u64 = 30 * 24 * 60 * 60 * 1000; // 30 days
    if text == "0" {
        return Ok(None);
    }

    let units = [("ms", 1), ("s", 1000), ("m", 60_000)];
    let split = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)));

    split
        .and_then(|(digits, factor)| number(digits)?.checked_mul(*factor))
        .filter(|milliseconds| (1..=LONGEST).contains(milliseconds))
        .map(|milliseconds| Some(Duration::from_millis(milliseconds)))
        .ok_or_else(|| "a time as in 500ms, 30s or 5m, up to 43200m, or 0".to_owned())
}

/// Parses `all`, which gives an empty list, or networks with commas between them.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNetwork>, String> {
    if text == "all" {
        return Ok(Vec::new());
    }

    let networks = text.split(',').map(str::parse);
    networks
        .collect::<Result<_, IpNetworkError>>()
        .map_err(|error| format!("all, or networks as in 10.0.0.0/8,::1: {error}"))
}

/// Parses one of a few words.
pub(crate) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            format!("one of: {}", names.join(", "))
        })
}

/// Parses a terminator: a name, `length:N`, or bytes with escapes.
pub(crate) fn terminator(text: &str) -> Result<Terminator, String> {
    match text {
        "crlf" => Ok(Terminator::CRLF),
        "lf" => Ok(Terminator::from(b"\n")),
        "nul" => Ok(Terminator::from(b"\0")),
        "none" => Ok(Terminator::None),
        "" => Err("crlf, lf, nul, none, length:N, or bytes; for no terminator say none".to_owned()),
        _ => match text.strip_prefix("length:") {
            Some(length) => count(length, 1..=u64::MAX)
                .map(Terminator::from)
                .map_err(|form| format!("length:N, N {form}")),
            None => unescape(text).map(Terminator::from),
        },
    }
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
    fn sizes_are_bytes_with_or_without_a_binary_unit() {
        let good = [
            ("1", 1),
            ("65536", 65536),
            ("64KiB", 65536),
            ("2MiB", 2 << 20),
            ("007", 7),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text, 1..=1 << 30), Ok(bytes), "{text}");
        }
        let bad = [
            "",
            "KiB",
            "0",
            "-1",
            "+1",
            "1 KiB",
            "1kib",
            "1KB",
            "1.5MiB",
            "0x10",
            "2147483648",
            "1e3",
        ];
        for text in bad
            .into_iter()
            .chain(["99999999999999999999", "18446744073709551615MiB"])
        {
            assert!(
                size(text, 1..=1 << 30)
                    .unwrap_err()
                    .contains("from 1 to 1073741824"),
                "{text}"
            );
        }
    }

    #[test]
    fn times_have_a_unit() {
        let good = [
            ("1ms", 1),
            ("500ms", 500),
            ("30s", 30_000),
            ("5m", 300_000),
            ("43200m", 2_592_000_000),
        ];
        for (text, milliseconds) in good {
            assert_eq!(
                duration(text),
                Ok(Some(Duration::from_millis(milliseconds)))
            );
        }
        assert_eq!(duration("0"), Ok(None));
        for text in [
            "",
            "s",
            "ms",
            "30",
            "0s",
            "0ms",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1h",
            "1S",
            "43201m",
            "18446744073709551615m",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_a_list_or_all() {
        assert_eq!(networks("all"), Ok(Vec::new()));
        assert_eq!(networks("10.0.0.0/8,::1").map(|list| list.len()), Ok(2));
        for text in [
            "",
            ",",
            "all,::1",
            "10.0.0.0/8,",
            "10.0.0.0/8, ::1",
            "10.0.0.1/8",
        ] {
            assert!(networks(text).unwrap_err().starts_with("all, or"), "{text}");
        }
    }

    #[test]
    fn terminators_are_names_lengths_or_escaped_bytes() {
        let good: [(&str, Terminator); 11] = [
            ("crlf", Terminator::CRLF),
            ("lf", "\n".into()),
            ("nul", "\0".into()),
            ("none", Terminator::None),
            ("length:1", 1.into()),
            ("length:65536", 65536.into()),
            (r"\r\n", Terminator::CRLF),
            (r"\r\n.\r\n", "\r\n.\r\n".into()),
            (r"a\\\x00\xFf\tz\0", b"a\\\0\xff\tz\0".into()),
            ("END", "END".into()),
            ("é", "é".into()),
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
        ] {
            assert!(terminator(text).is_err(), "{text}");
        }
    }
}
