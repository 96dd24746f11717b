//! Times as FAT has them: local time without a zone, which we take as UTC, from 1980 to 2107, files to 2 seconds.

use crate::tree::Timestamp;

/// 1980-01-01T00:00:00Z.
const FIRST_SECONDS: i64 = 315_532_800;
/// 2107-12-31T23:59:59Z.
const LAST_SECONDS: i64 = 4_354_819_199;
const SECONDS_PER_DAY: i64 = 86_400;

/// A time in the fields of a directory entry (fatgen103, section "Date and Time Formats").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DosTime {
    /// Years since 1980 (7 bits), month (4), day (5).
    pub(super) date: u16,
    /// Hours (5 bits), minutes (6), seconds halved (5).
    pub(super) time: u16,
    /// Hundredths of a second past `time`: 0 to 199.
    pub(super) hundredths: u8,
}

/// Whether FAT's range holds `time`.
pub(super) fn in_range(time: Timestamp) -> bool {
    (FIRST_SECONDS..=LAST_SECONDS).contains(&time.seconds)
}

impl From<Timestamp> for DosTime {
    /// Times outside FAT's range become its first or last moment.
    fn from(time: Timestamp) -> Self {
        let clamped = match time.seconds {
            before if before < FIRST_SECONDS => Timestamp::from_seconds(FIRST_SECONDS),
            after if after > LAST_SECONDS => Timestamp { seconds: LAST_SECONDS, nanoseconds: 999_999_999 },
            _ => time,
        };
        let (year, month, day) = civil(clamped.seconds.div_euclid(SECONDS_PER_DAY));
        let second_of_day = clamped.seconds.rem_euclid(SECONDS_PER_DAY);
        let (hour, minute, second) = (second_of_day / 3600, second_of_day / 60 % 60, second_of_day % 60);
        let hundredths = (second % 2) * 100 + i64::from(clamped.nanoseconds / 10_000_000);
        let fits = "the time was clamped to FAT's range";
        Self {
            date: u16::try_from(((year - 1980) << 9) | (month << 5) | day).expect(fits),
            time: u16::try_from((hour << 11) | (minute << 5) | (second / 2)).expect(fits),
            hundredths: u8::try_from(hundredths.min(199)).expect("at most 199"),
        }
    }
}

/// The moment that a directory entry names, as Linux reads it (fs/fat/misc.c): a month or day of 0 counts as 1, a day beyond its
/// month runs into the next, months beyond 12 begin with the year.
pub(super) fn moment(date: u16, time: u16) -> Timestamp {
    const DAYS_BEFORE: [i64; 13] = [0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let year = i64::from(date >> 9);
    let month = usize::from(date >> 5 & 0xf).max(1);
    let day = i64::from(date & 0x1f).max(1) - 1;
    // 2100 is no leap year.
    let leap_days_before = (year + 3) / 4 - i64::from(year > 120);
    let leap_day = i64::from(year % 4 == 0 && year != 120 && month > 2);
    let days = year * 365 + leap_days_before + leap_day + DAYS_BEFORE.get(month).copied().unwrap_or(0) + day;
    let seconds = i64::from(time >> 11) * 3600 + i64::from(time >> 5 & 0x3f) * 60 + i64::from(time & 0x1f) * 2;
    Timestamp::from_seconds(FIRST_SECONDS + days * SECONDS_PER_DAY + seconds)
}

/// Year, month and day of a day counted from 1970-01-01 in the Gregorian calendar. Days are counted in eras of 400 years
/// that begin on 1 March, so that the leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_PER_ERA: i64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const DAYS_TO_EPOCH: i64 = 719_468;
    let days = days + DAYS_TO_EPOCH;
    let era = days.div_euclid(DAYS_PER_ERA);
    let day_of_era = days.rem_euclid(DAYS_PER_ERA);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(seconds: i64, nanoseconds: u32) -> (u16, u16, u16, u16, u16, u16, u8) {
        let time = DosTime::from(Timestamp { seconds, nanoseconds });
        ((time.date >> 9) + 1980, time.date >> 5 & 15, time.date & 31, time.time >> 11, time.time >> 5 & 63, (time.time & 31) * 2, time.hundredths)
    }

    #[test]
    fn times_become_dates_to_two_seconds() {
        assert_eq!(fields(946_684_800, 0), (2000, 1, 1, 0, 0, 0, 0));
        assert_eq!(fields(951_782_399, 0), (2000, 2, 28, 23, 59, 58, 100));
        assert_eq!(fields(951_782_400, 0), (2000, 2, 29, 0, 0, 0, 0));
        assert_eq!(fields(1_709_251_199, 990_000_000), (2024, 2, 29, 23, 59, 58, 199));
        assert_eq!(fields(4_107_542_400, 0), (2100, 3, 1, 0, 0, 0, 0));
    }

    #[test]
    fn entries_are_read_as_the_moments_they_were_made_from() {
        for day in 0..(LAST_SECONDS - FIRST_SECONDS) / SECONDS_PER_DAY {
            let seconds = FIRST_SECONDS + day * SECONDS_PER_DAY + day * 2 % SECONDS_PER_DAY;
            let time = DosTime::from(Timestamp::from_seconds(seconds));
            assert_eq!(moment(time.date, time.time).seconds, seconds);
        }
        assert_eq!(moment(0, 0).seconds, FIRST_SECONDS);
        assert!(moment(u16::MAX, u16::MAX).seconds < LAST_SECONDS + 2 * SECONDS_PER_DAY);
    }

    #[test]
    fn times_outside_the_range_are_clamped() {
        for seconds in [i64::MIN, -1, 0, FIRST_SECONDS - 1, FIRST_SECONDS] {
            assert_eq!(fields(seconds, 0), (1980, 1, 1, 0, 0, 0, 0), "{seconds}");
        }
        assert_eq!(fields(LAST_SECONDS, 0), (2107, 12, 31, 23, 59, 58, 100));
        assert_eq!(fields(i64::MAX, 5), (2107, 12, 31, 23, 59, 58, 199));
        assert!(in_range(Timestamp::from_seconds(FIRST_SECONDS)) && !in_range(Timestamp::from_seconds(FIRST_SECONDS - 1)));
    }
}
