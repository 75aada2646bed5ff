//! The work list of one topic, kept for the next messages to it, so that a burst need not read the cold memory of every
//! member again.
//!
//! It holds every live member that wants the topic and has the same position as the shard. A member that is no longer
//! live may stay on it, because a pass skips such members. While a pass serves the list it owns the list, and a spare
//! one lies here.

use crate::hub::list::List;
use crate::hub::members::{Members, SlotId};
use crate::hub::stamp::Stamp;
use crate::name::TopicName;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Kept(Option<OfTopic>);

struct OfTopic {
    topic: TopicName,
    /// The pass that it was made for. A member whose `agrees_with` is this stamp is listed correctly.
    made: Stamp,
    list: List,
}

impl Kept {
    /// Swaps the list into `list`, for a pass whose messages are all for this topic; returns whether there is one.
    pub(super) fn take_for(&mut self, topic: Option<&TopicName>, list: &mut List) -> bool {
        let Some(kept) = self.0.as_mut().filter(|kept| topic == Some(&kept.topic)) else { return false };
        std::mem::swap(&mut kept.list, list);
        true
    }

    /// Marks the list that a pass is about to make as that of this topic, to be kept.
    pub(super) fn begin(&mut self, topic: TopicName, made: Stamp) {
        // Its memory is used again.
        let list = self.0.take().map(|kept| kept.list).unwrap_or_default();
        self.0 = Some(OfTopic { topic, made, list });
    }

    /// Takes the list back from a pass, unless it was dropped meanwhile, and leaves a spare one in its place.
    pub(super) fn take_back(&mut self, list: &mut List) {
        if let Some(kept) = &mut self.0 {
            std::mem::swap(&mut kept.list, list);
        }
    }

    /// A member goes live. Drops the list if the member wants the topic and either is not listed or is ahead of the
    /// shard: it would be missed, or be sent again what it has.
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

    /// A member leaves or changes its subscriptions. Drops the list if the member may be on it: the list would keep its
    /// socket open, or send it what it no longer wants.
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
