//! Which gaps a subscriber has to be told while it reads from the store, and when.
//!
//! A gap is told at its end, in the order of the log, and names everything since the subscriber last had all of the
//! topic. What a topic had evicted before somebody asked for its `earliest` is no gap.

use std::collections::HashMap;
use std::sync::Arc;

use crate::message::Seq;
use crate::name::Pattern;

/// Gaps that were seen and are not told yet.
#[derive(Default)]
pub(super) struct Gaps {
    /// Where each open gap began.
    open: HashMap<Arc<str>, Seq>,
    /// What was gone before the subscriber asked.
    gone: HashMap<Arc<str>, Seq>,
}

/// One gap, as seqs: from exclusive, to inclusive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) topics: Pattern,
    pub(super) from: Seq,
    pub(super) to: Seq,
}

impl Gaps {
    /// Remembers what is gone already and nobody was promised.
    pub(super) fn forgive(&mut self, evicted: &[(Pattern, Seq)], asked: impl Fn(&Pattern) -> bool) {
        for (topics, seq) in evicted.iter().filter(|(topics, _)| asked(topics)) {
            self.gone.insert(topics.as_str().into(), *seq);
        }
    }

    /// Remembers a gap that will be told elsewhere.
    pub(super) fn told(&mut self, topics: &Pattern, to: Seq) {
        let gone = self.gone.entry(topics.as_str().into()).or_default();
        *gone = to.max(*gone);
    }

    /// Takes what a page says was evicted. `from` is where the subscriber stands for a topic, or `None` when it is not
    /// subscribed. `until` is how far the reading from the store goes, `complete` how far the page came; answers the
    /// gaps that are due, in order.
    pub(super) fn due(
        &mut self,
        evicted: Vec<(Pattern, Seq)>,
        from: impl Fn(&Pattern) -> Option<Seq>,
        until: Seq,
        complete: Seq,
    ) -> Vec<Gap> {
        let mut due = Vec::new();
        for (topics, seq) in evicted {
            // Behind `until` the window has what the topic has let go.
            let to = seq.min(until);
            let Some(stands) = from(&topics) else { continue };
            let key: Arc<str> = topics.as_str().into();
            let gone = self.gone.get(&key).copied().unwrap_or(0);
            let from = *self.open.entry(key.clone()).or_insert(stands.max(gone));
            if from >= to {
                self.open.remove(&key);
            } else if to <= complete {
                self.open.remove(&key);
                due.push(Gap { topics, from, to });
            }
        }
        due.sort_by(|a, b| (a.to, a.topics.as_str()).cmp(&(b.to, b.topics.as_str())));
        due
    }
}
