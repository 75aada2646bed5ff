//! The newest messages of all topics, in the order of the log: what fan-out reads.
//!
//! Every subscriber that keeps up is served from here, so what a topic retains costs such a subscriber nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use crate::hub::entry::{Cursor, Mark, Message};
use crate::lock::lock;
use crate::message::Seq;

/// Reloads remembered one by one; older ones are merged. More than file events can trigger within `limits.write_stall`,
/// after which a reader that makes no progress is closed.
const MARKS: usize = 1_024;
/// Names in all marks together, beyond which older marks are merged as well.
const NAMES_IN_ALL: usize = 65_536;

/// Messages dropped in one critical section when the window shrinks; publishers and readers wait for it.
const IN_A_TURN: usize = 1_000;

/// A bounded view of the log's end.
pub struct Window {
    inner: Mutex<Inner>,
}

struct Inner {
    messages: VecDeque<Arc<Message>>,
    bytes: usize,
    limit: usize,
    head: Cursor,
    /// The seq of the last message that left the window.
    dropped: Seq,
    /// The latest reloads, in order, even those that the window no longer reaches back to: a reader of the store must
    /// see each of them too.
    marks: VecDeque<Arc<Mark>>,
    /// How many names the marks carry.
    names: usize,
}

/// What a reader finds after its cursor.
pub enum Fetch {
    /// Nothing: the cursor is at the head.
    Head,
    /// These, in order; not necessarily all.
    Messages(Vec<Arc<Message>>),
    /// Ask the store for the messages up to this seq: they have left the window, or the reader wants what is retained.
    FromStore(Seq),
    /// A reload took effect here, at or before the cursor's seq.
    Mark(Arc<Mark>),
}

impl Window {
    /// Creates a window over a log with this head. It keeps about `limit` bytes, and always the last append as a whole.
    pub fn new(limit: usize, head: Cursor) -> Self {
        let inner = Inner {
            messages: VecDeque::new(),
            bytes: 0,
            limit,
            head,
            dropped: head.seq,
            marks: VecDeque::new(),
            names: 0,
        };
        Self { inner: Mutex::new(inner) }
    }

    /// The cursor after the newest message and mark.
    pub fn head(&self) -> Cursor {
        lock(&self.inner).head
    }

    /// Adds messages; returns the head before and after.
    pub fn append(&self, messages: impl IntoIterator<Item = Arc<Message>>) -> (Cursor, Cursor) {
        let mut inner = lock(&self.inner);
        let before = inner.head;
        let mut newest = 0;
        for message in messages {
            inner.bytes += message.cost();
            inner.head.seq = message.record.seq;
            inner.messages.push_back(message);
            newest += 1;
        }
        inner.shrink(newest);
        (before, inner.head)
    }

    /// Adds the mark of a reload at the head. Appends and readers wait for `make`, so it must only assemble what is
    /// prepared.
    pub fn mark(&self, make: impl FnOnce(Seq) -> Mark) {
        let mut inner = lock(&self.inner);
        let mark = Arc::new(make(inner.head.seq));
        inner.head.generation = mark.generation;
        inner.names += mark.names();
        inner.marks.push_back(mark);
        while inner.marks.len() > MARKS || (inner.names > NAMES_IN_ALL && inner.marks.len() > 1) {
            inner.join_oldest();
        }
    }

    /// Sets another limit, in bytes. There may be millions of surplus messages: they are taken out in several critical
    /// sections, and freed outside.
    pub fn resize(&self, limit: usize) {
        while !self.resize_some(limit).is_empty() {}
    }

    /// Takes out some of the surplus, and returns it. The limit comes down with each step, so that no append has to do
    /// the rest.
    fn resize_some(&self, limit: usize) -> Vec<Arc<Message>> {
        let mut inner = lock(&self.inner);
        let mut gone = Vec::new();
        while gone.len() < IN_A_TURN && inner.bytes > limit && inner.messages.len() > 1 {
            gone.extend(inner.let_go());
        }
        inner.limit = if gone.is_empty() { limit } else { limit.max(inner.bytes) };
        gone
    }

    /// What follows a cursor: at most `count` messages and about `bytes` of payload, but at least one message, and none
    /// past a mark that the reader has not seen. Up to the seq `store`, the reader wants no messages of the window.
    pub fn after(&self, cursor: Cursor, store: Seq, count: usize, bytes: usize) -> Fetch {
        let inner = lock(&self.inner);
        let mark = inner.mark_after(cursor);
        if let Some(mark) = mark.filter(|mark| mark.seq <= cursor.seq) {
            return Fetch::Mark(mark.clone());
        }
        let until = mark.map_or(Seq::MAX, |mark| mark.seq);
        let before = if cursor.seq < store { store } else { inner.dropped };
        if cursor.seq < before {
            return Fetch::FromStore(before.min(until));
        }
        if cursor.seq >= inner.head.seq {
            return Fetch::Head;
        }
        let start = inner.place_after(cursor.seq);
        let mut found = Vec::new();
        let mut size = 0;
        for message in inner.messages.range(start..).take(count) {
            size += message.record.payload.size();
            if message.record.seq > until || (size > bytes && !found.is_empty()) {
                break;
            }
            found.push(message.clone());
        }
        Fetch::Messages(found)
    }
}

impl Inner {
    fn mark_after(&self, cursor: Cursor) -> Option<&Arc<Mark>> {
        self.marks.get(self.marks.partition_point(|mark| mark.generation <= cursor.generation))
    }

    /// Index of the first message after a seq, if there is one. Seqs are usually dense, so the distance to the head
    /// gives the index from the end; a binary search would touch a dozen cold messages.
    fn place_after(&self, seq: Seq) -> usize {
        let behind = usize::try_from(self.head.seq - seq).unwrap_or(usize::MAX);
        let guess = self.messages.len().saturating_sub(behind);
        match self.messages.get(guess) {
            Some(message) if message.record.seq == seq + 1 => guess,
            _ => self.messages.partition_point(|message| message.record.seq <= seq),
        }
    }

    fn join_oldest(&mut self) {
        let (Some(oldest), Some(next)) = (self.marks.pop_front(), self.marks.pop_front()) else { return };
        let both = next.and(&oldest);
        self.names = (self.names + both.names()).saturating_sub(oldest.names() + next.names());
        self.marks.push_front(Arc::new(both));
    }

    /// Drops what exceeds the limit, except the `newest` messages: a reader that keeps up finds the last batch here as
    /// a whole.
    fn shrink(&mut self, newest: usize) {
        while self.bytes > self.limit && self.messages.len() > newest.max(1) {
            self.let_go();
        }
    }

    fn let_go(&mut self) -> Option<Arc<Message>> {
        let message = self.messages.pop_front()?;
        self.bytes -= message.cost();
        self.dropped = message.record.seq;
        Some(message)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{Fetch, IN_A_TURN, MARKS, Window};
    use crate::hub::entry::{Cursor, Mark, Message};
    use crate::lock::lock;
    use crate::message::Record;
    use crate::name::{Pattern, TopicName};
    use crate::schema::Payload;
    use crate::time::Time;

    fn message(seq: u64) -> Arc<Message> {
        let (topic, payload) = (TopicName::parse("cats").expect("a topic"), Payload::from_log(vec![b'1'; 100].into()));
        Arc::new(Message::new(Arc::new(Record { seq, time: Time(0), topic, user: None, payload }), None))
    }

    /// 1,024 messages used to be kept whatever their size: 64 MiB each, if the configuration allowed it.
    #[test]
    fn bytes_bound_it_and_what_was_appended_together_stays_whole() {
        let (cost, start) = (message(1).cost(), Cursor { seq: 0, generation: 1 });
        let window = Window::new(3 * cost, start);
        let holds = |window: &Window| lock(&window.inner).messages.iter().map(|m| m.record.seq).collect::<Vec<_>>();
        for seq in 1..=10 {
            window.append([message(seq)]);
        }
        assert_eq!(holds(&window), [8, 9, 10]);
        window.append((11..=15).map(message));
        assert_eq!(holds(&window), [11, 12, 13, 14, 15]);
        window.append([message(16)]);
        assert_eq!(holds(&window), [14, 15, 16]);
        window.resize(0);
        assert_eq!(holds(&window), [16], "the newest is kept whatever its size");
    }

    /// All of them used to go in one critical section: with a window of gibibytes, every publisher and reader waited
    /// for seconds.
    #[test]
    fn what_a_smaller_window_has_no_room_for_goes_in_turns() {
        let window = Window::new(usize::MAX, Cursor::default());
        let all = 3 * IN_A_TURN as u64;
        window.append((1..=all).map(message));
        let holds = |window: &Window| lock(&window.inner).messages.len() as u64;
        assert_eq!(window.resize_some(0).len(), IN_A_TURN);
        window.append([message(all + 1)]);
        assert_eq!(holds(&window), 2 * IN_A_TURN as u64, "an append makes room for itself alone");
        window.resize(0);
        assert_eq!(holds(&window), 1);
        window.append([message(all + 2)]);
        assert_eq!(holds(&window), 1, "the limit is what was asked for");
    }

    #[test]
    fn a_reader_is_found_its_place_in_a_log_that_leaves_seqs_out_too() {
        for seqs in [vec![1, 2, 3, 4, 5], vec![2, 3, 7, 8, 20], vec![1, 3], vec![9]] {
            let window = Window::new(usize::MAX, Cursor::default());
            window.append(seqs.iter().copied().map(message));
            for seq in 0..seqs[seqs.len() - 1] {
                let Fetch::Messages(found) = window.after(Cursor { seq, generation: 0 }, 0, 1, 1) else {
                    panic!("{seq}")
                };
                assert_eq!(Some(&found[0].record.seq), seqs.iter().find(|other| **other > seq));
            }
        }
    }

    #[test]
    fn however_many_reloads_there_were_a_reader_far_behind_passes_none_unseen() {
        let start = Cursor { seq: 0, generation: 1 };
        let window = Window::new(1 << 20, start);
        let last = MARKS as u64 + 100;
        for generation in 2..=last {
            let removed = vec![Pattern::parse(&format!("t{generation}")).expect("a name")];
            let (changed, tokens) = Default::default();
            let removed = removed.into();
            window.mark(|seq| Mark { seq, generation, first: generation, removed, changed, tokens, anonymous: false });
        }
        let (mut cursor, mut seen) = (start, Vec::new());
        while let Fetch::Mark(mark) = window.after(cursor, 0, 1, 1) {
            seen.extend(mark.removed.iter().map(Pattern::to_string));
            cursor = mark.pass(cursor);
        }
        assert_eq!((cursor, seen.len() as u64), (window.head(), last - 1));
        assert!(lock(&window.inner).marks.len() <= MARKS);
        let late = Cursor { seq: 0, generation: last - 1 };
        let Fetch::Mark(late) = window.after(late, 0, 1, 1) else { panic!("the last one") };
        assert_eq!(late.generation, last);
    }

    /// What follows a reload must be judged by it before it is sent.
    #[test]
    fn no_page_goes_past_a_reload_that_was_not_seen() {
        let window = Window::new(usize::MAX, Cursor::default());
        window.append((1..=3).map(message));
        let (removed, changed, tokens) = Default::default();
        window.mark(|seq| Mark { seq, generation: 1, first: 1, removed, changed, tokens, anonymous: true });
        window.append((4..=5).map(message));
        let start = Cursor { seq: 1, generation: 0 };
        let Fetch::Messages(found) = window.after(start, 0, 100, usize::MAX) else { panic!("there are some") };
        assert_eq!(found.iter().map(|message| message.record.seq).collect::<Vec<_>>(), [2, 3]);
        let at_mark = Cursor { seq: 3, generation: 0 };
        let Fetch::Mark(mark) = window.after(at_mark, 0, 100, usize::MAX) else { panic!("it is next") };
        let Fetch::Messages(found) = window.after(mark.pass(at_mark), 0, 100, usize::MAX) else {
            panic!("there are some")
        };
        assert_eq!(found.iter().map(|message| message.record.seq).collect::<Vec<_>>(), [4, 5]);
    }
}
