//! Which members of a shard want which topics.

mod affected;

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use ahash::{AHashMap, AHashSet};

use crate::footprint::{allocated, in_list};
use crate::hub::connection::Connection;
use crate::hub::entry::{Cursor, Message};
use crate::hub::peer::Peer;
use crate::hub::stamp::Stamp;
use crate::name::{Pattern, TopicName, UserId};
use crate::patterns::{Meter, Patterns};
use crate::plugin::Encoder;
use crate::principal::Principal;

/// Most messages in one batch: the number of bits in [`Slot::wants`].
pub(super) const BATCH_MESSAGES: usize = 64;

/// As many nodes of the pattern tree can be visited while one connection is served.
const SERVING: usize = 32;

/// With up to this many subscriptions of a member, each is compared with a topic; with more, the topic's subscribers
/// are searched for the member first.
const LOOK: usize = 128;

/// Most bytes that a subscription takes in its shard, even with the longest pattern.
pub(super) const SUBSCRIPTION_BYTES: usize = Patterns::<Vec<SlotId>>::EACH_BYTES
    + allocated(in_list(size_of::<SlotId>()))
    + in_list(size_of::<Pattern>())
    + in_list(size_of::<SlotId>());

/// Index of a member in its shard.
pub(super) type SlotId = u32;

/// How many nodes of the pattern tree may be visited to find who wants messages.
#[derive(Clone, Copy, Debug)]
pub struct Visits {
    /// For one append in each shard, while all publishers wait. Beyond that some member may want its messages.
    pub append: usize,
    /// For a batch, for each of its messages.
    pub message: usize,
    /// For a batch, as many more for each member with wildcards. Beyond that all of these are handed over to their own
    /// tasks, so that others run between their comparisons.
    pub member: usize,
    /// To find whom a reload affects, topics that are compared included. Beyond that every member looks for itself.
    pub reload: usize,
}

impl Default for Visits {
    fn default() -> Self {
        // 256 suffice for a topic of six segments, whatever is subscribed to.
        Self { append: 64, message: 256, member: SERVING, reload: 1 << 16 }
    }
}

/// The members of one shard, indexed by their subscriptions.
#[derive(Default)]
pub(super) struct Members {
    visits: Visits,
    slots: Vec<Option<Slot>>,
    free: Vec<SlotId>,
    index: Index,
}

/// Who subscribes to what, and who is which user.
#[derive(Default)]
struct Index {
    exact: AHashMap<TopicName, Vec<SlotId>>,
    patterns: Patterns<Vec<SlotId>>,
    /// Those that have any of the patterns.
    with_wildcards: Vec<SlotId>,
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

/// What noting a batch came to.
pub(super) struct Noted {
    /// Whether those who were noted are just those who want its messages: nobody was skipped who has one of them
    /// already, and nobody has to look for itself.
    pub(super) is_exact: bool,
    /// What the search for patterns cost, as the number of connections that might have been served instead.
    pub(super) cost: usize,
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
        self.principal.as_deref()?.user_id()
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
    pub(super) fn new(visits: Visits) -> Self {
        Self { visits, ..Self::default() }
    }

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
        self.subscribe(id, Vec::new());
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
            remove_from(&mut self.index.users, &user, id);
        }
        if let Some(user) = now {
            self.index.users.entry(user).or_default().push(id);
        }
    }

    /// Replaces the member's subscriptions, of which none appears twice. Those that stay are left alone: to take one out
    /// of the list of a topic costs as much as the list is long.
    pub(super) fn subscribe(&mut self, id: SlotId, subscriptions: Vec<Pattern>) {
        let before = std::mem::take(&mut self.slot(id).subscriptions);
        let (old, new) = differing(&before, &subscriptions);
        let (had, has): (AHashSet<_>, AHashSet<_>) = (old.iter().collect(), new.iter().collect());
        old.iter().filter(|pattern| !has.contains(pattern)).for_each(|pattern| self.index.leave(pattern, id));
        new.iter().filter(|pattern| !had.contains(pattern)).for_each(|pattern| self.index.enter(pattern, id));
        let has_wildcards = |list: &[Pattern]| list.iter().any(|pattern| !pattern.is_exact());
        match (has_wildcards(&before), has_wildcards(&subscriptions)) {
            (false, true) => self.index.with_wildcards.push(id),
            (true, false) => swap_out(&mut self.index.with_wildcards, id),
            _ => {}
        }
        self.slot(id).subscriptions = subscriptions;
    }

    /// Whether any member may want one of the messages; also true if that takes too long to find out.
    pub(super) fn concern(&self, messages: &[Arc<Message>]) -> bool {
        let mut meter = Meter(self.visits.append);
        messages.chunk_by(is_alike).any(|alike| {
            let record = &alike[0].record;
            match &record.user {
                Some(user) => self.index.users.contains_key(user),
                None if self.index.exact.contains_key(&record.topic) => true,
                None => {
                    let patterns = &self.index.patterns;
                    patterns.any_containing_metered(record.topic.as_str(), &mut meter, |_| true).unwrap_or(true)
                }
            }
        })
    }

    /// Notes for every live member which messages of a batch it wants.
    ///
    /// Members that want their first message are added to `touched`. So is, with no message noted, each that has to look
    /// for itself.
    pub(super) fn note(&mut self, messages: &[Arc<Message>], touched: &mut Vec<SlotId>) -> Noted {
        let most = self.visits.message * messages.len() + self.visits.member * self.index.with_wildcards.len();
        let (mut meter, mut bit, mut is_exact, mut has_run_out) = (Meter(most), 0, true, false);
        for alike in messages.chunk_by(is_alike) {
            let bits = (u64::MAX >> (BATCH_MESSAGES - alike.len())) << bit;
            bit += alike.len();
            has_run_out |= self.note_alike(alike, bits, &mut meter, &mut is_exact, touched).is_break();
        }
        if has_run_out {
            is_exact = false;
            self.hand_over(touched);
        }
        Noted { is_exact, cost: (most - meter.0) / SERVING }
    }

    /// Notes messages of one topic for one user or everybody, which are these bits of the batch, until the meter has run
    /// out.
    fn note_alike(
        &mut self,
        alike: &[Arc<Message>],
        bits: u64,
        meter: &mut Meter,
        is_exact: &mut bool,
        touched: &mut Vec<SlotId>,
    ) -> ControlFlow<()> {
        let record = &alike[0].record;
        let Self { slots, index, .. } = self;
        let mut want = |id: SlotId, is_subscribed: bool| {
            let Some(slot) = slots[id as usize].as_mut().filter(|slot| slot.live) else { return };
            let mut wants = bits;
            if record.seq <= slot.joined_at.seq {
                *is_exact = false;
                let has = alike.iter().take_while(|message| message.record.seq <= slot.joined_at.seq);
                has.for_each(|_| wants &= wants - 1);
            }
            if wants != 0 && (is_subscribed || index.subscribes(id, &slot.subscriptions, &record.topic)) {
                if slot.wants == 0 {
                    touched.push(id);
                }
                slot.wants |= wants;
            }
        };
        if let Some(user) = &record.user {
            index.users.get(user).into_iter().flatten().for_each(|id| want(*id, false));
            return ControlFlow::Continue(());
        }
        index.exact.get(&record.topic).into_iter().flatten().for_each(|id| want(*id, true));
        index.patterns.containing_metered(record.topic.as_str(), meter, |ids| {
            ids.iter().for_each(|id| want(*id, true));
            ControlFlow::Continue(())
        })
    }

    /// Touches every live member with wildcards, and notes no message for it.
    fn hand_over(&mut self, touched: &mut Vec<SlotId>) {
        for id in &self.index.with_wildcards {
            let slot = self.slots[*id as usize].as_mut().filter(|slot| slot.live);
            if slot.is_some_and(|slot| std::mem::take(&mut slot.wants) == 0) {
                touched.push(*id);
            }
        }
    }

    /// Whether the member wants messages to a topic.
    pub(super) fn subscribes(&self, id: SlotId, topic: &TopicName) -> bool {
        let slot = self.slots[id as usize].as_ref();
        slot.is_some_and(|slot| self.index.subscribes(id, &slot.subscriptions, topic))
    }
}

impl Index {
    fn enter(&mut self, pattern: &Pattern, id: SlotId) {
        if let Some(topic) = pattern.exact() {
            return self.exact.entry(topic).or_default().push(id);
        }
        self.patterns.entry(pattern).push(id);
    }

    fn leave(&mut self, pattern: &Pattern, id: SlotId) {
        if let Some(topic) = pattern.exact() {
            return remove_from(&mut self.exact, &topic, id);
        }
        let ids = self.patterns.get_mut(pattern).expect("it has entered");
        swap_out(ids, id);
        if ids.is_empty() {
            self.patterns.remove(pattern);
        }
    }

    /// Whether a member with these subscriptions wants messages to a topic.
    fn subscribes(&self, id: SlotId, own: &[Pattern], topic: &TopicName) -> bool {
        let any_matches = || own.iter().any(|pattern| pattern.matches(topic));
        if own.len() <= LOOK {
            return any_matches();
        }
        if self.exact.get(topic).is_some_and(|ids| ids.contains(&id)) {
            return true;
        }
        let mut meter = Meter(own.len());
        let found = self.patterns.any_containing_metered(topic.as_str(), &mut meter, |ids| ids.contains(&id));
        found.unwrap_or_else(any_matches)
    }
}

/// Whether the same members want both messages, of those that have neither.
fn is_alike(one: &Arc<Message>, other: &Arc<Message>) -> bool {
    let (one, other) = (&one.record, &other.record);
    one.topic == other.topic && one.user == other.user
}

/// What is left of two lists without what they begin with and end with alike.
fn differing<'a>(one: &'a [Pattern], other: &'a [Pattern]) -> (&'a [Pattern], &'a [Pattern]) {
    let first = one.iter().zip(other).take_while(|(one, other)| one == other).count();
    let (one, other) = (&one[first..], &other[first..]);
    let last = one.iter().rev().zip(other.iter().rev()).take_while(|(one, other)| one == other).count();
    (&one[..one.len() - last], &other[..other.len() - last])
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
