//! What one reader has been told, compared with what was published.
//!
//! For each subscription and topic, it keeps the seq up to which everything was received or announced as missed. A
//! message must be the next one that some subscription still wants, and whatever lies between must have been announced.
//! Every id is a position: once a reader has one, nothing below it may be missing silently from any of its
//! subscriptions.

use std::collections::{HashMap, HashSet};

use relay::name::{Pattern, TopicName};
use serde_json::Value;

use crate::model::world::{PATTERNS, TOPICS, World};

/// Where a subscription asked to begin.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    Live,
    Earliest,
    After(u64),
    /// A position of another log, as text.
    Foreign(String),
}

#[derive(Debug)]
struct Sub {
    pattern: usize,
    start: Start,
    /// For each topic of the pattern, the seq up to which nothing is missing; `None` until `synced` says where it is
    /// live.
    low: HashMap<usize, Option<u64>>,
    /// What was already evicted when it asked for the earliest; set when the reader is next told something.
    gone: Option<HashMap<usize, u64>>,
    /// The index of the first gap that counts for it: earlier ones were told before it began.
    first_gap: usize,
    /// The command that made it.
    command: u64,
    told_foreign: bool,
}

#[derive(Debug)]
struct Gap {
    topics: Pattern,
    from: u64,
    to: u64,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct Ledger {
    user: Option<usize>,
    subs: Vec<Sub>,
    gaps: Vec<Gap>,
    received: HashSet<u64>,
    /// Messages, gaps and topic changes that the reader was told, to show what the run has covered.
    pub seen: [u64; 3],
    /// The last id that the reader was told.
    pub last: Option<String>,
}

impl Ledger {
    pub fn new(user: usize) -> Self {
        Self { user: (user > 0).then_some(user), ..Self::default() }
    }

    /// Makes this the ledger of the same reader's next connection.
    pub fn after(self, before: &Self) -> Self {
        Self { seen: before.seen, ..self }
    }

    /// Records a subscribe that was answered with `ok`.
    pub fn subscribe(&mut self, command: u64, list: &[(usize, Start)]) {
        for (pattern, start) in list {
            self.subs.retain(|sub| sub.pattern != *pattern);
            let low = match start {
                Start::Live => None,
                Start::Earliest | Start::Foreign(_) => Some(0),
                Start::After(seq) => Some(*seq),
            };
            let topics = (0..TOPICS.len()).filter(|topic| matches(*pattern, *topic));
            self.subs.push(Sub {
                pattern: *pattern,
                start: start.clone(),
                low: topics.map(|topic| (topic, low)).collect(),
                gone: None,
                first_gap: self.gaps.len(),
                command,
                told_foreign: false,
            });
        }
    }

    /// Records an unsubscribe that was answered with `ok`.
    pub fn unsubscribe(&mut self, patterns: &[usize]) {
        self.subs.retain(|sub| !patterns.contains(&sub.pattern));
    }

    /// Checks and records one thing that the reader was told.
    pub fn take(&mut self, world: &World, told: &Value, id: Option<&str>) {
        for sub in self.subs.iter_mut().filter(|sub| sub.start == Start::Earliest) {
            sub.gone.get_or_insert_with(|| sub.low.keys().map(|topic| (*topic, world.evicted(*topic))).collect());
        }
        match told["type"].as_str().expect("a type") {
            "message" => self.message(world, told),
            "gap" => self.gap(world, told),
            "synced" => self.synced(world, told),
            "topic_changed" => {
                let generation = told["generation"].as_u64().expect("a generation");
                let mark = world.marks.iter().find(|(g, _)| *g == generation).expect("there was such a reload");
                self.claim(world, mark.1);
                self.seen[2] += 1;
            }
            other => panic!("{other} was not expected: {told}"),
        }
        if let Some(id) = id.filter(|id| !id.is_empty()) {
            self.claim(world, seq(world, id));
            self.last = Some(id.to_owned());
        }
    }

    fn message(&mut self, world: &World, told: &Value) {
        let id = told["id"].as_str().expect("an id");
        let seq = seq(world, id);
        let at = world.log.binary_search_by_key(&seq, |published| published.seq).expect("it was published");
        let published = world.log[at];
        assert_eq!(told["topic"], TOPICS[published.topic], "{told}");
        assert_eq!(told["data"][0], published.number, "{told}");
        assert!(published.user.is_none() || published.user == self.user, "it is addressed to somebody else: {told}");
        let mut wanted = false;
        for sub in &mut self.subs {
            let Some(Some(low)) = sub.low.get(&published.topic).copied() else { continue };
            if low < seq {
                wanted = true;
                let announced = self.gaps[sub.first_gap..].iter().find(|gap| {
                    gap.topics.exact().is_some_and(|topic| topic.as_str() == TOPICS[published.topic])
                        && gap.from < seq
                        && seq <= gap.to
                });
                assert!(announced.is_none(), "{told} was announced as missed: {announced:?} to {sub:?}");
            }
        }
        assert!(wanted, "nobody asked for {told}, or it came twice: {self:#?}");
        self.seen[0] += 1;
        self.received.insert(seq);
        self.last = Some(id.to_owned());
        self.claim(world, seq - 1);
        for low in self.subs.iter_mut().filter_map(|sub| sub.low.get_mut(&published.topic)).flatten() {
            *low = seq.max(*low);
        }
        self.claim(world, seq);
    }

    fn gap(&mut self, world: &World, told: &Value) {
        let topics = Pattern::parse(told["topic"].as_str().expect("a topic")).expect("a pattern");
        let to = seq(world, told["to"].as_str().expect("a position"));
        self.seen[1] += 1;
        if told["reason"] == "epoch" {
            let sub = self.subs.iter_mut().find(|sub| sub.pattern() == topics).expect("its subscription");
            let Start::Foreign(text) = &sub.start else { panic!("{told} for {sub:?}") };
            let from = if text.contains('-') { text.clone() } else { format!("{}-0", world.live.hub.epoch()) };
            assert_eq!((told["from"].as_str(), to), (Some(from.as_str()), 0), "{told}");
            sub.told_foreign = true;
            return;
        }
        let from = seq(world, told["from"].as_str().expect("a position"));
        assert!(from < to && to <= world.head(), "{told}");
        assert!(self.subs.iter().any(|sub| sub.pattern().contains(&topics)), "nobody is subscribed to it: {told}");
        if let Some(topic) = TOPICS.iter().position(|topic| *topic == topics.as_str()) {
            assert!(to <= world.evicted(topic), "{told}, of which only {} is gone", world.evicted(topic));
            let mut of_topic = self.subs.iter().filter_map(|sub| *sub.low.get(&topic)?);
            let least = of_topic.next().map(|low| of_topic.fold(low, u64::min)).unwrap_or(0);
            let got = world
                .log
                .iter()
                .find(|p| p.topic == topic && from < p.seq && p.seq <= to.min(least) && self.received.contains(&p.seq));
            assert!(got.is_none(), "{told}, but {got:?} was received: {self:#?}");
        }
        self.gaps.push(Gap { topics, from, to });
    }

    fn synced(&mut self, world: &World, told: &Value) {
        let position = told["position"].as_str().expect("a position");
        let seq = seq(world, position);
        assert!(seq <= world.head(), "{told}");
        let command = told["id"].as_u64().unwrap_or(0);
        for sub in self.subs.iter_mut().filter(|sub| sub.command == command) {
            sub.low.values_mut().filter(|low| low.is_none()).for_each(|low| *low = Some(seq));
            // It was made at this seq, so what was evicted since had been promised to it.
            sub.gone.iter_mut().flat_map(HashMap::values_mut).for_each(|gone| *gone = seq.min(*gone));
            assert!(sub.told_foreign || !matches!(sub.start, Start::Foreign(_)), "no gap was told of {sub:?}");
        }
        self.last = Some(position.to_owned());
        self.claim(world, seq);
    }

    /// Records that every subscription has been told everything up to a seq.
    fn claim(&mut self, world: &World, seq: u64) {
        self.complete(world, seq);
        for low in self.subs.iter_mut().flat_map(|sub| sub.low.values_mut()).flatten() {
            *low = seq.max(*low);
        }
    }

    /// Asserts that nothing up to a seq is missing silently.
    fn complete(&self, world: &World, seq: u64) {
        for sub in &self.subs {
            for (topic, low) in sub.low.iter().filter_map(|(topic, low)| Some((*topic, (*low)?))) {
                let start = world.log.partition_point(|published| published.seq <= low);
                let missing =
                    world.log[start..].iter().take_while(|published| published.seq <= seq).find(|published| {
                        published.topic == topic
                            && (published.user.is_none() || published.user == self.user)
                            && !sub.is_excused(published.topic, published.seq, &self.gaps)
                    });
                assert!(missing.is_none(), "{missing:?} is missing below {seq} for {sub:?} in {self:#?}");
            }
        }
    }

    /// Whether everything that will come has come.
    pub fn has_all(&self, last: &HashMap<usize, u64>) -> bool {
        self.subs.iter().all(|sub| {
            sub.low.iter().all(|(topic, low)| {
                low.is_some_and(|low| low >= last[topic] || sub.is_excused(*topic, last[topic], &self.gaps))
            })
        })
    }
}

impl Sub {
    fn pattern(&self) -> Pattern {
        Pattern::parse(PATTERNS[self.pattern]).expect("a pattern")
    }

    fn is_excused(&self, topic: usize, seq: u64, gaps: &[Gap]) -> bool {
        let gone = self.gone.as_ref().and_then(|gone| gone.get(&topic)).is_some_and(|gone| seq <= *gone);
        let name = TopicName::parse(TOPICS[topic]).expect("a topic");
        gone || gaps[self.first_gap..].iter().any(|gap| gap.topics.matches(&name) && gap.from < seq && seq <= gap.to)
    }
}

/// Whether a pattern covers a topic, both by index.
pub fn matches(pattern: usize, topic: usize) -> bool {
    let topic = TopicName::parse(TOPICS[topic]).expect("a topic");
    Pattern::parse(PATTERNS[pattern]).expect("a pattern").matches(&topic)
}

fn seq(world: &World, position: &str) -> u64 {
    let (epoch, seq) = position.split_once('-').expect("a position");
    assert_eq!(epoch, world.live.hub.epoch().to_string(), "an id of another log");
    seq.parse().expect("a number")
}
