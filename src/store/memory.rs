//! The `memory` kind: one lock, one sequence, one ring for each concrete topic.
//!
//! An append is one short critical section; the follower is told inside it, which is what keeps it in seq order. A read
//! of many topics takes several (`reading.rs`), for no publisher may wait for it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::task::yield_now;

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

/// In this process's memory: a restart begins a new log, and says so by a new epoch.
pub const KIND: Kind = Kind { name: "memory", build: || Arc::new(MemoryStore::default()) };

/// A clock that steps back by no more than so many milliseconds is waited for, so that times follow the order of the log.
const STEP_BACK: i64 = 60_000;

/// So many messages that have aged go at a time: less than a millisecond, in which publishers wait.
const SWEEP: usize = 4_096;

/// A log in memory.
pub struct MemoryStore {
    epoch: Epoch,
    log: Mutex<Log>,
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
        Self { epoch, log: Mutex::new(Log { head: 0, time: Time(0), rules, rings, keys }), follower: OnceLock::new() }
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
        // There may be thousands: they are made and dropped while nobody waits for the lock.
        let rules = Arc::new(rules.map(|retention| Arc::new(Rules::new(retention))));
        let before = self.log().retain(rules);
        drop(before);
    }

    fn remember(&self, keys: usize, window: Duration) {
        self.log().keys.resize(keys, window, Time::now());
    }

    fn keys(&self) -> KeyCounts {
        self.log().keys.counts()
    }

    fn sweep(&self, now: Time) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            while self.log().keys.forget_some(now) {
                yield_now().await;
            }
            // There may be a hundred thousand rings, and as many messages in one: publishers wait for a part of them.
            let mut next = Some(0);
            while let Some(block) = next {
                next = self.log().sweep(block, now);
                yield_now().await;
            }
        })
    }

    fn retained(&self) -> Vec<(Pattern, usize)> {
        // Publishers wait for the lock, and not until all are listed.
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
            let digest = digests.get(index);
            if let Ok(Some(receipt)) = self.keys.find(&draft, digest, time) {
                receipts.push(receipt);
                continue;
            }
            self.head += 1;
            let receipt = Receipt { seq: self.head, time, duplicate: false };
            self.keys.remember(&draft, digest, receipt);
            records.push(self.record(draft, receipt));
            receipts.push(receipt);
        }
        Ok((receipts, records))
    }

    /// The time of what is appended now. A clock that was ahead for long is followed when it is set right: else every
    /// message would have the last time that it showed, for hours or years.
    fn tick(&mut self, now: Time) -> Time {
        if self.time.0.saturating_sub(now.0) > STEP_BACK {
            self.keys.set_back(now);
            self.time = now;
        }
        self.time = self.time.max(now);
        self.time
    }

    /// Looks at everything before anything changes: an append is all or nothing.
    fn admit(&mut self, drafts: &[Draft], digests: &Digests) -> Result<(), StoreError> {
        self.keys.expire(self.time);
        let mut new_topics: HashMap<&str, HashSet<&TopicName>> = HashMap::new();
        for (index, draft) in drafts.iter().enumerate() {
            let known =
                self.keys.find(draft, digests.get(index), self.time).map_err(|Reused| StoreError::KeyReused(index))?;
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
            return self.rings.push(place, record);
        }
        let record = record(topic.clone());
        match self.rules.resolve(&topic).cloned() {
            Some(rules) => {
                let place = self.rings.open(topic, rules);
                self.rings.push(place, |_| record)
            }
            // It was removed while its message was on the way: that is delivered and not retained.
            None => {
                self.rings.miss(topic, receipt.seq);
                record
            }
        }
    }

    /// Answers what counted before.
    fn retain(&mut self, rules: Arc<Directory<Arc<Rules>>>) -> Arc<Directory<Arc<Rules>>> {
        let before = std::mem::replace(&mut self.rules, rules);
        let gone = self.rings.each(|ring, order| {
            let Some(rules) = self.rules.resolve(&ring.topic) else { return true };
            ring.retain(rules.clone(), order);
            false
        });
        gone.into_iter().for_each(|place| self.rings.forget(place, self.head));
        before
    }

    /// Evicts what has aged in one block of rings, or a part of it; answers the block to go on with.
    fn sweep(&mut self, block: usize, now: Time) -> Option<usize> {
        if block >= self.rings.blocks() {
            return None;
        }
        let mut room = SWEEP;
        let idle = self.rings.each_of(block, |ring, order| {
            room -= ring.expire(now, room, order);
            ring.is_empty() && ring.declared().is_some_and(|declared| !declared.is_exact())
        });
        idle.into_iter().for_each(|place| self.rings.forget(place, self.head));
        Some(if room == 0 { block } else { block + 1 })
    }
}

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;
