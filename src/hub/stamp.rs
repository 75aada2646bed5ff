//! The number of a pass of a shard, which also says when it was.

use std::num::NonZeroU64;

/// Bits for passes within a millisecond; were there more, the next millisecond would lend them its numbers.
const PASSES: u32 = 20;

/// A pass of a shard: later ones are greater. One number for both, for each connection keeps the last that served it
/// where a delivery has room for no other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(NonZeroU64);

impl Stamp {
    /// Before every pass.
    pub(super) const START: Self = Self(NonZeroU64::MIN);

    /// The pass behind this one, at a time in milliseconds of the hub's clock.
    pub(super) fn next(self, now: u64) -> Self {
        Self(self.0.saturating_add(1).max(NonZeroU64::new(now << PASSES).unwrap_or(NonZeroU64::MIN)))
    }

    /// When it was, in milliseconds of the hub's clock.
    pub(super) fn time(self) -> u64 {
        self.0.get() >> PASSES
    }
}

#[cfg(test)]
mod tests {
    use super::Stamp;

    #[test]
    fn a_later_pass_is_greater_and_says_when_it_was() {
        let first = Stamp::START.next(0);
        let (second, third) = (first.next(0), first.next(7));
        assert!(Stamp::START < first && first < second && second < third);
        assert_eq!([first, second, third].map(Stamp::time), [0, 0, 7]);
    }

    #[test]
    fn passes_keep_their_order_when_the_clock_does_not_come_on() {
        let mut last = Stamp::START.next(7);
        for _ in 0..3 << 20 {
            let next = last.next(7);
            assert!(next > last);
            last = next;
        }
        assert_eq!(last.time(), 10);
    }
}
