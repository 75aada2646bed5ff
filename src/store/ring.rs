//! What one concrete topic retains, and the truth about what it has let go.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::footprint::{allocated, in_list, in_table, text};
use crate::message::{Record, Seq, Time};
use crate::name::{MAX_NAME, MAX_USER, TopicName};
use crate::plugin::Retention;

/// What a record in a ring takes at most beside its payload; of one that leaves the ring with its topic, the name too is
/// counted there.
pub const RECORD: usize = allocated(16 + size_of::<Record>()) + text(MAX_USER) + in_list(size_of::<Arc<Record>>());
/// What a topic with an empty ring takes at most, in each of the tables that it stands in.
pub const TOPIC: usize = text(MAX_NAME) + in_table(size_of::<(TopicName, Ring)>());

/// The newest messages of a topic, bounded by count, bytes of payload and age.
pub(super) struct Ring {
    /// All that it retains shares this one name.
    pub(super) topic: TopicName,
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    evicted: Seq,
    pub(super) retention: Arc<Retention>,
}

impl Ring {
    /// An empty ring; everything up to `evicted` has been let go before.
    pub(super) fn new(topic: TopicName, retention: Arc<Retention>, evicted: Seq) -> Self {
        Self { topic, records: VecDeque::new(), bytes: 0, evicted, retention }
    }

    pub(super) fn push(&mut self, record: Arc<Record>) {
        self.bytes += record.payload.len();
        self.records.push_back(record);
        self.shrink();
    }

    /// Applies a retention that may be smaller than the last.
    pub(super) fn retain(&mut self, retention: Arc<Retention>) {
        self.retention = retention;
        self.shrink();
    }

    /// Lets go what has aged.
    pub(super) fn expire(&mut self, now: Time) {
        let age = i64::try_from(self.retention.age.as_millis()).unwrap_or(i64::MAX);
        while self.records.front().is_some_and(|r| now.0.saturating_sub(r.time.0) >= age) {
            self.evict();
        }
    }

    /// The highest seq that was let go.
    pub(super) fn evicted(&self) -> Seq {
        self.evicted
    }

    /// The highest seq that was ever here.
    pub(super) fn last(&self) -> Seq {
        self.records.back().map_or(self.evicted, |r| r.seq)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Bytes of payload retained.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is retained after a seq, in order.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Record>> {
        let start = self.records.partition_point(|r| r.seq <= seq);
        self.records.range(start..)
    }

    fn shrink(&mut self) {
        while self.records.len() > self.retention.count || self.bytes > self.retention.bytes {
            self.evict();
        }
        // A burst must not pin its capacity for as long as the topic lives.
        if self.records.capacity() > 64 && self.records.len() < self.records.capacity() / 4 {
            self.records.shrink_to(self.records.len() * 2);
        }
    }

    fn evict(&mut self) {
        if let Some(record) = self.records.pop_front() {
            self.bytes -= record.payload.len();
            self.evicted = record.seq;
        }
    }
}
