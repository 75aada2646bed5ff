//! Names: topics, patterns over topics, and users.
//!
//! A name can only be made by the checks in this file, so code that holds one need not check it again. They know
//! nothing of configuration, grants or connections.

use std::borrow::{Borrow, Cow};
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use serde::{Deserialize, Deserializer, de};

/// The longest topic name or pattern, in bytes.
pub const MAX_NAME: usize = 255;
/// The longest user id, in bytes.
pub const MAX_USER: usize = 255;

/// The name of one concrete topic: segments of `[A-Za-z0-9_-]+` joined by dots, at most [`MAX_NAME`] bytes.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TopicName(Arc<str>);

impl TopicName {
    /// Checks a text and makes a name of it.
    ///
    /// # Errors
    /// [`NameError`] names the first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        segments(text).try_for_each(check_segment)?;
        Ok(Self(text.into()))
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

/// A pattern over topic names: `*` (or `{name}`, in the name of a family) stands for one segment, a last `**` for one
/// or more. A pattern without either is the exact name of one topic, and shares its text.
#[derive(Clone)]
pub struct Pattern(Arc<str>);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Segment<'a> {
    Literal(&'a str),
    One,
    Rest,
}

impl Pattern {
    /// Checks a text and makes a pattern of it.
    ///
    /// # Errors
    /// [`NameError`] names the first thing that is wrong with it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        check_length(text)?;
        let mut parts = segments(text).peekable();
        while let Some(part) = parts.next() {
            match part {
                "*" => {}
                "**" if parts.peek().is_none() => {}
                "**" => return Err(NameError::RestNotLast),
                _ if part.starts_with('{') && part.ends_with('}') && part.len() > 2 => {
                    check_segment(&part[1..part.len() - 1])?;
                }
                _ => check_segment(part)?,
            }
        }
        Ok(Self(text.into()))
    }

    /// The pattern that matches every topic.
    pub fn everything() -> Self {
        Self("**".into())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The one spelling that equal patterns share: `*` for each `{name}`.
    pub fn canonical(&self) -> Cow<'_, str> {
        if !self.0.contains('{') {
            return Cow::Borrowed(&self.0);
        }
        let parts: Vec<&str> = segments(&self.0).map(|part| if part.starts_with('{') { "*" } else { part }).collect();
        Cow::Owned(parts.join("."))
    }

    /// The one topic that this pattern names, if it has no wildcard.
    pub fn exact(&self) -> Option<TopicName> {
        self.is_exact().then(|| TopicName(self.0.clone()))
    }

    /// Whether the pattern names exactly one topic.
    pub fn is_exact(&self) -> bool {
        !self.0.bytes().any(|byte| matches!(byte, b'*' | b'{'))
    }

    fn segments(&self) -> impl Iterator<Item = Segment<'_>> {
        segments(&self.0).map(|part| match part.as_bytes() {
            [b'*'] | [b'{', ..] => Segment::One,
            [b'*', ..] => Segment::Rest,
            _ => Segment::Literal(part),
        })
    }

    /// Its segments; a final `**` repeats for ever.
    fn endless(&self) -> impl Iterator<Item = Segment<'_>> {
        let rest = self.segments().last().filter(|last| matches!(last, Segment::Rest));
        self.segments().chain(std::iter::repeat_with(move || rest).map_while(|rest| rest))
    }

    /// Whether the pattern matches the topic.
    pub fn matches(&self, topic: &TopicName) -> bool {
        let mut parts = segments(topic.as_str());
        for segment in self.segments() {
            match (segment, parts.next()) {
                (Segment::Rest, Some(_)) => return true,
                (Segment::One, Some(_)) => {}
                (Segment::Literal(l), Some(part)) if l == part => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }

    /// Whether every topic that `other` matches is matched by this pattern.
    pub fn contains(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.segments(), other.segments());
        loop {
            match (mine.next(), theirs.next()) {
                (Some(Segment::Rest), Some(_)) | (None, None) => return true,
                (Some(Segment::One), Some(Segment::One | Segment::Literal(_))) => {}
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a == b => {}
                _ => return false,
            }
        }
    }

    /// Whether some topic is matched by both.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (self.segments(), other.segments());
        loop {
            match (mine.next(), theirs.next()) {
                (Some(Segment::Rest), Some(_)) | (Some(_), Some(Segment::Rest)) | (None, None) => return true,
                (Some(Segment::Literal(a)), Some(Segment::Literal(b))) if a != b => return false,
                (Some(_), Some(_)) => {}
                _ => return false,
            }
        }
    }

    /// The topic that both patterns match, if there is exactly one.
    pub fn only_common(&self, other: &Self) -> Option<TopicName> {
        let places = self.segments().count().max(other.segments().count());
        let (mut mine, mut theirs) = (self.endless(), other.endless());
        let mut texts = Vec::with_capacity(places);
        for _ in 0..places {
            match (mine.next()?, theirs.next()?) {
                (Segment::Literal(text), _) | (_, Segment::Literal(text)) => texts.push(text),
                _ => return None,
            }
        }
        TopicName::parse(&texts.join(".")).ok().filter(|topic| self.matches(topic) && other.matches(topic))
    }
}

/// The patterns in their order, without repetitions: naming a topic twice asks for no more of it.
pub fn distinct(patterns: impl IntoIterator<Item = Pattern>) -> Vec<Pattern> {
    let mut seen = HashSet::new();
    patterns.into_iter().filter(|pattern| seen.insert(pattern.clone())).collect()
}

impl From<&TopicName> for Pattern {
    fn from(topic: &TopicName) -> Self {
        Self(topic.0.clone())
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        let may_differ_in_text = || self.0.contains('{') || other.0.contains('{');
        self.0 == other.0 || (may_differ_in_text() && self.canonical() == other.canonical())
    }
}

impl Eq for Pattern {}

impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical().hash(state);
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A user that messages can be addressed to: 1 to [`MAX_USER`] bytes without control characters.
///
/// Written as a string or a 64-bit integer; compared as text.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId(Arc<str>);

impl UserId {
    /// Checks a text and makes a user id of it.
    ///
    /// # Errors
    /// [`NameError`] when it is empty, too long or has control characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        match text {
            "" => Err(NameError::NoUser),
            _ if text.len() > MAX_USER => Err(NameError::TooLong(text.len())),
            _ => match text.chars().find(|c| c.is_control()) {
                Some(c) => Err(NameError::BadCharacter(c)),
                None => Ok(Self(text.into())),
            },
        }
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = UserId;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an integer")
            }

            fn visit_str<E: de::Error>(self, v: &str) -> Result<UserId, E> {
                UserId::parse(v).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, v: u64) -> Result<UserId, E> {
                Ok(UserId(v.to_string().into()))
            }

            fn visit_i64<E: de::Error>(self, v: i64) -> Result<UserId, E> {
                Ok(UserId(v.to_string().into()))
            }

            /// An integer that does not fit into 64 bits arrives here too, without its last digits.
            fn visit_f64<E: de::Error>(self, _: f64) -> Result<UserId, E> {
                let sentence = "only 64-bit integers may be written as numbers: send any other id as a string";
                Err(E::custom(sentence))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// What is wrong with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NameError {
    /// The name, or a segment between two dots, is empty.
    Empty,
    /// The user id is empty.
    NoUser,
    /// Longer than the limit; carries its length in bytes.
    TooLong(usize),
    /// A character that names may not have.
    BadCharacter(char),
    /// `**` is not the last segment.
    RestNotLast,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a name or a segment of it is empty"),
            Self::NoUser => f.write_str("it is empty"),
            Self::TooLong(n) => write!(f, "{n} bytes long, at most {MAX_NAME} are allowed"),
            // As written, if that can be shown.
            Self::BadCharacter(c) if c.is_control() || c.is_ascii() => {
                write!(f, "`{}` is not allowed in a name", c.escape_default())
            }
            Self::BadCharacter(c) => write!(f, "`{}` is not allowed in a name", c.escape_debug()),
            Self::RestNotLast => f.write_str("`**` is only allowed as the last segment"),
        }
    }
}

impl std::error::Error for NameError {}

/// The segments of a topic name or a pattern.
pub fn segments(name: &str) -> impl Iterator<Item = &str> {
    let mut left = Some(name);
    std::iter::from_fn(move || {
        let (first, more) = split_first(left?);
        left = more;
        Some(first)
    })
}

/// The first segment, and the rest if there is more.
///
/// Byte by byte: every publish splits names, and the standard library's search is made for longer texts.
pub fn split_first(name: &str) -> (&str, Option<&str>) {
    match name.bytes().position(|byte| byte == b'.') {
        Some(dot) => (&name[..dot], Some(&name[dot + 1..])),
        None => (name, None),
    }
}

fn check_length(text: &str) -> Result<(), NameError> {
    if text.len() > MAX_NAME { Err(NameError::TooLong(text.len())) } else { Ok(()) }
}

fn check_segment(segment: &str) -> Result<(), NameError> {
    if segment.is_empty() {
        return Err(NameError::Empty);
    }
    let is_bad = |c: &char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
    segment.chars().find(is_bad).map_or(Ok(()), |c| Err(NameError::BadCharacter(c)))
}

#[cfg(test)]
#[path = "name_test.rs"]
mod tests;
