//! JSON and JSON Schema: what a payload is, and which payloads a topic accepts. The only module that names
//! `jsonschema`.

mod alternatives;
mod borrowed;
mod canon;
pub mod compat;
pub mod compile;
mod example;
pub mod json;
mod judge;
mod metered;
#[cfg(test)]
mod tests;
mod unique;
mod violation;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use jsonschema::Draft;
use serde_json::Value;

use crate::problem::Violation;
use crate::schema::canon::{Canon, Flat};
use crate::schema::example::Effort;
use crate::schema::json::{Json, MAX_DEPTH, Tree};
use crate::schema::judge::Judge;

/// The most violations reported for one payload.
pub const MAX_VIOLATIONS: usize = 16;

/// The largest example, in bytes of JSON text.
const EXAMPLE: usize = 4_096;

/// The compiled rule for the payloads of a topic. Topics that name the same file share it, and so do successive
/// configurations while that file and everything it refers to stay unchanged.
pub struct Schema {
    /// `None` for `any`, the explicit opt-out.
    file: Option<Arc<str>>,
    document: Arc<Value>,
    /// `None` accepts any JSON.
    judge: Option<Judge>,
    /// A digest of everything the schema was made from.
    fingerprint: [u8; 32],
    canon: Canon,
}

impl Schema {
    /// The schema that accepts any JSON.
    pub fn any() -> Arc<Self> {
        let flat = Flat::any();
        let document = flat.document.clone();
        let canon = Canon::new(Ok(flat), Draft::default());
        Arc::new(Self { file: None, document, judge: None, fingerprint: [0; 32], canon })
    }

    /// The schema as one document, for subscribers: what it refers to in other files is embedded. If no single document
    /// can say the same (mixed dialects, a reference to a meta-schema, a dynamic reference), this is the schema's own
    /// file as it was read. Two such documents may then be equal although their schemas differ; see
    /// [`Schema::is_same`].
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether both say the same, however their texts are laid out.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other
            || self.canon.says_the_same(&other.canon).unwrap_or_else(|| {
                // No single document tells the whole, so compare all files.
                self.file == other.file && self.contents() == other.contents()
            })
    }

    fn contents(&self) -> BTreeMap<&str, &Value> {
        self.files().collect()
    }

    /// The files it is made of, as they were read: its own and those it refers to, with paths relative to relay.toml.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.judge.iter().flat_map(Judge::files)
    }

    /// The path of its own file, relative to relay.toml; `None` for `any`.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Judges a payload.
    ///
    /// # Errors
    /// What is wrong with it: never empty, at most [`MAX_VIOLATIONS`].
    pub fn accept(&self, json: Json<'_>) -> Result<Payload, Refused> {
        self.check(&json.tree)?;
        // Copies, so that the log, which keeps this for long, holds neither the request's buffer nor the spare capacity
        // left by removed white space.
        Ok(Payload(Bytes::copy_from_slice(&json.text)))
    }

    /// Judges a value that will not be published, such as an example in relay.toml.
    ///
    /// # Errors
    /// As [`Schema::accept`].
    pub fn check_value(&self, value: &Value) -> Result<(), Refused> {
        self.check(&value.into())
    }

    /// Judges a payload that another schema has accepted; `None` if it cannot be read as JSON.
    ///
    /// # Errors
    /// As [`Schema::accept`].
    pub fn check_payload(&self, payload: &Payload) -> Option<Result<(), Refused>> {
        json::read(payload.as_bytes(), MAX_DEPTH).ok().map(|tree| self.check(&tree))
    }

    fn check(&self, tree: &Tree<'_>) -> Result<(), Refused> {
        match &self.judge {
            Some(judge) => judge.check(tree),
            None => Ok(()),
        }
    }

    /// A value that the schema accepts, if a guess finds one.
    pub fn example(&self) -> Option<Value> {
        let is_short = |guess: &Value| guess.to_string().len() <= EXAMPLE;
        example::find([(&*self.document, None)], Effort::Full, |guess| self.accepts(&guess.into()) && is_short(guess))
    }

    fn accepts(&self, tree: &Tree<'_>) -> bool {
        self.judge.as_ref().is_none_or(|judge| judge.accepts(tree))
    }
}

/// Two schemas are the same when they were made from the same texts.
impl PartialEq for Schema {
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schema({})", self.file.as_deref().unwrap_or("any"))
    }
}

/// Why a payload was refused.
#[derive(Debug)]
pub struct Refused {
    /// Never empty, at most [`MAX_VIOLATIONS`].
    pub violations: Vec<Violation>,
    /// Whether there were more.
    pub more: bool,
}

/// JSON text that its topic's schema has accepted. Numbers and the order of members are kept as written; insignificant
/// white space is gone, so it holds no raw CR or LF.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Takes back what a log holds, which was accepted when it was appended.
    pub fn from_log(text: Bytes) -> Self {
        Self(text)
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The length of the JSON text, in bytes.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// Shows only the size: the payload itself may hold anything and must not get into a log.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}
