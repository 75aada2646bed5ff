//! The hub: every accepted message passes through it on its way to the subscribers.
//!
//! The store reports every append. The hub keeps the newest messages in the window, and wakes the shards that have a
//! subscriber for them. It knows no sockets and no configuration.

pub mod answer;
pub mod batch;
pub mod connection;
pub mod entry;
mod gaps;
mod kept;
mod list;
pub mod members;
mod no_socket;
pub mod outbound;
pub mod peer;
#[cfg(test)]
mod rig;
mod shard;
mod stamp;
pub mod subscriber;
pub mod topic;
pub mod window;

use std::future::Future;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;

use crate::close::Close;
use crate::counter::Counter;
use crate::directory::Directory;
use crate::hub::answer::Answers;
use crate::hub::connection::{Connection, Io};
use crate::hub::entry::{Cursor, Mark, Message};
use crate::hub::members::{Member, Visits};
use crate::hub::outbound::Outbound;
use crate::hub::peer::Peer;
use crate::hub::shard::Shard;
use crate::hub::subscriber::Subscriber;
use crate::hub::topic::Topic;
use crate::hub::window::Window;
use crate::lock::lock;
use crate::message::{Epoch, Record, Seq};
use crate::name::{Pattern, TopicName};
use crate::plugin::{Encoder, Follower, Store};
use crate::principal::Principal;

/// How many slots of a shard are inspected under its lock at a time, while deliveries wait: less than a millisecond,
/// with the usual number of subscriptions.
const FEW: usize = 16;

/// How large a hub is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    /// Number of shards, each with a task of its own: as many as there are worker threads.
    pub shards: usize,
    /// Bytes of messages that the window keeps.
    pub window: usize,
    /// After serving this many connections, in one pass or several, a shard yields to other tasks. New publishes then
    /// join its next batch; without that a burst costs more than twice as much.
    pub stride: usize,
    /// How long each shard searches its wildcard subscriptions.
    pub visits: Visits,
}

impl Default for Size {
    fn default() -> Self {
        Self { shards: 1, window: 16 << 20, stride: 64, visits: Visits::default() }
    }
}

/// See the module's documentation.
pub struct Hub {
    store: Arc<dyn Store>,
    epoch: Epoch,
    window: Window,
    shards: Box<[Arc<Shard>]>,
    next: AtomicUsize,
    /// The seq of the newest message addressed to a single user. See [`Hub::others_passed`].
    addressed: AtomicU64,
    topics: ArcSwap<Directory<Arc<Topic>>>,
    answers: Mutex<Answers>,
    /// Number of subscribers that are not live.
    pub behind: Counter,
    /// What connections hold because their peers have not read it.
    pub outbound: Arc<Outbound>,
    started: Instant,
}

impl Hub {
    /// Creates a hub over a store, and follows the store from its present head on.
    pub fn new(store: Arc<dyn Store>, size: Size, topics: Directory<Arc<Topic>>) -> Arc<Self> {
        let head = Cursor { seq: store.head(), generation: 0 };
        let hub = Arc::new(Self {
            epoch: store.epoch(),
            window: Window::new(size.window, head),
            shards: (0..size.shards.max(1)).map(|_| Arc::new(Shard::new(head, size.stride, size.visits))).collect(),
            next: AtomicUsize::new(0),
            addressed: AtomicU64::new(0),
            topics: ArcSwap::from_pointee(topics),
            answers: Mutex::default(),
            behind: Counter::default(),
            outbound: Arc::default(),
            started: Instant::now(),
            store: store.clone(),
        });
        store.follow(head.seq, hub.clone());
        hub
    }

    /// The tasks of the shards, one future for each; run them for as long as the hub lives.
    pub fn tasks(self: &Arc<Self>) -> impl Iterator<Item = impl Future<Output = ()> + Send + 'static> {
        let hub = self.clone();
        self.shards.clone().into_iter().map(move |shard| {
            let hub = hub.clone();
            async move { shard.run(&hub).await }
        })
    }

    /// Creates a subscriber at the head, without subscriptions. With [`NoSocket`](connection::NoSocket) it is served by
    /// its own task alone.
    pub fn subscriber(
        self: &Arc<Self>,
        io: impl Io + 'static,
        encoder: &'static dyn Encoder,
        peer: Peer,
    ) -> Subscriber {
        self.behind.add(1);
        let connection = Connection::new(io, self.outbound.clone());
        Subscriber::new(self.clone(), connection, encoder, peer)
    }

    /// The identity of the log.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The cursor of a reader that has seen every entry.
    pub fn head(&self) -> Cursor {
        self.window.head()
    }

    /// The log.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Milliseconds since the hub was made.
    pub fn clock(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The declared topic that a concrete topic belongs to.
    pub fn topic(&self, name: &TopicName) -> Option<Arc<Topic>> {
        self.topics.load().resolve(name).cloned()
    }

    /// The declared topic that contains every topic of this pattern.
    pub fn containing(&self, name: &Pattern) -> Option<Arc<Topic>> {
        self.topics.load().containing(name).cloned()
    }

    /// Replaces the declared topics.
    pub fn declare(&self, topics: Directory<Arc<Topic>>) {
        self.topics.store(Arc::new(topics));
    }

    /// Sets the size of the window, in bytes.
    pub fn resize(&self, window: usize) {
        self.window.resize(window);
    }

    /// Puts a reload's mark at the head of the log, and has every subscriber that it affects look at it.
    pub fn mark(&self, mark: impl FnOnce(Seq) -> Mark) {
        self.window.mark(mark);
        self.wake();
    }

    /// Wakes every shard to look for work.
    pub fn wake(&self) {
        self.shards.iter().for_each(|shard| shard.wake());
    }

    /// Progress counter of each shard: it changes after [`Hub::wake`] if the shard's task runs.
    pub fn beats(&self) -> Vec<u64> {
        self.shards.iter().map(|shard| shard.beats()).collect()
    }

    /// Closes every connection whose principal is lost, at once, wherever in the log it stands.
    pub fn revoke(&self, is_lost: impl Fn(&Principal) -> bool) {
        for shard in &self.shards {
            let state = shard.state();
            let lost = state.members.iter().filter(|(_, slot)| slot.principal.as_deref().is_some_and(&is_lost));
            lost.for_each(|(_, slot)| slot.connection.end(Close::TokenRevoked));
        }
    }

    /// The connections of all present subscribers.
    pub fn connections(&self) -> Vec<Arc<Connection>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            all.extend(shard.state().members.iter().map(|(_, slot)| slot.connection.clone()));
        }
        all
    }

    /// Closes holders of memory until what is held fits the budget; returns how many.
    ///
    /// Answers that can be requested again go first, the oldest first. Subscribers follow, the furthest behind first;
    /// among those at the same place, the one that has taken nothing for longest.
    pub fn shed(&self, budget: usize) -> usize {
        let mut subscribers = self.connections();
        subscribers.retain(|connection| connection.held() > 0);
        subscribers.sort_by_cached_key(|connection| (connection.last_position(), connection.progress()));
        let answers: Vec<_> = lock(&self.answers).all.values().cloned().collect();
        let holders = answers.into_iter().chain(subscribers).map(|connection| (connection.held(), connection));
        let (holders, going): (Vec<_>, Vec<_>) = holders.partition(|(_, connection)| connection.ending().is_none());
        let going: usize = going.iter().map(|(bytes, _)| bytes).sum();
        let mut held = self.outbound.held().saturating_sub(going);
        let mut shed = 0;
        for (bytes, connection) in holders.into_iter().filter(|(bytes, _)| *bytes > 0) {
            if held <= budget {
                break;
            }
            connection.end(Close::Shed);
            // Its peer may have read some of it since it was measured.
            held = held.saturating_sub(bytes);
            shed += 1;
        }
        self.outbound.dropped.add(shed as u64);
        shed
    }

    /// Whether any message after `since` was addressed to a single user.
    ///
    /// A reader that stays at `since` because none of these was for it would be told of a gap once they are evicted. So
    /// it is given a newer position, by [`Subscriber::refresh_position`] or in an answer.
    pub fn others_passed(&self, since: Seq) -> bool {
        since < self.addressed.load(Ordering::Relaxed)
    }

    /// Visits every subscriber, for operators: a few at a time, since deliveries wait for the same lock.
    pub fn each_member(&self, mut look: impl FnMut(Member)) {
        for shard in &self.shards {
            let mut slots = 0..FEW;
            while let Some(members) = { shard.state().members.in_slots(slots.clone()) } {
                members.into_iter().for_each(&mut look);
                slots = slots.end..slots.end + FEW;
            }
        }
    }

    fn next_shard(&self) -> Arc<Shard> {
        let next = self.next.fetch_add(1, Ordering::Relaxed);
        self.shards[next % self.shards.len()].clone()
    }
}

impl Follower for Hub {
    fn appended(&self, records: &[Arc<Record>]) {
        if let Some(record) = records.iter().rfind(|record| record.user.is_some()) {
            self.addressed.store(record.seq, Ordering::Relaxed);
        }
        let topics = self.topics.load();
        let messages: Vec<_> = records
            .iter()
            .map(|record| {
                let topic = topics.resolve(&record.topic).cloned();
                if let Some(topic) = &topic {
                    topic.published.add(1);
                }
                Arc::new(Message::new(record.clone(), topic))
            })
            .collect();
        let (before, after) = self.window.append(messages.iter().cloned());
        for shard in &self.shards {
            shard.appended(&messages, before, after);
        }
    }
}
