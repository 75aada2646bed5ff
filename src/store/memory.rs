//! The `memory` kind: a log behind one lock.
//!
//! An append is one short critical section. It calls the follower inside, which keeps the follower in seq order. A read
//! of many topics takes several short ones (`reading.rs`), so that no publisher waits for a long read.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::Duration;

use tokio::time::sleep;

use crate::directory::Directory;
use crate::lock::lock;
use crate::message::{Epoch, Seq};
use crate::name::Pattern;
use crate::plugin::{
    BoxFuture, Draft, Follower, KeyCounts, Page, Query, Receipt, Retention, Store, StoreError, Unavailable,
};
use crate::store::Kind;
use crate::store::idempotency::Digests;
use crate::store::log::Log;
use crate::store::reading::read;
use crate::store::ring::Rules;
use crate::time::Time;

/// Keeps the log in this process's memory: a restart begins a new, empty log with a new epoch.
pub const KIND: Kind = Kind { name: "memory", build: || Arc::new(MemoryStore::default()) };

/// How long a sweep lets go of the lock between its critical sections. Whoever waits for it takes a while to wake up, and would
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

/// A new, empty log with an epoch of its own.
impl Default for MemoryStore {
    fn default() -> Self {
        let epoch = Epoch(getrandom::u32().unwrap_or_else(|_| std::process::id()));
        Self { epoch, log: Mutex::default(), sweeping: Default::default(), follower: OnceLock::new() }
    }
}

impl MemoryStore {
    fn log(&self) -> MutexGuard<'_, Log> {
        lock(&self.log)
    }

    fn append_now(&self, drafts: Vec<Draft>) -> Result<Vec<Receipt>, StoreError> {
        let digests = Digests::of(&drafts)?;
        let mut log = self.log();
        let (receipts, records) = log.append(drafts, &digests, Time::now())?;
        if let Some(follower) = self.follower.get().filter(|_| !records.is_empty()) {
            follower.appended(&records);
        }
        Ok(receipts)
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
        Box::pin(std::future::ready(self.append_now(drafts)))
    }

    fn follow(&self, after: Seq, follower: Arc<dyn Follower>) {
        assert_eq!(after, self.head(), "nobody appends before it is followed");
        assert!(self.follower.set(follower).is_ok(), "a store has one follower");
    }

    fn read<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Result<Page, Unavailable>> {
        Box::pin(async move { Ok(read(&self.log, query).await) })
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

#[cfg(test)]
#[path = "memory_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "memory_rules_tests.rs"]
mod rules_tests;

#[cfg(test)]
#[path = "memory_clock_tests.rs"]
mod clock_tests;
