//! Who of a shard wants which topics.

use std::collections::HashMap;
use std::sync::Arc;

use crate::hub::connection::Connection;
use crate::hub::entry::{Cursor, Mark};
use crate::message::Record;
use crate::name::{Pattern, TopicName, UserId};
use crate::plugin::Encoder;
use crate::principal::Principal;

/// Where a member stands in its shard.
pub(super) type SlotId = u32;

/// The members of one shard, found by what they subscribe to.
#[derive(Default)]
pub(super) struct Members {
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    exact: HashMap<TopicName, Vec<SlotId>>,
    /// By the first segment where it is a literal, else under the empty text.
    patterns: HashMap<Box<str>, Vec<(Pattern, Vec<SlotId>)>>,
    users: HashMap<UserId, Vec<SlotId>>,
    /// Counts when somebody came to be served by the shard, or ceased to be. Nobody's subscriptions change meanwhile.
    changes: u64,
}

/// One member.
pub(super) struct Slot {
    pub(super) connection: Arc<Connection>,
    pub(super) encoder: &'static dyn Encoder,
    /// Who it was last said to be.
    pub(super) principal: Option<Arc<Principal>>,
    subscriptions: Vec<Pattern>,
    /// The shard serves it, and not its own task.
    live: bool,
    /// What it has already got.
    pub(super) from: Cursor,
    /// Which messages of the batch that is being prepared it wants.
    pub(super) wants: u64,
}

impl Members {
    pub(super) fn insert(&mut self, connection: Arc<Connection>, encoder: &'static dyn Encoder) -> SlotId {
        let slot = Slot {
            connection,
            encoder,
            principal: None,
            subscriptions: Vec::new(),
            live: false,
            from: Cursor::default(),
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
        self.changes += 1;
    }

    /// Has the member served by the shard, or by its own task.
    pub(super) fn serve(&mut self, id: SlotId, live: bool) {
        self.slot(id).live = live;
        self.changes += 1;
    }

    /// Another number whenever it is others whom the shard serves.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    pub(super) fn slot(&mut self, id: SlotId) -> &mut Slot {
        self.slots[id as usize].as_mut().expect("a subscriber's slot is removed by its drop only")
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (SlotId, &Slot)> {
        (0..).zip(&self.slots).filter_map(|(id, slot)| Some((id, slot.as_ref()?)))
    }

    /// What is subscribed to, with how many members do.
    pub(super) fn subscriptions(&self) -> impl Iterator<Item = (Pattern, usize)> {
        let exact = self.exact.iter().map(|(topic, ids)| (Pattern::from(topic), ids.len()));
        exact.chain(self.patterns.values().flatten().map(|(pattern, ids)| (pattern.clone(), ids.len())))
    }

    /// Says who the member is.
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

    /// Replaces what the member subscribes to.
    pub(super) fn index(&mut self, id: SlotId, subscriptions: Vec<Pattern>) {
        let before = std::mem::replace(&mut self.slot(id).subscriptions, subscriptions.clone());
        for pattern in before {
            match pattern.exact() {
                Some(topic) => remove_from(&mut self.exact, &topic, id),
                None => self.remove_pattern(&pattern, id),
            }
        }
        for pattern in subscriptions {
            match pattern.exact() {
                Some(topic) => self.exact.entry(topic).or_default().push(id),
                None => self.insert_pattern(pattern, id),
            }
        }
    }

    fn insert_pattern(&mut self, pattern: Pattern, id: SlotId) {
        let list = self.patterns.entry(pattern.first_literal().into()).or_default();
        match list.iter_mut().find(|(p, _)| *p == pattern) {
            Some((_, ids)) => ids.push(id),
            None => list.push((pattern, vec![id])),
        }
    }

    fn remove_pattern(&mut self, pattern: &Pattern, id: SlotId) {
        let key = pattern.first_literal();
        let Some(list) = self.patterns.get_mut(key) else { return };
        for (_, ids) in list.iter_mut().filter(|(p, _)| p == pattern) {
            swap_out(ids, id);
        }
        list.retain(|(_, ids)| !ids.is_empty());
        if list.is_empty() {
            self.patterns.remove(key);
        }
    }

    /// Whether anybody here may want the message.
    pub(super) fn concern(&self, record: &Record) -> bool {
        match &record.user {
            Some(user) => self.users.contains_key(user),
            None if self.exact.contains_key(&record.topic) => true,
            None if self.patterns.is_empty() => false,
            None => {
                let first = record.topic.as_str().split('.').next().unwrap_or_default();
                let mut patterns = [first, ""].into_iter().filter_map(|key| self.patterns.get(key)).flatten();
                patterns.any(|(pattern, _)| pattern.matches(&record.topic))
            }
        }
    }

    /// Notes message number `bit` of a batch as wanted by every live member that does; members that want their first
    /// message are added to `touched`. Answers whether nobody was passed over for having it already.
    pub(super) fn note(&mut self, record: &Record, bit: usize, touched: &mut Vec<SlotId>) -> bool {
        let mut all = true;
        let Self { slots, exact, patterns, users, .. } = self;
        let mut want = |id: SlotId, subscribed: bool| {
            let Some(slot) = slots[id as usize].as_mut().filter(|slot| slot.live) else { return };
            all &= record.seq > slot.from.seq;
            if record.seq > slot.from.seq && (subscribed || slot.subscribes(&record.topic)) {
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
        if patterns.is_empty() {
            return all;
        }
        let first = record.topic.as_str().split('.').next().unwrap_or_default();
        for (pattern, ids) in [first, ""].into_iter().filter_map(|key| patterns.get(key)).flatten() {
            if pattern.matches(&record.topic) {
                ids.iter().for_each(|id| want(*id, true));
            }
        }
        all
    }

    /// Live members that a reload affects.
    pub(super) fn affected(&self, mark: &Mark) -> Vec<SlotId> {
        let reach = mark.reach();
        let live = self.iter().filter(|(_, slot)| slot.live);
        let affected = live.filter(|(_, slot)| {
            let token = slot.principal.as_ref().and_then(|principal| principal.token.as_deref());
            reach.affects(token, &slot.subscriptions)
        });
        affected.map(|(id, _)| id).collect()
    }
}

impl Slot {
    /// Whether the shard serves it, and not its own task.
    pub(super) fn is_live(&self) -> bool {
        self.live
    }

    fn subscribes(&self, topic: &TopicName) -> bool {
        self.subscriptions.iter().any(|pattern| pattern.matches(topic))
    }
}

fn remove_from<K: std::hash::Hash + Eq>(lists: &mut HashMap<K, Vec<SlotId>>, key: &K, id: SlotId) {
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
