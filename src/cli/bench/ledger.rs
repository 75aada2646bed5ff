//! The accounts of some subscribers: who received which message when, and what nobody will receive any more. Has no
//! sockets and no clock; times are nanoseconds since the start of the run.
//!
//! A message may arrive before its publisher has the answer with its id, and others may publish to the same topics. So
//! a message is open from when either side first mentions it until it is known to be ours and is settled for every
//! subscriber. A relay keeps messages in order, so a subscriber that gets a later message of a topic will not get the
//! earlier ones, which settles those too. The window bounds our open messages, and [`MOST_OPEN`] those of others.

use std::collections::{HashMap, VecDeque};

use crate::cli::bench::figures::Figures;
use crate::message::Seq;

/// The most open messages of one topic. Beyond that, the oldest unclaimed one is taken for somebody else's.
const MOST_OPEN: usize = 4_096;
/// How many of its newest messages a subscriber remembers, to tell duplicates from messages out of order.
const REMEMBERED: usize = 32;

/// An accepted message, as reported by its publisher.
#[derive(Debug, Clone, Copy)]
pub(super) struct Accepted {
    pub(super) topic: usize,
    pub(super) seq: Seq,
    /// Just before the request was written, in nanoseconds since the start of the run.
    pub(super) begun: u64,
    /// All our messages up to and including this seq have been reported.
    pub(super) floor: Seq,
}

/// One delivery.
#[derive(Debug, Clone, Copy)]
pub(super) struct Delivery {
    pub(super) seq: Seq,
    pub(super) at: u64,
    pub(super) bytes: u64,
}

/// The handle of a subscriber in the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    topic: usize,
    index: usize,
}

/// The totals of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Account {
    /// Deliveries of our messages, each counted once.
    pub(super) received: u64,
    /// Deliveries that should have arrived and did not.
    pub(super) lost: u64,
    /// Repeated deliveries of a message to the same subscriber.
    pub(super) duplicated: u64,
    /// Deliveries that arrived after a later message of their topic.
    pub(super) out_of_order: u64,
    /// Deliveries of messages that others published.
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

/// The accounts of one worker's subscribers.
pub(super) struct Ledger {
    topics: Vec<Topic>,
    /// The index in `topics` of each topic of the run that has subscribers here.
    places: HashMap<usize, usize>,
    pub(super) figures: Figures,
    account: Account,
    settled: Vec<(Seq, u64)>,
}

#[derive(Default)]
struct Topic {
    members: Vec<Seen>,
    open: VecDeque<Open>,
    /// All our messages up to this seq have been reported.
    floor: Seq,
    published: u64,
    received: u64,
}

/// What one subscriber has received.
struct Seen {
    last: Seq,
    newest: [Seq; REMEMBERED],
    next: usize,
}

/// A message that is not yet settled.
struct Open {
    seq: Seq,
    /// Subscribers that may still get it.
    waiting: usize,
    arrived: u64,
    /// When it was published; `None` until its publisher reports it.
    begun: Option<u64>,
    /// Deliveries before that, with time and bytes.
    early: Vec<(u64, u64)>,
}

impl Ledger {
    pub(super) fn new(figures: Figures) -> Self {
        Self { topics: Vec::new(), places: HashMap::new(), figures, account: Account::default(), settled: Vec::new() }
    }

    /// Adds a subscriber of a topic, before anything is published.
    pub(super) fn join(&mut self, topic: usize) -> Member {
        let topic = *self.places.entry(topic).or_insert_with(|| {
            self.topics.push(Topic::default());
            self.topics.len() - 1
        });
        let members = &mut self.topics[topic].members;
        members.push(Seen { last: 0, newest: [0; REMEMBERED], next: 0 });
        Member { topic, index: members.len() - 1 }
    }

    /// Notes that a message was accepted.
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
        // Anything unclaimed below the floor was published by others, because ours would have been reported by now.
        let floor = topic.floor;
        let account = &mut self.account;
        topic.open.retain(|open| {
            let ours = open.begun.is_some() || open.seq > floor;
            account.foreign += if ours { 0 } else { open.arrived };
            ours
        });
        self.settle(place, told.seq);
    }

    /// Notes that a subscriber received a message.
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
            // Ours were reported, and stay open until they are settled for every subscriber.
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

    /// Notes that a subscriber will get nothing below `seq` any more, because something later or a gap has come.
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

    /// Notes that a subscriber's connection has ended.
    pub(super) fn closed(&mut self, member: Member) {
        self.pass(member, Seq::MAX);
    }

    /// Our messages that were settled for every subscriber since the last call, each with its number of deliveries.
    pub(super) fn take_settled(&mut self) -> std::vec::Drain<'_, (Seq, u64)> {
        self.settled.drain(..)
    }

    /// Closes the accounts and returns the totals.
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
        // Nearly always the newest one is asked for.
        match self.open.back() {
            Some(newest) if newest.seq == seq => Ok(self.open.len() - 1),
            Some(newest) if newest.seq < seq => Err(self.open.len()),
            _ => self.open.binary_search_by_key(&seq, |open| open.seq),
        }
    }

    /// The index of a message among the open ones; adds it if it is new.
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

    /// Forgets the oldest unclaimed message, and returns how often it had arrived.
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
