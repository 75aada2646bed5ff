//! Formats figures for people.

use std::time::Duration;

use indicatif::HumanCount;

/// A count, with a comma between thousands.
pub(super) fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

/// A duration, to three digits.
pub(super) fn time(duration: Duration) -> String {
    let nanoseconds = duration.as_secs_f64() * 1e9;
    let (value, unit) = match nanoseconds {
        1e9.. => (nanoseconds / 1e9, "s"),
        1e6.. => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e3, "µs"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A number of bytes, with decimal units, to three digits.
pub(super) fn bytes(bytes: f64) -> String {
    let (value, unit) = match bytes {
        1e9.. => (bytes / 1e9, "GB"),
        1e6.. => (bytes / 1e6, "MB"),
        1e3.. => (bytes / 1e3, "kB"),
        _ => return format!("{bytes:.0} B"),
    };
    format!("{} {unit}", three_digits(value))
}

/// A rate: a whole number, unless it is small.
pub(super) fn rate(per_second: f64) -> String {
    if per_second < 100.0 { three_digits(per_second) } else { count(per_second.round() as u64) }
}

fn three_digits(value: f64) -> String {
    match value {
        99.95.. => format!("{value:.0}"),
        9.995.. => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{bytes, count, rate, time};

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(count), ["0", "999", "1,000", "1,234,567"]);
        let times = [0, 900, 87_340, 1_214_000, 99_990_000, 12_300_000_000];
        let shown = ["0.00 µs", "0.90 µs", "87.3 µs", "1.21 ms", "100 ms", "12.3 s"];
        assert_eq!(times.map(|nanoseconds| time(Duration::from_nanos(nanoseconds))), shown);
        assert_eq!([12.0, 1_234.0, 31_200_000.0, 2.5e9].map(bytes), ["12 B", "1.23 kB", "31.2 MB", "2.50 GB"]);
        assert_eq!([0.5, 12.34, 246_800.2].map(rate), ["0.50", "12.3", "246,800"]);
    }
}
