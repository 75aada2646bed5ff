//! Reading in short critical sections: each holds the log's lock for at most a few hundred records or rings, or for a
//! few patterns of the query. Topics are matched with patterns in between.
//!
//! Retained messages are read before evictions. So a message evicted in between is known to be gone, and is taken out
//! of the page again as if it had been evicted before. What is appended in between comes after the page.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};

use tokio::task::yield_now;

use crate::lock::lock;
use crate::message::{Record, Seq, raise};
use crate::name::{Pattern, TopicName};
use crate::patterns::Patterns;
use crate::plugin::{Page, Query};
use crate::store::log::Log;
use crate::store::rings::Rings;

/// Records read in one critical section.
const TURN: usize = 256;
/// Patterns whose families are looked up in one critical section: each may overlap thousands.
const PATTERNS: usize = 16;

/// Answers a query.
pub(super) async fn read(log: &Mutex<Log>, query: Query<'_>) -> Page {
    if query.topics.len() <= TURN && query.topics.iter().all(Pattern::is_exact) {
        return exact(&lock(log), query);
    }
    let (until, before, rings) = {
        let log = lock(log);
        (query.until.min(log.head), log.rings.changes(), log.rings.count())
    };
    let page = Page { until, seen: before, ..Page::default() };
    let mut reading = Reading { log, query, topics: Topics::of(query.topics), page, bytes: 0 };
    if let Some(after) = reading.in_order(rings.max(TURN)).await {
        reading.merge(after).await;
    }
    reading.evicted().await;
    if lock(log).rings.changes() != before {
        reading.look_again().await;
    }
    reading.page
}

/// Reads a few exact topics in one critical section.
fn exact(log: &Log, query: Query<'_>) -> Page {
    let mut page = Page { until: query.until.min(log.head), seen: log.rings.changes(), ..Page::default() };
    let mut merge = Merge::default();
    for topic in query.topics.iter().map(Pattern::as_str).collect::<HashSet<_>>() {
        let Some(place) = log.rings.place(topic) else { continue };
        merge.add(&log.rings, place, query.after, query.until);
        if let Some(ring) = log.rings.ring(place).filter(|ring| ring.evicted() > query.after) {
            page.evicted.push((Pattern::from(&ring.topic), ring.evicted()));
        }
    }
    let ring = |topic: &Pattern| log.rings.find(topic.as_str()).filter(|ring| ring.is_forgotten());
    let own = |topic: &Pattern| ring(topic).map_or(0, |ring| ring.evicted());
    push_forgotten(&log.rings, query, own, &mut page.evicted);
    let mut bytes = 0;
    while let Some(record) = merge.next(&log.rings, query.until, |_| true) {
        if push(record, query, &mut page, &mut bytes).is_break() {
            break;
        }
    }
    page
}

/// Adds the evictions of topics that have no ring.
///
/// They are each topic's `own` where it is remembered by itself, and else its family's. Topics that only a wildcard
/// reaches are reported together as the wildcard, so that the answer is not longer than what exists.
fn push_forgotten(rings: &Rings, query: Query<'_>, own: impl Fn(&Pattern) -> Seq, evicted: &mut Vec<(Pattern, Seq)>) {
    for pattern in query.topics {
        let is_known = rings.find(pattern.as_str()).is_some();
        let families = if is_known { 0 } else { rings.evicted_of_families(pattern) };
        let seq = families.max(own(pattern));
        if seq > query.after {
            evicted.push((pattern.clone(), seq));
        }
    }
}

/// Adds the next record to a page, or ends the page before it if there is no room. `bytes` is the size of those so far.
fn push(record: Arc<Record>, query: Query<'_>, page: &mut Page, bytes: &mut usize) -> ControlFlow<()> {
    *bytes += record.written_len();
    if page.records.len() == query.limit || (*bytes > query.bytes && !page.records.is_empty()) {
        page.until = page.records.last().map_or(query.after, |record| record.seq);
        return ControlFlow::Break(());
    }
    page.records.push(record);
    ControlFlow::Continue(())
}

struct Reading<'a> {
    log: &'a Mutex<Log>,
    query: Query<'a>,
    topics: Topics<'a>,
    /// Its `until` is not past the head at the start.
    page: Page,
    /// The size of its records, as [`Query::bytes`] bounds it.
    bytes: usize,
}

/// The evictions of one topic.
struct Evicted {
    topic: TopicName,
    seq: Seq,
    is_forgotten: bool,
}

impl Reading<'_> {
    /// Follows the order of the log, as long as that costs less than visiting every ring; usually a broad pattern fills
    /// a page within that.
    ///
    /// Returns where to go on by [`Reading::merge`], or `None` if the page is complete.
    async fn in_order(&mut self, most: usize) -> Option<Seq> {
        let (mut after, mut left, mut bytes) = (self.query.after, most, self.query.bytes);
        while left > 0 {
            let (found, is_last) = self.retained(after, bytes);
            left = left.saturating_sub(found.len());
            // If little of it is wanted, a few turns later this bounds nothing any more.
            bytes = bytes.saturating_mul(4);
            after = found.last().map_or(self.page.until, |record| record.seq);
            for record in found {
                if self.topics.any_matches(&record.topic) && self.push(record).is_break() {
                    return None;
                }
            }
            if is_last {
                return None;
            }
            if self.page.records.len() == self.query.limit {
                self.page.until = after;
                return None;
            }
            yield_now().await;
        }
        Some(after)
    }

    /// What follows a seq: about so many bytes, but at least one record if there is one; and whether that is all.
    fn retained(&self, after: Seq, bytes: usize) -> (Vec<Arc<Record>>, bool) {
        let log = lock(self.log);
        let mut records = log.rings.order.after(after).take_while(|record| record.seq <= self.page.until);
        let (mut found, mut size) = (Vec::new(), 0);
        while found.len() < TURN && size <= bytes {
            let Some(record) = records.next() else { return (found, true) };
            size += record.written_len();
            found.push(record.clone());
        }
        (found, false)
    }

    /// Reads on from a seq by visiting every ring.
    async fn merge(&mut self, after: Seq) {
        let mut merge = Merge::default();
        let mut block = 0;
        while let Some(rings) = self.rings(block, after) {
            self.add(
                &mut merge,
                rings.into_iter().filter(|(_, topic)| self.topics.any_matches(topic)).collect(),
                after,
            );
            block += 1;
            yield_now().await;
        }
        while self.take(&mut merge) {
            yield_now().await;
        }
    }

    fn add(&self, merge: &mut Merge, rings: Vec<(usize, TopicName)>, after: Seq) {
        let log = lock(self.log);
        for (place, topic) in rings {
            // Another topic may be at this place by now.
            if log.rings.ring(place).is_some_and(|ring| ring.topic == topic) {
                merge.add(&log.rings, place, after, self.page.until);
            }
        }
    }

    /// The rings of a block that retain something after a seq.
    fn rings(&self, block: usize, after: Seq) -> Option<Vec<(usize, TopicName)>> {
        let log = lock(self.log);
        let rings = log.rings.block(block)?.filter(|(_, ring)| ring.last() > Some(after));
        Some(rings.map(|(place, ring)| (place, ring.topic.clone())).collect())
    }

    /// Takes some records of the merge; returns whether there may be more.
    fn take(&mut self, merge: &mut Merge) -> bool {
        let log = lock(self.log);
        for _ in 0..TURN {
            let Some(record) = merge.next(&log.rings, self.page.until, |topic| self.topics.any_matches(topic)) else {
                return false;
            };
            if self.push(record).is_break() {
                return false;
            }
        }
        true
    }

    fn push(&mut self, record: Arc<Record>) -> ControlFlow<()> {
        push(record, self.query, &mut self.page, &mut self.bytes)
    }

    async fn evicted(&mut self) {
        let mut together: HashMap<&Pattern, Seq> = HashMap::new();
        let mut from = 0;
        while let Some((block, evicted)) = self.evicted_in(from) {
            for Evicted { topic, seq, is_forgotten } in evicted {
                if !self.topics.any_matches(&topic) {
                    continue;
                }
                if !is_forgotten {
                    self.page.evicted.push((Pattern::from(&topic), seq));
                    continue;
                }
                self.topics.any(&topic, |pattern| {
                    raise(&mut together, pattern, seq);
                    false
                });
            }
            from = block + 1;
            yield_now().await;
        }
        if lock(self.log).rings.families_changed() <= self.query.seen {
            self.page.evicted.extend(together.into_iter().map(|(pattern, seq)| (pattern.clone(), seq)));
            return;
        }
        let own = |pattern: &Pattern| together.get(pattern).copied().unwrap_or(0);
        for (turn, topics) in self.query.topics.chunks(PATTERNS).enumerate() {
            if turn > 0 {
                yield_now().await;
            }
            push_forgotten(&lock(self.log).rings, Query { topics, ..self.query }, own, &mut self.page.evicted);
        }
    }

    /// The next block, starting at `from`, with topics that have evicted something.
    fn evicted_in(&self, from: usize) -> Option<(usize, Vec<Evicted>)> {
        let log = lock(self.log);
        let (block, rings) = log.rings.evicted_after(self.query.after, self.query.seen, from)?;
        let evicted = rings.map(|ring| Evicted {
            topic: ring.topic.clone(),
            seq: ring.evicted(),
            is_forgotten: ring.is_forgotten(),
        });
        Some((block, evicted.collect()))
    }

    /// Corrects the page after rings changed while it was read: something was evicted, or moved to another block.
    ///
    /// Adds exact topics whose ring moved to a block that had been read, keeps the higher seq where a topic was seen
    /// twice, and drops the records that are reported as evicted.
    async fn look_again(&mut self) {
        let mut evicted: HashMap<Pattern, Seq> = HashMap::new();
        let mut note = |topics, seq| raise(&mut evicted, topics, seq);
        self.page.evicted.drain(..).for_each(|(topics, seq)| note(topics, seq));
        let exact: Vec<&str> = self.topics.exact.keys().copied().collect();
        for topics in exact.chunks(TURN) {
            self.evicted_of(topics).into_iter().for_each(|(topics, seq)| note(topics, seq));
            yield_now().await;
        }
        let is_told = |pattern: &Pattern, seq: Seq| evicted.get(pattern).is_some_and(|told| seq <= *told);
        // A forgotten topic is reported as a pattern, which does not say that the other topics of the pattern lost
        // anything.
        let is_told = |Record { topic, seq, .. }: &Record| {
            is_told(&Pattern::from(topic), *seq) || self.topics.any(topic, |pattern| is_told(pattern, *seq))
        };
        let mut kept = Vec::with_capacity(self.page.records.len());
        for records in std::mem::take(&mut self.page.records).chunks(TURN) {
            let gone = self.have_gone(records);
            let records = records.iter().zip(gone).filter(|(record, gone)| !(*gone && is_told(record)));
            kept.extend(records.map(|(record, _)| record.clone()));
            yield_now().await;
        }
        self.page.records = kept;
        self.page.evicted.extend(evicted);
    }

    /// The evictions of these exact topics after the start of the query.
    fn evicted_of(&self, topics: &[&str]) -> Vec<(Pattern, Seq)> {
        let log = lock(self.log);
        let rings = topics.iter().filter_map(|topic| log.rings.find(topic));
        let evicted = rings.filter(|ring| ring.evicted() > self.query.after);
        evicted.map(|ring| (Pattern::from(&ring.topic), ring.evicted())).collect()
    }

    /// For each record, whether it is no longer retained.
    fn have_gone(&self, records: &[Arc<Record>]) -> Vec<bool> {
        let log = lock(self.log);
        let ring = |record: &Record| log.rings.find(record.topic.as_str());
        records.iter().map(|record| ring(record).is_none_or(|ring| record.seq <= ring.evicted())).collect()
    }
}

/// The patterns of a query, arranged to be matched with thousands of topics.
struct Topics<'a> {
    exact: HashMap<&'a str, &'a Pattern>,
    wildcards: Patterns<&'a Pattern>,
}

impl<'a> Topics<'a> {
    fn of(patterns: &'a [Pattern]) -> Self {
        let (mut exact, mut wildcards) = (HashMap::new(), Patterns::default());
        for pattern in patterns {
            match pattern.is_exact() {
                true => _ = exact.insert(pattern.as_str(), pattern),
                false => wildcards.insert(pattern.clone(), pattern),
            }
        }
        Self { exact, wildcards }
    }

    /// Whether this holds for any pattern that matches a topic. Asks until it does.
    fn any(&self, topic: &TopicName, mut is_it: impl FnMut(&'a Pattern) -> bool) -> bool {
        self.exact.get(topic.as_str()).is_some_and(|pattern| is_it(pattern))
            || self.wildcards.any_containing(topic.as_str(), |pattern| is_it(pattern))
    }

    fn any_matches(&self, topic: &TopicName) -> bool {
        self.any(topic, |_| true)
    }
}

/// Merges rings in seq order: holds the seq of each one's next message, and its place.
#[derive(Default)]
struct Merge(BinaryHeap<Reverse<(Seq, usize)>>);

impl Merge {
    fn add(&mut self, rings: &Rings, place: usize, after: Seq, until: Seq) {
        let next = rings.ring(place).and_then(|ring| ring.after(after).next());
        self.0.extend(next.filter(|record| record.seq <= until).map(|record| Reverse((record.seq, place))));
    }

    fn next(&mut self, rings: &Rings, until: Seq, is_wanted: impl Fn(&TopicName) -> bool) -> Option<Arc<Record>> {
        while let Some(Reverse((seq, place))) = self.0.pop() {
            let Some(ring) = rings.ring(place) else { continue };
            let mut records = ring.after(seq - 1);
            let Some(record) = records.next() else { continue };
            if record.seq == seq {
                let next = records.next().filter(|next| next.seq <= until);
                self.0.extend(next.map(|next| Reverse((next.seq, place))));
                return Some(record.clone());
            }
            // That record was evicted meanwhile, and perhaps another topic's ring took the place.
            if record.seq <= until && is_wanted(&ring.topic) {
                self.0.push(Reverse((record.seq, place)));
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "reading_tests.rs"]
mod tests;
