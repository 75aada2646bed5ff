//! The rings of all topics, and what is remembered of topics that no longer have one.
//!
//! Each ring has a place, and places form blocks. So a reader can go through them block by block, releasing the log's
//! lock in between, and skip the blocks that evicted nothing it does not know of.

use std::sync::Arc;

use ahash::AHashMap;

use crate::footprint::text;
use crate::message::{Record, Seq};
use crate::name::{MAX_NAME, Pattern, TopicName};
use crate::patterns::Patterns;
use crate::store::order::Order;
use crate::store::ring::{Ring, Rules, TOPIC_BYTES};

/// Forgotten topics whose evictions are remembered one by one; beyond that, by family.
const MAX_FORGOTTEN: usize = 10_000;
/// Most bytes that remembering them takes.
pub const FORGOTTEN_BYTES: usize = MAX_FORGOTTEN * (TOPIC_BYTES + text(MAX_NAME) + Patterns::<Seq>::EACH_BYTES);
/// Places in a block.
const BLOCK: usize = 256;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Rings {
    places: AHashMap<TopicName, usize>,
    blocks: Vec<Block>,
    free: Vec<usize>,
    forgotten: usize,
    families: Patterns<Seq>,
    /// `changes` when `families` last changed.
    families_changed: u64,
    changes: u64,
    /// The records of all rings, in the order of the log.
    pub(super) order: Order,
}

struct Block {
    rings: Vec<Option<Ring>>,
    /// The highest seq that any of them evicted.
    evicted: Seq,
    /// [`Rings::changes`] when that last happened, or evictions moved here.
    changed: u64,
}

impl Rings {
    /// The place of a topic's ring, if it has one.
    pub(super) fn place(&self, topic: &str) -> Option<usize> {
        self.places.get(topic).copied().filter(|place| self.ring(*place).is_some_and(|ring| !ring.is_forgotten()))
    }

    /// The ring at a place, forgotten or not.
    pub(super) fn ring(&self, place: usize) -> Option<&Ring> {
        self.blocks.get(place / BLOCK)?.rings.get(place % BLOCK)?.as_ref()
    }

    /// The ring of a topic, forgotten or not.
    pub(super) fn find(&self, topic: &str) -> Option<&Ring> {
        self.places.get(topic).and_then(|place| self.ring(*place))
    }

    /// Number of places, free ones included.
    pub(super) fn count(&self) -> usize {
        self.blocks.last().map_or(0, |last| (self.blocks.len() - 1) * BLOCK + last.rings.len())
    }

    /// The rings of a block with their places; `None` past the last block.
    pub(super) fn block(&self, number: usize) -> Option<impl Iterator<Item = (usize, &Ring)>> {
        let rings = self.blocks.get(number)?.rings.iter().enumerate();
        Some(rings.filter_map(move |(at, ring)| Some((number * BLOCK + at, ring.as_ref()?))))
    }

    /// A number that changes whenever something is evicted, or evictions move to another place.
    pub(super) fn changes(&self) -> u64 {
        self.changes
    }

    /// The next block, starting at number `from`, that has evictions after a seq and has changed since `seen`: its number,
    /// and the rings that have them.
    pub(super) fn evicted_after(
        &self,
        seq: Seq,
        seen: u64,
        from: usize,
    ) -> Option<(usize, impl Iterator<Item = &Ring>)> {
        let mut blocks = self.blocks.iter().enumerate().skip(from);
        let (number, block) = blocks.find(|(_, block)| block.evicted > seq && block.changed > seen)?;
        Some((number, block.rings.iter().flatten().filter(move |ring| ring.evicted() > seq)))
    }

    /// [`Rings::changes`] when evictions were last added to those known only for their family.
    pub(super) fn families_changed(&self) -> u64 {
        self.families_changed
    }

    /// The highest seq evicted from topics of this pattern that are no longer remembered one by one.
    pub(super) fn evicted_of_families(&self, topics: &Pattern) -> Seq {
        let mut evicted = 0;
        self.families.any_overlapping(&topics.canonical(), |seq| {
            evicted = evicted.max(*seq);
            false
        });
        evicted
    }

    /// Opens the ring of a topic that has none; it keeps what is remembered of the topic's evictions.
    pub(super) fn open(&mut self, topic: TopicName, rules: Arc<Rules>) -> usize {
        let place = match self.places.get(&topic) {
            Some(place) => {
                self.forgotten -= 1;
                *place
            }
            None => {
                let evicted = self.evicted_of_families(&Pattern::from(&topic));
                self.insert(Ring::new(topic, evicted))
            }
        };
        self.change(place, |ring, _| ring.retain(rules));
        place
    }

    /// Puts a record into a ring. `make` gets the ring's copy of the name, so that all its records share it.
    ///
    /// # Panics
    /// When there is no ring at this place.
    pub(super) fn push(&mut self, place: usize, make: impl FnOnce(TopicName) -> Arc<Record>) -> Arc<Record> {
        let record = self.change(place, |ring, order| {
            let record = make(ring.topic.clone());
            ring.push(record.clone(), order);
            record
        });
        record.expect("its place was just asked for")
    }

    /// Notes that a message was not retained, because its topic has no ring.
    pub(super) fn miss(&mut self, topic: TopicName, seq: Seq) {
        if let Some(place) = self.places.get(&topic) {
            self.change(*place, |ring, _| ring.miss(seq));
        } else if self.forgotten < MAX_FORGOTTEN {
            self.forgotten += 1;
            let place = self.insert(Ring::new(topic, 0));
            self.change(place, |ring, _| ring.miss(seq));
        } else {
            self.remember(Pattern::from(&topic), seq, seq);
        }
    }

    /// Forgets the topic of an idle ring, but not what it evicted. `head` is the highest seq of the log.
    pub(super) fn forget(&mut self, place: usize, head: Seq) {
        let Some(ring) = &mut self.blocks[place / BLOCK].rings[place % BLOCK] else { return };
        match (ring.evicted(), ring.forget()) {
            (1.., _) if self.forgotten < MAX_FORGOTTEN => {
                self.forgotten += 1;
                return;
            }
            (evicted @ 1.., Some(rules)) => self.remember(rules.retention.declared.clone(), evicted, head),
            _ => {}
        }
        if let Some(ring) = self.blocks[place / BLOCK].rings[place % BLOCK].take() {
            self.places.remove(&ring.topic);
            self.free.push(place);
        }
    }

    fn remember(&mut self, family: Pattern, evicted: Seq, head: Seq) {
        self.changes += 1;
        self.families_changed = self.changes;
        if self.families.len() < MAX_FORGOTTEN || self.families.get(&family).is_some() {
            let seq = self.families.entry(&family);
            *seq = evicted.max(*seq);
        } else {
            // Too many to tell apart: any forgotten topic may have evicted something up to the head.
            self.families = Patterns::default();
            self.families.insert(Pattern::everything(), head);
        }
    }

    fn insert(&mut self, ring: Ring) -> usize {
        let place = self.free.pop().unwrap_or_else(|| self.count());
        self.places.insert(ring.topic.clone(), place);
        if place / BLOCK == self.blocks.len() {
            self.blocks.push(Block { rings: Vec::new(), evicted: 0, changed: 0 });
        }
        let block = &mut self.blocks[place / BLOCK];
        if ring.evicted() > 0 {
            self.changes += 1;
            block.note(ring.evicted(), self.changes);
        }
        match block.rings.get_mut(place % BLOCK) {
            Some(free) => *free = Some(ring),
            None => block.rings.push(Some(ring)),
        }
        place
    }

    /// All changes that may evict go through here, which keeps `changes` and the block's numbers right.
    pub(super) fn change<T>(&mut self, place: usize, act: impl FnOnce(&mut Ring, &mut Order) -> T) -> Option<T> {
        let block = &mut self.blocks[place / BLOCK];
        let ring = block.rings[place % BLOCK].as_mut()?;
        let before = ring.evicted();
        let answer = act(ring, &mut self.order);
        let evicted = ring.evicted();
        if evicted > before {
            self.changes += 1;
            block.note(evicted, self.changes);
        }
        Some(answer)
    }
}

impl Block {
    fn note(&mut self, evicted: Seq, changes: u64) {
        self.evicted = evicted.max(self.evicted);
        self.changed = changes;
    }
}
