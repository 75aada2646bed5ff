//! The accounts of some subscribers: who got which message when, and what nobody will get any more. No sockets, no
//! clock: times are nanoseconds since the start of the run.
//!
//! A message may arrive before its publisher has the answer that tells its id, and others may publish to the same
//! topics. So a message is open from the first that is heard of it, by whichever side, until it is both known to be
//! ours and settled with every subscriber. A subscriber that gets a later message of its topic will not get the earlier
//! ones, for a relay keeps their order: that settles them too. What is open is bounded by the window; of others'
//! messages [`MOST_OPEN`] are.

use std::collections::{HashMap, VecDeque};

use crate::cli::bench::figures::Figures;
use crate::message::Seq;

/// The most open messages of one topic before the oldest that nobody has claimed is taken for somebody else's.
const MOST_OPEN: usize = 4_096;
/// How many of its newest messages a subscriber remembers, to tell a duplicate from what is out of order.
const REMEMBERED: usize = 32;

/// An accepted message, as its publisher tells of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) topic: usize,
    pub(super) seq: Seq,
    /// Just before the request was written.
    pub(super) begun: u64,
    /// Up to here every message of ours has been told, this one included.
    pub(super) floor: Seq,
}

/// One delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) seq: Seq,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// A subscriber of the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    topic: usize,
    index: usize,
}

/// What came of it all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Deliveries of ours, each once.
    pub(super) received: u64,
    /// Deliveries that should have come and did not.
    pub(super) lost: u64,
    /// Deliveries of a message that the subscriber had got before.
    pub(super) duplicated: u64,
    /// Deliveries that came after a later message of their topic.
    pub(super) out_of_order: u64,
    /// Deliveries of what others published.
    pub(super) foreign: u64,
}

impl Account {
    pub(super) fn add(&mut self, other: Self) {
        self.received += other.received;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.out_of_order += other.out_of_order;
        self.foreign += other.foreign;
    }
}

/// The accounts.
pub(super) struct Ledger {
    topics: Vec<Topic>,
    /// Where each topic of the run that has subscribers here stands among them.
    places: HashMap<usize, usize>,
    pub(super) figures: Figures,
    account: Account,
    settled: Vec<(Seq, u64)>,
}

#[derive(Default)]
struct Topic {
    members: Vec<Seen>,
    open: VecDeque<Open>,
    /// Up to here every message of ours has been told.
    floor: Seq,
    published: u64,
    received: u64,
}

/// What one subscriber has got.
struct Seen {
    last: Seq,
    newest: [Seq; REMEMBERED],
    next: usize,
}

/// A message that is not settled yet.
struct Open {
    seq: Seq,
    /// Subscribers that may still get it.
    waiting: usize,
    arrived: u64,
    /// When it was published; `None` until that is told.
    begun: Option<u64>,
    /// What arrived before it was told.
    early: Vec<(u64, u64)>,
}

impl Ledger {
    pub(super) fn new(figures: Figures) -> Self {
        Self { topics: Vec::new(), places: HashMap::new(), figures, account: Account::default(), settled: Vec::new() }
    }

    /// Takes one more subscriber of a topic, before anything is published.
    pub(super) fn join(&mut self, topic: usize) -> Member {
        let topic = *self.places.entry(topic).or_insert_with(|| {
            self.topics.push(Topic::default());
            self.topics.len() - 1
        });
        let members = &mut self.topics[topic].members;
        members.push(Seen { last: 0, newest: [0; REMEMBERED], next: 0 });
        Member { topic, index: members.len() - 1 }
    }

    /// A message was accepted.
    pub(super) fn told(&mut self, told: Accepted) {
        let Some(&place) = self.places.get(&told.topic) else { return };
        let topic = &mut self.topics[place];
        topic.published += 1;
        topic.floor = topic.floor.max(told.floor);
        let at = topic.opened(told.seq);
        let open = &mut topic.open[at];
        open.begun = Some(told.begun);
        for (arrived, bytes) in std::mem::take(&mut open.early) {
            self.figures.record(told.begun, arrived, bytes);
        }
        // What others published in between would have been told by now.
        let floor = topic.floor;
        let account = &mut self.account;
        topic.open.retain(|open| {
            let ours = open.begun.is_some() || open.seq > floor;
            account.foreign += if ours { 0 } else { open.arrived };
            ours
        });
        self.settle(place, told.seq);
    }

    /// A subscriber got a message.
    pub(super) fn arrived(&mut self, member: Member, delivery: Delivery) {
        let Delivery { seq, at, bytes } = delivery;
        let topic = &mut self.topics[member.topic];
        let seen = &mut topic.members[member.index];
        if seq <= seen.last {
            if seen.newest.contains(&seq) {
                self.account.duplicated += 1;
            } else {
                self.account.out_of_order += 1;
                topic.received += 1;
                seen.remember(seq);
            }
            return;
        }
        self.pass(member, seq);
        let topic = &mut self.topics[member.topic];
        let known = topic.find(seq).is_ok();
        if !known && seq <= topic.floor {
            // Ours were told, and stay open until each subscriber has settled them.
            self.account.foreign += 1;
            topic.members[member.index].advance(seq);
            return;
        }
        let index = topic.opened(seq);
        topic.members[member.index].advance(seq);
        let open = &mut topic.open[index];
        open.waiting -= 1;
        open.arrived += 1;
        match open.begun {
            Some(begun) => self.figures.record(begun, at, bytes),
            None => open.early.push((at, bytes)),
        }
        if !known && topic.open.len() > MOST_OPEN {
            self.account.foreign += topic.forget_oldest();
        }
        self.settle(member.topic, seq);
    }

    /// A subscriber will get nothing below `seq` any more: something later has come, or a gap was told.
    pub(super) fn pass(&mut self, member: Member, seq: Seq) {
        let topic = &mut self.topics[member.topic];
        let last = topic.members[member.index].last;
        let from = topic.open.partition_point(|open| open.seq <= last);
        let to = topic.open.partition_point(|open| open.seq < seq);
        let passed: Vec<Seq> = topic.open.range_mut(from..to.max(from)).map(Open::pass).collect();
        let seen = &mut topic.members[member.index];
        seen.last = seen.last.max(seq.saturating_sub(1));
        for seq in passed {
            self.settle(member.topic, seq);
        }
    }

    /// A subscriber has ended.
    pub(super) fn closed(&mut self, member: Member) {
        self.pass(member, Seq::MAX);
    }

    /// The messages of ours that have been settled with every subscriber since this was last asked, with the
    /// deliveries of each.
    pub(super) fn take_settled(&mut self) -> std::vec::Drain<'_, (Seq, u64)> {
        self.settled.drain(..)
    }

    /// Closes the accounts.
    pub(super) fn close(mut self) -> (Account, Figures) {
        for topic in &mut self.topics {
            for open in topic.open.drain(..) {
                match open.begun {
                    Some(_) => topic.received += open.arrived,
                    None => self.account.foreign += open.arrived,
                }
            }
            self.account.received += topic.received;
            self.account.lost += (topic.published * topic.members.len() as u64).saturating_sub(topic.received);
        }
        (self.account, self.figures)
    }

    fn settle(&mut self, topic: usize, seq: Seq) {
        let topic = &mut self.topics[topic];
        let Ok(at) = topic.find(seq) else { return };
        let open = &topic.open[at];
        if open.waiting == 0 && open.begun.is_some() {
            topic.received += open.arrived;
            self.settled.push((seq, open.arrived));
            topic.open.remove(at);
        }
    }
}

impl Topic {
    fn find(&self, seq: Seq) -> Result<usize, usize> {
        // Nearly always it is the newest.
        match self.open.back() {
            Some(newest) if newest.seq == seq => Ok(self.open.len() - 1),
            Some(newest) if newest.seq < seq => Err(self.open.len()),
            _ => self.open.binary_search_by_key(&seq, |open| open.seq),
        }
    }

    /// Where this message stands among the open ones, to which it may be new.
    fn opened(&mut self, seq: Seq) -> usize {
        match self.find(seq) {
            Ok(at) => at,
            Err(at) => {
                let waiting = self.members.iter().filter(|seen| seen.last < seq).count();
                self.open.insert(at, Open { seq, waiting, arrived: 0, begun: None, early: Vec::new() });
                at
            }
        }
    }

    /// Forgets the oldest message that nobody has claimed; answers how often it had arrived.
    fn forget_oldest(&mut self) -> u64 {
        let oldest = self.open.iter().position(|open| open.begun.is_none());
        oldest.and_then(|at| self.open.remove(at)).map_or(0, |open| open.arrived)
    }
}

impl Seen {
    fn advance(&mut self, seq: Seq) {
        self.last = seq;
        self.remember(seq);
    }

    fn remember(&mut self, seq: Seq) {
        self.newest[self.next] = seq;
        self.next = (self.next + 1) % REMEMBERED;
    }
}

impl Open {
    fn pass(&mut self) -> Seq {
        self.waiting -= 1;
        self.seq
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
