//! The `memory` kind: one lock, one sequence, one ring for each concrete topic.
//!
//! An append is one short critical section; the follower is told inside it, which is what keeps it in seq order. A read
//! of many topics takes several (`reading.rs`), for no publisher may wait for it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use ahash::AHashMap;
use tokio::task::yield_now;

use crate::config::keys;
use crate::directory::Directory;
use crate::lock::lock;
use crate::message::{Epoch, Record, Seq};
use crate::name::{Pattern, TopicName};
use crate::plugin::{BoxFuture, Draft, Follower, Page, Query, Receipt, Retention, Store, StoreError};
use crate::store::idempotency::{Digests, Keys, Reused, same_key_twice};
use crate::store::reading::read;
use crate::store::rings::Rings;
use crate::store::{Kind, Settings};
use crate::time::Time;

/// The kind.
pub const KIND: Kind = Kind {
    config: keys::Kind {
        name: "memory",
        doc: "in this process's memory: a restart begins a new log, and says so by a new epoch",
    },
    build: |settings| Arc::new(MemoryStore::new(settings)),
};

/// A clock that steps back by no more than so many milliseconds is waited for, so that times follow the order of the log.
const STEP_BACK: i64 = 60_000;

/// A log in memory.
pub struct MemoryStore {
    epoch: Epoch,
    log: Mutex<Log>,
    follower: OnceLock<Arc<dyn Follower>>,
}

pub(super) struct Log {
    pub(super) head: Seq,
    time: Time,
    rules: Directory<Arc<Retention>>,
    pub(super) rings: Rings,
    /// Concrete topics of each family that have a ring.
    families: HashMap<Arc<str>, usize>,
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
            rings: Rings::default(),
            families: HashMap::new(),
            keys: Keys::new(settings),
        };
        Self { epoch, log: Mutex::new(log), follower: OnceLock::new() }
    }

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

    fn follow(&self, follower: Arc<dyn Follower>) {
        assert!(self.follower.set(follower).is_ok(), "a store has one follower");
    }

    fn read<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Result<Page, StoreError>> {
        Box::pin(async move { Ok(read(self, query).await) })
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

    fn sweep(&self, now: Time) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.log().keys.expire(now);
            // There may be a hundred thousand rings: publishers wait for those of one block.
            for block in 0.. {
                if !self.log().sweep(block, now) {
                    return;
                }
                yield_now().await;
            }
        })
    }

    fn retained(&self) -> Vec<(Pattern, usize)> {
        let log = self.log();
        let mut bytes: AHashMap<&str, (&Pattern, usize)> = AHashMap::new();
        for (declared, ring) in log.rings.iter().filter_map(|ring| Some((ring.declared()?, ring))) {
            bytes.entry(declared.as_str()).or_insert((declared, 0)).1 += ring.bytes();
        }
        bytes.into_values().map(|(declared, bytes)| (declared.clone(), bytes)).collect()
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
            if let Ok(Some(receipt)) = self.keys.find(&draft, digest) {
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
            let known = self.keys.find(draft, digests.get(index)).map_err(|Reused| StoreError::KeyReused(index))?;
            if known.is_some() || self.rings.place(draft.topic.as_str()).is_some() {
                continue;
            }
            let Some(rules) = self.rules.resolve(&draft.topic).filter(|r| !r.declared.is_exact()) else { continue };
            let fresh = new_topics.entry(rules.declared.as_str()).or_default();
            fresh.insert(&draft.topic);
            let existing = self.families.get(rules.declared.as_str()).copied().unwrap_or(0);
            if existing + fresh.len() > rules.topics {
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
                if !rules.declared.is_exact() {
                    *self.families.entry(rules.declared.as_str().into()).or_default() += 1;
                }
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
    fn retain(&mut self, rules: Directory<Arc<Retention>>) -> Directory<Arc<Retention>> {
        let before = std::mem::replace(&mut self.rules, rules);
        self.families.clear();
        let gone = self.rings.each(|ring, order| {
            let Some(rules) = self.rules.resolve(&ring.topic) else { return true };
            ring.retain(rules.clone(), order);
            if !rules.declared.is_exact() {
                *self.families.entry(rules.declared.as_str().into()).or_default() += 1;
            }
            false
        });
        gone.into_iter().for_each(|place| self.rings.forget(place, self.head));
        before
    }

    /// Evicts what has aged in one block of rings; whether there is such a block.
    fn sweep(&mut self, block: usize, now: Time) -> bool {
        if block >= self.rings.blocks() {
            return false;
        }
        let idle = self.rings.each_of(block, |ring, order| {
            ring.expire(now, order);
            ring.is_empty() && ring.declared().is_some_and(|declared| !declared.is_exact())
        });
        for place in idle {
            let declared = self.rings.ring(place).and_then(|ring| ring.declared());
            if let Some(count) = declared.and_then(|declared| self.families.get_mut(declared.as_str())) {
                *count -= 1;
            }
            self.rings.forget(place, self.head);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};
    use std::time::{Duration, Instant};

    use super::{Digests, Log, MemoryStore};
    use crate::name::{Pattern, TopicName};
    use crate::plugin::{Draft, IdempotencyKey, Query, Receipt, Retention, Store};
    use crate::schema::Payload;
    use crate::store::Settings;
    use crate::time::Time;

    const MINUTE: i64 = 60_000;
    const HOUR: i64 = 60 * MINUTE;

    /// A log that keeps messages of `a` and of the family `f.{x}` for an hour, and keys for five minutes.
    fn store() -> MemoryStore {
        let store = MemoryStore::new(&Settings { key_window: Duration::from_secs(300), keys: 100 });
        let age = Duration::from_secs(3_600);
        let rules = ["a", "f.{x}"].map(|name| {
            let declared = Pattern::parse(name).expect("a name");
            (declared.clone(), Retention { count: 100, bytes: 1_000, age, declared, topics: 100_000 })
        });
        store.retain(rules.into_iter().collect());
        store
    }

    fn draft(topic: &str) -> Draft {
        let topic = TopicName::parse(topic).expect("a topic");
        Draft { topic, user: None, payload: Payload::from_log("1".into()), key: None }
    }

    fn append(log: &mut Log, key: &str, now: i64) -> Receipt {
        let key = IdempotencyKey { principal: "p".into(), key: key.into() };
        append_all(log, vec![Draft { key: Some(key), ..draft("a") }], now)[0]
    }

    fn append_all(log: &mut Log, drafts: Vec<Draft>, now: i64) -> Vec<Receipt> {
        let digests = Digests::of(&drafts);
        log.append(drafts, &digests, Time(now)).expect("there is room").0
    }

    fn family(topics: usize) -> Vec<Draft> {
        (0..topics).map(|n| draft(&format!("f.{n}"))).collect()
    }

    fn retained(log: &Log) -> Vec<u64> {
        log.rings.order.after(0).map(|record| record.seq).collect()
    }

    fn sweep(log: &mut Log, now: i64) {
        (0..).find(|block| !log.sweep(*block, Time(now)));
    }

    #[test]
    fn a_clock_that_steps_back_a_little_is_waited_for_and_one_that_was_ahead_is_followed() {
        let store = store();
        let mut log = store.log();
        let times = [10 * HOUR, 9 * HOUR + 59 * MINUTE, 10 * HOUR + 1, 8 * HOUR, 8 * HOUR + 1];
        let got = times.map(|now| append(&mut log, &now.to_string(), now).time.0);
        assert_eq!(got, [10 * HOUR, 10 * HOUR, 10 * HOUR + 1, 8 * HOUR, 8 * HOUR + 1]);
    }

    #[test]
    fn what_was_appended_by_a_clock_that_was_ahead_ages_no_later_than_what_follows() {
        let store = store();
        let mut log = store.log();
        for (key, now) in [("one", 10 * HOUR), ("ahead", 90 * HOUR), ("two", 10 * HOUR + 1), ("three", 10 * HOUR + 2)] {
            append(&mut log, key, now);
        }
        sweep(&mut log, 11 * HOUR - 1);
        assert_eq!(retained(&log), [1, 2, 3, 4]);
        sweep(&mut log, 11 * HOUR);
        assert_eq!(retained(&log), [2, 3, 4]);
        sweep(&mut log, 11 * HOUR + 1);
        assert_eq!(retained(&log), [4]);
        assert!(!append(&mut log, "ahead", 11 * HOUR + 2).duplicate, "a key is not remembered beyond its window");
    }

    /// Each was compared with each other new one, and nobody published meanwhile: a quarter of a minute for 50,000.
    #[test]
    fn a_batch_of_new_topics_costs_about_as_much_as_one_of_known_ones() {
        let store = store();
        let mut log = store.log();
        let mut took = || {
            let began = Instant::now();
            append_all(&mut log, family(20_000), HOUR);
            began.elapsed()
        };
        let (new, known) = (took(), took());
        assert!(new < known * 30, "{new:?} for new ones, {known:?} for known ones");
    }

    /// What it had evicted is known of its family alone. It opens anew while the reading is under way, where that has been
    /// already.
    #[test]
    fn a_topic_that_opens_behind_the_back_of_a_reading_has_its_gap_told() {
        let store = store();
        let mut log = store.log();
        append_all(&mut log, vec![draft("f.t")], 10 * HOUR);
        append_all(&mut log, family(10_000), 10 * HOUR);
        append_all(&mut log, vec![draft("f.t")], 12 * HOUR);
        sweep(&mut log, 11 * HOUR);
        sweep(&mut log, 13 * HOUR);
        let family = Pattern::parse("f.*").expect("a pattern");
        assert!(log.rings.evicted_of_families(&family) > 0, "ten thousand are remembered one by one");
        drop(log);
        let topics = ["f.t", "a.*"].map(|text| Pattern::parse(text).expect("a pattern"));
        let mut read = pin!(store.read(Query { topics: &topics, after: 0, until: store.log().head, limit: 10 }));
        let cx = &mut Context::from_waker(Waker::noop());
        assert!(read.as_mut().poll(cx).is_pending(), "it has looked at one block of rings");
        append_all(&mut store.log(), vec![draft("f.t")], 13 * HOUR);
        let page = loop {
            if let Poll::Ready(page) = read.as_mut().poll(cx) {
                break page.expect("memory can be read");
            }
        };
        assert_eq!(page.evicted, [(topics[0].clone(), 10_002)]);
    }
}
