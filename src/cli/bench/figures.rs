//! Counts latencies in memory that does not grow: in one histogram for the run, and in one for each slice of its time.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency, in nanoseconds; longer ones are counted as this.
const LONGEST: u64 = 600_000_000_000;
/// The most slices. When they are used up, pairs are merged into slices of twice the length.
const MOST_SLICES: usize = 240;
/// The length of the first slices, in nanoseconds.
const FIRST_SLICE: u64 = 20_000_000;

/// A histogram of latencies, in nanoseconds.
pub(super) struct Latencies(Histogram<u64>);

impl Latencies {
    /// Precise to three digits, from a microsecond up.
    pub(super) fn new() -> Self {
        Self::with_digits(3)
    }

    fn with_digits(digits: u8) -> Self {
        let histogram = Histogram::new_with_bounds(1_000, LONGEST, digits);
        Self(histogram.expect("the bounds are in order and there are at most five digits"))
    }

    pub(super) fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all have the same bounds");
    }

    pub(super) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency that `percent` of all did not exceed.
    pub(super) fn percentile(&self, percent: f64) -> Duration {
        // A histogram answers with the end of a bucket, which may exceed the longest latency.
        Duration::from_nanos(self.0.value_at_percentile(percent).min(self.0.max()))
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.0.max())
    }

    pub(super) fn mean(&self) -> Duration {
        Duration::from_secs_f64(self.0.mean() / 1e9)
    }
}

/// Latencies over time since the end of the warm-up, by when each message arrived.
pub(super) struct Timeline {
    slice: u64,
    slices: Vec<Option<Latencies>>,
}

impl Timeline {
    fn new() -> Self {
        Self { slice: FIRST_SLICE, slices: Vec::new() }
    }

    fn record(&mut self, at: u64, nanoseconds: u64) {
        while self.place(at) >= MOST_SLICES {
            self.halve();
        }
        let place = self.place(at);
        if place >= self.slices.len() {
            self.slices.resize_with(place + 1, || None);
        }
        self.slices[place].get_or_insert_with(|| Latencies::with_digits(2)).record(nanoseconds);
    }

    fn place(&self, at: u64) -> usize {
        usize::try_from(at / self.slice).unwrap_or(usize::MAX)
    }

    fn halve(&mut self) {
        let mut slices = std::mem::take(&mut self.slices).into_iter();
        while let Some(mut one) = slices.next() {
            join(&mut one, slices.next().flatten());
            self.slices.push(one);
        }
        self.slice *= 2;
    }

    fn add(&mut self, mut other: Self) {
        while self.slice < other.slice {
            self.halve();
        }
        while other.slice < self.slice {
            other.halve();
        }
        let length = self.slices.len().max(other.slices.len());
        self.slices.resize_with(length, || None);
        for (mine, theirs) in self.slices.iter_mut().zip(other.slices) {
            join(mine, theirs);
        }
    }

    /// Merges slices until at most `most` are left.
    pub(super) fn coarsen(&mut self, most: usize) {
        while self.slices.len() > most.max(1) {
            self.halve();
        }
    }

    /// Each slice in which something arrived, with its beginning.
    pub(super) fn slices(&self) -> impl Iterator<Item = (Duration, &Latencies)> {
        let begun = |place: usize| Duration::from_nanos(self.slice * place as u64);
        self.slices.iter().enumerate().filter_map(move |(place, slice)| Some((begun(place), slice.as_ref()?)))
    }

    /// The length of a slice.
    pub(super) fn slice(&self) -> Duration {
        Duration::from_nanos(self.slice)
    }
}

fn join(one: &mut Option<Latencies>, other: Option<Latencies>) {
    match (one.as_mut(), other) {
        (Some(one), Some(other)) => one.add(&other),
        (None, Some(other)) => *one = Some(other),
        (_, None) => {}
    }
}

/// What was measured of deliveries. Messages published before the end of the warm-up do not count.
pub(super) struct Figures {
    /// The end of the warm-up, in nanoseconds since the start of the run.
    pub(super) from: u64,
    pub(super) latencies: Latencies,
    pub(super) timeline: Timeline,
    pub(super) deliveries: u64,
    pub(super) bytes: u64,
    /// When the last of them arrived.
    pub(super) last: u64,
}

impl Figures {
    pub(super) fn new(from: u64) -> Self {
        Self { from, latencies: Latencies::new(), timeline: Timeline::new(), deliveries: 0, bytes: 0, last: 0 }
    }

    /// Counts a delivery: when its publish began, when it arrived, and its bytes.
    pub(super) fn record(&mut self, begun: u64, arrived: u64, bytes: u64) {
        if begun < self.from {
            return;
        }
        let latency = arrived.saturating_sub(begun);
        self.latencies.record(latency);
        self.timeline.record(arrived.saturating_sub(self.from), latency);
        self.deliveries += 1;
        self.bytes += bytes;
        self.last = self.last.max(arrived);
    }

    pub(super) fn add(&mut self, other: Self) {
        self.latencies.add(&other.latencies);
        self.timeline.add(other.timeline);
        self.deliveries += other.deliveries;
        self.bytes += other.bytes;
        self.last = self.last.max(other.last);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{FIRST_SLICE, Figures, MOST_SLICES};

    #[test]
    fn slices_grow_longer_and_forget_nothing() {
        let mut figures = Figures::new(0);
        for place in 0..10 * MOST_SLICES as u64 {
            let at = place * FIRST_SLICE + 1;
            figures.record(at - 1, at + 999_999, 10);
        }
        assert!(figures.timeline.slices.len() <= MOST_SLICES);
        assert_eq!(figures.timeline.slice, 16 * FIRST_SLICE);
        let counted: u64 = figures.timeline.slices().map(|(_, slice)| slice.count()).sum();
        assert_eq!((counted, figures.deliveries, figures.bytes), (2_400, 2_400, 24_000));
        let p99 = figures.latencies.percentile(99.0);
        assert!(p99 >= Duration::from_micros(998) && p99 <= Duration::from_micros(1_001), "{p99:?}");
        assert_eq!(figures.latencies.longest(), figures.latencies.percentile(100.0));
    }

    #[test]
    fn timelines_of_different_lengths_are_added() {
        let (mut long, mut short) = (Figures::new(0), Figures::new(0));
        for place in 0..2 * MOST_SLICES as u64 {
            long.record(0, place * FIRST_SLICE, 1);
        }
        short.record(0, FIRST_SLICE / 2, 1);
        short.record(0, 3 * FIRST_SLICE, 1);
        short.add(long);
        let seen: Vec<(Duration, u64)> =
            short.timeline.slices().take(2).map(|(at, slice)| (at, slice.count())).collect();
        assert_eq!(seen, [(Duration::ZERO, 3), (Duration::from_nanos(2 * FIRST_SLICE), 3)]);
        short.timeline.coarsen(7);
        assert!(short.timeline.slices().count() <= 7);
    }

    #[test]
    fn the_warm_up_is_not_measured() {
        let mut figures = Figures::new(100);
        figures.record(99, 500, 1);
        figures.record(100, 700, 1);
        assert_eq!((figures.deliveries, figures.last), (1, 700));
    }
}
