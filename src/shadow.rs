//! A schema on trial, a topic's `schema_next`: it judges what is published to the topic and refuses nothing.
//!
//! It lives as long as the topic names it, across reloads. What it would have refused is reported by place and keyword,
//! never by value.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::counter::Counter;
use crate::fuse::Fuse;
use crate::lock::lock;
use crate::schema::{Payload, Refused, Schema};
use crate::time::Time;

/// Number of latest refusals remembered.
const LAST: usize = 16;
/// Most keywords counted one by one; a schema has fewer, and any others share one count.
const KEYWORDS: usize = 64;
/// A schema is called safe only after this many messages without a refusal.
pub const ENOUGH: u64 = 100;

/// See the module's documentation.
#[derive(Debug)]
pub struct Shadow {
    /// The schema on trial.
    pub schema: Arc<Schema>,
    since: Time,
    judged: Counter,
    refused: Counter,
    seen: Mutex<Seen>,
    /// Blows when the schema is too slow; while it is blown, what is published is not judged.
    pub fuse: Fuse,
}

#[derive(Debug, Default)]
struct Seen {
    keywords: BTreeMap<String, u64>,
    last: VecDeque<Value>,
}

impl Shadow {
    /// Begins to try a schema.
    pub fn new(schema: Arc<Schema>) -> Self {
        let (judged, refused) = (Counter::default(), Counter::default());
        Self { schema, since: Time::now(), judged, refused, seen: Mutex::default(), fuse: Fuse::default() }
    }

    /// Whether this is the schema on trial, whatever its layout.
    pub fn tries(&self, schema: &Schema) -> bool {
        self.schema.file() == schema.file() && self.schema.is_same(schema)
    }

    /// Judges a message that the topic's schema has accepted.
    pub fn observe(&self, payload: &Payload) {
        let Some(judged) = self.schema.check_payload(payload) else { return };
        self.judged.add(1);
        if let Err(refused) = judged {
            self.refused.add(1);
            lock(&self.seen).note(&refused);
        }
    }

    /// Adds what was counted elsewhere.
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

    /// The JSON that the admin listener shows.
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
