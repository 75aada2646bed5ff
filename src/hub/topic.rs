//! A declared topic across reloads: its counters, which live as long as its name stays declared.

use crate::counter::Counter;
use crate::name::Pattern;
use crate::problem::{Refusal, SLUGS};

/// A declared topic or family, for as long as some configuration declares it.
#[derive(Debug)]
pub struct Topic {
    /// The declared name: the only label of its metrics.
    pub name: Pattern,
    /// Messages appended.
    pub published: Counter,
    /// Messages written or handed to subscribers.
    pub delivered: Counter,
    /// Gaps told.
    pub gaps: Counter,
    /// Publishes refused.
    pub refused: RefusedCounts,
}

impl Topic {
    /// Creates a topic whose counters are all zero.
    pub fn new(name: Pattern) -> Self {
        Self {
            name,
            published: Counter::default(),
            delivered: Counter::default(),
            gaps: Counter::default(),
            refused: RefusedCounts::default(),
        }
    }
}

/// How many publishes were refused, by problem.
#[derive(Debug, Default)]
pub struct RefusedCounts([Counter; SLUGS.len()]);

impl RefusedCounts {
    /// Counts one refusal.
    pub fn count(&self, refusal: &Refusal) {
        if let Some(at) = SLUGS.iter().position(|slug| *slug == refusal.slug()) {
            self.0[at].add(1);
        }
    }

    /// The problems that occurred, each with its count.
    pub fn by_problem(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SLUGS.into_iter().zip(self.0.iter().map(Counter::get)).filter(|(_, n)| *n > 0)
    }
}
