//! What all connections together hold that their peers have not taken: bytes that one budget bounds.
//!
//! One slow reader holds a frame at the most; tens of thousands of them hold as many. Knows the number and not whose it
//! is.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::counter::Counter;

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Outbound {
    held: AtomicUsize,
    /// Subscribers and large answers that were refused for want of room.
    pub refused: Counter,
    /// Subscribers and large answers that were dropped for want of room.
    pub dropped: Counter,
}

/// What the budget asks for, from the mildest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// Nothing.
    Serve,
    /// Take no new subscribers.
    Refuse,
    /// And drop answers, then the subscribers that are the furthest behind.
    Drop,
}

impl Outbound {
    /// Bytes held now.
    pub fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// What a budget of so many bytes asks for now: from three quarters of it on nobody new is taken.
    pub fn step(&self, budget: usize) -> Step {
        match self.held() {
            held if held > budget => Step::Drop,
            held if held > budget / 4 * 3 => Step::Refuse,
            _ => Step::Serve,
        }
    }

    /// Whether there is room for one more subscriber within a budget of so many bytes; counts the one for whom there is not.
    pub fn admits(&self, budget: usize) -> bool {
        self.counted(self.step(budget) == Step::Serve)
    }

    /// Whether there is room for one more large answer: in half of the budget, so that whoever asks for answers and reads
    /// them drop by drop does not keep subscribers out.
    pub fn admits_answer(&self, budget: usize) -> bool {
        self.counted(self.held() <= budget / 2)
    }

    fn counted(&self, admits: bool) -> bool {
        if !admits {
            self.refused.add(1);
        }
        admits
    }

    /// One holder has `now` bytes instead of `before`.
    pub(super) fn change(&self, before: usize, now: usize) {
        // In one addition, wrapping, so that the sum is never seen without it.
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
