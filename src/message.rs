//! What the log holds: records, and the positions in it.
//!
//! Every accepted message is appended to one totally ordered log. A position is an epoch, the log's identity, and a
//! seq, the place in it; on the outside it is written `<epoch>-<seq>`, for example `9f3c21aa-42`.

use std::fmt;
use std::str::FromStr;
use std::time::SystemTime;

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

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.epoch, self.seq)
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
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => f.write_str("9999-12-31T23:59:59.999Z"),
        }
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
    use super::{Epoch, Position, Time};

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

    #[test]
    fn a_time_is_rfc_3339_with_milliseconds() {
        assert_eq!(Time(1_795_000_000_007).to_string(), "2026-11-18T11:06:40.007Z");
        assert_eq!(Time(1_795_000_000_000).to_string(), "2026-11-18T11:06:40.000Z");
    }
}
