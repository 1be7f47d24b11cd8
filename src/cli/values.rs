//! Parses the values of options. An error is the form of a valid value.

use std::ops::RangeInclusive;
use std::time::Duration;

use synchat::{IpNetwork, IpNetworkError};

use super::nearest::did_you_mean;

/// Parses a number of bytes: `65536`, `64k`, `64KB`, `1MiB`, `1G`. All units are powers of 1024.
pub(crate) fn size(text: &str, accepted: RangeInclusive<u64>) -> Result<u64, String> {
    let (digits, unit) = split_unit(text);
    let factor = match unit.as_str() {
        "" | "b" => Some(1),
        "k" | "kb" | "kib" => Some(1 << 10),
        "m" | "mb" | "mib" => Some(1 << 20),
        "g" | "gb" | "gib" => Some(1 << 30),
        _ => None,
    };

    factor
        .and_then(|factor| number(digits)?.checked_mul(factor))
        .filter(|bytes| accepted.contains(bytes))
        .ok_or_else(|| {
            format!(
                "a number of bytes, or of k, M or G as in 64k or 1MiB, from {} to {}",
                readable(*accepted.start()),
                readable(*accepted.end())
            )
        })
}

/// Returns a number of bytes as [`size`] takes it, in the largest unit that fits.
pub(crate) fn readable(bytes: u64) -> String {
    let units = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    let fits = |unit: &&(&str, u64)| bytes > 0 && bytes.is_multiple_of(unit.1);

    match units.iter().find(fits) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
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

/// Splits `64KiB` into `64` and `kib`.
fn split_unit(text: &str) -> (&str, String) {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    (digits, text[digits.len()..].to_ascii_lowercase())
}

/// The form of a time, without 0.
pub(crate) const TIME: &str = "a time as in 500ms, 30s, 5m, 1h or 1d, up to 30d";

/// Parses a time: `500ms`, `30s`, `5m`, `1h`, `1d`. `0`, with a unit or without, gives `None`.
pub(crate) fn duration(text: &str) -> Result<Option<Duration>, String> {
    const DAY: u64 = 24 * 60 * 60 * 1000;
    const LONGEST: u64 = 30 * DAY;

    let (digits, unit) = split_unit(text);
    let factor = match unit.as_str() {
        "ms" => Some(1),
        "s" => Some(1000),
        "m" => Some(60 * 1000),
        "h" => Some(60 * 60 * 1000),
        "d" => Some(DAY),
        // Only 0 means the same in each unit.
        "" if number(digits) == Some(0) => Some(1),
        _ => None,
    };

    factor
        .and_then(|factor| number(digits)?.checked_mul(factor))
        .filter(|milliseconds| *milliseconds <= LONGEST)
        .map(|milliseconds| (milliseconds > 0).then(|| Duration::from_millis(milliseconds)))
        .ok_or_else(|| format!("{TIME}, or 0"))
}

/// Parses `umask`, which gives `None`, or the mode of a file in octal digits.
pub(crate) fn mode(text: &str) -> Result<Option<u32>, String> {
    if text.eq_ignore_ascii_case("umask") {
        return Ok(None);
    }

    let is_octal = text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| is_octal && *mode <= 0o777)
        .map(Some)
        .ok_or_else(|| "umask, or an octal mode up to 0777, as in 0660".to_owned())
}

/// Parses `all`, which gives an empty list, or networks with commas between them.
pub(crate) fn networks(text: &str) -> Result<Vec<IpNetwork>, String> {
    if text.eq_ignore_ascii_case("all") {
        return Ok(Vec::new());
    }

    let networks = text.split(',').map(str::parse);
    networks
        .collect::<Result<_, IpNetworkError>>()
        .map_err(|error| format!("all, or networks as in 10.0.0.0/8,::1: {error}"))
}

/// Parses one of a few words, in any case.
pub(crate) fn choice<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(text))
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
            let hint = did_you_mean(text, names.iter().copied());
            format!("one of: {}{hint}", names.join(", "))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_bytes_with_or_without_a_unit() {
        let good = [
            ("1", 1),
            ("65536", 65536),
            ("007", 7),
            ("512B", 512),
            ("64k", 65536),
            ("64K", 65536),
            ("64KB", 65536),
            ("64kb", 65536),
            ("64KiB", 65536),
            ("64kib", 65536),
            ("2m", 2 << 20),
            ("2MB", 2 << 20),
            ("2MiB", 2 << 20),
            ("1G", 1 << 30),
            ("1gb", 1 << 30),
            ("1GiB", 1 << 30),
        ];
        for (text, bytes) in good {
            assert_eq!(size(text, 1..=1 << 30), Ok(bytes), "{text}");
        }

        let bad = [
            "",
            "KiB",
            "0",
            "0k",
            "-1",
            "+1",
            "1 KiB",
            "1Ki",
            "1KBs",
            "1T",
            "1iB",
            "1.5MiB",
            "0x10",
            "2147483648",
            "2GiB",
            "1e3",
            "1kk",
            "1é",
            "99999999999999999999",
            "18446744073709551615MiB",
            "17179869184G",
        ];
        for text in bad {
            let form = size(text, 1..=1 << 30).expect_err(text);
            assert!(form.contains("from 1 to 1GiB"), "{text}: {form}");
        }
    }

    #[test]
    fn a_size_prints_in_the_largest_unit_that_fits() {
        for (bytes, text) in [
            (0, "0"),
            (1, "1"),
            (1000, "1000"),
            (1024, "1KiB"),
            (1025, "1025"),
            (65536, "64KiB"),
            (1 << 20, "1MiB"),
            (1 << 30, "1GiB"),
            (u64::MAX, "18446744073709551615"),
        ] {
            assert_eq!(readable(bytes), text);
            assert_eq!(size(text, 0..=u64::MAX), Ok(bytes));
        }
    }

    #[test]
    fn times_have_a_unit() {
        let good = [
            ("1ms", 1),
            ("500MS", 500),
            ("30s", 30_000),
            ("30S", 30_000),
            ("5m", 300_000),
            ("5M", 300_000),
            ("1h", 3_600_000),
            ("1H", 3_600_000),
            ("1d", 86_400_000),
            ("30D", 2_592_000_000),
            ("43200m", 2_592_000_000),
        ];
        for (text, milliseconds) in good {
            let time = Duration::from_millis(milliseconds);
            assert_eq!(duration(text), Ok(Some(time)), "{text}");
        }

        for text in ["0", "00", "0ms", "0s", "0m", "0h", "0d"] {
            assert_eq!(duration(text), Ok(None), "{text}");
        }

        for text in [
            "",
            "s",
            "ms",
            "30",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1w",
            "1us",
            "1hs",
            "1h30m",
            "43201m",
            "31d",
            "18446744073709551615m",
            "213503982335d",
            "é",
        ] {
            let form = duration(text).expect_err(text);
            assert!(form.ends_with("up to 30d, or 0"), "{text}: {form}");
        }
    }

    #[test]
    fn a_mode_is_octal() {
        assert_eq!(mode("umask"), Ok(None));
        for (text, bits) in [("0660", 0o660), ("600", 0o600), ("0777", 0o777), ("0", 0)] {
            assert_eq!(mode(text), Ok(Some(bits)), "{text}");
        }
        for text in ["", "0999", "+660", "1777", "0o660", "u=rw", "77777777777"] {
            assert!(mode(text).unwrap_err().ends_with("as in 0660"), "{text}");
        }
    }

    #[test]
    fn networks_are_a_list_or_all() {
        assert_eq!(networks("all"), Ok(Vec::new()));
        assert_eq!(networks("ALL"), Ok(Vec::new()));
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
    fn a_choice_is_taken_in_any_case_and_the_nearest_named() {
        let choices = [("close", 1), ("discard", 2)];
        assert_eq!(choice("close", &choices), Ok(1));
        assert_eq!(choice("Discard", &choices), Ok(2));

        let form = choice("clsoe", &choices).unwrap_err();
        assert_eq!(form, "one of: close, discard; did you mean close?");
        for text in ["", "other"] {
            let form = choice(text, &choices).unwrap_err();
            assert_eq!(form, "one of: close, discard", "{text}");
        }
    }
}
