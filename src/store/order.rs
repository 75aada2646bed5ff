//! What all topics retain, in the order of the log, so that a read of many topics need not visit each ring.
//!
//! The log is cut into spans of seqs. A span has a place for each of its seqs until most of them are evicted; from then
//! on it keeps a list of the rest, so that a few old messages do not hold memory for the many that are gone.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::message::{Record, Seq};

/// Seqs in a span.
const SPAN: Seq = 512;
/// A span with fewer records is turned into a list.
const THIN: usize = SPAN as usize / 4;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Order {
    /// The spans that are not empty, in order.
    spans: VecDeque<Span>,
}

struct Span {
    number: Seq,
    count: usize,
    records: Records,
}

enum Records {
    /// Indexed by seq, from the span's first.
    Dense(Vec<Option<Arc<Record>>>),
    Thin(Vec<Arc<Record>>),
}

impl Order {
    /// Adds the newest record.
    pub(super) fn push(&mut self, record: Arc<Record>) {
        let (number, place) = split(record.seq);
        if self.spans.back().is_none_or(|span| span.number != number) {
            self.spans.pop_back_if(|span| span.count == 0);
            if let Some(span) = self.spans.back_mut() {
                span.thin();
            }
            self.spans.push_back(Span { number, count: 0, records: Records::Dense(Vec::new()) });
        }
        if let Some(Span { records: Records::Dense(places), count, .. }) = self.spans.back_mut() {
            places.resize(place, None);
            places.push(Some(record));
            *count += 1;
        }
    }

    /// Removes a record that was evicted.
    pub(super) fn remove(&mut self, seq: Seq) {
        let (number, place) = split(seq);
        let Ok(at) = self.spans.binary_search_by_key(&number, |span| span.number) else { return };
        let is_newest = at + 1 == self.spans.len();
        let span = &mut self.spans[at];
        match &mut span.records {
            Records::Dense(places) => places[place] = None,
            Records::Thin(records) => {
                records.remove(records.partition_point(|record| record.seq < seq));
            }
        }
        span.count -= 1;
        if span.count == 0 && !is_newest {
            self.spans.remove(at);
        } else if !is_newest {
            span.thin();
        }
    }

    /// The records after a seq, in order.
    pub(super) fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Record>> {
        let first = self.spans.partition_point(|span| span.number < split(seq).0);
        self.spans.range(first..).flat_map(move |span| span.after(seq))
    }
}

impl Span {
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

    fn after(&self, seq: Seq) -> impl Iterator<Item = &Arc<Record>> {
        let (number, place) = split(seq);
        let (dense, thin) = match &self.records {
            Records::Dense(places) => {
                let start = if number == self.number { place + 1 } else { 0 };
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
        let places = order.spans.iter().map(|span| match &span.records {
            super::Records::Dense(places) => places.capacity(),
            super::Records::Thin(records) => records.capacity(),
        });
        assert!(order.spans.len() < 60 && places.sum::<usize>() < 3 * SPAN as usize);
    }
}
