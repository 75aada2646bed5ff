//! One shard of the fan-out: a task that writes new messages to every live member that wants them.
//!
//! The subtle part is the hand-over between a pass of the shard and the task of a connection that falls behind or
//! catches up. Three rules keep it correct:
//!
//! - A pass makes its work list and advances the shard's position under the lock that a member needs to go live.
//! - A member that goes live during a pass already has that pass's batch, and counts as served by it.
//! - A connection that leaves during a pass, before the pass has served it, leaves with the cursor at the start of the
//!   batch.
//!
//! Locks are taken in the order connection, shard, window. The follower runs with the store's lock held, so it never
//! waits for a connection's lock or a shard's.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, TryLockError};

use tokio::sync::Notify;

use crate::counter::Counter;
use crate::hub::Hub;
use crate::hub::connection::{Wire, Written};
use crate::hub::entry::{Cursor, Message};
use crate::hub::kept::Kept;
use crate::hub::list::{Addressee, Group, List};
use crate::hub::members::{BATCH_MESSAGES, Members, SlotId, Visits};
use crate::hub::stamp::Stamp;
use crate::hub::window::Fetch;
use crate::lock::lock;
use crate::message::Epoch;
use crate::name::{Pattern, TopicName};

/// Bytes of payload in one batch at most, unless a single message is larger.
const BATCH_BYTES: usize = 64 << 10;
/// After writing this many bytes a shard yields to other tasks, as it does after [`Shard::stride`] connections.
const YIELD_BYTES: usize = 256 << 10;

/// How many connections to prefetch into the processor's cache at a time: the fetches overlap, so that all of them cost
/// about as much as one. With more, the kernel's work for the first would evict the last again.
const AHEAD: usize = 16;

/// A part of the subscribers, served by one task.
pub(super) struct Shard {
    state: Mutex<State>,
    news: Notify,
    /// Counts the steps of its task, so that a task that hangs can be detected.
    beats: Counter,
    /// Number of connections served between two yields.
    stride: usize,
}

pub(super) struct State {
    pub(super) members: Members,
    /// Live members have received everything up to here, except those that the running pass has not reached yet.
    position: Cursor,
    /// The running pass, or else the last one.
    pass: Stamp,
    /// Where the batch of the running pass begins; `None` between passes.
    running: Option<Cursor>,
    kept: Kept,
}

/// Buffers that one pass leaves to the next.
#[derive(Default)]
struct Scratch {
    touched: Vec<SlotId>,
    list: List,
    messages: Vec<Arc<Message>>,
    work: Work,
}

/// What the shard has done since it last waited or yielded. It adds up over passes: the passes of a shard with few
/// members are short, but may follow each other without end.
#[derive(Default)]
struct Work {
    connections: usize,
    bytes: usize,
}

impl Work {
    /// Whether it is time to yield, for a shard that yields after `stride` connections.
    fn is_enough(&self, stride: usize) -> bool {
        self.connections >= stride || self.bytes >= YIELD_BYTES
    }
}

struct Pass {
    stamp: Stamp,
    /// Where its batch begins.
    start: Cursor,
    /// Its list becomes that of [`State::kept`], unless a member joins or leaves before it ends.
    keeps: bool,
}

impl Shard {
    pub(super) fn new(position: Cursor, stride: usize, visits: Visits) -> Self {
        let members = Members::new(visits);
        let state = State { members, position, pass: Stamp::START, running: None, kept: Kept::default() };
        Self { state: Mutex::new(state), news: Notify::new(), beats: Counter::default(), stride }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Called for every append: wakes the shard if a member may want one of the messages, else advances its position
    /// past them.
    pub(super) fn appended(&self, messages: &[Arc<Message>], before: Cursor, after: Cursor) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Held by its task, or by a member that joins or leaves, and perhaps for long in a large shard. No
            // publisher waits for that: the messages are in the window, where the next pass finds them.
            Err(TryLockError::WouldBlock) => return self.news.notify_one(),
        };
        if state.members.concern(messages) {
            drop(state);
            self.news.notify_one();
        } else if state.position == before && state.running.is_none() {
            state.position = after;
        }
    }

    pub(super) fn beats(&self) -> u64 {
        self.beats.get()
    }

    pub(super) fn wake(&self) {
        self.news.notify_one();
    }

    /// Runs for as long as the hub does.
    ///
    /// Under tokio's cooperative budget every socket that is polled costs a unit; once that is used up, sockets pretend
    /// to be full. So the passes run unconstrained and yield explicitly.
    pub(super) async fn run(&self, hub: &Hub) {
        tokio::task::unconstrained(async {
            let mut scratch = Scratch::default();
            loop {
                self.wait(&mut scratch.work).await;
                self.beats.add(1);
                while self.pass(hub, &mut scratch).await {}
            }
        })
        .await;
    }

    /// Waits for news. If it has to wait, other tasks run, and the count begins anew.
    async fn wait(&self, work: &mut Work) {
        let mut news = pin!(self.news.notified());
        poll_fn(|cx| {
            let polled = news.as_mut().poll(cx);
            if polled.is_pending() {
                *work = Work::default();
            }
            polled
        })
        .await;
    }

    /// Serves one batch; returns `false` if there was none.
    async fn pass(&self, hub: &Hub, scratch: &mut Scratch) -> bool {
        let Some(pass) = self.prepare(hub, scratch) else { return false };
        let Scratch { list, messages, work, .. } = scratch;
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
            work.bytes += self.serve(item, &pass, &mut groups[item.group as usize], messages, hub.epoch());
            work.connections += 1;
            if work.is_enough(self.stride) {
                *work = self.yield_now().await;
            }
        }
        // A pass that serves nobody counts too: when many members are far behind, the shard is woken for every message.
        work.connections += usize::from(items.is_empty());
        if work.is_enough(self.stride) {
            *work = self.yield_now().await;
        }
        list.end(messages);
        messages.clear();
        self.state().end(list, pass.keeps);
        list.clear();
        self.beats.add(1);
        true
    }

    /// Yields to other tasks, and begins a new count.
    async fn yield_now(&self) -> Work {
        self.beats.add(1);
        tokio::task::yield_now().await;
        Work::default()
    }

    /// Takes a batch and decides who gets which of its messages.
    fn prepare(&self, hub: &Hub, scratch: &mut Scratch) -> Option<Pass> {
        let Scratch { touched, list, messages, work } = scratch;
        let mut keeps = false;
        let mut state = self.state();
        let start = state.position;
        let stamp = state.pass.next(hub.clock());
        match hub.window.after(start, 0, BATCH_MESSAGES, BATCH_BYTES) {
            Fetch::Head => return None,
            // The whole shard is slower than the publishers: its members catch up one by one, each in its own task.
            Fetch::FromStore(_) => {
                touched.extend(state.members.iter().filter(|(_, slot)| slot.live).map(|(id, _)| id));
                state.position = hub.window.head();
            }
            // Members that the reload affects have everything before the mark. Each evaluates it in its own task before
            // it gets anything after it.
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
                } else {
                    let noted = state.members.note(messages, touched);
                    work.connections += noted.cost;
                    if let (true, Some(topic)) = (noted.is_exact, topic) {
                        keeps = true;
                        state.kept.begin(topic.clone(), stamp);
                    }
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

    /// Writes everything that the connection wants from the batch, in one non-blocking write; returns how many bytes
    /// that is.
    ///
    /// A connection whose group wants nothing is handed to its own task.
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
            // Its own task will notice.
            Written::Broken => self.give_up(item, &mut wire, None),
        }
        drop(wire);
        item.connection.wake();
        len
    }

    /// Hands a live connection to its own task, at the cursor `at` or else where it stood before the pass.
    #[cold]
    fn give_up(&self, item: &Addressee, wire: &mut Wire, at: Option<Cursor>) {
        let Some(stamp) = item.connection.retire(wire) else { return };
        let stood = self.state().leave(item.id, stamp);
        wire.fall(at.unwrap_or(stood));
    }
}

impl State {
    /// Makes a member live, if its cursor is at the head.
    ///
    /// Returns the stamp to give to it: it has everything already, the batch of a running pass included, so that pass
    /// must skip it.
    pub(super) fn join(&mut self, id: SlotId, cursor: Cursor, head: Cursor) -> Option<Stamp> {
        if cursor < head {
            return None;
        }
        self.members.slot(id).joined_at = cursor;
        self.kept.joined(id, &mut self.members, cursor.seq > self.position.seq);
        self.members.slot(id).live = true;
        Some(self.pass.joined())
    }

    /// Takes a live member that has this stamp out of the shard's care; returns the cursor it leaves with.
    pub(super) fn leave(&mut self, id: SlotId, stamp: Stamp) -> Cursor {
        let at = match self.running {
            Some(start) if stamp != self.pass => start,
            _ => self.position,
        };
        let slot = self.members.slot(id);
        slot.live = false;
        at.max(slot.joined_at)
    }

    /// Replaces the subscriptions of a member that is not live.
    pub(super) fn index(&mut self, id: SlotId, subscriptions: Vec<Pattern>) {
        self.kept.left(id, &mut self.members);
        self.members.subscribe(id, subscriptions);
    }

    /// Removes a member for good.
    pub(super) fn remove(&mut self, id: SlotId) {
        self.kept.left(id, &mut self.members);
        self.members.remove(id);
    }

    /// Ends the running pass, and keeps its list for the next if the pass said so; what remains in `list` is scratch.
    fn end(&mut self, list: &mut List, keeps: bool) {
        self.running = None;
        if keeps {
            self.kept.take_back(list);
        }
    }
}

/// The topic of all these messages, if they share one and none is addressed to a single user.
fn the_topic(messages: &[Arc<Message>]) -> Option<&TopicName> {
    let topic = &messages.first()?.record.topic;
    messages.iter().all(|m| m.record.user.is_none() && m.record.topic == *topic).then_some(topic)
}

#[cfg(test)]
#[path = "shard_tests.rs"]
mod tests;
