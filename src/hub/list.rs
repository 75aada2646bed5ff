//! The work list of one pass of a shard: whom it writes to, and what.
//!
//! Whoever wants the same of a batch in the same encoding shares one buffer, so that a member's place on the list is
//! small: a pass reads each of them, and finds it cold in the processor's caches.

use std::sync::Arc;

use ahash::AHashMap;

use crate::hub::batch::Batch;
use crate::hub::connection::Connection;
use crate::hub::entry::{Cursor, Message};
use crate::hub::members::{Slot, SlotId};
use crate::message::Epoch;
use crate::plugin::Encoder;

/// Messages in one batch: as many as a member's wants have bits.
pub(super) const BATCH_MESSAGES: usize = 64;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct List {
    pub(super) items: Vec<Addressee>,
    pub(super) groups: Vec<Group>,
    group_of: AHashMap<(usize, u64), u32>,
}

/// One member on the list.
pub(super) struct Addressee {
    pub(super) connection: Arc<Connection>,
    pub(super) id: SlotId,
    /// Its place among the groups.
    pub(super) group: u32,
}

/// Members that get the same bytes.
pub(super) struct Group {
    encoder: &'static dyn Encoder,
    /// Which messages of the batch, by bits.
    pub(super) wants: u64,
    /// Put together when the first of them is served.
    pub(super) batch: Option<Batch>,
    /// How many got all of it.
    pub(super) served: u64,
}

impl List {
    /// Adds a member that gets what it has noted; nothing, if it is to look for itself.
    pub(super) fn add(&mut self, id: SlotId, slot: &mut Slot) {
        let wants = std::mem::take(&mut slot.wants);
        if slot.live {
            let group = self.group(slot.encoder, if slot.has_socket { wants } else { 0 });
            self.items.push(Addressee { connection: slot.connection.clone(), id, group });
        }
    }

    fn group(&mut self, encoder: &'static dyn Encoder, wants: u64) -> u32 {
        let next = u32::try_from(self.groups.len()).expect("there are no more groups than members");
        // Mostly everybody wants the same.
        if self.groups.last().is_some_and(|last| last.wants == wants && last.encoder.slot() == encoder.slot()) {
            return next - 1;
        }
        *self.group_of.entry((encoder.slot(), wants)).or_insert_with(|| {
            self.groups.push(Group { encoder, wants, batch: None, served: 0 });
            next
        })
    }

    /// Has everybody on it get all of another batch of so many messages.
    pub(super) fn again(&mut self, messages: usize) {
        self.group_of.clear();
        let written = self.groups.iter_mut().filter(|group| group.wants > 0);
        written.for_each(|group| group.wants = u64::MAX >> (BATCH_MESSAGES - messages));
    }

    /// Puts the members of a group together. There may be as many groups as members: so only one group's bytes need to exist
    /// at a time.
    pub(super) fn sort(&mut self) {
        if self.groups.len() > 1 {
            self.items.sort_by_key(|item| item.group);
        }
    }

    /// The batch has been served: counts its deliveries, once for each message, and lets its bytes go.
    pub(super) fn end(&mut self, messages: &[Arc<Message>]) {
        let mut served = [0; BATCH_MESSAGES];
        for group in &mut self.groups {
            let wanted = served.iter_mut().enumerate().filter(|(bit, _)| group.wants >> bit & 1 == 1);
            wanted.for_each(|(_, served)| *served += group.served);
            (group.batch, group.served) = (None, 0);
        }
        messages.iter().zip(served).for_each(|(message, served)| count(message, served));
    }

    /// Takes everybody off.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.groups.clear();
        self.group_of.clear();
    }
}

impl Group {
    /// What its members get of these messages.
    pub(super) fn batch(&mut self, messages: &[Arc<Message>], epoch: Epoch) -> &Batch {
        let Self { encoder, wants, batch, .. } = self;
        batch.get_or_insert_with(|| put_together(wanted(messages, *wants), *encoder, epoch))
    }

    /// A member got the first so many of its frames only: counts them, and answers the cursor behind them, in a batch that
    /// begins at `start`.
    pub(super) fn sent(&self, messages: &[Arc<Message>], frames: usize, start: Cursor) -> Cursor {
        let mut behind = start;
        for message in wanted(messages, self.wants).take(frames) {
            count(message, 1);
            behind.seq = message.record.seq;
        }
        behind
    }
}

fn wanted(messages: &[Arc<Message>], wants: u64) -> impl Iterator<Item = &Arc<Message>> + Clone {
    messages.iter().enumerate().filter(move |(bit, _)| wants >> bit & 1 == 1).map(|(_, message)| message)
}

/// Once for many deliveries: kept out of the path of each.
#[cold]
fn put_together<'a>(messages: impl Iterator<Item = &'a Arc<Message>>, encoder: &dyn Encoder, epoch: Epoch) -> Batch {
    let frames: Vec<_> = messages.map(|message| message.encoded(encoder, epoch)).collect();
    Batch::new(frames.into_iter())
}

fn count(message: &Message, deliveries: u64) {
    if let Some(topic) = &message.topic {
        topic.delivered.add(deliveries);
    }
}
