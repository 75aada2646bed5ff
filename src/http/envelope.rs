//! Envelopes: messages that carry their topic with them, one, a list, or one a line.
//!
//! Nothing is copied: the members of an envelope are slices of the body. So a payload is forwarded as it was written,
//! and what is wrong with it can be placed in the whole body.

use std::fmt;

use bytes::Bytes;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::config::model::Limits;
use crate::http::body::Media;
use crate::http::credential;
use crate::ingest::Publication;
use crate::name::{TopicName, UserId};
use crate::problem::Refusal;
use crate::schema::json::{MARK, MARKED, in_our_words};
use crate::spelling::nearest;

const MEMBERS: [&str; 5] = ["topic", "data", "message", "user_id", "key"];
const SHAPE: &str = "an envelope has `topic`, `data` (or `message`), and perhaps `user_id` and `key`";

/// White space of JSON within a line: what else Unicode has is refused where it stands.
const BLANK: [char; 3] = [' ', '\t', '\r'];

/// What a body asks to publish.
pub struct Envelopes {
    /// In the order of the body.
    pub publications: Vec<Publication>,
    /// One envelope rather than a list of them.
    pub single: bool,
    /// Where the payloads stand in the body.
    pub places: Places,
}

/// Where the payloads of a body of envelopes stand in it.
pub struct Places {
    body: Bytes,
    starts: Vec<usize>,
}

/// Reads a body of envelopes.
///
/// # Errors
/// 400 for the syntax, by line and column of the body; in a list, by index, for each envelope that is not one; 413 for
/// more than `limits.batch`.
pub fn read(body: &Bytes, media: Media, limits: &Limits) -> Result<Envelopes, Refusal> {
    let text = std::str::from_utf8(body).map_err(|e| malformed(Place::of(&body[..e.valid_up_to()]), "not UTF-8"))?;
    let items: Vec<&str> = match media {
        Media::Lines => text.split('\n').filter(|line| !line.trim_matches(BLANK).is_empty()).collect(),
        Media::Json if text.trim_start().starts_with('[') => {
            scan::<Vec<&RawValue>>(body, text)?.into_iter().map(RawValue::get).collect()
        }
        Media::Json => {
            let publication = envelope(body, text)?;
            return Ok(Envelopes::new(body, vec![publication], true));
        }
    };
    if items.is_empty() {
        return Err(Refusal::BadRequest("nothing to publish: the list is empty".into()));
    }
    if items.len() > limits.batch {
        return Err(Refusal::TooMany { what: "the list", limit: "batch", most: limits.batch });
    }
    let mut publications = Vec::with_capacity(items.len());
    let mut refused = Vec::new();
    for (index, item) in items.into_iter().enumerate() {
        match envelope(body, item) {
            Ok(publication) => publications.push(publication),
            Err(refusal) => refused.push((index, refusal)),
        }
    }
    if refused.is_empty() { Ok(Envelopes::new(body, publications, false)) } else { Err(Refusal::Batch(refused)) }
}

impl Envelopes {
    fn new(body: &Bytes, publications: Vec<Publication>, single: bool) -> Self {
        let starts = publications.iter().map(|publication| offset(body, &publication.body)).collect();
        Self { publications, single, places: Places { body: body.clone(), starts } }
    }

    /// Gives the one envelope the key of the request's header.
    ///
    /// # Errors
    /// 400 when it has another key already, or is a list, whose items have keys of their own.
    pub fn take_key(&mut self, key: Box<str>) -> Result<(), Refusal> {
        match self.publications.as_mut_slice() {
            [only] if self.single && only.key.as_ref().is_none_or(|own| *own == key) => only.key = Some(key),
            _ if self.single => {
                let detail = "`Idempotency-Key` and the envelope's `key` are not the same: send one of them";
                return Err(Refusal::BadRequest(detail.into()));
            }
            _ => {
                let detail = "one `Idempotency-Key` cannot be that of many messages: send a `key` in each envelope";
                return Err(Refusal::BadRequest(detail.into()));
            }
        }
        Ok(())
    }
}

impl Places {
    /// The refusal with its lines and columns counted from the beginning of the body rather than of a payload.
    pub fn place(&self, refusal: Refusal) -> Refusal {
        match refusal {
            Refusal::Batch(items) => {
                Refusal::Batch(items.into_iter().map(|(index, item)| (index, self.place_one(index, item))).collect())
            }
            other => self.place_one(0, other),
        }
    }

    fn place_one(&self, index: usize, refusal: Refusal) -> Refusal {
        match (refusal, self.starts.get(index)) {
            (Refusal::MalformedJson { line, column, detail }, Some(start)) => {
                let start = Place::of(&self.body[..*start]);
                let column = if line == 1 { start.column + column - 1 } else { column };
                Refusal::MalformedJson { line: start.line + line - 1, column, detail }
            }
            (Refusal::DuplicateKey { pointer }, Some(start)) => {
                Refusal::DuplicateKey { pointer: format!("/{}{pointer}", member(&self.body[..*start])) }
            }
            (other, _) => other,
        }
    }
}

/// The name under which the payload stands behind this.
fn member(before: &[u8]) -> &'static str {
    let name = before.trim_ascii_end().strip_suffix(b":").unwrap_or(before).trim_ascii_end();
    if name.ends_with(b"\"message\"") { "message" } else { "data" }
}

/// A place in a text; both count from 1, columns in bytes.
struct Place {
    line: usize,
    column: usize,
}

impl Place {
    /// The place behind a text.
    fn of(before: &[u8]) -> Self {
        let newlines = before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Self { line: newlines + 1, column: before.len() - line_start + 1 }
    }
}

fn malformed(place: Place, detail: &str) -> Refusal {
    Refusal::MalformedJson { line: place.line, column: place.column, detail: detail.into() }
}

/// Where a slice of the body begins.
fn offset(body: &[u8], part: &[u8]) -> usize {
    part.as_ptr().addr() - body.as_ptr().addr()
}

fn refuse(body: &Bytes, part: &str, detail: impl fmt::Display) -> Refusal {
    let Place { line, column } = Place::of(&body[..offset(body, part.as_bytes())]);
    Refusal::BadRequest(format!("line {line}, column {column}: {detail}"))
}

/// Reads a part of the body as far as its syntax goes.
fn scan<'a, T: Deserialize<'a>>(body: &Bytes, text: &'a str) -> Result<T, Refusal> {
    if text.starts_with(MARK) {
        return Err(malformed(Place::of(&body[..offset(body, text.as_bytes())]), MARKED));
    }
    serde_json::from_str(text).map_err(|error| {
        // serde_json counts from the beginning of what it was given; its column 0 is a newline that should not be.
        let start = Place::of(&body[..offset(body, text.as_bytes())]);
        let (line, column) = (error.line().max(1), error.column().max(1));
        let column = if line == 1 { start.column + column - 1 } else { column };
        malformed(Place { line: start.line + line - 1, column }, &in_our_words(&error.to_string()))
    })
}

/// Reads one envelope. `text` is a part of the body.
fn envelope(body: &Bytes, text: &str) -> Result<Publication, Refusal> {
    let whole: &RawValue = scan(body, text)?;
    if !whole.get().starts_with('{') {
        return Err(refuse(body, whole.get(), format_args!("expected an object: {SHAPE}")));
    }
    let Members(members) = scan(body, whole.get())?;
    let mut found: [Option<&str>; MEMBERS.len()] = [None; MEMBERS.len()];
    for (name, value) in members {
        let text: String = scan(body, name.get())?;
        let Some(at) = MEMBERS.iter().position(|member| *member == text) else {
            return Err(refuse(body, name.get(), unknown(&text)));
        };
        if found[at].replace(value.get()).is_some() {
            return Err(Refusal::DuplicateKey { pointer: format!("/{text}") });
        }
    }
    let [topic, data, message, user, key] = found;
    let payload = match (data, message) {
        (Some(payload), None) | (None, Some(payload)) => payload,
        (Some(_), Some(message)) => {
            return Err(refuse(body, message, "`message` is another name of `data`: send one of them"));
        }
        (None, None) => return Err(refuse(body, whole.get(), format_args!("`data` is missing: {SHAPE}"))),
    };
    let topic = topic.ok_or_else(|| refuse(body, whole.get(), format_args!("`topic` is missing: {SHAPE}")))?;
    Ok(Publication {
        topic: parse_topic(body, topic)?,
        user: user.map(|user| parse_user(body, user)).transpose()?.flatten(),
        body: body.slice_ref(payload.as_bytes()),
        key: key.map(|key| parse_key(body, key)).transpose()?,
    })
}

fn parse_topic(body: &Bytes, value: &str) -> Result<TopicName, Refusal> {
    let name: String = serde_json::from_str(value)
        .map_err(|_| refuse(body, value, "`topic` must be a string, the name of a topic"))?;
    TopicName::parse(&name).map_err(|error| refuse(body, value, format_args!("`topic` is not a topic's name: {error}")))
}

/// `null` is everybody.
fn parse_user(body: &Bytes, value: &str) -> Result<Option<UserId>, Refusal> {
    if !value.starts_with(['"', '-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'n']) {
        return Err(refuse(body, value, "`user_id` must be a string or an integer"));
    }
    serde_json::from_str(value).map_err(|error| {
        let text = error.to_string();
        let detail = text.rfind(" at line ").map_or(text.as_str(), |end| &text[..end]);
        refuse(body, value, format_args!("`user_id` is not a user's id: {detail}"))
    })
}

fn parse_key(body: &Bytes, value: &str) -> Result<Box<str>, Refusal> {
    let key: Box<str> =
        serde_json::from_str(value).map_err(|_| refuse(body, value, "`key` must be a string, the idempotency key"))?;
    credential::check_key(&key).map_err(|refusal| refuse(body, value, refusal))?;
    Ok(key)
}

fn unknown(name: &str) -> String {
    let shown: String = name.chars().take(40).flat_map(char::escape_debug).collect();
    match nearest(name, MEMBERS) {
        Some(member) => format!("unknown member `{shown}`: did you mean `{member}`?"),
        None => format!("unknown member `{shown}`: {SHAPE}"),
    }
}

/// The members of an object as they stand in the text, in order and twice if they are.
struct Members<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(MEMBERS.len());
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
#[path = "envelope_test.rs"]
mod tests;
