//! The log of the `memory` kind: one sequence, and one ring for each concrete topic.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::directory::Directory;
use crate::message::{Record, Seq};
use crate::name::TopicName;
use crate::plugin::{Draft, Receipt, Retention, StoreError};
use crate::store::clock::StepBack;
use crate::store::idempotency::{Digests, Keys, Reused};
use crate::store::ring::Rules;
use crate::store::rings::Rings;
use crate::time::Time;

/// How far, in milliseconds, the clock may step back before its new time is adopted. After a smaller step messages keep
/// the last time until the clock has caught up, so that times follow the order of the log.
const STEP_BACK: i64 = 60_000;

/// How many topics are looked at and messages evicted, together, in one critical section: a millisecond of waiting for
/// publishers, or some more if the messages are in no cache.
pub(super) const SWEEP: usize = 4_096;

/// To forget a topic counts as so many more: it leaves several tables.
pub(super) const FORGET: usize = 8;

/// What was appended: whatever must change together with the sequence.
#[derive(Default)]
pub(super) struct Log {
    /// The seq of the newest message.
    pub(super) head: Seq,
    time: Time,
    step: StepBack,
    pub(super) rules: Arc<Directory<Arc<Rules>>>,
    pub(super) rings: Rings,
    pub(super) keys: Keys,
}

impl Log {
    /// Appends all drafts or none; returns their receipts, and the records of those that are new.
    ///
    /// # Errors
    /// A key was used for something else, or a family has as many topics as it may.
    pub(super) fn append(
        &mut self,
        drafts: Vec<Draft>,
        digests: &Digests,
        now: Time,
    ) -> Result<(Vec<Receipt>, Vec<Arc<Record>>), StoreError> {
        let time = self.tick(now);
        self.keys.expire(time);
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
            self.step = StepBack { seq: self.head, time: now };
            self.keys.note_step(self.step);
            self.time = now;
        }
        self.time = self.time.max(now);
        self.time
    }

    /// Checks every draft before anything changes: an append is all or nothing.
    fn admit(&self, drafts: &[Draft], digests: &Digests) -> Result<(), StoreError> {
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
        Ok(())
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
    pub(super) fn retain(&mut self, rules: Arc<Directory<Arc<Rules>>>) {
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
    pub(super) fn sweep(&mut self, from: usize, now: Time) -> Option<usize> {
        let (mut room, step) = (SWEEP, self.step);
        for place in from..self.rings.count() {
            if room == 0 {
                return Some(place);
            }
            self.renew(place);
            let swept = self.rings.change(place, |ring, order| (ring.expire(now, step, room, order), ring.is_idle()));
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
