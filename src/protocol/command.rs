//! Reads commands strictly: one JSON object, each member at most once, and only those of the command's type.
//!
//! One table lists all types; the sentences of refusals are made from it too. A payload stays text, because its topic's
//! schema has to judge it.

use std::collections::HashMap;
use std::fmt;

use secrecy::SecretString;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::command::{BadCommand, Command, CommandKind};
use crate::message::BadPosition;
use crate::name::{NameError, Pattern, TopicName, distinct};
use crate::notice::{After, CommandId};
use crate::problem::Refusal;
use crate::protocol::members::{Fields, bad, list, read};
use crate::spelling::{nearest, quoted};

/// The longest id of a command, in bytes of its text.
const MAX_ID: usize = 64;

struct Type {
    name: &'static str,
    /// Members besides `type`.
    members: &'static [&'static str],
    read: Reader,
}

/// Reads the members of a command of one type.
type Reader = fn(&Fields<'_>) -> Result<CommandKind, Refusal>;

const TYPES: [Type; 5] = [
    Type { name: "auth", members: &["id", "token"], read: auth },
    Type { name: "subscribe", members: &["id", "topics", "after"], read: subscribe },
    Type { name: "unsubscribe", members: &["id", "topics"], read: unsubscribe },
    Type { name: "publish", members: &["id", "topic", "data"], read: publish },
    Type { name: "ping", members: &["id"], read: |_| Ok(CommandKind::Ping) },
];

const LIST: &str = "a list of topics or patterns";

/// Reads one text message.
///
/// # Errors
/// [`BadCommand`]: what is wrong, and what to write instead.
pub fn parse(text: &str) -> Result<Command, BadCommand> {
    if text == "ping" {
        return Ok(Command { id: None, kind: CommandKind::PingText });
    }
    let malformed = |id, refusal: Refusal| BadCommand { id, refusal: refusal.into(), malformed: true };
    let members = Fields::split(text).map_err(|refusal| malformed(None, refusal))?;
    let id = id(&members).map_err(|refusal| malformed(None, refusal))?;
    let read = match reader(&members) {
        Ok(read) => read,
        Err(refusal) => return Err(malformed(id, refusal)),
    };
    match read(&members) {
        Ok(kind) => Ok(Command { id, kind }),
        Err(refusal) => Err(BadCommand { id, refusal: refusal.into(), malformed: false }),
    }
}

fn id(members: &Fields<'_>) -> Result<Option<CommandId>, Refusal> {
    let Some(raw) = members.get("id") else { return Ok(None) };
    // Objects and lists are refused before a tree is built of them.
    let flat = !raw.get().starts_with(['{', '[']);
    match flat.then(|| serde_json::from_str(raw.get())) {
        Some(Ok(CommandId::String(id))) if id.len() <= MAX_ID => Ok(Some(id.into())),
        Some(Ok(CommandId::Number(id))) if id.is_i64() || id.is_u64() => Ok(Some(id.into())),
        _ => Err(bad(format!("`id` must be an integer or a string of at most {MAX_ID} bytes"))),
    }
}

/// The reader for a command with these members.
fn reader(members: &Fields<'_>) -> Result<Reader, Refusal> {
    members.refuse_repeated()?;
    let names = TYPES.map(|kind| kind.name);
    let Some(raw) = members.get("type") else {
        return match members.get("topics") {
            Some(_) if members.is_only("topics") => Ok(replace),
            Some(_) => {
                Err(bad(r#"without `type`, `topics` must be the only member: add `"type":"subscribe"`"#.to_owned()))
            }
            None => Err(bad(format!("`type` is missing: use {}", list(&names, "or")))),
        };
    };
    let name: String = read("type", raw, list(&names, "or"))?;
    let Some(kind) = TYPES.iter().find(|kind| kind.name == name) else {
        return Err(bad(match nearest(&name, names) {
            Some(near) => format!("unknown type {}, did you mean `{near}`?", quoted(&name)),
            None => format!("unknown type {}: use {}", quoted(&name), list(&names, "or")),
        }));
    };
    members.refuse_others(kind.name, kind.members)?;
    Ok(kind.read)
}

/// The short form `{"topics":[…]}`: an empty list ends all subscriptions.
fn replace(members: &Fields<'_>) -> Result<CommandKind, Refusal> {
    patterns(read("topics", members.need("replace", "topics")?, LIST)?).map(CommandKind::Replace)
}

fn auth(members: &Fields<'_>) -> Result<CommandKind, Refusal> {
    let token: String = read("token", members.need("auth", "token")?, "a string")?;
    Ok(CommandKind::Auth(SecretString::from(token)))
}

fn subscribe(members: &Fields<'_>) -> Result<CommandKind, Refusal> {
    let topics = members.need("subscribe", "topics")?;
    let topics = read("topics", topics, "a list of topics or patterns, or an object from each to its position")?;
    let topics = match (topics, members.get("after")) {
        (Topics::List(list), after) => {
            let after: Option<String> = match after {
                Some(raw) => read("after", raw, "a position, `earliest`, or null")?,
                None => None,
            };
            let after = place("after", after.as_deref())?;
            patterns(list)?.into_iter().map(|topic| (topic, after)).collect()
        }
        (Topics::Each(each), None) => positions(&each)?,
        (Topics::Each(_), Some(_)) => {
            return Err(bad("`after` is for a list of topics: in an object, give each topic its position".to_owned()));
        }
    };
    some(topics).map(CommandKind::Subscribe)
}

fn unsubscribe(members: &Fields<'_>) -> Result<CommandKind, Refusal> {
    let topics = patterns(read("topics", members.need("unsubscribe", "topics")?, LIST)?)?;
    some(topics).map(CommandKind::Unsubscribe)
}

fn publish(members: &Fields<'_>) -> Result<CommandKind, Refusal> {
    let topic: String = read("topic", members.need("publish", "topic")?, "the name of a topic")?;
    let topic = TopicName::parse(&topic).map_err(|error| bad_name("topic", &topic, &error))?;
    let body = members.need("publish", "data")?;
    Ok(CommandKind::Publish { topic, body: body.get().into(), at: members.place(body), pointer: "/data" })
}

fn patterns(texts: Vec<String>) -> Result<Vec<Pattern>, Refusal> {
    texts.iter().map(|text| pattern(text)).collect::<Result<Vec<_>, _>>().map(distinct)
}

fn positions(each: &[(String, Option<String>)]) -> Result<Vec<(Pattern, After)>, Refusal> {
    let mut seen = HashMap::new();
    let mut topics = Vec::with_capacity(each.len());
    for (name, after) in each {
        let (topic, after) = (pattern(name)?, place("topics", after.as_deref())?);
        match seen.insert(topic.clone(), name) {
            None => {}
            Some(before) if before == name => {
                return Err(Refusal::DuplicateKey { pointer: format!("/topics/{name}") });
            }
            Some(before) => {
                let (before, name) = (quoted(before), quoted(name));
                return Err(bad(format!("{before} and {name} in `topics` match the same topics: keep one of them")));
            }
        }
        topics.push((topic, after));
    }
    Ok(topics)
}

fn pattern(text: &str) -> Result<Pattern, Refusal> {
    Pattern::parse(text).map_err(|error| bad_name("topics", text, &error))
}

fn place(member: &str, text: Option<&str>) -> Result<After, Refusal> {
    let Some(text) = text else { return Ok(After::Live) };
    text.parse().map_err(|error: BadPosition| bad(format!("{} in `{member}`: {error}", quoted(text))))
}

fn some<T>(topics: Vec<T>) -> Result<Vec<T>, Refusal> {
    if topics.is_empty() { Err(bad("`topics` is empty: name at least one".to_owned())) } else { Ok(topics) }
}

fn bad_name(member: &str, text: &str, error: &NameError) -> Refusal {
    bad(format!("{} in `{member}`: {error}", quoted(text)))
}

/// `topics` of a subscribe command.
enum Topics {
    /// All from one place.
    List(Vec<String>),
    /// Each from a place of its own.
    Each(Vec<(String, Option<String>)>),
}

impl<'de> Deserialize<'de> for Topics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ListOrObject;
        impl<'de> Visitor<'de> for ListOrObject {
            type Value = Topics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list or an object")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Topics, A::Error> {
                let mut list = Vec::new();
                while let Some(topic) = seq.next_element()? {
                    list.push(topic);
                }
                Ok(Topics::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Topics, A::Error> {
                let mut each = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    each.push(entry);
                }
                Ok(Topics::Each(each))
            }
        }
        deserializer.deserialize_any(ListOrObject)
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
