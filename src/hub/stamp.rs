//! The number of a shard's pass, which also carries its time.

use std::num::NonZeroU64;

/// Bits below the time. The lowest is for [`Stamp::joined`]; the others count passes within a millisecond, and overflow
/// into the next millisecond.
const BELOW: u32 = 20;

/// Identifies a pass and says when it was, in one number: a live connection has no space for two. Later passes are
/// greater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(NonZeroU64);

impl Stamp {
    /// Before every pass.
    pub(super) const START: Self = Self(NonZeroU64::MIN);

    /// The next pass, at a time in milliseconds of the hub's clock.
    pub(super) fn next(self, now: u64) -> Self {
        let next = self.joined().0.saturating_add(1);
        Self(NonZeroU64::new(now << BELOW).map_or(next, |now| now.max(next)))
    }

    /// For a connection that joins during this pass: greater, so that this pass skips it, and less than the next pass.
    ///
    /// The low bit says that nothing was written.
    pub(super) fn joined(self) -> Self {
        Self(self.0 | 1)
    }

    /// When the connection was served, in milliseconds of the hub's clock; 0 if it has only joined.
    pub(super) fn served_at(self) -> u64 {
        if self == self.joined() { 0 } else { self.0.get() >> BELOW }
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
        assert_eq!([first, second, third].map(Stamp::served_at), [0, 0, 7]);
    }

    #[test]
    fn whoever_came_during_a_pass_stands_between_it_and_the_next_and_was_not_served() {
        let pass = Stamp::START.next(7);
        assert!(pass < pass.joined() && pass.joined() < pass.next(7));
        assert_eq!(pass.joined().served_at(), 0);
        assert_eq!(Stamp::START.joined().served_at(), 0);
    }

    #[test]
    fn passes_keep_their_order_when_the_clock_does_not_come_on() {
        let mut last = Stamp::START.next(7);
        for _ in 0..3 << 19 {
            let next = last.next(7);
            assert!(next > last.joined());
            last = next;
        }
        assert_eq!(last.served_at(), 10);
    }
}
