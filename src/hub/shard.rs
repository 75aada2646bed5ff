//! One shard of the fan-out: a task that writes what is new to every live member that wants it.
//!
//! The one subtle place is the joint between a pass of the shard and the task of a connection that falls behind or
//! comes back. It is kept by three rules. A work list is made, and the position moved, under the lock that going live
//! takes. Each item names the connection's turn, and a connection that changed hands since has another. A connection
//! leaving in the middle of a pass that has not served it yet takes the start of the batch with it.
//!
//! Locks are taken in the order connection, shard, window.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::hub::Hub;
use crate::hub::batch::Batch;
use crate::hub::connection::{Connection, Phase, Written};
use crate::hub::entry::{Cursor, Message};
use crate::hub::members::{Members, SlotId};
use crate::hub::window::Fetch;
use crate::name::TopicName;
use crate::plugin::Encoder;

/// Messages in one batch: as many as a connection's wants have bits.
const BATCH_MESSAGES: usize = 64;
/// Bytes of payload in one batch, or one message.
const BATCH_BYTES: usize = 64 << 10;
/// After so many bytes a pass lets other tasks run, as it does after so many connections.
const YIELD_BYTES: usize = 256 << 10;

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
    /// Counts passes, from 1.
    pass: u64,
    /// Where the batch of the running pass began.
    running: Option<Cursor>,
    /// Whom the last messages of one topic went to, as long as it is the same ones: the next go there too, and a burst
    /// need not look at every member again, which is cold memory for each.
    listed: Option<Listed>,
}

/// Everybody served by the shard who gets what is published to a topic for everybody.
struct Listed {
    topic: TopicName,
    items: Vec<Item>,
}

struct Item {
    connection: Arc<Connection>,
    encoder: &'static dyn Encoder,
    id: SlotId,
    turn: u64,
    wants: u64,
    /// Where it stands when it gets nothing of the batch.
    from: Cursor,
}

/// What a pass uses again in the next one.
#[derive(Default)]
struct Scratch {
    touched: Vec<SlotId>,
    items: Vec<Item>,
    messages: Vec<Arc<Message>>,
    groups: Vec<Group>,
    group_of: HashMap<(usize, u64), usize>,
}

/// A pass that has been prepared.
struct Pass {
    number: u64,
    /// Whose list its items are when it has ended: of this topic, if [`Members::changes`] still is what it was.
    lists: Option<(TopicName, u64)>,
}

/// Connections that want the same of a batch in the same encoding share one buffer.
struct Group {
    key: (usize, u64),
    batch: Batch,
    /// How many got all of it.
    served: u64,
}

impl Shard {
    pub(super) fn new(position: Cursor, stride: usize) -> Self {
        let state = State { members: Members::default(), position, pass: 0, running: None, listed: None };
        Self { state: Mutex::new(state), news: Notify::new(), beats: AtomicU64::new(0), stride }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Told of every append: wakes the shard if one of its members is concerned, and else lets it skip ahead.
    pub(super) fn appended(&self, messages: &[Arc<Message>], before: Cursor, after: Cursor) {
        let mut state = self.state();
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
                self.news.notified().await;
                self.beats.fetch_add(1, Ordering::Relaxed);
                while self.pass(hub, &mut scratch).await {}
            }
        })
        .await;
    }

    /// Serves one batch; `false` when there was none.
    async fn pass(&self, hub: &Hub, scratch: &mut Scratch) -> bool {
        let Some(pass) = self.prepare(hub, scratch) else { return false };
        let Scratch { items, messages, groups, group_of, .. } = scratch;
        let now = hub.clock();
        let (mut connections, mut bytes) = (0, 0);
        for item in items.iter() {
            if item.wants == 0 {
                self.hand_over(item);
                continue;
            }
            let group = group_for(hub, item, messages, groups, group_of);
            let group = &mut groups[group];
            self.serve(item, pass.number, now, group, messages);
            connections += 1;
            bytes += group.batch.bytes().len();
            if connections >= self.stride || bytes >= YIELD_BYTES {
                (connections, bytes) = (0, 0);
                self.beats.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
        for group in groups.drain(..) {
            for message in wanted(messages, group.key.1) {
                count(message, group.served);
            }
        }
        messages.clear();
        self.state().end(items, pass.lists);
        items.clear();
        self.beats.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Takes a batch and decides who gets what of it.
    fn prepare(&self, hub: &Hub, scratch: &mut Scratch) -> Option<Pass> {
        let Scratch { touched, items, messages, group_of, .. } = scratch;
        group_of.clear();
        let mut lists = None;
        let mut state = self.state();
        let start = state.position;
        match hub.window.after(start, BATCH_MESSAGES, BATCH_BYTES) {
            Fetch::Head => return None,
            // The whole shard is slower than the publishers: each member catches up by itself.
            Fetch::Evicted(_) => {
                touched.extend(state.members.iter().filter(|(_, slot)| slot.live().is_some()).map(|(id, _)| id));
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
                let mut all = true;
                if let Some(list) = topic.and_then(|topic| state.take_list(topic)) {
                    *items = list;
                    let wants = u64::MAX >> (BATCH_MESSAGES - messages.len());
                    items.iter_mut().for_each(|item| (item.wants, item.from) = (wants, start));
                } else {
                    for (bit, message) in messages.iter().enumerate() {
                        all &= state.members.note(&message.record, bit, touched);
                    }
                }
                lists = topic.filter(|_| all).map(|topic| (topic.clone(), state.members.changes()));
            }
        }
        state.pass += 1;
        state.running = Some(start);
        for id in touched.drain(..) {
            let slot = state.members.slot(id);
            let wants = std::mem::take(&mut slot.wants);
            let Some(turn) = slot.live() else { continue };
            let (connection, encoder) = (slot.connection.clone(), slot.encoder);
            items.push(Item { connection, encoder, id, turn, wants, from: start.max(slot.from) });
        }
        Some(Pass { number: state.pass, lists })
    }

    /// One non-blocking write of all that the connection wants from the batch.
    fn serve(&self, item: &Item, pass: u64, now: u64, group: &mut Group, messages: &[Arc<Message>]) {
        let mut wire = item.connection.wire();
        if wire.turn != item.turn || wire.phase != Phase::Live {
            return;
        }
        wire.served = pass;
        let cursor = match wire.send(group.batch.bytes()) {
            Written::All => {
                item.connection.progressed(now);
                group.served += 1;
                return;
            }
            // Its task finds out by itself.
            Written::Broken => item.from,
            Written::Part(n) => match group.batch.cut(n) {
                None => item.from,
                Some((rest, frames, cursor)) => {
                    wire.keep(rest);
                    item.connection.progressed(now);
                    wanted(messages, item.wants).take(frames).for_each(|message| count(message, 1));
                    cursor
                }
            },
        };
        wire.phase = Phase::Fallen(cursor);
        wire.turn += 1;
        self.suspend(item);
        drop(wire);
        item.connection.wake();
    }

    /// Gives the connection to its own task at the place where it stands.
    fn hand_over(&self, item: &Item) {
        let mut wire = item.connection.wire();
        if wire.turn == item.turn && wire.phase == Phase::Live {
            wire.phase = Phase::Fallen(item.from);
            wire.turn += 1;
            self.suspend(item);
            drop(wire);
            item.connection.wake();
        }
    }

    fn suspend(&self, item: &Item) {
        let mut state = self.state();
        if state.members.slot(item.id).live() == Some(item.turn) {
            state.serve(item.id, None);
        }
    }
}

impl State {
    /// Makes a member that stands at `cursor` live, if that is the head; it then has everything.
    pub(super) fn join(&mut self, id: SlotId, cursor: Cursor, turn: u64, head: Cursor) -> bool {
        if cursor < head {
            return false;
        }
        self.members.slot(id).from = cursor;
        self.serve(id, Some(turn));
        true
    }

    /// Takes a live member out; answers the cursor it leaves with. `served` is the last pass that served it.
    pub(super) fn leave(&mut self, id: SlotId, served: u64) -> Cursor {
        let at = match self.running {
            Some(start) if served != self.pass => start,
            _ => self.position,
        };
        self.serve(id, None);
        at.max(self.members.slot(id).from)
    }

    /// Takes a member out for good.
    pub(super) fn remove(&mut self, id: SlotId) {
        self.listed = None;
        self.members.remove(id);
    }

    fn serve(&mut self, id: SlotId, live: Option<u64>) {
        self.listed = None;
        self.members.serve(id, live);
    }

    fn take_list(&mut self, topic: &TopicName) -> Option<Vec<Item>> {
        self.listed.take_if(|listed| listed.topic == *topic).map(|listed| listed.items)
    }

    /// The running pass has served everybody. Leaves in `items` what is not needed any more.
    fn end(&mut self, items: &mut Vec<Item>, lists: Option<(TopicName, u64)>) {
        self.running = None;
        if let Some((topic, _)) = lists.filter(|(_, changes)| *changes == self.members.changes()) {
            let before = self.listed.replace(Listed { topic, items: std::mem::take(items) });
            *items = before.map(|listed| listed.items).unwrap_or_default();
        }
    }
}

/// The one topic of all these messages, where all of them are for everybody.
fn the_topic(messages: &[Arc<Message>]) -> Option<&TopicName> {
    let topic = &messages.first()?.record.topic;
    messages.iter().all(|m| m.record.user.is_none() && m.record.topic == *topic).then_some(topic)
}

fn wanted(messages: &[Arc<Message>], wants: u64) -> impl Iterator<Item = &Arc<Message>> + Clone {
    messages.iter().enumerate().filter(move |(bit, _)| wants >> bit & 1 == 1).map(|(_, message)| message)
}

fn count(message: &Message, deliveries: u64) {
    if let Some(topic) = &message.topic {
        topic.delivered.add(deliveries);
    }
}

fn group_for(
    hub: &Hub,
    item: &Item,
    messages: &[Arc<Message>],
    groups: &mut Vec<Group>,
    group_of: &mut HashMap<(usize, u64), usize>,
) -> usize {
    let key = (item.encoder.slot(), item.wants);
    // Mostly everybody wants the same.
    if groups.last().is_some_and(|group| group.key == key) {
        return groups.len() - 1;
    }
    *group_of.entry(key).or_insert_with(|| {
        let frames: Vec<_> = wanted(messages, item.wants)
            .map(|m| (m.encoded(item.encoder, hub.epoch()), Cursor { seq: m.record.seq, ..item.from }))
            .collect();
        groups.push(Group { key, batch: Batch::new(frames.into_iter()), served: 0 });
        groups.len() - 1
    })
}
