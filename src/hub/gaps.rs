//! Which gaps to tell a subscriber that reads from the store.
//!
//! A gap is told as soon as a page shows it, before the page's messages, rather than where it ends. Everything that the
//! subscriber gets afterwards has a higher seq, so it may leave at any id and resume all of its topics from there. What
//! a topic had evicted before somebody subscribed from its `earliest` is no gap.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::message::{Epoch, Position, Seq, raise};
use crate::name::Pattern;
use crate::notice::{GapReason, Notice};
use crate::patterns::Patterns;

/// Of what the cursor has passed, about so much is looked through for each page.
const PASS: usize = 256;

/// Most gaps that are due at a time: a reader that has stalled holds as many in memory.
pub(super) const DUE: usize = 4_096;

/// Gaps to tell, those that were told, and those that need not be. Drops everything that the cursor has passed.
#[derive(Default)]
pub(super) struct Gaps {
    /// What pages have [shown](crate::plugin::Page::seen) of evictions so far, and up to where gaps were made of that.
    seen: u64,
    until: Seq,
    /// Topics that have evicted more than that, each with the highest seq.
    beyond: HashMap<Pattern, Seq>,
    /// Gaps to tell before another page is read, in order. If there are too many, only the first ones, and the next page
    /// shows all again.
    due: VecDeque<Gap>,
    /// For each topic, the seq up to which its gaps were told.
    told: HashMap<Pattern, Seq>,
    /// For a subscription from `earliest` and a topic: what the topic had evicted before the subscription was made.
    forgiven: HashMap<(Pattern, Pattern), Seq>,
    /// True from a subscribe until what was evicted by then has been told, usually by one page, by several if marks of
    /// reloads cut it or it makes too many gaps. Gaps on these pages have reason `retention`, on later ones `lag`.
    asked: bool,
    /// Subscriptions from `earliest` whose first page has not been read, each with the head when it was made.
    earliest: Vec<(Pattern, Seq)>,
    /// Pages since it was last dropped what the cursor had passed.
    pages: usize,
}

/// One gap, from a seq, exclusive, to a seq, inclusive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Gap {
    topics: Pattern,
    from: Seq,
    to: Seq,
    reason: GapReason,
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

    /// What the next page need not show again.
    pub(super) fn seen(&self) -> u64 {
        self.seen
    }

    /// The gaps to tell before another page is read, in order.
    pub(super) fn due(&self) -> impl ExactSizeIterator<Item = &Gap> {
        self.due.iter()
    }

    /// Notes that so many of those that are due were told. Since they were looked up, nothing else has changed them.
    pub(super) fn note_told(&mut self, count: usize) {
        self.told.extend(self.due.drain(..count).map(|gap| (gap.topics, gap.to)));
        if self.due.len() <= self.due.capacity() / 2 {
            self.due.shrink_to_fit();
        }
    }

    /// Makes gaps of the evictions that a page shows.
    ///
    /// `subscriptions` are patterns with floors, `after` is the cursor, `until` is how far this page goes, and `most`
    /// how far reading from the store will go. A page ends at a reload's mark; evictions beyond it still belong to the
    /// same request.
    pub(super) fn note_page<'s>(
        &mut self,
        (shown, seen): (Vec<(Pattern, Seq)>, u64),
        subscriptions: impl Iterator<Item = (&'s Pattern, Seq)>,
        (after, until, most): (Seq, Seq, Seq),
    ) {
        // Pages that go no further have nothing new to tell of these.
        let mut evicted = if until > self.until { std::mem::take(&mut self.beyond) } else { HashMap::new() };
        shown.into_iter().for_each(|(topics, seq)| raise(&mut evicted, topics, seq));
        (self.seen, self.until) = (seen, until);
        let beyond = evicted.iter().filter(|(_, seq)| **seq > until);
        beyond.for_each(|(topics, seq)| raise(&mut self.beyond, topics.clone(), *seq));
        let reason = if self.asked { GapReason::Retention } else { GapReason::Lag };
        let earliest = std::mem::take(&mut self.earliest);
        self.forgive(earliest, &evicted);
        let mut due = self.gaps(evicted, subscriptions, (after, until), reason);
        if due.len() > DUE {
            due.truncate(DUE);
            self.look_again();
        } else {
            self.asked &= most > until && !self.beyond.is_empty();
        }
        self.due.extend(due);
    }

    /// Has the next page show all evictions again. What was told of them is not told again.
    fn look_again(&mut self) {
        (self.seen, self.until, self.beyond) = Default::default();
    }

    /// A subscription from `earliest` is promised what was retained when it was made. What was evicted by then, at most
    /// up to the head at that moment, is no gap.
    fn forgive(&mut self, earliest: Vec<(Pattern, Seq)>, evicted: &HashMap<Pattern, Seq>) {
        let mut made = Patterns::default();
        for (subscription, head) in earliest {
            made.insert(subscription.clone(), (subscription, head));
        }
        for (topics, seq) in evicted {
            made.any_containing(&topics.canonical(), |(subscription, head)| {
                self.forgiven.insert((subscription.clone(), topics.clone()), *seq.min(head));
                false
            });
        }
    }

    /// Forgets what these subscriptions were told: they have ended, or begin anew. The next page shows all evictions
    /// again, for them and the others.
    pub(super) fn forget(&mut self, subscriptions: &HashSet<Pattern>) {
        self.asked |= self.due.iter().any(|gap| gap.reason == GapReason::Retention);
        self.look_again();
        self.due = VecDeque::new();
        self.earliest.retain(|(subscription, _)| !subscriptions.contains(subscription));
        if self.told.is_empty() && self.forgiven.is_empty() {
            return;
        }
        self.forgiven.retain(|(of, _), _| !subscriptions.contains(of));
        let mut these = Patterns::default();
        subscriptions.iter().for_each(|subscription| these.insert(subscription.clone(), ()));
        self.told.retain(|topics, _| !these.any_overlapping(&topics.canonical(), |()| true));
    }

    /// Notes that the cursor has come here, and drops what it has passed; if that is much, not at each page.
    pub(super) fn pass(&mut self, cursor: Seq) {
        self.pages += 1;
        if self.told.len() + self.forgiven.len() + self.beyond.len() > self.pages * PASS {
            return;
        }
        self.pages = 0;
        self.told.retain(|_, to| *to > cursor);
        self.forgiven.retain(|_, seq| *seq > cursor);
        self.beyond.retain(|_, seq| *seq > cursor);
        self.told.shrink_to(self.told.len() * 2);
        self.forgiven.shrink_to(self.forgiven.len() * 2);
        self.beyond.shrink_to(self.beyond.len() * 2);
    }

    /// Roughly how many bytes this takes: with thousands of topics, more than the rest of the subscriber.
    pub(super) fn bytes(&self) -> usize {
        (self.told.capacity() + self.beyond.capacity()) * size_of::<(Pattern, Seq)>()
            + self.due.capacity() * size_of::<Gap>()
            + self.forgiven.capacity() * size_of::<((Pattern, Pattern), Seq)>()
    }

    /// At most one gap for each topic: what it has evicted after `until` is the matter of the next page or the window.
    fn gaps<'s>(
        &self,
        evicted: HashMap<Pattern, Seq>,
        subscriptions: impl Iterator<Item = (&'s Pattern, Seq)>,
        (after, until): (Seq, Seq),
        reason: GapReason,
    ) -> Vec<Gap> {
        if evicted.is_empty() {
            return Vec::new();
        }
        let mut floors = Patterns::default();
        subscriptions.for_each(|(pattern, floor)| floors.insert(pattern.clone(), (pattern, floor)));
        let mut due = Vec::new();
        for (topics, seq) in evicted {
            let mut promised = None;
            floors.any_containing(&topics.canonical(), |(pattern, floor)| {
                let stands = self.forgiven(pattern, &topics).max(*floor);
                promised = Some(promised.map_or(stands, |least: Seq| least.min(stands)));
                false
            });
            let Some(promised) = promised else { continue };
            let told = self.told.get(&topics).copied().unwrap_or(0);
            let (from, to) = (promised.max(after).max(told), seq.min(until));
            if from < to {
                due.push(Gap { topics, from, to, reason });
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

impl Gap {
    pub(super) fn notice(&self, epoch: Epoch) -> Notice {
        let [from, to] = [self.from, self.to].map(|seq| Position { epoch, seq });
        Notice::Gap { topics: self.topics.clone(), from, to, reason: self.reason }
    }
}

#[cfg(test)]
mod tests {
    use super::{DUE, Gap, Gaps, PASS};
    use crate::name::Pattern;
    use crate::notice::GapReason;

    fn p(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    fn gap(topics: &str, from: u64, to: u64) -> Gap {
        Gap { topics: p(topics), from, to, reason: GapReason::Lag }
    }

    fn lost(topics: &str, from: u64, to: u64) -> Gap {
        Gap { reason: GapReason::Retention, ..gap(topics, from, to) }
    }

    /// Shows a page that ends at 100.
    fn show(gaps: &mut Gaps, evicted: &[(&str, u64)], subscriptions: &[(&str, u64)], after: u64) {
        show_until(gaps, evicted, subscriptions, (after, 100));
    }

    fn show_until(gaps: &mut Gaps, evicted: &[(&str, u64)], subscriptions: &[(&str, u64)], (after, until): (u64, u64)) {
        let evicted = evicted.iter().map(|(topics, seq)| (p(topics), *seq)).collect();
        let subscriptions: Vec<_> = subscriptions.iter().map(|(pattern, floor)| (p(pattern), *floor)).collect();
        let subscriptions = subscriptions.iter().map(|(pattern, floor)| (pattern, *floor));
        gaps.note_page((evicted, gaps.seen() + 1), subscriptions, (after, until, 200));
    }

    fn tell(gaps: &mut Gaps) -> Vec<Gap> {
        let told: Vec<_> = gaps.due().cloned().collect();
        gaps.note_told(told.len());
        told
    }

    fn due(gaps: &mut Gaps, evicted: &[(&str, u64)], subscriptions: &[(&str, u64)], after: u64) -> Vec<Gap> {
        show(gaps, evicted, subscriptions, after);
        tell(gaps)
    }

    #[test]
    fn a_gap_is_told_once_and_goes_on_where_it_was_told() {
        let mut gaps = Gaps::default();
        assert_eq!(due(&mut gaps, &[("a", 50)], &[("a", 0)], 10), [gap("a", 10, 50)]);
        assert_eq!(due(&mut gaps, &[("a", 50)], &[("a", 0)], 20), []);
        assert_eq!(due(&mut gaps, &[("a", 70)], &[("a", 0)], 30), [gap("a", 50, 70)]);
        assert_eq!(due(&mut gaps, &[("a", 120)], &[("a", 0)], 80), [gap("a", 80, 100)], "the window has the rest");
    }

    #[test]
    fn the_subscription_that_was_promised_most_decides() {
        let mut gaps = Gaps::default();
        gaps.forgive(vec![(p("**"), 100)], &[(p("a"), 50), (p("b"), 60)].into());
        let subscriptions = [("a", 30), ("**", 0)];
        let told = due(&mut gaps, &[("a", 50), ("b", 60)], &subscriptions, 10);
        assert_eq!(told, [gap("a", 30, 50)], "`**` asked for what there was");
        gaps.forget(&[p("a")].into());
        assert_eq!(due(&mut gaps, &[("a", 50)], &[("a", 5)], 5), [gap("a", 5, 50)]);
    }

    #[test]
    fn what_the_cursor_has_passed_is_not_kept() {
        let mut gaps = Gaps::default();
        gaps.forgive(vec![(p("**"), 100)], &[(p("b"), 60)].into());
        let topics: Vec<_> = (0..DUE).map(|n| format!("f.{n}")).collect();
        let evicted: Vec<_> = topics.iter().map(|topic| (topic.as_str(), 50)).collect();
        assert_eq!(due(&mut gaps, &evicted, &[("f.*", 0)], 10).len(), DUE);
        assert!(gaps.bytes() > DUE * 24);
        gaps.pass(49);
        assert_eq!(due(&mut gaps, &evicted, &[("f.*", 0)], 49), []);
        // At one page in so many, since it is looked for one by one.
        (0..DUE / PASS + 1).for_each(|_| gaps.pass(60));
        assert_eq!(gaps.bytes(), 0);
    }

    /// The next page does not show it again.
    #[test]
    fn what_was_evicted_beyond_a_page_is_told_with_the_next_one() {
        let mut gaps = Gaps::default();
        gaps.ask(true);
        let subscriptions = [("**", 0)];
        show_until(&mut gaps, &[("a", 150), ("b", 90), ("f.*", 180)], &subscriptions, (10, 100));
        assert_eq!(tell(&mut gaps), [lost("b", 10, 90), lost("a", 10, 100), lost("f.*", 10, 100)]);
        show_until(&mut gaps, &[], &subscriptions, (60, 100));
        show_until(&mut gaps, &[("f.*", 120)], &subscriptions, (100, 140));
        assert_eq!(tell(&mut gaps), [lost("a", 100, 140), lost("f.*", 100, 140)]);
        show_until(&mut gaps, &[("f.*", 130)], &subscriptions, (140, 200));
        assert_eq!(tell(&mut gaps), [lost("a", 140, 150), lost("f.*", 140, 180)]);
        show_until(&mut gaps, &[("a", 190)], &subscriptions, (190, 200));
        assert_eq!(tell(&mut gaps), [], "the cursor is there");
        show_until(&mut gaps, &[("a", 195)], &subscriptions, (190, 200));
        assert_eq!(tell(&mut gaps), [gap("a", 190, 195)]);
    }

    /// Whoever did not read held a gap for each topic.
    #[test]
    fn of_too_many_gaps_the_last_are_left_to_later_pages() {
        let mut gaps = Gaps::default();
        gaps.ask(true);
        gaps.ask_earliest(p("g.*"), 50);
        let mut topics: Vec<_> = (1..3 * DUE - 1).map(|n| format!("f.{n}")).collect();
        topics.sort();
        let mut evicted: Vec<_> = topics.iter().map(|topic| (topic.as_str(), 50)).collect();
        evicted.extend([("g.a", 40), ("f.0", 150)]);
        let subscriptions = [("f.*", 0), ("g.*", 0)];
        let mut told = Vec::new();
        for page in 1..=3 {
            show(&mut gaps, &evicted, &subscriptions, 10);
            assert_eq!((gaps.due().len(), gaps.seen() == 0), (DUE, page < 3), "page {page}");
            told.extend(tell(&mut gaps));
            gaps.pass(10);
            evicted.push(("g.a", 60));
        }
        let mut expected: Vec<_> = topics.iter().map(|topic| lost(topic, 10, 50)).collect();
        expected.extend([lost("g.a", 40, 60), lost("f.0", 10, 100)]);
        assert!(told == expected, "each once, in order");
        show_until(&mut gaps, &[], &subscriptions, (100, 160));
        assert_eq!(tell(&mut gaps), [lost("f.0", 100, 150)], "asked for with the others");
        show_until(&mut gaps, &[("f.1", 155)], &subscriptions, (150, 160));
        assert_eq!(tell(&mut gaps), [gap("f.1", 150, 155)]);
    }

    #[test]
    fn a_gap_that_was_not_told_keeps_its_place_and_its_reason() {
        let mut gaps = Gaps::default();
        gaps.ask(true);
        show(&mut gaps, &[("a", 50), ("b", 60), ("c", 70)], &[("**", 0)], 10);
        gaps.note_told(1);
        show(&mut gaps, &[("d", 40)], &[("**", 0)], 10);
        let due: Vec<_> = gaps.due().cloned().collect();
        assert_eq!(due, [lost("b", 10, 60), lost("c", 10, 70), gap("d", 10, 40)]);
        gaps.forget(&[p("other")].into());
        assert_eq!((gaps.seen(), gaps.due().len()), (0, 0), "all is shown anew");
        show(&mut gaps, &[("a", 50), ("b", 60), ("c", 75)], &[("**", 0)], 10);
        assert_eq!(tell(&mut gaps), [lost("b", 10, 60), lost("c", 10, 75)]);
    }
}
