//! The idempotency keys of the recent past, and what was appended under each; bounded by age and by number.
//!
//! A key is remembered as a digest, so that it takes little memory however long it is.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use crate::footprint::{in_list, in_table};
use crate::plugin::{Draft, IdempotencyKey, KeyCounts, Receipt, StoreError};
use crate::store::clock::{StepBack, has_aged};
use crate::time::Time;

/// Aged or surplus keys forgotten in one critical section: by a sweep or a reload, and by an append or a new key.
/// Appends wait for it.
const IN_A_TURN: usize = 1_000;
const BY_A_KEY: usize = 2;
/// Most entries examined to find [`BY_A_KEY`] of them.
const LOOKS_BY_A_KEY: usize = 8;

/// Most bytes that a key takes: in the table and in the order of time.
pub const KEY_BYTES: usize = in_table(size_of::<(Digest, Appended)>()) + in_list(size_of::<(Time, Digest)>());

/// The idempotency keys of the recent past, oldest first; none until [`Keys::resize`] sets their number.
#[derive(Default)]
pub(super) struct Keys {
    window: Duration,
    limit: usize,
    known: Known,
    order: VecDeque<(Time, Digest)>,
    /// The clock's last large step back, and how many of `order` it has set back.
    step: StepBack,
    set_back: usize,
    /// Keys forgotten before they had aged, because there were too many.
    forgotten_early: u64,
}

/// By key, in many tables: a table that grows moves all that it has, and appends wait.
struct Known {
    tables: [HashMap<Digest, Appended>; 256],
    /// Chooses the table of a key, which no publisher can foresee.
    chooser: RandomState,
    count: usize,
}

/// What was appended under a key.
struct Appended {
    receipt: Receipt,
    message: Digest,
}

type Digest = [u8; 32];

/// The digests of a draft that has a key.
#[derive(Clone, Copy)]
pub(super) struct Keyed {
    /// Of the key, with its principal and topic.
    key: Digest,
    /// Of what tells the messages of one key apart.
    message: Digest,
}

/// Digests of the drafts that have a key, by index. Made before the log is locked, since a payload may be long.
#[derive(Default)]
pub(super) struct Digests(Vec<Option<Keyed>>);

impl Digests {
    /// # Errors
    /// The batch uses one key for two different messages.
    pub(super) fn of(drafts: &[Draft]) -> Result<Self, StoreError> {
        if drafts.iter().all(|draft| draft.key.is_none()) {
            return Ok(Self::default());
        }
        let (mut all, mut seen) = (Vec::with_capacity(drafts.len()), HashMap::new());
        for (index, draft) in drafts.iter().enumerate() {
            let keyed = Keyed::new(draft);
            if let Some(Keyed { key, message }) = keyed
                && seen.insert(key, message).is_some_and(|first| first != message)
            {
                return Err(StoreError::KeyReused(index));
            }
            all.push(keyed);
        }
        Ok(Self(all))
    }

    pub(super) fn get(&self, index: usize) -> Option<Keyed> {
        self.0.get(index).copied().flatten()
    }
}

impl Keyed {
    fn new(draft: &Draft) -> Option<Self> {
        let IdempotencyKey { principal, key } = draft.key.as_ref()?;
        let user = draft.user.as_ref().map_or("", |user| user.as_str());
        Some(Self {
            key: digest([principal.as_bytes(), draft.topic.as_str().as_bytes(), key.as_bytes()]),
            message: digest([user.as_bytes(), draft.payload.as_bytes()]),
        })
    }
}

/// The key was used for another message.
pub(super) struct Reused;

impl Keys {
    /// The receipt of what was appended under a draft's key, if it has one that is known.
    pub(super) fn find(&self, keyed: Option<Keyed>, now: Time) -> Result<Option<Receipt>, Reused> {
        let Some(Keyed { key, message }) = keyed else { return Ok(None) };
        match self.known.get(&key) {
            None => Ok(None),
            Some(known) if has_aged(self.ages_from(known), now, self.window) => Ok(None),
            Some(known) if known.message == message => Ok(Some(known.receipt)),
            Some(_) => Err(Reused),
        }
    }

    pub(super) fn remember(&mut self, keyed: Option<Keyed>, receipt: Receipt) {
        let Some(Keyed { key, message }) = keyed else { return };
        self.order.push_back((receipt.time, key));
        self.known.insert(key, Appended { receipt: Receipt { duplicate: true, ..receipt }, message });
        // An outdated entry, whose key was remembered again later, frees nothing and does not count.
        let mut forgotten = 0;
        for _ in 0..LOOKS_BY_A_KEY {
            if forgotten == BY_A_KEY || self.known.count <= self.limit {
                return;
            }
            forgotten += usize::from(self.forget_oldest(receipt.time));
        }
    }

    /// How many keys are remembered, and how many were forgotten early.
    pub(super) fn counts(&self) -> KeyCounts {
        KeyCounts { remembered: self.known.count, forgotten_early: self.forgotten_early }
    }

    /// Sets how many keys are remembered, and for how long.
    ///
    /// There may be millions too many then: this forgets a part, and [`Keys::forget_some`] the rest, step by step.
    pub(super) fn resize(&mut self, limit: usize, window: Duration, now: Time) {
        (self.limit, self.window) = (limit, window);
        self.forget_some(now);
    }

    /// Forgets some keys that have aged or exceed the limit; returns whether there may be more.
    pub(super) fn forget_some(&mut self, now: Time) -> bool {
        for _ in 0..IN_A_TURN {
            if self.known.count <= self.limit && !self.oldest_has_aged(now) {
                return false;
            }
            self.forget_oldest(now);
        }
        true
    }

    /// Forgets a few aged keys, which [`Keys::find`] no longer finds anyway.
    pub(super) fn expire(&mut self, now: Time) {
        for _ in 0..BY_A_KEY {
            if !self.oldest_has_aged(now) {
                return;
            }
            self.forget_oldest(now);
        }
    }

    fn oldest_has_aged(&self, now: Time) -> bool {
        self.oldest().is_some_and(|(time, _)| has_aged(time, now, self.window))
    }

    /// The oldest entry, with the time from which on it ages.
    fn oldest(&self) -> Option<(Time, Digest)> {
        let (time, key) = *self.order.front()?;
        Some((if self.set_back > 0 { time.min(self.step.time) } else { time }, key))
    }

    fn ages_from(&self, known: &Appended) -> Time {
        self.step.ages_from(known.receipt.seq, known.receipt.time)
    }

    /// Notes that the clock was set back: none of the entries is visited, as there may be millions.
    pub(super) fn note_step(&mut self, step: StepBack) {
        (self.step, self.set_back) = (step, self.order.len());
    }

    /// Removes the oldest entry; returns whether that forgot a key.
    fn forget_oldest(&mut self, now: Time) -> bool {
        let has_aged = self.oldest_has_aged(now);
        let Some((time, key)) = self.oldest() else { return false };
        self.order.pop_front();
        self.set_back = self.set_back.saturating_sub(1);
        // The key may have been remembered again after it had aged.
        let is_forgotten =
            self.known.get(&key).is_some_and(|known| self.ages_from(known) <= time) && self.known.remove(&key);
        self.forgotten_early += u64::from(is_forgotten && !has_aged);
        is_forgotten
    }
}

impl Default for Known {
    fn default() -> Self {
        Self { tables: std::array::from_fn(|_| HashMap::new()), chooser: RandomState::new(), count: 0 }
    }
}

impl Known {
    fn get(&self, key: &Digest) -> Option<&Appended> {
        self.tables[self.table(key)].get(key)
    }

    fn insert(&mut self, key: Digest, appended: Appended) {
        let table = self.table(&key);
        self.count += usize::from(self.tables[table].insert(key, appended).is_none());
    }

    /// Returns whether it was there.
    fn remove(&mut self, key: &Digest) -> bool {
        let table = self.table(key);
        let was_there = self.tables[table].remove(key).is_some();
        self.count -= usize::from(was_there);
        was_there
    }

    fn table(&self, key: &Digest) -> usize {
        self.chooser.hash_one(key) as usize % self.tables.len()
    }
}

fn digest<const N: usize>(parts: [&[u8]; N]) -> Digest {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
