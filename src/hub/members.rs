//! Which members of a shard want which topics.

use std::collections::HashSet;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use ahash::AHashMap;

use crate::footprint::{allocated, in_list};
use crate::hub::connection::Connection;
use crate::hub::entry::{Cursor, Mark};
use crate::hub::peer::Peer;
use crate::hub::stamp::Stamp;
use crate::message::Record;
use crate::name::{Pattern, TopicName, UserId};
use crate::patterns::{Meter, Patterns};
use crate::plugin::Encoder;
use crate::principal::Principal;

/// Most nodes of the pattern tree to visit when looking for members that a reload affects. Beyond that every member has
/// to look for itself.
const SEARCH: usize = 1 << 16;

/// With up to this many subscriptions of a member, each is compared with a topic; with more, the topic's subscribers
/// are searched for the member.
const LOOK: usize = 128;

/// Most bytes that a subscription takes in its shard, even with the longest pattern.
pub(super) const SUBSCRIPTION_BYTES: usize =
    Patterns::<Vec<SlotId>>::EACH_BYTES + allocated(in_list(size_of::<SlotId>())) + in_list(size_of::<Pattern>());

/// Index of a member in its shard.
pub(super) type SlotId = u32;

/// The members of one shard, indexed by their subscriptions.
#[derive(Default)]
pub(super) struct Members {
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    exact: AHashMap<TopicName, Vec<SlotId>>,
    patterns: Patterns<Vec<SlotId>>,
    users: AHashMap<UserId, Vec<SlotId>>,
}

/// One member.
pub(super) struct Slot {
    pub(super) connection: Arc<Connection>,
    peer: Arc<Peer>,
    pub(super) encoder: &'static dyn Encoder,
    /// Its principal, as last identified.
    pub(super) principal: Option<Arc<Principal>>,
    /// Whether messages can be written to its connection; otherwise its own task pulls them.
    pub(super) has_socket: bool,
    subscriptions: Vec<Pattern>,
    /// Stamp of the kept list that is correct for this member: it is listed if it wants the list's topic. `None` after
    /// each change of its subscriptions.
    pub(super) agrees_with: Option<Stamp>,
    /// Whether the shard serves it, rather than its own task.
    pub(super) live: bool,
    /// Its cursor when it last went live: it has received everything up to here.
    pub(super) joined_at: Cursor,
    /// The messages that it wants of the batch being prepared, as bits.
    pub(super) wants: u64,
}

/// A member, as shown to operators.
pub struct Member {
    /// Its progress, and what its peer has not read.
    pub connection: Arc<Connection>,
    /// Who is at its other end.
    pub peer: Arc<Peer>,
    /// Its principal; `None` until it is identified.
    pub principal: Option<Arc<Principal>>,
    /// Its subscriptions.
    pub subscriptions: Vec<Pattern>,
}

impl Member {
    /// The name of its principal, for logs.
    pub fn principal_name(&self) -> &str {
        Principal::name_of(self.principal.as_deref())
    }

    /// The user whose addressed messages it gets, besides those for everybody.
    pub fn user(&self) -> Option<&str> {
        self.principal.as_ref()?.user.as_ref().map(UserId::as_str)
    }
}

impl Slot {
    fn member(&self) -> Member {
        Member {
            connection: self.connection.clone(),
            peer: self.peer.clone(),
            principal: self.principal.clone(),
            subscriptions: self.subscriptions.clone(),
        }
    }
}

impl Members {
    pub(super) fn insert(
        &mut self,
        connection: Arc<Connection>,
        peer: Arc<Peer>,
        has_socket: bool,
        encoder: &'static dyn Encoder,
    ) -> SlotId {
        let slot = Slot {
            connection,
            peer,
            encoder,
            principal: None,
            has_socket,
            subscriptions: Vec::new(),
            agrees_with: None,
            live: false,
            joined_at: Cursor::default(),
            wants: 0,
        };
        if let Some(id) = self.free.pop() {
            self.slots[id as usize] = Some(slot);
            return id;
        }
        self.slots.push(Some(slot));
        SlotId::try_from(self.slots.len() - 1).expect("there are fewer connections than u32 counts")
    }

    pub(super) fn remove(&mut self, id: SlotId) {
        self.index(id, Vec::new());
        self.identify(id, None);
        self.slots[id as usize] = None;
        self.free.push(id);
    }

    pub(super) fn slot(&mut self, id: SlotId) -> &mut Slot {
        self.slots[id as usize].as_mut().expect("a subscriber's slot is removed by its drop only")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        (0..).zip(&self.slots).filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    /// The members in these slots; `None` past the last slot.
    pub(super) fn in_slots(&self, slots: Range<usize>) -> Option<Vec<Member>> {
        let slots = self.slots.get(slots.start..slots.end.min(self.slots.len())).filter(|slots| !slots.is_empty())?;
        Some(slots.iter().flatten().map(Slot::member).collect())
    }

    /// Sets the member's principal.
    pub(super) fn identify(&mut self, id: SlotId, principal: Option<Arc<Principal>>) {
        let user = |principal: &Option<Arc<Principal>>| principal.as_ref().and_then(|principal| principal.user.clone());
        let now = user(&principal);
        let before = std::mem::replace(&mut self.slot(id).principal, principal);
        if let Some(user) = user(&before) {
            remove_from(&mut self.users, &user, id);
        }
        if let Some(user) = now {
            self.users.entry(user).or_default().push(id);
        }
    }

    /// Replaces the member's subscriptions. The prefix that both lists share is left alone, so that adding one to many
    /// costs as much as one.
    pub(super) fn index(&mut self, id: SlotId, subscriptions: Vec<Pattern>) {
        let before = std::mem::take(&mut self.slot(id).subscriptions);
        let same = before.iter().zip(&subscriptions).take_while(|(before, now)| before == now).count();
        before[same..].iter().for_each(|pattern| self.leave(pattern, id));
        subscriptions[same..].iter().for_each(|pattern| self.enter(pattern, id));
        self.slot(id).subscriptions = subscriptions;
    }

    fn enter(&mut self, pattern: &Pattern, id: SlotId) {
        match pattern.exact() {
            Some(topic) => self.exact.entry(topic).or_default().push(id),
            None => self.patterns.entry(pattern).push(id),
        }
    }

    fn leave(&mut self, pattern: &Pattern, id: SlotId) {
        if let Some(topic) = pattern.exact() {
            remove_from(&mut self.exact, &topic, id);
        } else if let Some(ids) = self.patterns.get_mut(pattern) {
            swap_out(ids, id);
            if ids.is_empty() {
                self.patterns.remove(pattern);
            }
        }
    }

    /// Whether any member may want the message.
    pub(super) fn concern(&self, record: &Record) -> bool {
        match &record.user {
            Some(user) => self.users.contains_key(user),
            None if self.exact.contains_key(&record.topic) => true,
            None => self.patterns.containing(record.topic.as_str(), |_| ControlFlow::Break(())).is_break(),
        }
    }

    /// Notes message number `bit` of a batch for every live member that wants it.
    ///
    /// Members that want their first message are added to `touched`. Returns whether no member was skipped because it
    /// has the message already.
    pub(super) fn note(&mut self, record: &Record, bit: usize, touched: &mut Vec<SlotId>) -> bool {
        let mut all = true;
        let Self { slots, exact, patterns, users, .. } = self;
        let mut want = |id: SlotId, is_subscribed: bool| {
            let Some(slot) = slots[id as usize].as_mut().filter(|slot| slot.live) else { return };
            all &= record.seq > slot.joined_at.seq;
            if record.seq > slot.joined_at.seq
                && (is_subscribed || subscribes(&slot.subscriptions, id, exact, patterns, &record.topic))
            {
                if slot.wants == 0 {
                    touched.push(id);
                }
                slot.wants |= 1 << bit;
            }
        };
        if let Some(user) = &record.user {
            users.get(user).into_iter().flatten().for_each(|id| want(*id, false));
            return all;
        }
        exact.get(&record.topic).into_iter().flatten().for_each(|id| want(*id, true));
        _ = patterns.containing(record.topic.as_str(), |ids| {
            ids.iter().for_each(|id| want(*id, true));
            ControlFlow::Continue(())
        });
        all
    }

    /// Whether the member wants messages to a topic.
    pub(super) fn subscribes(&self, id: SlotId, topic: &TopicName) -> bool {
        let slot = self.slots[id as usize].as_ref();
        slot.is_some_and(|slot| subscribes(&slot.subscriptions, id, &self.exact, &self.patterns, topic))
    }

    /// Live members that a reload affects.
    pub(super) fn affected(&self, mark: &Mark) -> Vec<SlotId> {
        let named = self.named(mark);
        let live = self.iter().filter(|(_, slot)| slot.live);
        let affected = live.filter(|(id, slot)| {
            let token = slot.principal.as_ref().and_then(|principal| principal.token.as_deref());
            named.as_ref().is_none_or(|named| named[*id as usize]) || mark.concerns(token)
        });
        affected.map(|(id, _)| id).collect()
    }

    /// For each member, whether it subscribes to something that the mark names.
    ///
    /// `None` if that takes too long to find out: members that join, leave or subscribe in this shard wait meanwhile.
    fn named(&self, mark: &Mark) -> Option<Vec<bool>> {
        let mut named = vec![false; self.slots.len()];
        let (mut meter, mut seen, mut families) = (Meter(SEARCH), HashSet::new(), Patterns::default());
        let mut note = |ids: &Vec<SlotId>| ids.iter().for_each(|id| named[*id as usize] = true);
        for name in mark.removed.iter().chain(mark.changed.iter()) {
            match name.exact() {
                Some(topic) => self.exact.get(&topic).into_iter().for_each(&mut note),
                None => families.insert(name.clone(), ()),
            }
            // Many of the names may fall under one pattern with many subscribers: visit its list once.
            let once = |ids| {
                if seen.insert(std::ptr::from_ref(ids)) {
                    note(ids);
                }
                ControlFlow::Continue(())
            };
            if self.patterns.overlapping(&name.canonical(), &mut meter, once).is_break() {
                return None;
            }
        }
        if !families.is_empty() {
            let of_them =
                |topic: &TopicName| families.containing(topic.as_str(), |()| ControlFlow::Break(())).is_break();
            self.exact.iter().filter(|(topic, _)| of_them(topic)).for_each(|(_, ids)| note(ids));
        }
        Some(named)
    }
}

/// As [`Members::subscribes`].
fn subscribes(
    own: &[Pattern],
    id: SlotId,
    exact: &AHashMap<TopicName, Vec<SlotId>>,
    patterns: &Patterns<Vec<SlotId>>,
    topic: &TopicName,
) -> bool {
    if own.len() <= LOOK {
        return own.iter().any(|pattern| pattern.matches(topic));
    }
    let is_among =
        |ids: &Vec<SlotId>| if ids.contains(&id) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
    exact.get(topic).is_some_and(|ids| is_among(ids).is_break())
        || patterns.containing(topic.as_str(), is_among).is_break()
}

fn remove_from<K: std::hash::Hash + Eq>(lists: &mut AHashMap<K, Vec<SlotId>>, key: &K, id: SlotId) {
    if let Some(ids) = lists.get_mut(key) {
        swap_out(ids, id);
        if ids.is_empty() {
            lists.remove(key);
        }
    }
}

fn swap_out(ids: &mut Vec<SlotId>, id: SlotId) {
    if let Some(at) = ids.iter().position(|other| *other == id) {
        ids.swap_remove(at);
    }
}

#[cfg(test)]
#[path = "members_tests.rs"]
mod tests;
