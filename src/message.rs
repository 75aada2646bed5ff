//! What the log holds: records, and the positions in it.
//!
//! Every accepted message is appended to one totally ordered log. A position is an epoch, the log's identity, and a
//! seq, the place in it; on the outside it is written `<epoch>-<seq>`, for example `9f3c21aa-42`.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use crate::name::{TopicName, UserId};
use crate::schema::Payload;

/// The place of a message in the log: from 1, strictly growing, not necessarily dense. 0 is before the first.
pub type Seq = u64;

/// The identity of a log: 8 lower-case hex digits, new whenever continuity cannot be proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A position in a log, exclusive when resumed from; also the id of the message that stands there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The log it belongs to.
    pub epoch: Epoch,
    /// The place in it.
    pub seq: Seq,
}

impl Position {
    /// The bytes of one whose seq this is, when it is written.
    pub fn len(seq: Seq) -> usize {
        8 + 1 + digits(seq)
    }

    /// Writes it as it is shown. Every message and every receipt has one, hence this instead of a formatter.
    pub fn put(self, out: &mut Vec<u8>) {
        let nibble = |at: usize| b"0123456789abcdef"[(self.epoch.0 >> (28 - at * 4)) as usize & 0xf];
        out.extend_from_slice(&std::array::from_fn::<_, 8, _>(nibble));
        out.push(b'-');
        let start = out.len();
        out.resize(start + digits(self.seq), b'0');
        let mut rest = self.seq;
        for digit in out[start..].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
    }
}

fn digits(n: u64) -> usize {
    n.checked_ilog10().map_or(1, |log| log as usize + 1)
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
    }
}

impl Serialize for Position {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The text is not a position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPosition;

impl fmt::Display for BadPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position: write `<epoch>-<seq>` as in the `id` of a message, for example `9f3c21aa-42`")
    }
}

impl FromStr for Position {
    type Err = BadPosition;

    fn from_str(text: &str) -> Result<Self, BadPosition> {
        let (epoch, seq) = text.split_once('-').ok_or(BadPosition)?;
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        let canonical = seq == "0" || (!seq.starts_with('0') && seq.bytes().all(|b| b.is_ascii_digit()));
        if epoch.len() != 8 || !epoch.bytes().all(hex) || !canonical {
            return Err(BadPosition);
        }
        let epoch = Epoch(u32::from_str_radix(epoch, 16).map_err(|_| BadPosition)?);
        Ok(Self { epoch, seq: seq.parse().map_err(|_| BadPosition)? })
    }
}

/// A moment of the wall clock, in milliseconds since the Unix epoch; shown as RFC 3339 in UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Time(pub i64);

impl Time {
    /// The wall clock's time now.
    pub fn now() -> Self {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Self(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// As RFC 3339 in UTC with milliseconds, for the years 0000 to 9999; what lies beyond is shown as the nearest.
    ///
    /// Every message carries one, hence this instead of a calendar library: Howard Hinnant's `civil_from_days`, in
    /// which a year begins in March.
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

/// One accepted message, as the log holds it.
#[derive(Debug)]
pub struct Record {
    /// Its place in the log.
    pub seq: Seq,
    /// When it was appended.
    pub time: Time,
    /// The concrete topic.
    pub topic: TopicName,
    /// The only user whose connections get it; everybody when `None`.
    pub user: Option<UserId>,
    /// The validated JSON.
    pub payload: Payload,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{DAY, Epoch, Position, Time, YEAR_0};

    #[test]
    fn a_position_has_one_spelling() {
        let p = Position { epoch: Epoch(0x9f3c_21aa), seq: 42 };
        assert_eq!(p.to_string(), "9f3c21aa-42");
        assert_eq!("9f3c21aa-42".parse(), Ok(p));
        for bad in [
            "",
            "9f3c21aa",
            "9f3c21aa-",
            "9F3C21AA-42",
            "9f3c21aa-042",
            "9f3c21aa-+4",
            "9f3c21a-4",
            "9f3c21aa-99999999999999999999",
        ] {
            assert!(bad.parse::<Position>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_position_is_written_as_it_is_shown(epoch in any::<u32>(), seq in any::<u64>(), shift in 0..64) {
            let position = Position { epoch: Epoch(epoch), seq: seq >> shift };
            let mut out = Vec::new();
            position.put(&mut out);
            assert_eq!(String::from_utf8(out), Ok(position.to_string()));
            assert_eq!(Position::len(position.seq), position.to_string().len());
        }
    }

    #[test]
    fn a_time_is_rfc_3339_with_milliseconds() {
        assert_eq!(Time(1_795_000_000_007).to_string(), "2026-11-18T11:06:40.007Z");
        assert_eq!(Time(1_795_000_000_000).to_string(), "2026-11-18T11:06:40.000Z");
        assert_eq!(Time(i64::MAX).to_string(), "9999-12-31T23:59:59.999Z");
        assert_eq!(Time(i64::MIN).to_string(), "0000-01-01T00:00:00.000Z");
    }

    #[test]
    fn days_of_ten_thousand_years_are_what_a_calendar_library_says() {
        // The library ends a day before the last.
        for day in (0..3_652_424).step_by(13) {
            let ms = YEAR_0 + day * DAY + day * 7_919 % DAY;
            let expected = jiff::Timestamp::from_millisecond(ms).expect("it is in range");
            assert_eq!(Time(ms).to_string(), format!("{expected:.3}"));
        }
    }
}
