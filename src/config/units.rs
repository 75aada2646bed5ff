//! Reads and writes sizes and durations as text.

use std::time::Duration;

const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];
const DURATIONS: &[(&str, u64)] = &[("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1_000), ("ms", 1)];

/// The units of a size, as a regular expression.
pub const SIZE_UNITS: &str = "(B|KiB|MiB|GiB)";
/// The units of a duration, as a regular expression.
pub const DURATION_UNITS: &str = "(ms|s|min|h|d)";

/// Reads a size such as `64 KiB`, in bytes. One space may precede the unit.
pub fn parse_size(text: &str) -> Option<u64> {
    parse(text, SIZES)
}

/// Reads a duration such as `10 s`. One space may precede the unit.
pub fn parse_duration(text: &str) -> Option<Duration> {
    parse(text, DURATIONS).map(Duration::from_millis)
}

/// Writes a size in the largest unit that is exact.
pub fn show_size(bytes: u64) -> String {
    show(bytes, SIZES, "B")
}

/// Writes a duration in the largest unit that is exact, from milliseconds up.
pub fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), DURATIONS, "s")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let unit = text[digits..].strip_prefix(' ').unwrap_or(&text[digits..]);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    text[..digits].parse::<u64>().ok()?.checked_mul(*factor)
}

fn show(value: u64, units: &[(&str, u64)], zero: &str) -> String {
    match units.iter().find(|(_, factor)| value != 0 && value.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{} {unit}", value / factor),
        None => format!("{value} {zero}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{parse_duration, parse_size, show_duration, show_size};

    #[test]
    fn sizes_and_durations_are_read_and_written() {
        for (text, bytes) in [("1 MiB", 1 << 20), ("64KiB", 65_536), ("7 B", 7), ("2 GiB", 2 << 30), ("0 B", 0)] {
            assert_eq!(parse_size(text), Some(bytes), "{text}");
            assert_eq!(parse_size(&show_size(bytes)), Some(bytes), "{text}");
        }
        for (text, ms) in [("250 ms", 250), ("10 s", 10_000), ("5 min", 300_000), ("1h", 3_600_000), ("0 s", 0)] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(ms)), "{text}");
            assert_eq!(parse_duration(&show_duration(Duration::from_millis(ms))), Some(Duration::from_millis(ms)));
        }
        for bad in ["", "1", "MiB", "1 MB", "1  MiB", "-1 B", "1.5 MiB", "99999999999999999999 B", "99999999999 GiB"] {
            assert_eq!(parse_size(bad), None, "{bad}");
        }
        for bad in ["10", "10 sec", "1 m", " 1 s", "1 s "] {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }
}
