//! The list of one topic, kept for the next messages to it, so that a burst need not touch the cold memory of every member.
//!
//! Everybody live who wants the topic and stands where the shard stands is on it. A member that left may stay on it, because a
//! pass skips who is not live. While a pass serves the list, the pass has it, and spare memory stands here.

use crate::hub::list::List;
use crate::hub::members::{Members, SlotId};
use crate::hub::stamp::Stamp;
use crate::name::TopicName;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Kept(Option<OfTopic>);

struct OfTopic {
    topic: TopicName,
    /// The pass that it was made for, by which a member says that the list is right about it.
    made: Stamp,
    list: List,
}

impl Kept {
    /// Gives the list to a pass whose messages are all for this topic; answers whether there is one.
    pub(super) fn take_for(&mut self, topic: Option<&TopicName>, list: &mut List) -> bool {
        let Some(kept) = self.0.as_mut().filter(|kept| topic == Some(&kept.topic)) else { return false };
        std::mem::swap(&mut kept.list, list);
        true
    }

    /// The list that a pass is about to make is kept from now on, as that of this topic.
    pub(super) fn begin(&mut self, topic: TopicName, made: Stamp) {
        // For its memory, which is used again.
        let list = self.0.take().map(|kept| kept.list).unwrap_or_default();
        self.0 = Some(OfTopic { topic, made, list });
    }

    /// Takes back what a pass has served, unless it was dropped meanwhile, and leaves spare memory there.
    pub(super) fn take_back(&mut self, list: &mut List) {
        if let Some(kept) = &mut self.0 {
            std::mem::swap(&mut kept.list, list);
        }
    }

    /// A member goes live. Drops the list if the member wants the topic and is not on it, or is ahead: then it has got what the
    /// shard has still to serve from the list.
    pub(super) fn joined(&mut self, id: SlotId, members: &mut Members, is_ahead: bool) {
        let Some(OfTopic { topic, made, .. }) = &self.0 else { return };
        if !is_ahead && members.slot(id).agrees_with == Some(*made) {
            return;
        }
        if members.subscribes(id, topic) {
            self.0 = None;
        } else {
            members.slot(id).agrees_with = Some(*made);
        }
    }

    /// A member goes, or is to want something else. Drops the list if it may be on it, which then would keep its socket, or give
    /// it what it wants no more.
    pub(super) fn left(&mut self, id: SlotId, members: &mut Members) {
        let agrees_with = members.slot(id).agrees_with.take();
        if let Some(OfTopic { topic, made, .. }) = &self.0
            && agrees_with == Some(*made)
            && members.subscribes(id, topic)
        {
            self.0 = None;
        }
    }

    #[cfg(test)]
    pub(super) fn is_some(&self) -> bool {
        self.0.is_some()
    }
}
