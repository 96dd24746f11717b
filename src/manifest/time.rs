//! A moment in UTC, as EC2 takes it: `2028-11-21T00:00:00Z` (ISO 8601; EC2 API, EnableImageDeprecation, DeprecateAt).

use crate::error::{Error, Result, escape};
use crate::text::text_form;
use std::fmt;
use std::str::FromStr;

const SECONDS_PER_DAY: i64 = 86_400;
/// Days in 400 years of the Gregorian calendar.
const DAYS_PER_ERA: i64 = 146_097;
/// From 0000-03-01 to 1970-01-01.
const DAYS_TO_EPOCH: i64 = 719_468;

/// A moment in UTC, to the second, of the years 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcTime(i64);

impl UtcTime {
    /// The moment so many seconds after 1970-01-01T00:00:00Z; moments out of range become the first or last one.
    #[must_use]
    pub fn from_seconds(seconds: i64) -> Self {
        Self(seconds.clamp(0, days_before(9999, 12, 31) * SECONDS_PER_DAY + SECONDS_PER_DAY - 1))
    }

    /// Seconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn seconds(self) -> i64 {
        self.0
    }

    /// The same day and time so many years later; 29 February becomes 28 February.
    #[must_use]
    pub fn plus_years(self, years: i64) -> Self {
        let (year, month, day) = civil(self.0.div_euclid(SECONDS_PER_DAY));
        let year = year + years;
        let days = days_before(year, month, day.min(days_of(year, month)));
        Self::from_seconds(days * SECONDS_PER_DAY + self.0.rem_euclid(SECONDS_PER_DAY))
    }
}

impl FromStr for UtcTime {
    type Err = Error;

    /// Takes a date, or a date and a time to the minute or second, in UTC: `2028-11-21`, `2028-11-21T08:30Z`.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid(format!("\"{}\" is no time: a form like 2028-11-21T00:00:00Z was expected (UTC)", escape(text.as_bytes())));
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, time.strip_suffix('Z').ok_or_else(wrong)?),
            None => (text, "00:00:00"),
        };
        let [year, month, day] = numbers(date, '-', [4, 2, 2]).ok_or_else(wrong)?;
        let [hour, minute, second] = numbers(time, ':', [2, 2, 2]).or_else(|| numbers(time, ':', [2, 2]).map(|[h, m]| [h, m, 0])).ok_or_else(wrong)?;
        let good = (1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=days_of(year, month)).contains(&day);
        if !good || hour > 23 || minute > 59 || second > 59 {
            return Err(wrong());
        }
        Ok(Self(days_before(year, month, day) * SECONDS_PER_DAY + hour * 3600 + minute * 60 + second))
    }
}

impl fmt::Display for UtcTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = civil(self.0.div_euclid(SECONDS_PER_DAY));
        let second = self.0.rem_euclid(SECONDS_PER_DAY);
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", second / 3600, second / 60 % 60, second % 60)
    }
}

text_form!(UtcTime, "a time in UTC, such as \"2028-11-21T00:00:00Z\"");

/// `N` decimal numbers with so many digits each, parted by `mark`.
fn numbers<const N: usize>(text: &str, mark: char, digits: [usize; N]) -> Option<[i64; N]> {
    let mut parts = text.split(mark);
    let mut numbers = [0; N];
    for (number, digits) in numbers.iter_mut().zip(digits) {
        let part = parts.next().filter(|part| part.len() == digits && part.bytes().all(|b| b.is_ascii_digit()))?;
        *number = part.parse().ok()?;
    }
    parts.next().is_none().then_some(numbers)
}

/// Days of a month.
fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to this day. Years are counted from 1 March, so that the leap day is the last of its year.
fn days_before(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day - 1 - DAYS_TO_EPOCH
}

/// Year, month and day of a day counted from 1970-01-01.
fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + DAYS_TO_EPOCH;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day_of_year - (153 * march_month + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_printed() {
        for (text, seconds, printed) in [
            ("1970-01-01", 0, "1970-01-01T00:00:00Z"),
            ("2000-02-29T23:59:59Z", 951_868_799, "2000-02-29T23:59:59Z"),
            ("2028-11-21T08:30Z", 1_858_408_200, "2028-11-21T08:30:00Z"),
            ("9999-12-31T23:59:59Z", 253_402_300_799, "9999-12-31T23:59:59Z"),
        ] {
            let time: UtcTime = text.parse().unwrap();
            assert_eq!((time.seconds(), time.to_string()), (seconds, printed.to_owned()), "{text}");
        }
        for day in (0..2_932_896).step_by(97) {
            let time = UtcTime::from_seconds(day * SECONDS_PER_DAY + day % SECONDS_PER_DAY);
            assert_eq!(time.to_string().parse::<UtcTime>().unwrap(), time);
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "2028",
            "2028-11-21T00:00:00",
            "2028-02-30",
            "2027-02-29",
            "1969-12-31",
            "2028-1-1",
            "2028-11-21T24:00Z",
            "2028-11-21 00:00Z",
            "+028-11-21",
            "2028-11-21T00:00:60Z",
        ] {
            assert!(text.parse::<UtcTime>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn years_are_added_by_the_calendar() {
        let after = |text: &str, years| text.parse::<UtcTime>().unwrap().plus_years(years).to_string();
        assert_eq!(after("2026-11-21T12:00:00Z", 10), "2036-11-21T12:00:00Z");
        assert_eq!(after("2024-02-29", 2), "2026-02-28T00:00:00Z");
        assert_eq!(after("9999-01-01", 5), "9999-12-31T23:59:59Z");
    }
}
