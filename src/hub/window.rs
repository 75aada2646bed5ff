//! The newest messages of all topics, in the order of the log: what fan-out reads.
//!
//! Because everybody who keeps up is served from here, what a topic retains never costs such a subscriber anything.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::hub::entry::{Cursor, Entry, Mark, Message};
use crate::message::Seq;

/// A bounded view of the log's end.
pub struct Window {
    inner: Mutex<Inner>,
}

struct Inner {
    entries: VecDeque<Entry>,
    bytes: usize,
    limit: usize,
    least: usize,
    head: Cursor,
    /// The last message that has left the window.
    evicted: Seq,
}

/// What a reader finds behind its cursor.
pub enum Fetch {
    /// Nothing: the cursor is at the head, or past it for a reader that asks for what is not there yet.
    Head,
    /// These, in order; not necessarily all.
    Entries(Vec<Entry>),
    /// Messages up to this seq have left the window: ask the store for them.
    Evicted(Seq),
}

impl Window {
    /// A window that keeps about `limit` bytes and at least `least` entries, over a log whose head is `head`.
    pub fn new(limit: usize, least: usize, head: Cursor) -> Self {
        let inner = Inner { entries: VecDeque::new(), bytes: 0, limit, least, head, evicted: head.seq };
        Self { inner: Mutex::new(inner) }
    }

    /// The place after the newest entry.
    pub fn head(&self) -> Cursor {
        self.inner().head
    }

    /// Adds messages; answers the places before and after.
    pub fn append(&self, messages: impl IntoIterator<Item = Arc<Message>>) -> (Cursor, Cursor) {
        let mut inner = self.inner();
        let before = inner.head;
        for message in messages {
            inner.bytes += message.cost();
            inner.head.seq = message.record.seq;
            inner.entries.push_back(Entry::Message(message));
        }
        inner.shrink();
        (before, inner.head)
    }

    /// Adds the mark of a reload behind everything that is there.
    pub fn mark(&self, make: impl FnOnce(Seq) -> Mark) {
        let mut inner = self.inner();
        let mark = make(inner.head.seq);
        inner.head.generation = mark.generation;
        inner.entries.push_back(Entry::Mark(Arc::new(mark)));
    }

    /// Sets another limit, in bytes.
    pub fn resize(&self, limit: usize) {
        let mut inner = self.inner();
        inner.limit = limit;
        inner.shrink();
    }

    /// What stands behind a cursor, at most `count` entries and about `bytes` of payload, but at least one.
    pub fn after(&self, cursor: Cursor, count: usize, bytes: usize) -> Fetch {
        let inner = self.inner();
        if cursor.seq < inner.evicted {
            return Fetch::Evicted(inner.evicted);
        }
        let start = inner.entries.partition_point(|entry| !entry.is_after(cursor));
        let mut found = Vec::new();
        let mut size = 0;
        for entry in inner.entries.range(start..).take(count) {
            if let Entry::Message(message) = entry {
                size += message.record.payload.len();
                if size > bytes && !found.is_empty() {
                    break;
                }
            }
            found.push(entry.clone());
        }
        if found.is_empty() { Fetch::Head } else { Fetch::Entries(found) }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn shrink(&mut self) {
        while self.bytes > self.limit && self.entries.len() > self.least {
            match self.entries.pop_front() {
                Some(Entry::Message(message)) => {
                    self.bytes -= message.cost();
                    self.evicted = message.record.seq;
                }
                Some(Entry::Mark(_)) => {}
                None => break,
            }
        }
    }
}
