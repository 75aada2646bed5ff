//! A schema that is being tried: it judges what is published to a topic and refuses nothing.
//!
//! Lives as long as the topic names it, across reloads. What it would have refused is told by place and keyword, never
//! by value.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::counter::Counter;
use crate::fuse::Fuse;
use crate::lock::lock;
use crate::schema::{Payload, Refused, Schema};
use crate::time::Time;

/// So many of the last refusals are remembered.
const LAST: usize = 16;
/// A schema has fewer keywords than this; whatever else a count is asked for shares one.
const KEYWORDS: usize = 64;
/// So many messages must have passed, and not one been refused, before a schema may be called safe.
pub const ENOUGH: u64 = 100;

/// See the module's documentation.
#[derive(Debug)]
pub struct Shadow {
    /// What is being tried.
    pub schema: Arc<Schema>,
    since: Time,
    judged: Counter,
    refused: Counter,
    seen: Mutex<Seen>,
    /// Blows when it is too slow: then it rests, and what is published meanwhile is not judged.
    pub fuse: Fuse,
}

#[derive(Debug, Default)]
struct Seen {
    keywords: BTreeMap<String, u64>,
    last: VecDeque<Value>,
}

impl Shadow {
    /// Tries a schema from now on.
    pub fn new(schema: Arc<Schema>) -> Self {
        let (judged, refused) = (Counter::default(), Counter::default());
        Self { schema, since: Time::now(), judged, refused, seen: Mutex::default(), fuse: Fuse::default() }
    }

    /// Whether this is the schema that is being tried, however its text is laid out.
    pub fn tries(&self, schema: &Schema) -> bool {
        self.schema.file() == schema.file() && self.schema.is_same(schema)
    }

    /// Judges a message that was accepted.
    pub fn observe(&self, payload: &Payload) {
        let Some(judged) = self.schema.check_payload(payload) else { return };
        self.judged.add(1);
        if let Err(refused) = judged {
            self.refused.add(1);
            lock(&self.seen).note(&refused);
        }
    }

    /// Goes on from what was counted elsewhere.
    pub fn go_on(&self, judged: u64, refused: u64) {
        self.judged.add(judged);
        self.refused.add(refused);
    }

    /// How many messages it has judged, and how many of them it would have refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.judged.get(), self.refused.get())
    }

    /// How often each keyword would have refused something.
    pub fn keywords(&self) -> BTreeMap<String, u64> {
        lock(&self.seen).keywords.clone()
    }

    /// Whether it has judged enough and refused nothing of it.
    pub fn is_safe(&self) -> bool {
        let (judged, refused) = self.counts();
        refused == 0 && judged >= ENOUGH
    }

    /// As the admin listener tells it.
    pub fn to_json(&self) -> Value {
        let (judged, refused) = self.counts();
        let seen = lock(&self.seen);
        json!({
            "schema": self.schema.file(),
            "since": self.since.to_string(),
            "judged": judged,
            "refused": refused,
            "keywords": seen.keywords,
            "last": seen.last,
        })
    }
}

impl Seen {
    fn note(&mut self, refused: &Refused) {
        let mut places = Vec::new();
        for violation in &refused.violations {
            let is_room = self.keywords.len() < KEYWORDS || self.keywords.contains_key(&violation.keyword);
            let keyword = if is_room { violation.keyword.as_str() } else { "" };
            *self.keywords.entry(keyword.to_owned()).or_default() += 1;
            places.push(json!({
                "pointer": violation.pointer,
                "keyword": violation.keyword,
                "schema_pointer": violation.schema_pointer,
            }));
        }
        if self.last.len() == LAST {
            self.last.pop_front();
        }
        self.last.push_back(json!({"at": Time::now().to_string(), "violations": places}));
    }
}
