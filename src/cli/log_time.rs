//! The time at the beginning of a log line.
//!
//! `simplelog` could write it, but it panics in the year 10000, and a panic inside of the logger is
//! hard to log. Nothing here can panic, whatever the clock says.

use std::time::{Duration, SystemTime};

/// Returns the seconds since 1970 with six decimals, as in `1795368128.469181`.
pub(super) fn epoch(time: SystemTime) -> String {
    let (sign, since) = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => ("", since),
        Err(before) => ("-", before.duration()),
    };
    format!("{sign}{}.{:06}", since.as_secs(), since.subsec_micros())
}

/// Returns the date and time as in `2026-11-22T17:22:08.469181Z`. That form has four digits for the
/// year. A time in another year has the form of [`epoch`].
pub(super) fn rfc3339(time: SystemTime) -> String {
    const DAY: u64 = 86_400;
    // The form begins with year 0. That is so many days before 1970.
    const YEAR_0: Duration = Duration::from_secs(719_528 * DAY);

    let since_year_0 = match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(since) => since.checked_add(YEAR_0),
        Err(before) => YEAR_0.checked_sub(before.duration()),
    };
    let Some((since, (year, month, day))) =
        since_year_0.and_then(|since| Some((since, date(since.as_secs() / DAY)?)))
    else {
        return epoch(time);
    };

    let second = since.as_secs() % DAY;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    let micros = since.subsec_micros();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
}

/// Returns the year, month and day of a day, which is counted from the first day of year 0. `None`
/// from the year 10000 on.
fn date(mut day: u64) -> Option<(u64, usize, u64)> {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    let length = |year| 365 + u64::from(is_leap(year));

    // Every 400 years have the same number of days.
    let mut year = day / 146_097 * 400;
    day %= 146_097;
    if year > 9999 {
        return None;
    }
    while day >= length(year) {
        day -= length(year);
        year += 1;
    }

    let february = 28 + u64::from(is_leap(year));
    let months = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let mut month = 0;
    while day >= months[month] {
        day -= months[month];
        month += 1;
    }

    (year <= 9999).then_some((year, month + 1, day + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> SystemTime {
        let distance = Duration::from_secs(seconds.unsigned_abs());
        match seconds {
            0.. => SystemTime::UNIX_EPOCH + distance,
            _ => SystemTime::UNIX_EPOCH - distance,
        }
    }

    #[test]
    fn a_date_is_right_in_every_kind_of_year() {
        // As `date -u --date=@SECONDS +%FT%TZ` prints them.
        let cases = [
            (0, "1970-01-01T00:00:00"),
            (-1, "1969-12-31T23:59:59"),
            (951_782_400, "2000-02-29T00:00:00"),
            (951_868_799, "2000-02-29T23:59:59"),
            (951_868_800, "2000-03-01T00:00:00"),
            (1_709_164_800, "2024-02-29T00:00:00"),
            (1_795_368_128, "2026-11-22T17:22:08"),
            (4_107_542_399, "2100-02-28T23:59:59"),
            (4_107_542_400, "2100-03-01T00:00:00"),
            (253_402_300_799, "9999-12-31T23:59:59"),
            (-62_167_219_200, "0000-01-01T00:00:00"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(rfc3339(at(seconds)), format!("{expected}.000000Z"));
        }

        let with_micros = at(0) + Duration::from_nanos(1_234_567_999);
        assert_eq!(rfc3339(with_micros), "1970-01-01T00:00:01.234567Z");
    }

    #[test]
    fn a_year_of_five_digits_or_before_0_is_written_as_seconds() {
        assert_eq!(rfc3339(at(253_402_300_800)), "253402300800.000000");
        assert_eq!(rfc3339(at(-62_167_219_201)), "-62167219201.000000");
        assert_eq!(rfc3339(at(i64::MAX)), format!("{}.000000", i64::MAX));
    }

    #[test]
    fn seconds_have_six_decimals_and_a_sign_before_1970() {
        assert_eq!(
            epoch(at(1_795_368_128) + Duration::from_micros(42)),
            "1795368128.000042"
        );
        assert_eq!(epoch(at(0) - Duration::from_millis(1500)), "-1.500000");
    }
}
