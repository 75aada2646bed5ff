//! One shard of the fan-out: a task that writes what is new to every live member that wants it.
//!
//! The one subtle place is the joint between a pass of the shard and the task of a connection that falls behind or
//! comes back. It is kept by three rules. A work list is made, and the position moved, under the lock that going live
//! takes. Whoever goes live during a pass has its batch already, and counts as served by it. A connection leaving in the
//! middle of a pass that has not served it yet takes the start of the batch with it.
//!
//! Locks are taken in the order connection, shard, window. Whoever appends holds the log's lock, and waits for none of the
//! first two.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use tokio::sync::Notify;

use crate::hub::Hub;
use crate::hub::connection::{Wire, Written};
use crate::hub::entry::{Cursor, Message};
use crate::hub::kept::Kept;
use crate::hub::list::{Addressee, BATCH_MESSAGES, Group, List};
use crate::hub::members::{Members, SlotId};
use crate::hub::stamp::Stamp;
use crate::hub::window::Fetch;
use crate::lock::lock;
use crate::message::Epoch;
use crate::name::{Pattern, TopicName};

/// Bytes of payload in one batch, or one message.
const BATCH_BYTES: usize = 64 << 10;
/// After so many bytes a shard lets other tasks run, as it does after so many connections.
const YIELD_BYTES: usize = 256 << 10;

/// Connections that the processor is asked to fetch together: it waits for all of them as long as for one. Of more, the
/// kernel's work for the first would push the last out again.
const AHEAD: usize = 16;

/// A part of the subscribers, served by one task.
pub(super) struct Shard {
    state: Mutex<State>,
    news: Notify,
    /// Counts what its task does, so that one that hangs can be told.
    beats: AtomicU64,
    /// Connections served between two yields.
    stride: usize,
}

pub(super) struct State {
    pub(super) members: Members,
    /// Live members have got everything up to here, but for those that the running pass has not reached.
    position: Cursor,
    /// The last pass, or the running one.
    pass: Stamp,
    /// Where the batch of the running pass began.
    running: Option<Cursor>,
    kept: Kept,
}

/// What a pass uses again in the next one.
#[derive(Default)]
struct Scratch {
    touched: Vec<SlotId>,
    list: List,
    messages: Vec<Arc<Message>>,
    turn: Turn,
}

/// What a shard has done since it last waited or let other tasks run, summed over passes: a shard of few members has only short
/// ones, but may have them without end.
#[derive(Default)]
struct Turn {
    connections: usize,
    bytes: usize,
}

impl Turn {
    /// Whether it is the turn of others, where a shard lets them run after so many connections.
    fn is_over(&self, stride: usize) -> bool {
        self.connections >= stride || self.bytes >= YIELD_BYTES
    }
}

/// A pass that has been prepared.
struct Pass {
    stamp: Stamp,
    /// Where its batch begins.
    start: Cursor,
    /// Its list is that of [`State::kept`], unless somebody has come or gone since.
    keeps: bool,
}

impl Shard {
    pub(super) fn new(position: Cursor, stride: usize) -> Self {
        let state =
            State { members: Members::default(), position, pass: Stamp::START, running: None, kept: Kept::default() };
        Self { state: Mutex::new(state), news: Notify::new(), beats: AtomicU64::new(0), stride }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Told of every append: wakes the shard if one of its members is concerned, and else lets it skip ahead.
    pub(super) fn appended(&self, messages: &[Arc<Message>], before: Cursor, after: Cursor) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Its task has it, or somebody who comes or goes, and for long where there are many: no publisher waits for that.
            // The messages are in the window, so that a pass finds out for itself.
            Err(TryLockError::WouldBlock) => return self.news.notify_one(),
        };
        if messages.iter().any(|m| state.members.concern(&m.record)) {
            drop(state);
            self.news.notify_one();
        } else if state.position == before && state.running.is_none() {
            state.position = after;
        }
    }

    pub(super) fn beats(&self) -> u64 {
        self.beats.load(Ordering::Relaxed)
    }

    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// Runs for as long as the hub does. tokio charges a task for each socket it polls, and would make it look full:
    /// so the passes run unconstrained and yield by hand.
    pub(super) async fn run(&self, hub: &Hub) {
        tokio::task::unconstrained(async {
            let mut scratch = Scratch::default();
            loop {
                self.wait(&mut scratch.turn).await;
                self.beats.fetch_add(1, Ordering::Relaxed);
                while self.pass(hub, &mut scratch).await {}
            }
        })
        .await;
    }

    /// Waits for news; a turn ends where they have not come yet.
    async fn wait(&self, turn: &mut Turn) {
        let mut news = pin!(self.news.notified());
        poll_fn(|cx| {
            let polled = news.as_mut().poll(cx);
            if polled.is_pending() {
                *turn = Turn::default();
            }
            polled
        })
        .await;
    }

    /// Serves one batch; `false` when there was none.
    async fn pass(&self, hub: &Hub, scratch: &mut Scratch) -> bool {
        let Some(pass) = self.prepare(hub, scratch) else { return false };
        let Scratch { list, messages, turn, .. } = scratch;
        list.sort();
        let List { items, groups, .. } = &mut *list;
        let mut last = 0;
        for (n, item) in items.iter().enumerate() {
            if n % AHEAD == 0 {
                items[n..].iter().take(AHEAD).for_each(|item| item.connection.fetch());
            }
            if item.group != last {
                groups[last as usize].batch = None;
                last = item.group;
            }
            turn.bytes += self.serve(item, &pass, &mut groups[item.group as usize], messages, hub.epoch());
            turn.connections += 1;
            if turn.is_over(self.stride) {
                *turn = self.make_room().await;
            }
        }
        // One that serves nobody counts as well: those who are far behind have the shard look at every message.
        turn.connections += usize::from(items.is_empty());
        if turn.is_over(self.stride) {
            *turn = self.make_room().await;
        }
        list.end(messages);
        messages.clear();
        self.state().end(list, pass.keeps);
        list.clear();
        self.beats.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Lets other tasks run, and begins a new turn.
    async fn make_room(&self) -> Turn {
        self.beats.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Turn::default()
    }

    /// Takes a batch and decides who gets what of it.
    fn prepare(&self, hub: &Hub, scratch: &mut Scratch) -> Option<Pass> {
        let Scratch { touched, list, messages, .. } = scratch;
        let mut keeps = false;
        let mut state = self.state();
        let start = state.position;
        let stamp = state.pass.next(hub.clock());
        match hub.window.after(start, BATCH_MESSAGES, BATCH_BYTES) {
            Fetch::Head => return None,
            // The whole shard is slower than the publishers: each member catches up by itself.
            Fetch::BeforeWindow(_) => {
                touched.extend(state.members.iter().filter(|(_, slot)| slot.live).map(|(id, _)| id));
                state.position = hub.window.head();
            }
            // Whom the reload affects has got everything before it, and looks before it gets anything behind it.
            Fetch::Mark(mark) => {
                touched.extend(state.members.affected(&mark));
                state.position = mark.pass(start);
            }
            Fetch::Messages(batch) => {
                *messages = batch;
                state.position.seq = messages.last().map_or(start.seq, |message| message.record.seq);
                let topic = the_topic(messages);
                if state.kept.take_for(topic, list) {
                    keeps = true;
                    list.again(messages.len());
                } else if let (true, Some(topic)) = (state.note(messages, touched), topic) {
                    keeps = true;
                    state.kept.begin(topic.clone(), stamp);
                }
            }
        }
        state.pass = stamp;
        state.running = Some(start);
        touched.drain(..).for_each(|id| {
            let slot = state.members.slot(id);
            slot.agrees_with = if keeps { Some(stamp) } else { slot.agrees_with };
            list.add(id, slot);
        });
        Some(Pass { stamp, start, keeps })
    }

    /// One non-blocking write of all that the connection wants from the batch; answers how many bytes that is. One that is
    /// to look for itself is given to its own task.
    fn serve(
        &self,
        item: &Addressee,
        pass: &Pass,
        group: &mut Group,
        messages: &[Arc<Message>],
        epoch: Epoch,
    ) -> usize {
        let mut wire = item.connection.wire();
        if !wire.awaits(pass.stamp) {
            return 0;
        }
        if group.wants == 0 {
            if !messages.is_empty() {
                item.connection.progressed(pass.stamp.served_at());
            }
            self.give_up(item, &mut wire, None);
            drop(wire);
            item.connection.wake();
            return 0;
        }
        let batch = group.batch(messages, epoch);
        let len = batch.bytes().len();
        match wire.send(batch.bytes()) {
            Written::All => {
                wire.live = Some(pass.stamp);
                group.served += 1;
                return len;
            }
            Written::Part(n) => {
                let begun = batch.cut(n).map(|(rest, frames)| {
                    wire.keep(rest);
                    frames
                });
                let behind = begun.map(|frames| group.sent(messages, frames, pass.start));
                self.give_up(item, &mut wire, behind);
                item.connection.progressed(pass.stamp.served_at());
            }
            // Its task finds out by itself.
            Written::Broken => self.give_up(item, &mut wire, None),
        }
        drop(wire);
        item.connection.wake();
        len
    }

    /// Leaves a live connection to its own task, at this place or where it stood before the pass.
    #[cold]
    fn give_up(&self, item: &Addressee, wire: &mut Wire, at: Option<Cursor>) {
        let Some(stamp) = item.connection.retire(wire) else { return };
        let stood = self.state().leave(item.id, stamp);
        wire.fall(at.unwrap_or(stood));
    }
}

impl State {
    /// Makes a member that stands at `cursor` live, if that is the head. It then has everything, also of the running
    /// pass: answers what says so.
    pub(super) fn join(&mut self, id: SlotId, cursor: Cursor, head: Cursor) -> Option<Stamp> {
        if cursor < head {
            return None;
        }
        self.members.slot(id).joined_at = cursor;
        self.kept.joined(id, &mut self.members, cursor.seq > self.position.seq);
        self.members.slot(id).live = true;
        Some(self.pass.joined())
    }

    /// Takes a live member out; with the stamp it had; answers the cursor it leaves with.
    pub(super) fn leave(&mut self, id: SlotId, stamp: Stamp) -> Cursor {
        let at = match self.running {
            Some(start) if stamp != self.pass => start,
            _ => self.position,
        };
        let slot = self.members.slot(id);
        slot.live = false;
        at.max(slot.joined_at)
    }

    /// Replaces what a member subscribes to that is not live.
    pub(super) fn index(&mut self, id: SlotId, subscriptions: Vec<Pattern>) {
        self.kept.left(id, &mut self.members);
        self.members.index(id, subscriptions);
    }

    /// Takes a member out for good.
    pub(super) fn remove(&mut self, id: SlotId) {
        self.kept.left(id, &mut self.members);
        self.members.remove(id);
    }

    /// Notes who wants what of the messages; answers whether nobody was passed over.
    fn note(&mut self, messages: &[Arc<Message>], touched: &mut Vec<SlotId>) -> bool {
        let mut all = true;
        for (bit, message) in messages.iter().enumerate() {
            all &= self.members.note(&message.record, bit, touched);
        }
        all
    }

    /// The running pass has served everybody on the list; leaves there what is not needed any more.
    fn end(&mut self, list: &mut List, keeps: bool) {
        self.running = None;
        if keeps {
            self.kept.take_back(list);
        }
    }
}

/// The one topic of all these messages, where all of them are for everybody.
fn the_topic(messages: &[Arc<Message>]) -> Option<&TopicName> {
    let topic = &messages.first()?.record.topic;
    messages.iter().all(|m| m.record.user.is_none() && m.record.topic == *topic).then_some(topic)
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
