//! Reading, in turns: in each the log is locked for a few hundred records or rings, or a few patterns of the query, however
//! many there are; topics are matched with patterns in between.
//!
//! What is retained is read before what was evicted: so a message that goes in between is known to be gone, and taken
//! out of the page again, as if it had gone before. What is appended in between stands behind the page.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};
use std::sync::Arc;

use tokio::task::yield_now;

use crate::message::{Record, Seq};
use crate::name::{Pattern, TopicName};
use crate::plugin::{Page, Query};
use crate::store::memory::{Log, MemoryStore};
use crate::store::rings::Rings;

/// Records in a turn.
const TURN: usize = 256;
/// Patterns for which the families are looked through in a turn: each may reach all of thousands.
const PATTERNS: usize = 16;

/// Answers a query.
pub(super) async fn read(store: &MemoryStore, query: Query<'_>) -> Page {
    if query.topics.len() <= TURN && query.topics.iter().all(Pattern::is_exact) {
        return exact(&store.log(), query);
    }
    let (until, before, rings) = {
        let log = store.log();
        (query.until.min(log.head), log.rings.changes(), log.rings.count())
    };
    let page = Page { until: query.until, ..Page::default() };
    let mut reading = Reading { store, query, topics: Topics::of(query.topics), until, page };
    if let Some(after) = reading.follow(rings.max(TURN)).await {
        reading.merge(after).await;
    }
    reading.evicted().await;
    if store.log().rings.changes() != before {
        reading.look_again().await;
    }
    reading.page
}

/// Reads a few topics in one turn.
fn exact(log: &Log, query: Query<'_>) -> Page {
    let mut page = Page { until: query.until, ..Page::default() };
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
    while let Some(record) = merge.next(&log.rings, query.until, |_| true) {
        if end_if_full(&mut page, query) {
            break;
        }
        page.records.push(record);
    }
    page
}

/// Adds what topics without a ring had evicted: their `own`, where they are remembered one by one, and else that of their
/// families. Those that only a wildcard reaches stand together as the wildcard, so that an answer is not longer than what
/// exists.
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

/// Whether there is no room for one more, which then ends the page.
fn end_if_full(page: &mut Page, query: Query<'_>) -> bool {
    let is_full = page.records.len() == query.limit;
    if is_full {
        page.until = page.records.last().map_or(query.after, |record| record.seq);
    }
    is_full
}

struct Reading<'a> {
    store: &'a MemoryStore,
    query: Query<'a>,
    topics: Topics<'a>,
    /// The query's, but not behind the head as it was at first.
    until: Seq,
    page: Page,
}

/// What one topic has let go.
struct Evicted {
    topic: TopicName,
    seq: Seq,
    is_forgotten: bool,
}

impl Reading<'_> {
    /// Follows the order of the log for as long as it costs less than to look at every ring: a pattern that covers much
    /// finds a page within that. Else answers how far it came.
    async fn follow(&mut self, most: usize) -> Option<Seq> {
        let mut after = self.query.after;
        for _ in 0..most.div_ceil(TURN) {
            let found = self.retained(after);
            let is_last = found.len() < TURN;
            after = found.last().map_or(self.until, |record| record.seq);
            for record in found {
                if self.topics.any_matches(&record.topic) {
                    if end_if_full(&mut self.page, self.query) {
                        return None;
                    }
                    self.page.records.push(record);
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

    fn retained(&self, after: Seq) -> Vec<Arc<Record>> {
        let log = self.store.log();
        log.rings.order.after(after).take_while(|record| record.seq <= self.until).take(TURN).cloned().collect()
    }

    /// Reads on from a seq, by looking at every ring.
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
        let log = self.store.log();
        for (place, topic) in rings {
            // Another topic may stand there by now.
            if log.rings.ring(place).is_some_and(|ring| ring.topic == topic) {
                merge.add(&log.rings, place, after, self.until);
            }
        }
    }

    /// The rings of a block that retain something after a seq.
    fn rings(&self, block: usize, after: Seq) -> Option<Vec<(usize, TopicName)>> {
        let log = self.store.log();
        let rings = log.rings.block(block)?.filter(|(_, ring)| ring.last() > Some(after));
        Some(rings.map(|(place, ring)| (place, ring.topic.clone())).collect())
    }

    /// Takes some of what was merged; answers whether there may be more.
    fn take(&mut self, merge: &mut Merge) -> bool {
        let log = self.store.log();
        for _ in 0..TURN {
            let Some(record) = merge.next(&log.rings, self.until, |topic| self.topics.any_matches(topic)) else {
                return false;
            };
            if end_if_full(&mut self.page, self.query) {
                return false;
            }
            self.page.records.push(record);
        }
        true
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
                for pattern in self.topics.matching(&topic) {
                    let highest = together.entry(pattern).or_default();
                    *highest = seq.max(*highest);
                }
            }
            from = block + 1;
            yield_now().await;
        }
        let own = |pattern: &Pattern| together.get(pattern).copied().unwrap_or(0);
        for (turn, topics) in self.query.topics.chunks(PATTERNS).enumerate() {
            if turn > 0 {
                yield_now().await;
            }
            push_forgotten(&self.store.log().rings, Query { topics, ..self.query }, own, &mut self.page.evicted);
        }
    }

    /// The next block of topics that have evicted something, from a block on.
    fn evicted_in(&self, from: usize) -> Option<(usize, Vec<Evicted>)> {
        let log = self.store.log();
        let (block, rings) = log.rings.evicted_after(self.query.after, from)?;
        let evicted = rings.map(|ring| Evicted {
            topic: ring.topic.clone(),
            seq: ring.evicted(),
            is_forgotten: ring.is_forgotten(),
        });
        Some((block, evicted.collect()))
    }

    /// Something was evicted meanwhile, or has moved to another block. Adds exact topics whose ring stands in a block by now
    /// that was read before, keeps the higher seq of one that was seen twice, and drops the records that are told to be gone.
    async fn look_again(&mut self) {
        let mut evicted: HashMap<Pattern, Seq> = HashMap::new();
        let mut note = |topics, seq: Seq| {
            let highest = evicted.entry(topics).or_default();
            *highest = seq.max(*highest);
        };
        self.page.evicted.drain(..).for_each(|(topics, seq)| note(topics, seq));
        let exact: Vec<&str> = self.topics.exact.keys().copied().collect();
        for topics in exact.chunks(TURN) {
            self.evicted_of(topics).into_iter().for_each(|(topics, seq)| note(topics, seq));
            yield_now().await;
        }
        let is_told = |pattern: &Pattern, seq: Seq| evicted.get(pattern).is_some_and(|told| seq <= *told);
        // A topic that was forgotten is told as a pattern, which is no word about those that are not.
        let is_told = |Record { topic, seq, .. }: &Record| {
            is_told(&Pattern::from(topic), *seq) || self.topics.matching(topic).any(|pattern| is_told(pattern, *seq))
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

    /// What these exact topics have let go behind the place from which it is read.
    fn evicted_of(&self, topics: &[&str]) -> Vec<(Pattern, Seq)> {
        let log = self.store.log();
        let rings = topics.iter().filter_map(|topic| log.rings.find(topic));
        let evicted = rings.filter(|ring| ring.evicted() > self.query.after);
        evicted.map(|ring| (Pattern::from(&ring.topic), ring.evicted())).collect()
    }

    /// For each of the records whether it is retained no longer.
    fn have_gone(&self, records: &[Arc<Record>]) -> Vec<bool> {
        let log = self.store.log();
        let ring = |record: &Record| log.rings.find(record.topic.as_str());
        records.iter().map(|record| ring(record).is_none_or(|ring| record.seq <= ring.evicted())).collect()
    }
}

/// The patterns of a query, to be asked for thousands of topics.
struct Topics<'a> {
    exact: HashMap<&'a str, &'a Pattern>,
    wildcards: Vec<&'a Pattern>,
}

impl<'a> Topics<'a> {
    fn of(patterns: &'a [Pattern]) -> Self {
        let (exact, wildcards): (Vec<_>, Vec<_>) = patterns.iter().partition(|pattern| pattern.is_exact());
        Self { exact: exact.into_iter().map(|pattern| (pattern.as_str(), pattern)).collect(), wildcards }
    }

    fn matching(&self, topic: &TopicName) -> impl Iterator<Item = &'a Pattern> {
        let wildcards = self.wildcards.iter().filter(|pattern| pattern.matches(topic));
        self.exact.get(topic.as_str()).into_iter().chain(wildcards).copied()
    }

    fn any_matches(&self, topic: &TopicName) -> bool {
        self.exact.contains_key(topic.as_str()) || self.wildcards.iter().any(|pattern| pattern.matches(topic))
    }
}

/// The next message of each of several rings, by their places.
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
            // That one has gone meanwhile, and with it the whole ring, perhaps, for another.
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
