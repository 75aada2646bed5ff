//! Splits a JSON object into its members in one pass, each still text, and says what is wrong with them.

use std::fmt;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::problem::Refusal;
use crate::schema::json::{MARK, MARKED, in_our_words};
use crate::spelling::{nearest, quoted};

/// Every member of any command.
const MEMBERS: [&str; 7] = ["type", "id", "topics", "after", "token", "topic", "data"];

/// The members of one object.
#[derive(Default)]
pub(super) struct Fields<'a> {
    text: &'a str,
    values: [Option<&'a RawValue>; MEMBERS.len()],
    /// The first member that appears twice.
    repeated: Option<&'static str>,
    /// The first member that no command has.
    unknown: Option<String>,
}

impl<'a> Fields<'a> {
    /// Splits the text of one object.
    pub(super) fn split(text: &'a str) -> Result<Self, Refusal> {
        if text.starts_with(MARK) {
            return Err(Refusal::MalformedJson { line: 1, column: 1, detail: MARKED.to_owned() });
        }
        let split = serde_json::from_str(text).map_err(|error| match in_our_words(&error.to_string()) {
            _ if error.is_data() => bad(r#"a command is a JSON object, for example `{"type":"ping"}`"#.to_owned()),
            detail => Refusal::MalformedJson { line: error.line(), column: error.column().max(1), detail },
        });
        split.map(|fields| Self { text, ..fields })
    }

    /// The offset at which a member's text begins.
    pub(super) fn place(&self, member: &'a RawValue) -> usize {
        member.get().as_ptr().addr() - self.text.as_ptr().addr()
    }

    /// A member's text.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        MEMBERS.iter().position(|member| *member == name).and_then(|index| self.values[index])
    }

    /// A member that a command of this type requires.
    pub(super) fn need(&self, kind: &str, name: &str) -> Result<&'a RawValue, Refusal> {
        self.get(name).ok_or_else(|| bad(format!("`{kind}` needs `{name}`")))
    }

    /// Whether this is the only member.
    pub(super) fn is_only(&self, name: &str) -> bool {
        self.unknown.is_none() && self.get(name).is_some() && self.values.iter().flatten().count() == 1
    }

    /// Refuses members that appear twice.
    pub(super) fn refuse_repeated(&self) -> Result<(), Refusal> {
        self.repeated.map_or(Ok(()), |name| Err(Refusal::DuplicateKey { pointer: format!("/{name}") }))
    }

    /// Refuses members other than `type` and those of the command.
    pub(super) fn refuse_others(&self, kind: &str, allowed: &[&str]) -> Result<(), Refusal> {
        let present = MEMBERS.iter().zip(&self.values).filter(|(_, value)| value.is_some()).map(|(name, _)| *name);
        let mut others = present.filter(|name| *name != "type" && !allowed.contains(name));
        let Some(name) = self.unknown.as_deref().or_else(|| others.next()) else { return Ok(()) };
        Err(bad(match nearest(name, allowed.iter().copied()) {
            Some(near) => format!("unknown member {} of `{kind}`, did you mean `{near}`?", quoted(name)),
            None => format!("unknown member {} of `{kind}`: it takes {}", quoted(name), list(allowed, "and")),
        }))
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields::default();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match MEMBERS.iter().position(|member| *member == name) {
                        Some(i) if fields.values[i].replace(value).is_some() => {
                            fields.repeated.get_or_insert(MEMBERS[i]);
                        }
                        Some(_) => {}
                        None => {
                            fields.unknown.get_or_insert(name);
                        }
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// Parses a member's text; `what` says in the refusal what it must be.
pub(super) fn read<T: DeserializeOwned>(name: &str, raw: &RawValue, what: impl fmt::Display) -> Result<T, Refusal> {
    serde_json::from_str(raw.get()).map_err(|error| match in_our_words(&error.to_string()) {
        _ if error.is_data() => bad(format!("`{name}` must be {what}")),
        // The first pass does not look inside strings, so this may find a lone surrogate.
        detail => bad(format!("`{name}`: {detail}")),
    })
}

/// A refusal with this sentence.
pub(super) fn bad(sentence: String) -> Refusal {
    Refusal::BadRequest(sentence)
}

/// Names in a sentence: "`a`, `b` and `c`".
pub(super) fn list(names: &[&str], conjunction: &str) -> impl fmt::Display {
    fmt::from_fn(move |f| match names {
        [] => Ok(()),
        [only] => write!(f, "`{only}`"),
        [first @ .., last] => write!(f, "`{}` {conjunction} `{last}`", first.join("`, `")),
    })
}
