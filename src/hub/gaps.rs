//! Which gaps to tell a subscriber that reads from the store.
//!
//! A gap is told as soon as a page shows it, before the page's messages, rather than where it ends. Everything that the
//! subscriber gets afterwards has a higher seq, so it may leave at any id and resume all of its topics from there. What
//! a topic had evicted before somebody subscribed from its `earliest` is no gap.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use crate::message::Seq;
use crate::name::Pattern;
use crate::notice::GapReason;
use crate::patterns::{Meter, Patterns};

/// Gaps that were told, and those that need not be. Drops everything that the cursor has passed.
#[derive(Default)]
pub(super) struct Gaps {
    /// For each topic, the seq up to which its gaps were told.
    told: HashMap<Pattern, Seq>,
    /// For a subscription from `earliest` and a topic: what the topic had evicted before the subscription was made.
    forgiven: HashMap<(Pattern, Pattern), Seq>,
    /// True from a subscribe until what was evicted by then has been told, usually by one page, by several if marks of
    /// reloads cut it. Gaps on these pages have reason `retention`, on later ones `lag`.
    asked: bool,
    /// Subscriptions from `earliest` whose first page has not been read, each with the head when it was made.
    earliest: Vec<(Pattern, Seq)>,
}

/// One gap, from a seq, exclusive, to a seq, inclusive.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) topics: Pattern,
    pub(super) from: Seq,
    pub(super) to: Seq,
}

impl Gaps {
    /// Notes a new subscription; `is_older` if it starts before the head.
    pub(super) fn ask(&mut self, is_older: bool) {
        self.asked |= is_older;
    }

    /// Notes a subscription from `earliest`, made at this head.
    pub(super) fn ask_earliest(&mut self, subscription: Pattern, head: Seq) {
        self.earliest.push((subscription, head));
    }

    /// Notes that the cursor is in the window: whatever is evicted from here on was retained when it was asked for.
    pub(super) fn reached_window(&mut self) {
        (self.asked, self.earliest) = Default::default();
    }

    /// Notes that a gap with this reason was not sent after all: the next page shows it again.
    pub(super) fn unsent(&mut self, reason: GapReason) {
        self.asked |= reason == GapReason::Retention;
    }

    /// The gaps that a page shows, in the order to tell them, and their reason.
    ///
    /// `subscriptions` are patterns with floors, `after` is the cursor, `until` is how far this page goes, and `most`
    /// how far reading from the store will go. A page ends at a reload's mark; evictions beyond it still belong to the
    /// same request.
    pub(super) fn of_page<'s>(
        &mut self,
        evicted: Vec<(Pattern, Seq)>,
        subscriptions: impl Iterator<Item = (&'s Pattern, Seq)>,
        (after, until, most): (Seq, Seq, Seq),
    ) -> (Vec<Gap>, GapReason) {
        let reason = if self.asked { GapReason::Retention } else { GapReason::Lag };
        self.asked &= evicted.iter().any(|(_, seq)| *seq.min(&most) > until);
        let earliest = std::mem::take(&mut self.earliest);
        self.forgive(earliest, &evicted);
        (self.due(evicted, subscriptions, after, until), reason)
    }

    /// A subscription from `earliest` is promised what was retained when it was made. What was evicted by then, at most
    /// up to the head at that moment, is no gap.
    fn forgive(&mut self, earliest: Vec<(Pattern, Seq)>, evicted: &[(Pattern, Seq)]) {
        let mut made = Patterns::default();
        for (subscription, head) in earliest {
            made.insert(subscription.clone(), (subscription, head));
        }
        for (topics, seq) in evicted {
            _ = made.containing(&topics.canonical(), |(subscription, head)| {
                self.forgiven.insert((subscription.clone(), topics.clone()), *seq.min(head));
                ControlFlow::Continue(())
            });
        }
    }

    /// Forgets what these subscriptions were told: they have ended, or begin anew.
    pub(super) fn forget(&mut self, subscriptions: &HashSet<Pattern>) {
        self.earliest.retain(|(subscription, _)| !subscriptions.contains(subscription));
        if self.told.is_empty() && self.forgiven.is_empty() {
            return;
        }
        let mut these = Patterns::default();
        subscriptions.iter().for_each(|subscription| these.insert(subscription.clone(), ()));
        self.forgiven.retain(|(of, _), _| these.get(of).is_none());
        let found = |(): &()| ControlFlow::Break(());
        self.told
            .retain(|topics, _| these.overlapping(&topics.canonical(), &mut Meter(usize::MAX), found).is_continue());
    }

    /// Notes that a gap was told.
    pub(super) fn note_told(&mut self, topics: &Pattern, to: Seq) {
        self.told.insert(topics.clone(), to);
    }

    /// Notes that the cursor has come here, and drops what it has passed.
    pub(super) fn pass(&mut self, cursor: Seq) {
        self.told.retain(|_, to| *to > cursor);
        self.forgiven.retain(|_, seq| *seq > cursor);
        let (told, forgiven) = (self.told.len() * 2, self.forgiven.len() * 2);
        self.told.shrink_to(told);
        self.forgiven.shrink_to(forgiven);
    }

    /// Roughly how many bytes this takes: with thousands of topics, more than the rest of the subscriber.
    pub(super) fn bytes(&self) -> usize {
        self.told.capacity() * size_of::<(Pattern, Seq)>()
            + self.forgiven.capacity() * size_of::<((Pattern, Pattern), Seq)>()
    }

    /// At most one gap for each topic: what it has evicted after `until` is the matter of the next page or the window.
    fn due<'s>(
        &self,
        evicted: Vec<(Pattern, Seq)>,
        subscriptions: impl Iterator<Item = (&'s Pattern, Seq)>,
        after: Seq,
        until: Seq,
    ) -> Vec<Gap> {
        if evicted.is_empty() {
            return Vec::new();
        }
        let mut floors = Patterns::default();
        subscriptions.for_each(|(pattern, floor)| floors.insert(pattern.clone(), (pattern, floor)));
        let mut due = Vec::new();
        for (topics, seq) in evicted {
            let mut promised = None;
            _ = floors.containing(&topics.canonical(), |(pattern, floor)| {
                let stands = self.forgiven(pattern, &topics).max(*floor);
                promised = Some(promised.map_or(stands, |least: Seq| least.min(stands)));
                ControlFlow::Continue(())
            });
            let Some(promised) = promised else { continue };
            let told = self.told.get(&topics).copied().unwrap_or(0);
            let (from, to) = (promised.max(after).max(told), seq.min(until));
            if from < to {
                due.push(Gap { topics, from, to });
            }
        }
        due.sort_by(|a, b| (a.to, a.topics.as_str()).cmp(&(b.to, b.topics.as_str())));
        due
    }

    fn forgiven(&self, subscription: &Pattern, topics: &Pattern) -> Seq {
        if self.forgiven.is_empty() {
            return 0;
        }
        self.forgiven.get(&(subscription.clone(), topics.clone())).copied().unwrap_or(0)
    }
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
        let due = gaps.due(evicted, subscriptions.iter().map(|(pattern, floor)| (pattern, *floor)), after, 100);
        due.iter().for_each(|gap| gaps.note_told(&gap.topics, gap.to));
        due
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
        gaps.forgive(vec![(p("**"), 100)], &[(p("a"), 50), (p("b"), 60)]);
        let subscriptions = [("a", 30), ("**", 0)];
        let told = due(&mut gaps, &[("a", 50), ("b", 60)], &subscriptions, 10);
        assert_eq!(told, [Gap { topics: p("a"), from: 30, to: 50 }], "`**` asked for what there was");
        gaps.forget(&[p("a")].into());
        assert_eq!(due(&mut gaps, &[("a", 50)], &[("a", 5)], 5), [Gap { topics: p("a"), from: 5, to: 50 }]);
    }

    #[test]
    fn what_the_cursor_has_passed_is_not_kept() {
        let mut gaps = Gaps::default();
        gaps.forgive(vec![(p("**"), 100)], &[(p("b"), 60)]);
        let topics: Vec<_> = (0..5_000).map(|n| format!("f.{n}")).collect();
        let evicted: Vec<_> = topics.iter().map(|topic| (topic.as_str(), 50)).collect();
        assert_eq!(due(&mut gaps, &evicted, &[("f.*", 0)], 10).len(), 5_000);
        assert!(gaps.bytes() > 5_000 * 24);
        gaps.pass(49);
        assert_eq!(due(&mut gaps, &evicted, &[("f.*", 0)], 49), []);
        gaps.pass(60);
        assert_eq!(gaps.bytes(), 0);
    }
}
