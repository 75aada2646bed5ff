//! What comes next for a subscriber that is not live: from the window if its cursor is there, else from the store.
//!
//! Notices come at their place in the order of the log: a gap before the messages that follow it, `synced` after the
//! ones that it covers.

use std::sync::Arc;

use crate::hub::entry::{Cursor, Mark, Message};
use crate::hub::gaps::DUE;
use crate::hub::subscriber::{Item, Pulled, Subscriber};
use crate::hub::window::Fetch;
use crate::message::{Record, Seq};
use crate::name::Pattern;
use crate::patterns::Patterns;
use crate::plugin::{Query, Unavailable};

/// Messages in one page of the store.
const PAGE: usize = 256;
/// The same with many subscriptions, because each page begins with putting them into a tree.
const LARGE_PAGE: usize = 1_024;
/// Gaps in one pull: about as many as are sent in one write.
const GAPS: usize = 1_024;
// A page whose gaps are not all kept must not have its messages taken.
const _: () = assert!(GAPS < DUE);
/// Messages of the window examined in one pull, and their bytes of payload. To look at one again costs little.
const PULL_MESSAGES: usize = 256;
const PULL_BYTES: usize = 64 << 10;
/// With more messages and more subscriptions than these, the subscriptions are first put into a tree: adding one to it
/// costs as much as comparing it with this many topics.
const FEW_MESSAGES: usize = 32;
const FEW_SUBSCRIPTIONS: usize = 128;

/// Which messages the subscriber wants, of those addressed to it; made once for each pull.
enum Wanted {
    /// All of a page, which the store has matched with the subscriptions: none of them has a floor within it.
    All,
    Each,
    /// The floors, by pattern.
    Tree(Patterns<Seq>),
}

impl Subscriber {
    /// What comes next, for a subscriber that is not live; `None` at the head. Call [`Self::settle`] after sending it.
    ///
    /// `most` is how many bytes can be sent at once: about so much is read from the store, but at least one message.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn pull(&mut self, most: usize) -> Result<Option<Pulled>, Unavailable> {
        let cursor = self.take_back();
        if self.gaps_due() > 0 {
            return Ok(Some(self.pull_gaps(cursor)));
        }
        let store = self.replay.as_ref().map_or(0, |replay| replay.until);
        match self.hub.window.after(cursor, store, PULL_MESSAGES, PULL_BYTES) {
            Fetch::Head => {
                let mut pulled = Pulled { end: cursor, ..Pulled::default() };
                self.take_due(cursor.seq, cursor, &mut pulled);
                Ok((!pulled.items.is_empty()).then_some(pulled))
            }
            Fetch::FromStore(seq) => self.pull_store(cursor, seq, most).await.map(Some),
            Fetch::Mark(mark) => Ok(Some(self.pull_mark(cursor, mark))),
            Fetch::Messages(messages) => Ok(Some(self.pull_window(cursor, messages))),
        }
    }

    fn pull_window(&mut self, mut cursor: Cursor, messages: Vec<Arc<Message>>) -> Pulled {
        let mut pulled = Pulled::default();
        let wanted = self.wanted(messages.len());
        if let Some(replay) = &mut self.replay {
            replay.gaps.reached_window();
        }
        for message in messages {
            let seq = message.record.seq;
            self.take_due(seq - 1, cursor, &mut pulled);
            cursor.seq = seq;
            if self.wants(&wanted, &message.record) {
                pulled.items.push((Item::Message(message), cursor));
            }
        }
        self.take_due(cursor.seq, cursor, &mut pulled);
        pulled.end = cursor;
        pulled
    }

    /// At a reload's mark: what is due at the cursor, then the mark.
    fn pull_mark(&mut self, cursor: Cursor, mark: Arc<Mark>) -> Pulled {
        let mut pulled = Pulled { end: mark.pass(cursor), ..Pulled::default() };
        self.take_due(cursor.seq, cursor, &mut pulled);
        pulled.items.push((Item::Mark(mark), pulled.end));
        pulled
    }

    async fn pull_store(&mut self, cursor: Cursor, until: Seq, most: usize) -> Result<Pulled, Unavailable> {
        let topics: Vec<Pattern> = self.subscriptions().cloned().collect();
        let limit = topics.len().clamp(PAGE, LARGE_PAGE);
        let seen = self.replay.as_ref().map_or(0, |replay| replay.gaps.seen());
        let query = Query { topics: &topics, after: cursor.seq, until, limit, bytes: most, seen };
        let page = self.hub.store.read(query).await?;
        let replay = self.replay.get_or_insert_default();
        let subscriptions = self.subscriptions.iter().map(|s| (&s.pattern, s.floor));
        replay.gaps.note_page((page.evicted, page.seen), subscriptions, (cursor.seq, until, replay.until));
        let mut pulled = self.pull_gaps(cursor);
        if self.gaps_due() > GAPS {
            return Ok(pulled);
        }
        let at = |seq: Seq| Cursor { seq, ..cursor };
        let wanted = match self.subscriptions.iter().all(|s| s.floor <= cursor.seq) {
            true => Wanted::All,
            false => self.wanted(page.records.len()),
        };
        for record in page.records {
            let seq = record.seq;
            self.take_due(seq - 1, at(seq - 1), &mut pulled);
            if self.wants(&wanted, &record) {
                let topic = self.hub.topic(&record.topic);
                pulled.items.push((Item::Message(Arc::new(Message::new(record, topic))), at(seq)));
            }
        }
        self.take_due(page.until, at(page.until), &mut pulled);
        pulled.end = at(page.until.max(cursor.seq));
        Ok(pulled)
    }

    /// What is due at the cursor, then some of the gaps that pages have shown.
    fn pull_gaps(&mut self, cursor: Cursor) -> Pulled {
        let mut pulled = Pulled { end: cursor, ..Pulled::default() };
        self.take_due(cursor.seq, cursor, &mut pulled);
        let epoch = self.hub.epoch();
        let gaps = self.replay.iter().flat_map(|replay| replay.gaps.due()).take(GAPS);
        pulled.items.extend(gaps.map(|gap| (Item::Notice(gap.notice(epoch)), cursor)));
        pulled
    }

    fn gaps_due(&self) -> usize {
        self.replay.as_ref().map_or(0, |replay| replay.gaps.due().len())
    }

    /// Takes the notices that are due up to a seq.
    fn take_due(&mut self, seq: Seq, cursor: Cursor, pulled: &mut Pulled) {
        let Some(replay) = self.replay.as_mut() else { return };
        let due = replay.due.partition_point(|(at, _)| *at <= seq);
        pulled.items.extend(replay.due.drain(..due).map(|(_, notice)| (Item::Notice(notice), cursor)));
    }

    fn wanted(&self, messages: usize) -> Wanted {
        if messages <= FEW_MESSAGES || self.subscriptions.len() <= FEW_SUBSCRIPTIONS {
            return Wanted::Each;
        }
        let mut floors = Patterns::default();
        self.subscriptions.iter().for_each(|s| floors.insert(s.pattern.clone(), s.floor));
        Wanted::Tree(floors)
    }

    fn wants(&self, wanted: &Wanted, record: &Record) -> bool {
        let Record { topic, user, seq, .. } = record;
        let is_addressed = user.as_ref().is_none_or(|user| Some(user) == self.user.as_ref());
        is_addressed
            && match wanted {
                Wanted::All => true,
                Wanted::Each => self.subscriptions.iter().any(|s| *seq > s.floor && s.pattern.matches(topic)),
                Wanted::Tree(floors) => floors.any_containing(topic.as_str(), |floor| seq > floor),
            }
    }
}

#[cfg(test)]
#[path = "pull_tests.rs"]
mod tests;
