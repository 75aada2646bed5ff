//! The `memory` kind: one lock, one sequence, one ring for each concrete topic.
//!
//! Every operation is one short critical section; the follower is told inside it, which is what keeps it in seq order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use crate::config::keys;
use crate::directory::Directory;
use crate::footprint::{in_list, in_table, text};
use crate::message::{Epoch, Record, Seq, Time};
use crate::name::{MAX_NAME, Pattern, TopicName};
use crate::plugin::{BoxFuture, Draft, Follower, Page, Query, Receipt, Retention, Store, StoreError};
use crate::store::idempotency::{Keys, Reused, same_key_twice};
use crate::store::ring::Ring;
use crate::store::{Kind, Settings};

/// The kind.
pub const KIND: Kind = Kind {
    config: keys::Kind {
        name: "memory",
        doc: "in this process's memory: a restart begins a new log, and says so by a new epoch",
        keys: &[],
    },
    build: |settings| Arc::new(MemoryStore::new(settings)),
};

/// Forgotten topics whose evictions are remembered one by one; beyond that, for their family as a whole.
const MAX_FORGOTTEN: usize = 10_000;

/// What those that are remembered take at most.
pub const FORGOTTEN: usize = MAX_FORGOTTEN
    * (2 * text(MAX_NAME) + in_table(size_of::<(TopicName, Seq)>()) + in_list(size_of::<(Pattern, Seq)>()));

/// A log in memory.
pub struct MemoryStore {
    epoch: Epoch,
    log: Mutex<Log>,
    follower: OnceLock<Arc<dyn Follower>>,
}

struct Log {
    head: Seq,
    time: Time,
    rules: Directory<Arc<Retention>>,
    rings: HashMap<TopicName, Ring>,
    /// Concrete topics of each family that have a ring.
    families: HashMap<Arc<str>, usize>,
    forgotten: HashMap<TopicName, Seq>,
    forgotten_families: Vec<(Pattern, Seq)>,
    keys: Keys,
}

impl MemoryStore {
    /// A new, empty log with an epoch of its own.
    pub fn new(settings: &Settings) -> Self {
        Self::with_epoch(Epoch(getrandom::u32().unwrap_or_else(|_| std::process::id())), settings)
    }

    fn with_epoch(epoch: Epoch, settings: &Settings) -> Self {
        let log = Log {
            head: 0,
            time: Time(0),
            rules: Directory::default(),
            rings: HashMap::new(),
            families: HashMap::new(),
            forgotten: HashMap::new(),
            forgotten_families: Vec::new(),
            keys: Keys::new(settings),
        };
        Self { epoch, log: Mutex::new(log), follower: OnceLock::new() }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        // Every critical section leaves the log whole, so a panic elsewhere does not make it wrong.
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store for MemoryStore {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn head(&self) -> Seq {
        self.log().head
    }

    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        let mut log = self.log();
        let answer = log.append(drafts).map(|(receipts, records)| {
            if let Some(follower) = self.follower.get().filter(|_| !records.is_empty()) {
                follower.appended(&records);
            }
            receipts
        });
        drop(log);
        Box::pin(std::future::ready(answer))
    }

    fn follow(&self, follower: Arc<dyn Follower>) {
        assert!(self.follower.set(follower).is_ok(), "a store has one follower");
    }

    fn read<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(std::future::ready(Ok(self.log().read(query))))
    }

    fn retain(&self, rules: Directory<Retention>) {
        // There may be thousands: they are made and dropped while nobody waits for the lock.
        let rules = rules.map(Arc::new);
        let before = self.log().retain(rules);
        drop(before);
    }

    fn remember(&self, keys: usize, window: Duration) {
        self.log().keys.resize(keys, window);
    }

    fn sweep(&self, now: Time) {
        self.log().sweep(now);
    }

    fn retained(&self) -> Vec<(Pattern, usize)> {
        let log = self.log();
        let mut bytes: HashMap<Arc<str>, (Pattern, usize)> = HashMap::new();
        for ring in log.rings.values() {
            let declared = &ring.retention.declared;
            bytes.entry(declared.as_str().into()).or_insert_with(|| (declared.clone(), 0)).1 += ring.bytes();
        }
        bytes.into_values().collect()
    }
}

impl Log {
    fn append(&mut self, drafts: Vec<Draft>) -> Result<(Vec<Receipt>, Vec<Arc<Record>>), StoreError> {
        self.time = self.time.max(Time::now());
        let time = self.time;
        self.admit(&drafts)?;
        let mut receipts = Vec::with_capacity(drafts.len());
        let mut records = Vec::with_capacity(drafts.len());
        for draft in drafts {
            if let Ok(Some(receipt)) = self.keys.find(&draft) {
                receipts.push(receipt);
                continue;
            }
            self.head += 1;
            let receipt = Receipt { seq: self.head, time, duplicate: false };
            records.push(self.record(draft, receipt));
            receipts.push(receipt);
        }
        Ok((receipts, records))
    }

    /// Looks at everything before anything changes: an append is all or nothing.
    fn admit(&mut self, drafts: &[Draft]) -> Result<(), StoreError> {
        self.keys.expire(self.time);
        let mut new_topics: HashMap<&str, Vec<&TopicName>> = HashMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            let known = self.keys.find(draft).map_err(|Reused| StoreError::KeyReused(index))?;
            if known.is_some() || self.rings.contains_key(&draft.topic) {
                continue;
            }
            let Some(rules) = self.rules.resolve(&draft.topic).filter(|r| !r.declared.is_exact()) else { continue };
            let fresh = new_topics.entry(rules.declared.as_str()).or_default();
            if !fresh.contains(&&draft.topic) {
                fresh.push(&draft.topic);
            }
            let existing = self.families.get(rules.declared.as_str()).copied().unwrap_or(0);
            if existing + fresh.len() > rules.topics {
                return Err(StoreError::FamilyFull(index));
            }
        }
        same_key_twice(drafts)
    }

    fn record(&mut self, draft: Draft, receipt: Receipt) -> Arc<Record> {
        self.keys.remember(&draft, receipt);
        let Draft { topic, user, payload, .. } = draft;
        let record = |topic| Arc::new(Record { seq: receipt.seq, time: receipt.time, topic, user, payload });
        if let Some(ring) = self.rings.get_mut(&topic) {
            let record = record(ring.topic.clone());
            ring.push(record.clone());
            return record;
        }
        let record = record(topic.clone());
        if let Some(ring) = self.open_ring(topic) {
            ring.push(record.clone());
        }
        record
    }

    /// A topic without rules was removed while its message was on the way: it is delivered and not retained.
    fn open_ring(&mut self, topic: TopicName) -> Option<&mut Ring> {
        let evicted = self.forgotten.remove(&topic).unwrap_or_else(|| self.forgotten_for(&topic));
        match self.rules.resolve(&topic) {
            Some(rules) => {
                if !rules.declared.is_exact() {
                    *self.families.entry(rules.declared.as_str().into()).or_default() += 1;
                }
                let ring = Ring::new(topic.clone(), rules.clone(), evicted);
                Some(self.rings.entry(topic).insert_entry(ring).into_mut())
            }
            None => {
                self.forget(topic, self.head, None);
                None
            }
        }
    }

    fn forgotten_for(&self, topic: &TopicName) -> Seq {
        self.forgotten_families.iter().filter(|(p, _)| p.matches(topic)).map(|(_, seq)| *seq).max().unwrap_or(0)
    }

    fn read(&self, query: Query<'_>) -> Page {
        let mut page = Page { until: query.until, ..Page::default() };
        let mut heads = BinaryHeap::new();
        let mut tails = Vec::new();
        for (topic, ring) in self.matching(query.topics) {
            if ring.evicted() > query.after {
                page.evicted.push((Pattern::from(topic), ring.evicted()));
            }
            let mut records = ring.after(query.after);
            if let Some(record) = records.next().filter(|r| r.seq <= query.until) {
                heads.push((Reverse(record.seq), tails.len()));
                tails.push((record, records));
            }
        }
        self.forgotten_of(query, &mut page.evicted);
        while let Some((Reverse(seq), index)) = heads.pop() {
            if page.records.len() == query.limit {
                page.until = page.records.last().map_or(query.after, |r| r.seq);
                break;
            }
            let (record, rest) = &mut tails[index];
            page.records.push(Arc::clone(record));
            debug_assert_eq!(record.seq, seq);
            if let Some(next) = rest.next().filter(|r| r.seq <= query.until) {
                *record = next;
                heads.push((Reverse(next.seq), index));
            }
        }
        page
    }

    fn matching<'a>(&'a self, patterns: &'a [Pattern]) -> Vec<(&'a TopicName, &'a Ring)> {
        if patterns.iter().all(Pattern::is_exact) {
            let mut found: Vec<_> = patterns.iter().filter_map(|p| self.rings.get_key_value(p.as_str())).collect();
            found.sort_unstable_by_key(|(topic, _)| topic.as_str());
            found.dedup_by_key(|(topic, _)| topic.as_str());
            return found;
        }
        self.rings.iter().filter(|(topic, _)| patterns.iter().any(|p| p.matches(topic))).collect()
    }

    /// What topics without a ring had evicted. Those that only a wildcard reaches stand together as the wildcard, so
    /// that an answer is not longer than what exists.
    fn forgotten_of(&self, query: Query<'_>, evicted: &mut Vec<(Pattern, Seq)>) {
        for pattern in query.topics.iter().filter(|p| !self.rings.contains_key(p.as_str())) {
            let topics = match pattern.is_exact() {
                true => self.forgotten.get(pattern.as_str()).copied(),
                false => self.forgotten.iter().filter(|(t, _)| pattern.matches(t)).map(|(_, seq)| *seq).max(),
            };
            let families = self.forgotten_families.iter().filter(|(p, _)| p.overlaps(pattern)).map(|(_, seq)| *seq);
            if let Some(seq) = topics.into_iter().chain(families).max().filter(|seq| *seq > query.after) {
                evicted.push((pattern.clone(), seq));
            }
        }
    }

    /// Answers what counted before.
    fn retain(&mut self, rules: Directory<Arc<Retention>>) -> Directory<Arc<Retention>> {
        let before = std::mem::replace(&mut self.rules, rules);
        self.families.clear();
        let mut gone = Vec::new();
        for (topic, ring) in &mut self.rings {
            match self.rules.resolve(topic) {
                Some(rules) => {
                    ring.retain(rules.clone());
                    if !rules.declared.is_exact() {
                        *self.families.entry(rules.declared.as_str().into()).or_default() += 1;
                    }
                }
                None => gone.push(topic.clone()),
            }
        }
        for topic in gone {
            if let Some(ring) = self.rings.remove(&topic) {
                let (last, declared) = (ring.last(), ring.retention.declared.clone());
                self.forget(topic, last, Some(declared));
            }
        }
        before
    }

    fn sweep(&mut self, now: Time) {
        self.keys.expire(now);
        let mut idle = Vec::new();
        for (topic, ring) in &mut self.rings {
            ring.expire(now);
            if ring.is_empty() && !ring.retention.declared.is_exact() {
                idle.push(topic.clone());
            }
        }
        for topic in idle {
            if let Some(ring) = self.rings.remove(&topic) {
                let declared = ring.retention.declared.clone();
                if let Some(count) = self.families.get_mut(declared.as_str()) {
                    *count -= 1;
                }
                self.forget(topic, ring.evicted(), Some(declared));
            }
        }
    }

    fn forget(&mut self, topic: TopicName, evicted: Seq, declared: Option<Pattern>) {
        if evicted == 0 {
            return;
        }
        if self.forgotten.len() < MAX_FORGOTTEN {
            let seq = self.forgotten.entry(topic).or_default();
            *seq = evicted.max(*seq);
            return;
        }
        let family = declared.unwrap_or_else(|| Pattern::from(&topic));
        if let Some((_, seq)) = self.forgotten_families.iter_mut().find(|(p, _)| *p == family) {
            *seq = evicted.max(*seq);
        } else if self.forgotten_families.len() < MAX_FORGOTTEN {
            self.forgotten_families.push((family, evicted));
        } else {
            // Too many to tell apart: whatever was forgotten, somebody may have missed it.
            self.forgotten_families = vec![(Pattern::everything(), self.head)];
        }
    }
}
