//! Bytes that all connections together hold because their peers have not read them, bounded by one budget.
//!
//! One slow reader holds a frame at most, but there may be tens of thousands. This knows only the sum, not who holds
//! what.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::counter::Counter;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Outbound {
    held: AtomicUsize,
    /// Subscribers and large answers refused because the budget was used up.
    pub refused: Counter,
    /// Subscribers and large answers dropped because the budget was exceeded.
    pub dropped: Counter,
}

/// What the budget asks for, from the mildest step on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing.
    Serve,
    /// Take no new subscribers.
    Refuse,
    /// Also drop answers, then the subscribers that are furthest behind.
    Drop,
}

impl Outbound {
    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// What a budget of so many bytes asks for now; above three quarters of it no new subscribers are taken.
    pub fn step(&self, budget: usize) -> Step {
        match self.held() {
            held if held > budget => Step::Drop,
            held if held > budget / 4 * 3 => Step::Refuse,
            _ => Step::Serve,
        }
    }

    /// Whether a budget of so many bytes has room for one more subscriber; counts the refusal if not.
    pub fn admits(&self, budget: usize) -> bool {
        self.counted(self.step(budget) == Step::Serve)
    }

    /// Whether a budget of so many bytes has room for one more large answer.
    ///
    /// Answers may use only half of it, so that a caller who requests many and reads them slowly does not keep
    /// subscribers out.
    pub fn admits_answer(&self, budget: usize) -> bool {
        self.counted(self.held() <= budget / 2)
    }

    fn counted(&self, admits: bool) -> bool {
        if !admits {
            self.refused.add(1);
        }
        admits
    }

    /// Records that one holder has `now` bytes instead of `before`.
    pub(super) fn change(&self, before: usize, now: usize) {
        // One wrapping addition, so that no reader sees a sum without this holder's bytes.
        self.held.fetch_add(now.wrapping_sub(before), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::{Outbound, Step};

    #[test]
    fn the_steps_of_a_budget() {
        let outbound = Outbound::default();
        for (held, step) in
            [(0, Step::Serve), (75, Step::Serve), (76, Step::Refuse), (100, Step::Refuse), (101, Step::Drop)]
        {
            outbound.change(outbound.held(), held);
            assert_eq!(outbound.step(100), step, "{held}");
        }
        outbound.change(101, 0);
        assert_eq!(outbound.held(), 0);
    }
}
