//! What the log holds: records, and the positions in it.
//!
//! Every accepted message is appended to one totally ordered log. A position is an epoch, the log's identity, and a
//! seq, the place in it; on the outside it is written `<epoch>-<seq>`, for example `9f3c21aa-42`.

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::name::{TopicName, UserId};
use crate::schema::Payload;
use crate::time::Time;

/// The place of a message in the log: from 1, strictly growing, not necessarily dense. 0 is before the first.
pub type Seq = u64;

/// The identity of a log: 8 lower-case hex digits, new whenever continuity with the old log cannot be proved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A position in a log, exclusive when resumed from; also the id of the message at that place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Position {
    /// The log it belongs to.
    pub epoch: Epoch,
    /// The place in it.
    pub seq: Seq,
}

impl Position {
    /// Length in bytes of a written position with this seq.
    pub fn len(seq: Seq) -> usize {
        8 + 1 + digits(seq)
    }

    /// Writes it as [`fmt::Display`] does. Every message and every receipt has one, so this avoids the formatter.
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

/// The text does not say where to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPosition;

impl fmt::Display for BadPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "not a position: write `<epoch>-<seq>` as in the `id` of a message, for example `9f3c21aa-42`, or \
             `earliest`",
        )
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

/// One accepted message, as the log holds it.
#[derive(Debug)]
pub struct Record {
    /// Its place in the log.
    pub seq: Seq,
    /// When it was appended.
    pub time: Time,
    /// The concrete topic.
    pub topic: TopicName,
    /// The only user whose connections receive it; everybody when `None`.
    pub user: Option<UserId>,
    /// The validated JSON.
    pub payload: Payload,
}

/// Notes a seq for a key, unless a higher one was noted.
pub fn raise<K: Eq + Hash>(highest: &mut HashMap<K, Seq>, key: K, seq: Seq) {
    let highest = highest.entry(key).or_default();
    *highest = seq.max(*highest);
}

/// About as many bytes as a protocol writes around a topic and a payload: up to 123 while seqs have seven digits.
const AROUND: usize = 128;

impl Record {
    /// About how many bytes a protocol writes for it.
    pub fn written_len(&self) -> usize {
        AROUND + self.topic.as_str().len() + self.payload.size()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, proptest};

    use super::{Epoch, Position};

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
}
