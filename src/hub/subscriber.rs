//! A subscriber: a cursor over the log, and for each subscription a floor, up to which nothing is sent for it.
//!
//! One task owns it. While it is live, the shard's position is its cursor and nothing here changes. Every change of the
//! subscriptions first takes it back from the shard, and the path that replays and catches up makes it live again. So
//! there is one hand-over to get right, not one for each command.

mod pull;

use std::collections::HashSet;
use std::sync::Arc;

use crate::footprint::in_list;
use crate::hub::Hub;
use crate::hub::batch::Batch;
use crate::hub::connection::{Connection, Dead, Written};
use crate::hub::entry::{Cursor, Mark, Message};
use crate::hub::gaps::Gaps;
use crate::hub::members::{self, SlotId};
use crate::hub::peer::Peer;
use crate::hub::shard::Shard;
use crate::message::{Position, Seq};
use crate::name::{Pattern, UserId};
use crate::notice::{After, CommandId, GapReason, Notice};
use crate::plugin::Encoder;
use crate::principal::Principal;

/// Most bytes that a subscription takes, even with the longest pattern and while its replay begins.
pub const SUBSCRIPTION_BYTES: usize = members::SUBSCRIPTION_BYTES
    + in_list(size_of::<Subscription>())
    + in_list(size_of::<Pattern>())
    + in_list(size_of::<(Seq, Notice)>());

/// See the module's documentation.
pub struct Subscriber {
    hub: Arc<Hub>,
    shard: Arc<Shard>,
    slot: SlotId,
    connection: Arc<Connection>,
    peer: Arc<Peer>,
    user: Option<UserId>,
    subscriptions: Vec<Subscription>,
    /// `None` while live.
    cursor: Option<Cursor>,
    /// The newest position that it was told, not counting the ids of messages.
    told: Seq,
    replay: Option<Box<Replay>>,
}

struct Subscription {
    pattern: Pattern,
    /// Messages up to this seq are not sent for it.
    floor: Seq,
    /// The generation at the head of the log when it was made.
    made: u64,
}

/// State that a subscriber needs only while it is not live.
#[derive(Default)]
struct Replay {
    /// Up to this seq the store is read, even where the window has the messages: a resumed subscriber gets what is
    /// retained.
    until: Seq,
    gaps: Gaps,
    /// Notices to tell when the cursor reaches a seq, in order.
    due: Vec<(Seq, Notice)>,
}

/// One item for the subscriber.
pub enum Item {
    /// A message.
    Message(Arc<Message>),
    /// A notice.
    Notice(Notice),
    /// A reload took effect: re-evaluate the subscriptions before going on.
    Mark(Arc<Mark>),
}

/// The next items for a subscriber that is not live.
#[derive(Default)]
pub struct Pulled {
    /// In order, each with the cursor after it.
    pub items: Vec<(Item, Cursor)>,
    /// The cursor after everything that was examined.
    pub end: Cursor,
}

impl Subscriber {
    pub(super) fn new(hub: Arc<Hub>, connection: Arc<Connection>, encoder: &'static dyn Encoder, peer: Peer) -> Self {
        let peer = Arc::new(peer);
        let shard = hub.next_shard();
        let has_socket = connection.has_socket();
        let slot = shard.state().members.insert(connection.clone(), peer.clone(), has_socket, encoder);
        let head = hub.head();
        connection.note_position(head.seq);
        let cursor = Some(head);
        let (user, subscriptions, replay) = (None, Vec::new(), None);
        Self { hub, shard, slot, connection, peer, user, subscriptions, cursor, told: head.seq, replay }
    }

    /// Identifies the subscriber, before its first subscription.
    ///
    /// A reload finds it from here on. So a caller that was admitted by an older configuration must check again after
    /// this call that it is still admitted.
    pub fn identify(&mut self, principal: &Arc<Principal>) {
        self.user.clone_from(&principal.user);
        self.shard.state().members.identify(self.slot, Some(principal.clone()));
    }

    /// The part that it shares with the shard.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The patterns it subscribes to.
    pub fn subscriptions(&self) -> impl ExactSizeIterator<Item = &Pattern> {
        self.subscriptions.iter().map(|s| &s.pattern)
    }

    /// The subscriptions that were made before the mark of this generation was in the log.
    pub fn made_before(&self, generation: u64) -> impl Iterator<Item = &Pattern> {
        self.subscriptions.iter().filter(move |s| s.made < generation).map(|s| &s.pattern)
    }

    /// How many `synced` notices are still to be told.
    pub fn unsynced(&self) -> usize {
        let is_one = |(_, notice): &&(Seq, Notice)| matches!(notice, Notice::Synced { .. });
        self.replay.as_ref().map_or(0, |replay| replay.due.iter().filter(is_one).count())
    }

    /// Subscribes to all of these, moving those that exist; if one is named twice, the last counts.
    ///
    /// Returns the present head: live subscriptions begin after it.
    pub fn subscribe(&mut self, mut list: Vec<(Pattern, After)>) -> Seq {
        let stood = self.take_back();
        let mut named = HashSet::with_capacity(list.len());
        list.reverse();
        list.retain(|(pattern, _)| named.insert(pattern.clone()));
        list.reverse();
        self.forget(&named);
        let (epoch, Cursor { seq: head, generation }) = (self.hub.epoch(), self.hub.head());
        let floors: Vec<_> = list.iter().map(|(_, after)| after.seq_in(epoch, head)).collect();
        let oldest = floors.iter().map(|floor| floor.unwrap_or(0)).min().unwrap_or(head);
        if oldest < stood.seq {
            self.set_back(stood, oldest, head);
        }
        let replay = self.replay.get_or_insert_default();
        // Even if the cursor stays: a subscriber that has read nothing yet may be at or before `oldest` already.
        replay.gaps.ask(oldest < head);
        for ((pattern, after), floor) in list.into_iter().zip(floors) {
            match (after, floor) {
                (After::Earliest, _) => replay.gaps.ask_earliest(pattern.clone(), head),
                // It starts before everything, so it gets what this log has, from its beginning.
                (_, None) => replay.schedule(0, foreign(&pattern, after, epoch)),
                _ => {}
            }
            self.subscriptions.push(Subscription { pattern, floor: floor.unwrap_or(0), made: generation });
        }
        self.index();
        head
    }

    /// Schedules another `synced` if [`Hub::others_passed`] since the last one; returns whether it did.
    ///
    /// Never for a subscriber that is not live: that one will reach a `synced` of its own.
    pub fn refresh_position(&mut self) -> bool {
        let due = self.hub.others_passed(self.told) && !self.subscriptions.is_empty() && self.is_live();
        if due {
            self.tell_synced(self.hub.head().seq, None);
        }
        due
    }

    /// Schedules `synced`, with the command's id if there is one, for when everything up to this head is sent.
    pub fn tell_synced(&mut self, head: Seq, id: Option<CommandId>) {
        self.take_back();
        self.told = head;
        let position = Position { epoch: self.hub.epoch(), seq: head };
        self.replay.get_or_insert_default().schedule(head, Notice::Synced { id, position });
    }

    /// Moves the cursor back for one merged replay; existing subscriptions go on from where they were.
    fn set_back(&mut self, stood: Cursor, oldest: Seq, head: Seq) {
        let bound = if self.subscriptions.is_empty() { head } else { stood.seq };
        self.subscriptions.iter_mut().for_each(|s| s.floor = s.floor.max(stood.seq));
        let replay = self.replay.get_or_insert_default();
        replay.until = replay.until.max(bound);
        self.cursor = Some(Cursor { seq: oldest, ..stood });
    }

    /// Ends these subscriptions; nothing more is sent for them.
    pub fn unsubscribe(&mut self, patterns: &[Pattern]) {
        self.take_back();
        self.forget(&patterns.iter().cloned().collect());
        self.index();
    }

    /// Drops subscriptions, with the notices that are still due for them.
    fn forget(&mut self, patterns: &HashSet<Pattern>) {
        self.subscriptions.retain(|s| !patterns.contains(&s.pattern));
        let Some(replay) = self.replay.as_mut() else { return };
        replay.due.retain(|(_, notice)| !matches!(notice, Notice::Gap { topics, .. } if patterns.contains(topics)));
        replay.gaps.forget(patterns);
    }

    fn index(&mut self) {
        let patterns = self.subscriptions.iter().map(|s| s.pattern.clone()).collect();
        self.subscriptions.shrink_to_fit();
        self.shard.state().index(self.slot, patterns);
    }

    /// Whether the shard serves it. Notices here if the shard has handed it over.
    pub fn is_live(&mut self) -> bool {
        if self.cursor.is_none() {
            let mut wire = self.connection.wire();
            if let Some(cursor) = wire.take_fallen() {
                self.connection.note_position(cursor.seq);
                self.cursor = Some(cursor);
                self.hub.behind.add(1);
            }
        }
        self.cursor.is_none()
    }

    /// Takes it back from the shard, if the shard has it; returns its cursor.
    pub fn take_back(&mut self) -> Cursor {
        if let Some(cursor) = self.cursor {
            return cursor;
        }
        let mut wire = self.connection.wire();
        let cursor = match self.connection.retire(&mut wire) {
            Some(stamp) => self.shard.state().leave(self.slot, stamp),
            None => wire.take_fallen().expect("whoever is not live any more has fallen"),
        };
        self.connection.note_position(cursor.seq);
        self.hub.behind.add(1);
        self.cursor = Some(cursor);
        cursor
    }

    /// Its position in the log; takes it back from the shard.
    pub fn position(&mut self) -> Position {
        let cursor = self.take_back();
        Position { epoch: self.hub.epoch(), seq: cursor.seq }
    }

    /// Notes that the first `sent` of the pulled items were sent.
    ///
    /// Unsent messages are pulled again from the new cursor; unsent notices are kept.
    pub fn settle(&mut self, pulled: Pulled, sent: usize) {
        let before = self.take_back();
        let Pulled { mut items, end, .. } = pulled;
        let unsent = items.split_off(sent);
        let cursor = if unsent.is_empty() { end } else { items.last().map_or(before, |(_, cursor)| *cursor) };
        debug_assert!(before <= cursor, "a cursor only advances");
        self.connection.note_position(cursor.seq);
        self.cursor = Some(cursor);
        if self.replay.is_none() && unsent.is_empty() {
            return;
        }
        let replay = self.replay.get_or_insert_default();
        replay.gaps.note_told(items.iter().filter(|(item, _)| item.is_of_gaps()).count());
        for (item, cursor) in unsent {
            match item {
                Item::Notice(notice) if !item.is_of_gaps() => replay.schedule(cursor.seq, notice),
                _ => {}
            }
        }
        replay.gaps.pass(cursor.seq);
        self.connection.set_gap_bytes(replay.gaps.bytes());
    }

    /// Hands it to the shard; `false` if there are new messages, or a write is unfinished.
    pub fn join(&mut self) -> bool {
        let Some(cursor) = self.cursor else { return true };
        let mut wire = self.connection.wire();
        if !wire.is_clear() {
            return false;
        }
        let mut state = self.shard.state();
        let Some(pass) = state.join(self.slot, cursor, self.hub.head()) else { return false };
        wire.live = Some(pass);
        self.cursor = None;
        if self.replay.take().is_some() {
            wire.set_gap_bytes(0);
        }
        self.hub.behind.sub(1);
        true
    }

    /// Writes whole frames, after what was held back to go with them; returns how many it took.
    ///
    /// The rest of the last one is kept. It takes at least one, so that there is a write to wait for.
    ///
    /// # Errors
    /// [`Dead`].
    pub fn write(&mut self, batch: &Batch) -> Result<usize, Dead> {
        let mut wire = self.connection.wire();
        let held = wire.release();
        let written = match held.len() {
            0 => wire.write_now(batch.bytes()),
            _ => wire.write_now(&[&held, &batch.bytes()[..]].concat()),
        };
        let taken = match written {
            Written::All => batch.len(),
            Written::Broken => return Err(Dead),
            Written::Part(n) if n <= held.len() => {
                wire.keep(&held[n..]);
                wire.keep(batch.first());
                1
            }
            Written::Part(n) => {
                let (rest, frames) = batch.cut(n - held.len()).expect("more than what was held is written");
                wire.keep(rest);
                frames
            }
        };
        self.connection.progressed(self.hub.clock());
        Ok(taken)
    }

    /// Holds back a short answer, to leave in one write with what comes next. Not for a live connection.
    pub fn hold_back(&self, bytes: impl Into<Vec<u8>>) {
        debug_assert!(self.cursor.is_some(), "a shard writes without looking");
        self.connection.wire().take_over(bytes.into());
        // A stall counts from now on, however long nothing has been written.
        self.connection.progressed(self.hub.clock());
    }

    /// Writes a short answer now, or queues it behind an unfinished write. A live connection with a full socket falls
    /// behind.
    pub fn reply(&mut self, bytes: &[u8]) -> Written {
        let connection = self.connection.clone();
        let mut wire = connection.wire();
        if !wire.is_clear() {
            wire.keep(bytes);
            return Written::Part(0);
        }
        let written = wire.write_now(bytes);
        if let Written::Part(n) = written {
            wire.keep(&bytes[n..]);
            connection.progressed(self.hub.clock());
            if let Some(stamp) = connection.retire(&mut wire) {
                wire.fall(self.shard.state().leave(self.slot, stamp));
            }
        }
        written
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        if self.cursor.is_some() {
            self.hub.behind.sub(1);
        }
        // A task that is aborted may be dropped while live, even during a pass: the shard must not serve it after its
        // slot is gone. The pass may have the connection on its list for seconds yet.
        self.connection.wire().discard();
        self.shard.state().remove(self.slot);
    }
}

impl Item {
    /// Whether it is a gap of evicted messages. [`Gaps`] has those that are to be told; other notices are scheduled.
    fn is_of_gaps(&self) -> bool {
        matches!(self, Self::Notice(Notice::Gap { reason: GapReason::Retention | GapReason::Lag, .. }))
    }
}

impl Replay {
    fn schedule(&mut self, at: Seq, notice: Notice) {
        let place = self.due.partition_point(|(seq, _)| *seq <= at);
        self.due.insert(place, (at, notice));
    }
}

/// For a position of another log: everything after it may have been missed; then comes what this log has.
fn foreign(pattern: &Pattern, after: After, epoch: crate::message::Epoch) -> Notice {
    let to = Position { epoch, seq: 0 };
    let from = match after {
        After::Position(position) => position,
        _ => to,
    };
    Notice::Gap { topics: pattern.clone(), from, to, reason: GapReason::Epoch }
}
