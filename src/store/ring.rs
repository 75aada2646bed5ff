//! What one concrete topic retains, and an exact account of what it has evicted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::footprint::{allocated, in_list, in_table, text};
use crate::message::{Record, Seq};
use crate::name::{MAX_NAME, MAX_USER, TopicName};
use crate::plugin::Retention;
use crate::store::clock::{StepBack, has_aged};
use crate::store::order::Order;
use crate::time::Time;

/// Most bytes that a record takes besides its payload, in its ring and in the order of the log.
///
/// A topic's name counts once, in [`TOPIC_BYTES`]. Measured with a user of 255 bytes and a payload of one: 445.
pub const RECORD_BYTES: usize = allocated(16 + size_of::<Record>())
    + text(MAX_USER)
    + in_list(size_of::<Arc<Record>>())
    + 4 * size_of::<Arc<Record>>();
/// Most bytes that a topic with an empty ring takes, in all tables that it is in. Measured with a name of 255 bytes:
/// 412.
pub const TOPIC_BYTES: usize =
    text(MAX_NAME) + in_table(size_of::<(TopicName, usize)>()) + in_list(size_of::<Option<Ring>>());

/// The rules of one declared name, shared by all of its topics.
pub(super) struct Rules {
    pub(super) retention: Retention,
    usage: Arc<Usage>,
    /// Whether newer rules have replaced these. Changed only with the log's lock held.
    ended: AtomicBool,
}

/// What the topics of one declared name take, summed up so that nobody has to visit each ring. It lasts when the rules
/// change. Changed only with the log's lock held.
#[derive(Default)]
struct Usage {
    /// Bytes of payload retained now.
    bytes: AtomicUsize,
    /// Number of concrete topics that have a ring.
    topics: AtomicUsize,
}

/// The newest messages of a topic, bounded by count, bytes of payload and age.
pub(super) struct Ring {
    /// Shared by all records of the ring.
    pub(super) topic: TopicName,
    records: VecDeque<Arc<Record>>,
    bytes: usize,
    evicted: Seq,
    /// `None` if the topic is forgotten: it then retains nothing, and only its evictions are known.
    rules: Option<Arc<Rules>>,
}

impl Rules {
    /// `before` are the rules that the same name has had so far.
    pub(super) fn new(retention: Retention, before: Option<&Self>) -> Self {
        let usage = before.map(|before| before.usage.clone()).unwrap_or_default();
        Self { retention, usage, ended: AtomicBool::new(false) }
    }

    /// Bytes of payload retained now.
    pub(super) fn bytes(&self) -> usize {
        self.usage.bytes.load(Ordering::Relaxed)
    }

    /// Concrete topics that have a ring now.
    pub(super) fn topics(&self) -> usize {
        self.usage.topics.load(Ordering::Relaxed)
    }

    /// Notes that newer rules are in force. A ring takes those when it is next pushed to or swept; it keeps these if its
    /// topic is no longer declared.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::Relaxed);
    }

    fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn enter(&self) {
        self.usage.topics.store(self.topics() + 1, Ordering::Relaxed);
    }

    fn leave(&self) {
        self.usage.topics.store(self.topics() - 1, Ordering::Relaxed);
    }

    fn add(&self, bytes: usize) {
        self.usage.bytes.store(self.bytes() + bytes, Ordering::Relaxed);
    }

    fn sub(&self, bytes: usize) {
        self.usage.bytes.store(self.bytes() - bytes, Ordering::Relaxed);
    }
}

impl Ring {
    /// Creates a ring that retains nothing yet; everything up to `evicted` was evicted before.
    pub(super) fn new(topic: TopicName, evicted: Seq) -> Self {
        Self { topic, records: VecDeque::new(), bytes: 0, evicted, rules: None }
    }

    /// Adds the newest message. `order` follows everything that this adds or evicts.
    ///
    /// What exceeds new rules does not grow, but it is left to [`Ring::expire`], as it may be a million messages.
    pub(super) fn push(&mut self, record: Arc<Record>, order: &mut Order) {
        let (count, bytes) = self.bounds();
        let (count, bytes) = (count.max(self.records.len()), bytes.max(self.bytes));
        let size = record.payload.size();
        self.bytes += size;
        self.rules.iter().for_each(|rules| rules.add(size));
        order.push(record.clone());
        self.records.push_back(record);
        while self.records.len() > count || self.bytes > bytes {
            self.evict(order);
        }
        self.trim();
    }

    /// Takes new rules. They may allow less than the last: [`Ring::expire`] evicts what exceeds them.
    pub(super) fn retain(&mut self, rules: Arc<Rules>) {
        rules.enter();
        rules.add(self.bytes);
        if let Some(before) = self.rules.replace(rules) {
            before.leave();
            before.sub(self.bytes);
        }
    }

    /// Drops the rules, which are returned. Only for an [idle](Self::is_idle) ring: its messages have gone.
    pub(super) fn forget(&mut self) -> Option<Arc<Rules>> {
        debug_assert!(self.is_idle());
        self.records = VecDeque::new();
        self.rules.take().inspect(|rules| rules.leave())
    }

    /// Counts a message that was never stored here as evicted.
    pub(super) fn miss(&mut self, seq: Seq) {
        self.evicted = seq.max(self.evicted);
    }

    /// Evicts messages that have aged or exceed the rules, at most `most`; returns how many.
    pub(super) fn expire(&mut self, now: Time, step: StepBack, most: usize, order: &mut Order) -> usize {
        let Some(rules) = &self.rules else { return 0 };
        let age = rules.retention.age;
        let aged = |record: &&Arc<Record>| has_aged(step.ages_from(record.seq, record.time), now, age);
        let gone = self.records.iter().take(most).take_while(aged).count();
        (0..gone).for_each(|_| self.evict(order));
        let (count, bytes) = self.bounds();
        let mut evicted = gone;
        while evicted < most && (self.records.len() > count || self.bytes > bytes) {
            self.evict(order);
            evicted += 1;
        }
        self.trim();
        evicted
    }

    /// Whether its topic may have newer rules.
    pub(super) fn is_outdated(&self) -> bool {
        self.rules.as_deref().is_some_and(Rules::has_ended)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.rules.is_none()
    }

    /// The highest seq that was evicted.
    pub(super) fn evicted(&self) -> Seq {
        self.evicted
    }

    /// The highest seq that is retained.
    pub(super) fn last(&self) -> Option<Seq> {
        self.records.back().map(|record| record.seq)
    }

    /// Whether it is empty, and its topic need not have one: it is of a family, or no longer declared.
    pub(super) fn is_idle(&self) -> bool {
        let needs_none = |rules: &Arc<Rules>| rules.has_ended() || !rules.retention.declared.is_exact();
        self.records.is_empty() && self.rules.as_ref().is_some_and(needs_none)
    }

    /// The records after a seq, in order.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Record>> {
        let start = self.records.partition_point(|r| r.seq <= seq);
        self.records.range(start..)
    }

    /// How many messages and bytes it may retain.
    fn bounds(&self) -> (usize, usize) {
        let rules = self.rules.as_deref().filter(|rules| !rules.has_ended());
        rules.map_or((0, 0), |rules| (rules.retention.count, rules.retention.bytes))
    }

    /// Frees the capacity that a burst left behind: otherwise it would stay for as long as the topic lives.
    fn trim(&mut self) {
        if self.records.capacity() > 64 && self.records.len() < self.records.capacity() / 4 {
            self.records.shrink_to(self.records.len() * 2);
        }
    }

    fn evict(&mut self, order: &mut Order) {
        if let Some(record) = self.records.pop_front() {
            let size = record.payload.size();
            self.bytes -= size;
            self.rules.iter().for_each(|rules| rules.sub(size));
            self.evicted = record.seq;
            order.remove(record.seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Ring, Rules};
    use crate::message::Record;
    use crate::name::{Pattern, TopicName};
    use crate::plugin::Retention;
    use crate::schema::Payload;
    use crate::store::clock::StepBack;
    use crate::store::order::Order;
    use crate::time::Time;

    #[test]
    fn a_burst_is_no_memory_for_as_long_as_the_topic_lives() {
        let topic = TopicName::parse("a").expect("a topic");
        let age = Duration::from_millis(10);
        let retention = Retention { count: 10_000, bytes: 10_000, age, declared: Pattern::from(&topic), topics: 1 };
        let (mut ring, mut order) = (Ring::new(topic.clone(), 0), Order::default());
        ring.retain(Arc::new(Rules::new(retention, None)));
        for seq in 1..=10_000 {
            let payload = Payload::from_log(vec![b'1'].into());
            // The last ten are younger.
            let time = Time(i64::from(seq > 9_990));
            ring.push(Arc::new(Record { seq, time, topic: topic.clone(), user: None, payload }), &mut order);
        }
        assert_eq!(ring.expire(Time(10), StepBack::default(), 10_000, &mut order), 9_990);
        assert!(ring.records.capacity() < 100, "{}", ring.records.capacity());
    }
}
