//! Envelopes: messages that carry their topic. A body has one, a list, or one on each line.
//!
//! The members of an envelope are slices of the body, without copies. So a payload is forwarded as it was written, and
//! a fault in it can be located in the whole body.

use std::cell::Cell;
use std::fmt;

use bytes::Bytes;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::config::model::Limits;
use crate::http::body::Media;
use crate::http::credential;
use crate::ingest::Publication;
use crate::name::{TopicName, UserId};
use crate::problem::Refusal;
use crate::schema::json::{MARK, MARKED, in_our_words};
use crate::spelling::{nearest, quoted};

const MEMBERS: [&str; 5] = ["topic", "data", "message", "user_id", "key"];
const SHAPE: &str = "an envelope has `topic`, `data` (or `message`), and perhaps `user_id` and `key`";

/// JSON's white space within a line; other white space of Unicode is refused where it appears.
const BLANK: [char; 3] = [' ', '\t', '\r'];

/// The messages of a body.
pub struct Envelopes {
    /// In the order of the body.
    pub publications: Vec<Publication>,
    /// Whether the body is a single envelope rather than a list.
    pub single: bool,
    /// Where the payloads are in the body.
    pub places: Places,
}

/// Where the payloads of a body of envelopes are.
pub struct Places {
    lines: Lines,
    /// The offset of each payload, and the name of its member.
    payloads: Vec<(usize, &'static str)>,
}

/// Reads a body of envelopes.
///
/// # Errors
/// 400 for faults in the syntax, by line and column of the body; in a list, by index, for each item that is not an
/// envelope; 413 for more than `limits.batch`.
pub fn read(body: &Bytes, media: Media, limits: &Limits) -> Result<Envelopes, Refusal> {
    let lines = Lines::of(body);
    let text = std::str::from_utf8(body).map_err(|e| malformed(lines.place(e.valid_up_to()), "not UTF-8"))?;
    if media == Media::Json && !text.trim_start().starts_with('[') {
        let only = envelope(&lines, text)?;
        return Ok(Envelopes::new(lines, vec![only], true));
    }
    let items = items(&lines, media, text, limits.batch)?;
    if items.is_empty() {
        return Err(Refusal::BadRequest("nothing to publish: the list is empty".into()));
    }
    if items.len() > limits.batch {
        return Err(Refusal::TooMany { what: "the list", limit: "batch", most: limits.batch });
    }
    let mut envelopes = Vec::with_capacity(items.len());
    let mut refused = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match envelope(&lines, item) {
            Ok(envelope) => envelopes.push(envelope),
            Err(refusal) => refused.push((index, refusal)),
        }
    }
    if refused.is_empty() { Ok(Envelopes::new(lines, envelopes, false)) } else { Err(Refusal::Batch(refused)) }
}

impl Envelopes {
    /// Each publication comes with the name of the member that holds its payload.
    fn new(lines: Lines, envelopes: Vec<(Publication, &'static str)>, single: bool) -> Self {
        let place = |(publication, member): (Publication, _)| {
            let start = offset(&lines.body, &publication.body);
            (publication, (start, member))
        };
        let (publications, payloads) = envelopes.into_iter().map(place).unzip();
        Self { publications, single, places: Places { lines, payloads } }
    }

    /// Gives a single envelope the key from the request's header.
    ///
    /// # Errors
    /// 400 if it has another key already, or for a list, whose items have keys of their own.
    pub fn take_key(&mut self, key: Box<str>) -> Result<(), Refusal> {
        match self.publications.as_mut_slice() {
            [only] if self.single && only.key.as_ref().is_none_or(|own| *own == key) => only.key = Some(key),
            _ if self.single => {
                let detail = "`Idempotency-Key` and the envelope's `key` are not the same: send one of them";
                return Err(Refusal::BadRequest(detail.into()));
            }
            _ => {
                let detail = "one `Idempotency-Key` cannot cover several messages: put a `key` in each envelope";
                return Err(Refusal::BadRequest(detail.into()));
            }
        }
        Ok(())
    }
}

impl Places {
    /// Counts the lines and columns of a refusal from the beginning of the body rather than of the payload.
    pub fn place(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Batch(items) => {
                Refusal::Batch(items.into_iter().map(|(index, item)| (index, self.place_one(index, item))).collect())
            }
            other => self.place_one(0, other),
        }
    }

    fn place_one(&self, index: usize, refusal: Refusal) -> Refusal {
        match (refusal, self.payloads.get(index)) {
            (refusal @ Refusal::MalformedJson { .. }, Some((start, _))) => refusal.placed(self.lines.place(*start)),
            (Refusal::DuplicateKey { pointer }, Some((_, member))) => {
                Refusal::DuplicateKey { pointer: format!("/{member}{pointer}") }
            }
            (other, _) => other,
        }
    }
}

/// Converts offsets in a body to line and column, both from 1, columns in bytes.
///
/// A list asks in its own order, so each count continues from the one before: even if every item is wrong, the body is
/// scanned once and not once for each item.
struct Lines {
    body: Bytes,
    last: Cell<Counted>,
}

/// How far a body is counted: up to this offset, which is in a line with this number and start.
#[derive(Clone, Copy)]
struct Counted {
    to: usize,
    line: usize,
    start: usize,
}

impl Counted {
    const NOTHING: Self = Self { to: 0, line: 1, start: 0 };
}

impl Lines {
    fn of(body: &Bytes) -> Self {
        Self { body: body.clone(), last: Cell::new(Counted::NOTHING) }
    }

    /// The place of a slice of the body.
    fn place_of(&self, part: &str) -> (usize, usize) {
        self.place(offset(&self.body, part.as_bytes()))
    }

    fn place(&self, at: usize) -> (usize, usize) {
        let last = if self.last.get().to <= at { self.last.get() } else { Counted::NOTHING };
        let between = &self.body[last.to..at];
        let line = last.line + memchr::memchr_iter(b'\n', between).count();
        let start = memchr::memrchr(b'\n', between).map_or(last.start, |newline| last.to + newline + 1);
        self.last.set(Counted { to: at, line, start });
        (line, at - start + 1)
    }
}

fn malformed((line, column): (usize, usize), detail: &str) -> Refusal {
    Refusal::MalformedJson { line, column, detail: detail.into() }
}

/// The offset of a slice of the body.
fn offset(body: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - body.as_ptr().addr()
}

fn refuse(lines: &Lines, part: &str, detail: impl fmt::Display) -> Refusal {
    let (line, column) = lines.place_of(part);
    Refusal::BadRequest(format!("line {line}, column {column}: {detail}"))
}

/// The texts of a list's items, at most one more than `most`.
///
/// Items can be so short that collecting all of them would take eight times the body's memory.
fn items<'t>(lines: &Lines, media: Media, text: &'t str, most: usize) -> Result<Vec<&'t str>, Refusal> {
    if media == Media::Lines {
        let items = text.split('\n').filter(|line| !line.trim_matches(BLANK).is_empty());
        return Ok(items.take(most + 1).collect());
    }
    let mut items = Vec::new();
    let mut input = serde_json::Deserializer::from_str(text);
    match (Items { items: &mut items, most }).deserialize(&mut input).and_then(|()| input.end()) {
        // An error after the first surplus item does not matter.
        Err(error) if items.len() <= most => Err(misread(lines, text, &error)),
        _ => Ok(items),
    }
}

/// Parses a part of the body, as far as its syntax goes.
fn scan<'a, T: Deserialize<'a>>(lines: &Lines, text: &'a str) -> Result<T, Refusal> {
    if text.starts_with(MARK) {
        return Err(malformed(lines.place_of(text), MARKED));
    }
    serde_json::from_str(text).map_err(|error| misread(lines, text, &error))
}

fn misread(lines: &Lines, text: &str, error: &serde_json::Error) -> Refusal {
    // serde_json counts from the beginning of its input; its column 0 is a newline that should not be there.
    let place = (error.line().max(1), error.column().max(1));
    malformed(place, &in_our_words(&error.to_string())).placed(lines.place_of(text))
}

/// Parses one envelope, and names the member that holds its payload; `text` is a part of the body.
fn envelope(lines: &Lines, text: &str) -> Result<(Publication, &'static str), Refusal> {
    let whole = text.trim_matches(['\n', ' ', '\t', '\r']);
    if !whole.starts_with('{') {
        let _: &RawValue = scan(lines, text)?;
        return Err(refuse(lines, whole, format_args!("expected an object: {SHAPE}")));
    }
    let Pairs(members) = scan(lines, whole)?;
    let mut found: [Option<&str>; MEMBERS.len()] = [None; MEMBERS.len()];
    for (name, value) in members {
        let text: String = scan(lines, name.get())?;
        let Some(at) = MEMBERS.iter().position(|member| *member == text) else {
            return Err(refuse(lines, name.get(), unknown(&text)));
        };
        if found[at].replace(value.get()).is_some() {
            return Err(Refusal::DuplicateKey { pointer: format!("/{text}") });
        }
    }
    let [topic, data, message, user, key] = found;
    let (payload, member) = match (data, message) {
        (Some(payload), None) => (payload, "data"),
        (None, Some(payload)) => (payload, "message"),
        (Some(_), Some(message)) => {
            return Err(refuse(lines, message, "`message` is another name for `data`: send one of them"));
        }
        (None, None) => return Err(refuse(lines, whole, format_args!("`data` is missing: {SHAPE}"))),
    };
    let topic = topic.ok_or_else(|| refuse(lines, whole, format_args!("`topic` is missing: {SHAPE}")))?;
    let publication = Publication {
        topic: parse_topic(lines, topic)?,
        user: user.map(|user| parse_user(lines, user)).transpose()?,
        body: lines.body.slice_ref(payload.as_bytes()),
        key: key.map(|key| parse_key(lines, key)).transpose()?,
    };
    Ok((publication, member))
}

fn parse_topic(lines: &Lines, value: &str) -> Result<TopicName, Refusal> {
    let name: String = serde_json::from_str(value)
        .map_err(|_| refuse(lines, value, "`topic` must be a string, the name of a topic"))?;
    TopicName::parse(&name).map_err(|error| refuse(lines, value, format_args!("`topic` is not a topic name: {error}")))
}

/// Refuses `null`, which a publisher sends when its user is missing: it must mean nobody, not everybody.
fn parse_user(lines: &Lines, value: &str) -> Result<UserId, Refusal> {
    if value == "null" {
        return Err(refuse(lines, value, "`user_id` is null: leave it out to reach everybody"));
    }
    if !value.starts_with(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) {
        return Err(refuse(lines, value, "`user_id` must be a string or an integer"));
    }
    serde_json::from_str(value).map_err(|error| {
        let text = error.to_string();
        let detail = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
        refuse(lines, value, format_args!("`user_id` is not a user's id: {detail}"))
    })
}

fn parse_key(lines: &Lines, value: &str) -> Result<Box<str>, Refusal> {
    let key: Box<str> =
        serde_json::from_str(value).map_err(|_| refuse(lines, value, "`key` must be a string, the idempotency key"))?;
    credential::check_key(&key).map_err(|refusal| refuse(lines, value, refusal))?;
    Ok(key)
}

fn unknown(name: &str) -> String {
    let shown = quoted(name);
    match nearest(name, MEMBERS) {
        Some(member) => format!("unknown member {shown}: did you mean `{member}`?"),
        None => format!("unknown member {shown}: {SHAPE}"),
    }
}

/// Collects the items of an array, and fails at the first beyond `most`.
struct Items<'i, 't> {
    items: &'i mut Vec<&'t str>,
    most: usize,
}

impl<'t> DeserializeSeed<'t> for Items<'_, 't> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'t> Visitor<'t> for Items<'_, 't> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(item) = array.next_element::<&RawValue>()? {
            self.items.push(item.get());
            if self.items.len() > self.most {
                return Err(A::Error::custom("too many"));
            }
        }
        Ok(())
    }
}

/// The members of an object in their order, repeated ones included.
///
/// At most one more than there can be: one of them is then refused.
struct Pairs<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Pairs<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Pairs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(MEMBERS.len());
                while let Some(member) = map.next_entry()? {
                    if members.len() <= MEMBERS.len() {
                        members.push(member);
                    }
                }
                Ok(Pairs(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
#[path = "envelope_test.rs"]
mod tests;
