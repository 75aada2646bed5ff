//! The wall clock, and how Relay shows its times.

use std::fmt;
use std::time::SystemTime;

/// A moment of the wall clock, in milliseconds since the Unix epoch; shown as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug)]
pub struct Time(pub i64);

impl Time {
    /// The wall clock's time now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// As RFC 3339 in UTC with milliseconds, for the years 0000 to 9999; times beyond are shown as the nearest.
    ///
    /// Every message carries one, so this avoids a calendar library: it is Howard Hinnant's `civil_from_days`, in which
    /// a year begins in March.
    pub fn rfc3339(self) -> [u8; 24] {
        let ms = self.0.clamp(YEAR_0, YEAR_10_000 - 1);
        let days = ms.div_euclid(DAY) + 719_468;
        let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };

        let mut text = *b"0000-00-00T00:00:00.000Z";
        let ms = ms.rem_euclid(DAY);
        put_digits(&mut text[0..4], year_of_era + era * 400 + i64::from(month <= 2));
        put_digits(&mut text[5..7], month);
        put_digits(&mut text[8..10], day_of_year - (153 * march_month + 2) / 5 + 1);
        put_digits(&mut text[11..13], ms / 3_600_000);
        put_digits(&mut text[14..16], ms / 60_000 % 60);
        put_digits(&mut text[17..19], ms / 1_000 % 60);
        put_digits(&mut text[20..23], ms % 1_000);
        text
    }
}

/// Milliseconds.
const DAY: i64 = 86_400_000;
const YEAR_0: i64 = -62_167_219_200_000;
const YEAR_10_000: i64 = 253_402_300_800_000;

fn put_digits(place: &mut [u8], mut number: i64) {
    for digit in place.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(str::from_utf8(&self.rfc3339()).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use super::{DAY, Time, YEAR_0};

    #[test]
    fn a_time_is_rfc_3339_with_milliseconds() {
        assert_eq!(Time(1_795_000_000_007).to_string(), "2026-11-18T11:06:40.007Z");
        assert_eq!(Time(1_795_000_000_000).to_string(), "2026-11-18T11:06:40.000Z");
        assert_eq!(Time(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Time(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn days_of_ten_thousand_years_are_what_a_calendar_library_says() {
        // The library's range ends a day early.
        for day in (0..3_652_424).step_by(13) {
            let ms = YEAR_0 + day * DAY + day * 7_919 % DAY;
            let expected = jiff::Timestamp::from_millisecond(ms).expect("it is in range");
            assert_eq!(Time(ms).to_string(), format!("{expected:.3}"));
        }
    }
}
