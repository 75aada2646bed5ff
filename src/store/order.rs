//! What all topics retain, in the order of the log, so that a read of many topics need not visit each ring.
//!
//! The log is cut into spans of seqs. A span has a place for each of its seqs until most of them are evicted; from then
//! on it keeps a list of the rest, so that a few old messages do not hold memory for the many that are gone.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use crate::message::{Record, Seq};

/// Seqs in a span.
const SPAN: Seq = 512;
/// A span with fewer records is turned into a list.
const THIN: usize = SPAN as usize / 4;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Order {
    /// The spans before the newest, by number; none is empty. There may be as many as records, and any of them may be the
    /// next to go.
    older: BTreeMap<Seq, Span>,
    /// The number of the newest span.
    number: Seq,
    /// The newest span, which is still filled.
    newest: Span,
}

#[derive(Default)]
struct Span {
    count: usize,
    records: Records,
}

enum Records {
    /// Indexed by seq, from the span's first.
    Dense(Vec<Option<Arc<Record>>>),
    Thin(Vec<Arc<Record>>),
}

impl Default for Records {
    fn default() -> Self {
        Self::Dense(Vec::new())
    }
}

impl Order {
    /// Adds the newest record.
    pub(super) fn push(&mut self, record: Arc<Record>) {
        let (number, place) = split(record.seq);
        if number != self.number {
            self.begin(number);
        }
        if let Span { records: Records::Dense(places), count } = &mut self.newest {
            places.resize(place, None);
            places.push(Some(record));
            *count += 1;
        }
    }

    /// Removes a record that was evicted.
    pub(super) fn remove(&mut self, seq: Seq) {
        let (number, _) = split(seq);
        if number == self.number {
            return self.newest.remove(seq);
        }
        let Entry::Occupied(mut span) = self.older.entry(number) else { return };
        span.get_mut().remove(seq);
        match span.get().count {
            0 => _ = span.remove(),
            _ => span.get_mut().thin(),
        }
    }

    /// The records after a seq, in order.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Record>> {
        let (first, _) = split(seq);
        let newest = Some((&self.number, &self.newest)).filter(|(number, _)| **number >= first);
        self.older.range(first..).chain(newest).flat_map(move |(number, span)| span.after(*number, seq))
    }

    /// Begins a span, which ends the one before it.
    fn begin(&mut self, number: Seq) {
        let mut before = std::mem::take(&mut self.newest);
        if before.count > 0 {
            before.thin();
            self.older.insert(self.number, before);
        }
        self.number = number;
    }
}

impl Span {
    fn remove(&mut self, seq: Seq) {
        match &mut self.records {
            Records::Dense(places) => places[split(seq).1] = None,
            Records::Thin(records) => {
                records.remove(records.partition_point(|record| record.seq < seq));
            }
        }
        self.count -= 1;
    }

    /// Saves memory where most records are gone. Not for the newest span, which is still filled.
    fn thin(&mut self) {
        if self.count >= THIN {
            return;
        }
        match &mut self.records {
            Records::Dense(places) => self.records = Records::Thin(places.drain(..).flatten().collect()),
            Records::Thin(records) if records.len() <= records.capacity() / 2 => records.shrink_to_fit(),
            Records::Thin(_) => {}
        }
    }

    /// The span's records after a seq; `number` is the span's.
    fn after(&self, number: Seq, seq: Seq) -> impl Iterator<Item = &Arc<Record>> {
        let (first, place) = split(seq);
        let (dense, thin) = match &self.records {
            Records::Dense(places) => {
                let start = if number == first { place + 1 } else { 0 };
                (places.get(start..).unwrap_or_default(), &[][..])
            }
            Records::Thin(records) => (&[][..], &records[records.partition_point(|record| record.seq <= seq)..]),
        };
        dense.iter().flatten().chain(thin)
    }
}

fn split(seq: Seq) -> (Seq, usize) {
    (seq / SPAN, usize::try_from(seq % SPAN).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Order, SPAN};
    use crate::message::{Record, Seq};
    use crate::name::TopicName;
    use crate::schema::Payload;
    use crate::stopwatch::Stopwatch;
    use crate::time::Time;

    fn record(seq: Seq) -> Arc<Record> {
        let (topic, payload) = (TopicName::parse("cats").expect("a topic"), Payload::from_log("1".into()));
        Arc::new(Record { seq, time: Time(0), topic, user: None, payload })
    }

    fn seqs(order: &Order, after: Seq) -> Vec<Seq> {
        order.after(after).map(|record| record.seq).collect()
    }

    #[test]
    fn it_has_what_was_not_removed_after_any_seq() {
        let mut order = Order::default();
        let mut left: Vec<Seq> = (1..SPAN * 5).filter(|seq| seq % 7 != 3 && seq / 300 != 4).collect();
        left.iter().for_each(|seq| order.push(record(*seq)));
        for step in [2, 3, 5, 11, 2] {
            for after in [0, 1, SPAN - 1, SPAN, SPAN + 1, SPAN * 2 + 77, SPAN * 5, SPAN * 90] {
                let expected: Vec<Seq> = left.iter().copied().filter(|seq| *seq > after).collect();
                assert_eq!(seqs(&order, after), expected, "after {after}");
            }
            let gone = left.clone().into_iter().step_by(step);
            gone.clone().for_each(|seq| order.remove(seq));
            let gone: Vec<Seq> = gone.collect();
            left.retain(|seq| !gone.contains(seq));
        }
        assert!(!left.is_empty());
    }

    /// One old message of a quiet topic among millions of others.
    #[test]
    fn what_was_evicted_holds_no_memory() {
        let mut order = Order::default();
        for seq in 1..=SPAN * 100 {
            order.push(record(seq));
            if seq > SPAN && !(seq - SPAN).is_multiple_of(1_000) {
                order.remove(seq - SPAN);
            }
        }
        let spans = || order.older.values().chain([&order.newest]);
        let places = spans().map(|span| match &span.records {
            super::Records::Dense(places) => places.capacity(),
            super::Records::Thin(records) => records.capacity(),
        });
        assert!(spans().count() < 60 && places.sum::<usize>() < 3 * SPAN as usize);
    }

    /// Each moved half of the others: a sweep of 4,096 messages that lay far apart in the log stopped publishers for
    /// tenths of a second.
    #[test]
    fn a_removal_costs_about_the_same_however_far_apart_the_messages_are() {
        let took = |spans: Seq| {
            let mut order = Order::default();
            (0..spans).for_each(|span| order.push(record(span * SPAN)));
            let began = Stopwatch::start();
            (spans / 2..spans / 2 + 1_000).for_each(|span| order.remove(span * SPAN));
            began.elapsed()
        };
        let (few, many) = (took(2_000), took(200_000));
        assert!(many < few * 10, "{few:?} among 2,000 spans, {many:?} among 200,000");
    }
}
