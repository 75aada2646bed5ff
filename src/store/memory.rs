//! The `memory` kind: one lock, one sequence, one ring for each concrete topic.
//!
//! An append is one short critical section. It calls the follower inside, which keeps the follower in seq order. A read
//! of many topics takes several short ones (`reading.rs`), so that no publisher waits for a long read.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::time::sleep;

use crate::directory::Directory;
use crate::lock::lock;
use crate::message::{Epoch, Record, Seq};
use crate::name::{Pattern, TopicName};
use crate::plugin::{BoxFuture, Draft, Follower, KeyCounts, Page, Query, Receipt, Retention, Store, StoreError};
use crate::store::Kind;
use crate::store::idempotency::{Digests, Keys, Reused, same_key_twice};
use crate::store::reading::read;
use crate::store::ring::Rules;
use crate::store::rings::Rings;
use crate::time::Time;

/// Keeps the log in this process's memory: a restart begins a new, empty log with a new epoch.
pub const KIND: Kind = Kind { name: "memory", build: || Arc::new(MemoryStore::default()) };

/// How far, in milliseconds, the clock may step back before its new time is adopted. After a smaller step messages keep
/// the last time until the clock has caught up, so that times follow the order of the log.
const STEP_BACK: i64 = 60_000;

/// How many topics are looked at and messages evicted, together, in one critical section: a millisecond of waiting for
/// publishers, or some more if the messages are in no cache.
const SWEEP: usize = 4_096;

/// To forget a topic counts as so many more: it leaves several tables.
const FORGET: usize = 8;

/// How long a sweep lets go of the lock between such sections. Whoever waits for it takes a while to wake up, and would
/// find it taken again, many times over.
const PAUSE: Duration = Duration::from_millis(1);

/// A log in memory.
pub struct MemoryStore {
    epoch: Epoch,
    log: Mutex<Log>,
    /// Held by a sweep: each of two at once would use the pauses of the other.
    sweeping: tokio::sync::Mutex<()>,
    follower: OnceLock<Arc<dyn Follower>>,
}

pub(super) struct Log {
    pub(super) head: Seq,
    time: Time,
    rules: Arc<Directory<Arc<Rules>>>,
    pub(super) rings: Rings,
    keys: Keys,
}

/// A new, empty log with an epoch of its own.
impl Default for MemoryStore {
    fn default() -> Self {
        let epoch = Epoch(getrandom::u32().unwrap_or_else(|_| std::process::id()));
        let (rules, rings, keys) = Default::default();
        let log = Mutex::new(Log { head: 0, time: Time(0), rules, rings, keys });
        Self { epoch, log, sweeping: Default::default(), follower: OnceLock::new() }
    }
}

impl MemoryStore {
    pub(super) fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
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
        let digests = Digests::of(&drafts);
        let mut log = self.log();
        let answer = log.append(drafts, &digests, Time::now()).map(|(receipts, records)| {
            if let Some(follower) = self.follower.get().filter(|_| !records.is_empty()) {
                follower.appended(&records);
            }
            receipts
        });
        drop(log);
        Box::pin(std::future::ready(answer))
    }

    fn follow(&self, after: Seq, follower: Arc<dyn Follower>) {
        assert_eq!(after, self.head(), "nobody appends before it is followed");
        assert!(self.follower.set(follower).is_ok(), "a store has one follower");
    }

    fn read<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move { Ok(read(self, query).await) })
    }

    fn retain(&self, rules: Directory<Retention>) {
        // There may be thousands of rules, so they are built and dropped outside the lock.
        let before = self.log().rules.clone();
        let rules = rules.map(|retention| {
            let before = before.get(&retention.declared).cloned();
            Arc::new(Rules::new(retention, before.as_deref()))
        });
        self.log().retain(Arc::new(rules));
    }

    fn remember(&self, keys: usize, window: Duration) {
        self.log().keys.resize(keys, window, Time::now());
    }

    fn keys(&self) -> KeyCounts {
        self.log().keys.counts()
    }

    fn sweep(&self, now: Time) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let _sweeping = self.sweeping.lock().await;
            while self.log().keys.forget_some(now) {
                sleep(PAUSE).await;
            }
            // There may be a hundred thousand rings, and a million messages in one of them.
            let mut next = self.log().sweep(0, now);
            while let Some(place) = next {
                sleep(PAUSE).await;
                next = self.log().sweep(place, now);
            }
        })
    }

    fn retained(&self) -> Vec<(Pattern, usize)> {
        // Holds the lock only to clone the pointer, so that publishers do not wait for the whole listing.
        let rules = self.log().rules.clone();
        rules.iter().map(|rules| (rules.retention.declared.clone(), rules.bytes())).collect()
    }
}

impl Log {
    fn append(
        &mut self,
        drafts: Vec<Draft>,
        digests: &Digests,
        now: Time,
    ) -> Result<(Vec<Receipt>, Vec<Arc<Record>>), StoreError> {
        let time = self.tick(now);
        self.admit(&drafts, digests)?;
        let mut receipts = Vec::with_capacity(drafts.len());
        let mut records = Vec::with_capacity(drafts.len());
        for (index, draft) in drafts.into_iter().enumerate() {
            let keyed = digests.get(index);
            if let Ok(Some(receipt)) = self.keys.find(keyed, time) {
                receipts.push(receipt);
                continue;
            }
            self.head += 1;
            let receipt = Receipt { seq: self.head, time, duplicate: false };
            self.keys.remember(keyed, receipt);
            records.push(self.record(draft, receipt));
            receipts.push(receipt);
        }
        Ok((receipts, records))
    }

    /// The time to give to what is appended now.
    ///
    /// It never decreases, except that a large step back of the clock is followed: otherwise, after a clock that was
    /// far ahead is corrected, every message would carry the wrong time for hours or years.
    fn tick(&mut self, now: Time) -> Time {
        if self.time.0.saturating_sub(now.0) > STEP_BACK {
            self.keys.set_back(now);
            self.time = now;
        }
        self.time = self.time.max(now);
        self.time
    }

    /// Checks every draft before anything changes: an append is all or nothing.
    fn admit(&mut self, drafts: &[Draft], digests: &Digests) -> Result<(), StoreError> {
        self.keys.expire(self.time);
        let mut new_topics: HashMap<&str, HashSet<&TopicName>> = HashMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            let known = self.keys.find(digests.get(index), self.time).map_err(|Reused| StoreError::KeyReused(index))?;
            if known.is_some() || self.rings.place(draft.topic.as_str()).is_some() {
                continue;
            }
            let Some(rules) = self.rules.resolve(&draft.topic) else { continue };
            let Retention { declared, topics, .. } = &rules.retention;
            if declared.is_exact() {
                continue;
            }
            let fresh = new_topics.entry(declared.as_str()).or_default();
            fresh.insert(&draft.topic);
            if rules.topics() + fresh.len() > *topics {
                return Err(StoreError::FamilyFull(index));
            }
        }
        same_key_twice(drafts)
    }

    fn record(&mut self, draft: Draft, receipt: Receipt) -> Arc<Record> {
        let Draft { topic, user, payload, .. } = draft;
        let record = |topic| Arc::new(Record { seq: receipt.seq, time: receipt.time, topic, user, payload });
        if let Some(place) = self.rings.place(topic.as_str()) {
            self.renew(place);
            return self.rings.push(place, record);
        }
        let record = record(topic.clone());
        match self.rules.resolve(&topic).cloned() {
            Some(rules) => {
                let place = self.rings.open(topic, rules);
                self.rings.push(place, |_| record)
            }
            // The topic was removed while its message was on the way: the message is delivered, but not retained.
            None => {
                self.rings.miss(topic, receipt.seq);
                record
            }
        }
    }

    /// Sets new rules. Rings take them one by one, and what exceeds them goes with the next sweep.
    fn retain(&mut self, rules: Arc<Directory<Arc<Rules>>>) {
        self.rules.iter().for_each(|rules| rules.end());
        self.rules = rules;
    }

    /// Gives a ring the newest rules, if its topic has any.
    fn renew(&mut self, place: usize) {
        let Some(ring) = self.rings.ring(place).filter(|ring| ring.is_outdated()) else { return };
        if let Some(rules) = self.rules.resolve(&ring.topic).cloned() {
            self.rings.change(place, |ring, _| ring.retain(rules));
        }
    }

    /// Evicts what has aged or exceeds the rules, and forgets idle rings, from this place on, for one critical section;
    /// returns the place to continue with.
    fn sweep(&mut self, from: usize, now: Time) -> Option<usize> {
        let mut room = SWEEP;
        for place in from..self.rings.count() {
            if room == 0 {
                return Some(place);
            }
            self.renew(place);
            let swept = self.rings.change(place, |ring, order| (ring.expire(now, room, order), ring.is_idle()));
            let (evicted, is_idle) = swept.unwrap_or_default();
            if evicted == room {
                return Some(place);
            }
            room -= evicted + 1;
            if is_idle {
                self.rings.forget(place, self.head);
                room = room.saturating_sub(FORGET);
            }
        }
        None
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "memory_rules_tests.rs"]
mod rules_tests;
