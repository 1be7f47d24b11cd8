//! Writes figures as text that is short enough for a table on a phone: three significant digits.
//!
//! Nothing here prints "NaN" or "inf", because [`Stat`](super::summary::Stat) holds neither.

/// Stands in place of an unknown figure.
pub const UNKNOWN: &str = "–";

/// Returns a number as in `0.012`, `0.98`, `1.02`, `12.3`, `1,234`.
pub fn number(value: f64) -> String {
    let size = value.abs();
    match size {
        0.0 => "0".to_owned(),
        _ if size < 0.00995 => format!("{value:.4}"),
        _ if size < 0.0995 => format!("{value:.3}"),
        _ if size < 9.995 => format!("{value:.2}"),
        _ if size < 99.95 => format!("{value:.1}"),
        _ => grouped(value),
    }
}

/// Returns a whole number with a comma between each three digits.
pub fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::new();

    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }

    let negative = value < 0.0 && digits != "0";
    if negative { format!("−{text}") } else { text }
}

pub fn count(value: usize) -> String {
    grouped(value as f64)
}

/// Returns a number as in `950`, `12.7k`, `2.61M`.
pub fn short(value: f64) -> String {
    match value.abs() {
        size if size < 999.5 => number(value),
        size if size < 999_500.0 => format!("{}k", number(value / 1e3)),
        _ => format!("{}M", number(value / 1e6)),
    }
}

/// Returns the same for an axis, without trailing zeros: `2k`, `50`, `1.5M`.
pub fn round(value: f64) -> String {
    plain(&short(value))
}

/// Removes trailing zeros from the fraction of a figure with a unit: `2.00 ms` becomes `2 ms`.
pub fn plain(figure: &str) -> String {
    let end = figure.find(|c: char| !c.is_ascii_digit() && !".,".contains(c));
    let (number, unit) = figure.split_at(end.unwrap_or(figure.len()));
    let short = match number.contains('.') {
        true => number.trim_end_matches('0').trim_end_matches('.'),
        false => number,
    };
    format!("{short}{unit}")
}

/// Returns nanoseconds in the unit that suits them.
pub fn time(nanoseconds: f64) -> String {
    match nanoseconds {
        ns if ns < 999.5 => format!("{} ns", number(ns)),
        ns if ns < 999_500.0 => format!("{} µs", number(ns / 1e3)),
        ns if ns < 999_500_000.0 => format!("{} ms", number(ns / 1e6)),
        ns => format!("{} s", number(ns / 1e9)),
    }
}

/// Returns bytes in the unit that suits them.
pub fn size(bytes: f64) -> String {
    match bytes.abs() {
        size if size < 1023.5 => format!("{} B", number(bytes)),
        size if size < 1_048_064.0 => format!("{} KiB", number(bytes / 1024.0)),
        _ => format!("{} MiB", number(bytes / 1_048_576.0)),
    }
}

/// Returns a list as in `a`, `a and b`, `a, b and c`.
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_short_at_every_size() {
        let numbers = [0.0, 0.0123, 0.098, 0.984, 1.0, 9.996, 12.34, 99.96, 1234.5];
        let texts = [
            "0", "0.012", "0.098", "0.98", "1.00", "10.0", "12.3", "100", "1,234",
        ];
        assert_eq!(numbers.map(number), texts);
        assert_eq!(
            [950.0, 999.6, 12_700.0, 2_610_000.0].map(short),
            ["950", "1.00k", "12.7k", "2.61M"]
        );
        assert_eq!(
            [850.0, 85_100.0, 1_230_000.0, 2e9].map(time),
            ["850 ns", "85.1 µs", "1.23 ms", "2.00 s"]
        );
        assert_eq!(
            [-512.0, 13_414.4, 2_097_152.0].map(size),
            ["−512 B", "13.1 KiB", "2.00 MiB"]
        );
        assert_eq!(
            [2000.0, 50.0, 1.5e6, 0.0].map(round),
            ["2k", "50", "1.50M", "0"].map(plain)
        );
        assert_eq!(
            ["2.00 ms", "200 µs", "1.50M"].map(plain),
            ["2 ms", "200 µs", "1.5M"]
        );
        assert_eq!(grouped(-0.2), "0");
        assert_eq!(grouped(1_234_567.0), "1,234,567");
    }
}
