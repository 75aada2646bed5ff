//! JSON and JSON Schema: what a payload is and what makes it acceptable. The only room that names `jsonschema`.

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

/// The most violations that are told of one payload.
pub const MAX_VIOLATIONS: usize = 16;

/// The most bytes of an example.
const EXAMPLE: usize = 4_096;

/// What the messages of a topic must match, compiled. Shared by all topics that name the same file, and by successive
/// configurations while its text and what it refers to are unchanged.
pub struct Schema {
    /// `None`: the explicit opt-out, any JSON.
    file: Option<Arc<str>>,
    document: Arc<Value>,
    /// `None` accepts any JSON.
    judge: Option<Judge>,
    /// Of everything that it was made from.
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

    /// The schema document, for subscribers that want to know: what it takes from other files stands in it. Where no one
    /// document can say that (dialects are mixed, a meta-schema is referred to, a reference is bound late) it is the
    /// schema's own file as it was read: two such documents may be equal and their schemas not, see [`Schema::is_same`].
    pub fn document(&self) -> &Value {
        &self.document
    }

    /// Whether both say the same, however their texts are laid out.
    pub fn is_same(&self, other: &Self) -> bool {
        self == other
            || self.canon.says_the_same(&other.canon).unwrap_or_else(|| {
                // Nothing but the files tells what is judged.
                self.file == other.file && self.contents() == other.contents()
            })
    }

    fn contents(&self) -> BTreeMap<&str, &Value> {
        self.files().collect()
    }

    /// The files that it is made of, relative to relay.toml, as they were read: its own and those that it refers to.
    pub fn files(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.judge.iter().flat_map(Judge::files)
    }

    /// Its file, relative to relay.toml; `None` for `any`.
    pub fn file(&self) -> Option<&str> {
        self.file.as_deref()
    }

    /// Judges a payload.
    ///
    /// # Errors
    /// What is wrong with it: never empty, at most [`MAX_VIOLATIONS`].
    pub fn accept(&self, json: Json<'_>) -> Result<Payload, Refused> {
        self.check(&json.tree)?;
        // A copy of just its size: it stands in the log for long, and would keep the buffer of its request, or the room
        // of the white space that it had.
        Ok(Payload(Bytes::copy_from_slice(&json.text)))
    }

    /// Judges a value that is not going to be published, such as an example of relay.toml.
    ///
    /// # Errors
    /// As [`Schema::accept`].
    pub fn check_value(&self, value: &Value) -> Result<(), Refused> {
        self.check(&value.into())
    }

    /// Judges a payload that another schema has accepted; `None` when it is no payload at all.
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

    /// A value that it accepts, as far as one can be guessed.
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

/// A payload was refused.
#[derive(Debug)]
pub struct Refused {
    /// Never empty, at most [`MAX_VIOLATIONS`].
    pub violations: Vec<Violation>,
    /// Whether there were others.
    pub more: bool,
}

/// JSON text that its topic's schema accepted, without insignificant white space, with its own number text and member
/// order. Holds no raw CR or LF.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload(Bytes);

impl Payload {
    /// Takes back what a log holds; it was accepted when it was appended.
    pub fn from_log(text: Bytes) -> Self {
        Self(text)
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Bytes of JSON text.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

/// A payload is never formatted: it may hold anything.
impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}
