//! Which gaps a subscriber has to be told while it reads from the store.
//!
//! A gap is told as soon as a page shows it, before the page's messages, and not where it ends: whatever a subscriber
//! gets after it has a higher seq, so that it may leave at any id it got and resume all of its topics from there. What a
//! topic had evicted before somebody asked for its `earliest` is no gap.

use std::collections::HashMap;
use std::sync::Arc;

use crate::message::Seq;
use crate::name::Pattern;

/// What has been told, and what need not be.
#[derive(Default)]
pub(super) struct Gaps {
    /// Up to where the gaps of a topic have been told.
    told: HashMap<Arc<str>, Seq>,
    /// For a subscription from the earliest: what was gone of a topic before it asked.
    gone: HashMap<(Arc<str>, Arc<str>), Seq>,
}

/// One gap, as seqs: from exclusive, to inclusive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) topics: Pattern,
    pub(super) from: Seq,
    pub(super) to: Seq,
}

impl Gaps {
    /// Remembers what is gone already and this subscription was never promised: nothing that came after it was made,
    /// at `head`, whatever has gone by the time its first page is read.
    pub(super) fn forgive(&mut self, subscription: &Pattern, head: Seq, evicted: &[(Pattern, Seq)]) {
        for (topics, seq) in evicted.iter().filter(|(topics, _)| subscription.contains(topics)) {
            self.gone.insert((key(subscription), key(topics)), head.min(*seq));
        }
    }

    /// A subscription begins anew or has ended: what it was told is no longer known to it.
    pub(super) fn forget(&mut self, subscription: &Pattern) {
        self.gone.retain(|(of, _), _| **of != *subscription.as_str());
        self.told.retain(|topics, _| Pattern::parse(topics).is_ok_and(|topics| !subscription.overlaps(&topics)));
    }

    /// A gap could not be told after all.
    pub(super) fn untold(&mut self, topics: &Pattern, from: Seq) {
        self.told.insert(key(topics), from);
    }

    /// Takes what a page says was evicted; answers the gaps to tell, in order. `subscriptions` are their patterns and
    /// floors, `after` is the cursor, `until` is how far the reading from the store goes: behind it the window has what
    /// the topic has let go.
    pub(super) fn due<'s>(
        &mut self,
        evicted: Vec<(Pattern, Seq)>,
        subscriptions: impl Iterator<Item = (&'s Pattern, Seq)> + Clone,
        after: Seq,
        until: Seq,
    ) -> Vec<Gap> {
        let mut due = Vec::new();
        for (topics, seq) in evicted {
            let of = subscriptions.clone().filter(|(pattern, _)| pattern.contains(&topics));
            let stands = of.map(|(pattern, floor)| self.gone(pattern, &topics).max(floor)).min();
            let Some(stands) = stands else { continue };
            let told = self.told.get(topics.as_str()).copied().unwrap_or(0);
            let (from, to) = (stands.max(after).max(told), seq.min(until));
            if from < to {
                self.told.insert(key(&topics), to);
                due.push(Gap { topics, from, to });
            }
        }
        due.sort_by(|a, b| (a.to, a.topics.as_str()).cmp(&(b.to, b.topics.as_str())));
        due
    }

    fn gone(&self, subscription: &Pattern, topics: &Pattern) -> Seq {
        if self.gone.is_empty() {
            return 0;
        }
        self.gone.get(&(key(subscription), key(topics))).copied().unwrap_or(0)
    }
}

fn key(pattern: &Pattern) -> Arc<str> {
    pattern.as_str().into()
}

#[cfg(test)]
mod tests {
    use super::{Gap, Gaps};
    use crate::name::Pattern;

    fn p(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    fn due(gaps: &mut Gaps, evicted: &[(&str, u64)], subscriptions: &[(&str, u64)], after: u64) -> Vec<Gap> {
        let evicted = evicted.iter().map(|(topics, seq)| (p(topics), *seq)).collect();
        let subscriptions: Vec<_> = subscriptions.iter().map(|(pattern, floor)| (p(pattern), *floor)).collect();
        gaps.due(evicted, subscriptions.iter().map(|(pattern, floor)| (pattern, *floor)), after, 100)
    }

    #[test]
    fn a_gap_is_told_once_and_goes_on_where_it_was_told() {
        let mut gaps = Gaps::default();
        let gap = |topics, from, to| Gap { topics: p(topics), from, to };
        assert_eq!(due(&mut gaps, &[("a", 50)], &[("a", 0)], 10), [gap("a", 10, 50)]);
        assert_eq!(due(&mut gaps, &[("a", 50)], &[("a", 0)], 20), []);
        assert_eq!(due(&mut gaps, &[("a", 70)], &[("a", 0)], 30), [gap("a", 50, 70)]);
        assert_eq!(due(&mut gaps, &[("a", 120)], &[("a", 0)], 80), [gap("a", 80, 100)], "the window has the rest");
    }

    #[test]
    fn the_subscription_that_was_promised_most_decides() {
        let mut gaps = Gaps::default();
        gaps.forgive(&p("**"), 100, &[(p("a"), 50), (p("b"), 60)]);
        let subscriptions = [("a", 30), ("**", 0)];
        let told = due(&mut gaps, &[("a", 50), ("b", 60)], &subscriptions, 10);
        assert_eq!(told, [Gap { topics: p("a"), from: 30, to: 50 }], "`**` asked for what there was");
        gaps.forget(&p("a"));
        assert_eq!(due(&mut gaps, &[("a", 50)], &[("a", 5)], 5), [Gap { topics: p("a"), from: 5, to: 50 }]);
    }
}
