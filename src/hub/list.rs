//! The work list of one pass of a shard: which members it writes to, and what.
//!
//! Members that want the same messages of a batch in the same encoding share one buffer. This keeps a member's entry
//! small: a pass reads all of them, none of which is in the processor's caches.

use std::sync::Arc;

use ahash::AHashMap;

use crate::hub::batch::Batch;
use crate::hub::connection::Connection;
use crate::hub::entry::{Cursor, Message};
use crate::hub::members::{BATCH_MESSAGES, Slot, SlotId};
use crate::message::Epoch;
use crate::plugin::Encoder;

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
    /// Index of its group in [`List::groups`].
    pub(super) group: u32,
}

/// Members that get the same bytes.
pub(super) struct Group {
    encoder: &'static dyn Encoder,
    /// The messages of the batch that they want, as bits.
    pub(super) wants: u64,
    /// The bytes, put together when the first member is served.
    pub(super) batch: Option<Batch>,
    /// How many members have received all of it.
    pub(super) served: u64,
}

impl List {
    /// Adds a live member with the messages that it wants; none, if its own task is to look instead.
    pub(super) fn add(&mut self, id: SlotId, slot: &mut Slot) {
        let wants = std::mem::take(&mut slot.wants);
        if slot.live {
            let group = self.group(slot.encoder, if slot.has_socket { wants } else { 0 });
            self.items.push(Addressee { connection: slot.connection.clone(), id, group });
        }
    }

    fn group(&mut self, encoder: &'static dyn Encoder, wants: u64) -> u32 {
        let next = u32::try_from(self.groups.len()).expect("there are no more groups than members");
        // Usually all members want the same.
        if self.groups.last().is_some_and(|last| last.wants == wants && last.encoder.slot() == encoder.slot()) {
            return next - 1;
        }
        *self.group_of.entry((encoder.slot(), wants)).or_insert_with(|| {
            self.groups.push(Group { encoder, wants, batch: None, served: 0 });
            next
        })
    }

    /// Reuses the list for another batch, of this many messages, all of which every member wants.
    pub(super) fn again(&mut self, messages: usize) {
        self.group_of.clear();
        let written = self.groups.iter_mut().filter(|group| group.wants > 0);
        written.for_each(|group| group.wants = u64::MAX >> (BATCH_MESSAGES - messages));
    }

    /// Sorts members by group, so that the bytes of only one group need to exist at a time: there may be as many groups
    /// as members.
    pub(super) fn sort(&mut self) {
        if self.groups.len() > 1 {
            self.items.sort_by_key(|item| item.group);
        }
    }

    /// Ends the pass: counts its deliveries, once for each message, and drops the bytes.
    pub(super) fn end(&mut self, messages: &[Arc<Message>]) {
        let mut served = [0; BATCH_MESSAGES];
        for group in &mut self.groups {
            let wanted = served.iter_mut().enumerate().filter(|(bit, _)| group.wants >> bit & 1 == 1);
            wanted.for_each(|(_, served)| *served += group.served);
            (group.batch, group.served) = (None, 0);
        }
        messages.iter().zip(served).for_each(|(message, served)| message.count_delivered(served));
    }

    /// Empties the list.
    pub(super) fn clear(&mut self) {
        self.items.clear();
        self.groups.clear();
        self.group_of.clear();
    }
}

impl Group {
    /// The bytes that its members get of these messages.
    pub(super) fn batch(&mut self, messages: &[Arc<Message>], epoch: Epoch) -> &Batch {
        let Self { encoder, wants, batch, .. } = self;
        batch.get_or_insert_with(|| put_together(wanted(messages, *wants), *encoder, epoch))
    }

    /// Counts the first `frames` frames, which are all that one member got, and returns the cursor after them. `start`
    /// is where the batch begins.
    pub(super) fn sent(&self, messages: &[Arc<Message>], frames: usize, start: Cursor) -> Cursor {
        let mut behind = start;
        for message in wanted(messages, self.wants).take(frames) {
            message.count_delivered(1);
            behind.seq = message.record.seq;
        }
        behind
    }
}

fn wanted(messages: &[Arc<Message>], wants: u64) -> impl Iterator<Item = &Arc<Message>> + Clone {
    messages.iter().enumerate().filter(move |(bit, _)| wants >> bit & 1 == 1).map(|(_, message)| message)
}

/// Called once for many deliveries, so kept out of their hot path.
#[cold]
fn put_together<'a>(messages: impl Iterator<Item = &'a Arc<Message>>, encoder: &dyn Encoder, epoch: Epoch) -> Batch {
    let frames: Vec<_> = messages.map(|message| message.encoded(encoder, epoch)).collect();
    Batch::new(frames.into_iter())
}
