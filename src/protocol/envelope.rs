//! The JSON of messages and notices, written here once for every protocol that carries it.
//!
//! A message is the hot path: one exact allocation, into which text is copied. Nothing in it needs escaping: a topic's
//! alphabet has no quotes, and a payload is JSON already.

use serde_json::{Map, Value, json};

use crate::message::{Epoch, Position, Record};
use crate::notice::{CommandId, Notice};

const TOPIC: &[u8] = br#"{"type":"message","topic":""#;
const ID: &[u8] = br#"","id":""#;
const TIME: &[u8] = br#"","time":""#;
const DATA: &[u8] = br#"","data":"#;
const END: &[u8] = b"}";
/// What is the same length in every message: the text between, and the time.
const FIXED: usize = TOPIC.len() + ID.len() + TIME.len() + 24 + DATA.len() + END.len();

/// Bytes that [`put_message`] will write.
pub fn message_len(record: &Record) -> usize {
    FIXED + record.topic.as_str().len() + Position::len(record.seq) + record.payload.len()
}

/// Writes a message as JSON; its payload stands in it as it was published.
pub fn put_message(out: &mut Vec<u8>, epoch: Epoch, record: &Record) {
    out.extend_from_slice(TOPIC);
    out.extend_from_slice(record.topic.as_str().as_bytes());
    out.extend_from_slice(ID);
    Position { epoch, seq: record.seq }.put(out);
    out.extend_from_slice(TIME);
    out.extend_from_slice(&record.time.rfc3339());
    out.extend_from_slice(DATA);
    out.extend_from_slice(record.payload.as_bytes());
    out.extend_from_slice(END);
}

/// The text of a notice: a JSON object, but for the answer to the text `ping`, which is the text `pong`.
pub fn notice(notice: &Notice) -> String {
    match notice {
        Notice::Hello { connection, frame, subscriptions, commands, generation } => {
            let limits = json!({"frame": frame, "subscriptions": subscriptions, "commands": commands});
            let connection = connection.to_string().into();
            object("hello", None, [("connection", connection), ("limits", limits), ("generation", json!(generation))])
        }
        Notice::Ok { id, message: None } => object("ok", id.as_ref(), []),
        Notice::Ok { id, message: Some(message) } => object("ok", id.as_ref(), [("message_id", text(message))]),
        Notice::Error { id, refusal } => object("error", id.as_ref(), [("problem", refusal.to_json())]),
        Notice::Synced { id, position } => object("synced", id.as_ref(), [("position", text(position))]),
        Notice::Gap { topics, from, to, reason } => {
            let (from, to, reason) = (text(from), text(to), reason.as_str().into());
            object("gap", None, [("topic", topics.as_str().into()), ("from", from), ("to", to), ("reason", reason)])
        }
        Notice::TopicChanged { topics, generation } => {
            object("topic_changed", None, [("topic", topics.as_str().into()), ("generation", json!(generation))])
        }
        Notice::Unsubscribed { topics, reason, position } => {
            let (reason, position) = (reason.as_str().into(), text(position));
            object(
                "unsubscribed",
                None,
                [("topic", topics.as_str().into()), ("reason", reason), ("position", position)],
            )
        }
        Notice::Goaway { reason, reconnect_after_ms } => {
            let reason = reason.as_str().into();
            object("goaway", None, [("reason", reason), ("reconnect_after_ms", json!(reconnect_after_ms))])
        }
        Notice::Pong { id } => object("pong", id.as_ref(), []),
        Notice::PongText => "pong".to_owned(),
    }
}

fn object<const N: usize>(kind: &str, id: Option<&CommandId>, members: [(&str, Value); N]) -> String {
    let mut object = Map::new();
    object.insert("type".to_owned(), kind.into());
    object.extend(id.map(|id| ("id".to_owned(), id.clone())));
    object.extend(members.map(|(name, value)| (name.to_owned(), value)));
    Value::Object(object).to_string()
}

fn text(position: &Position) -> Value {
    position.to_string().into()
}

#[cfg(test)]
mod tests {
    use super::{message_len, put_message};
    use crate::message::{Epoch, Record, Time};
    use crate::name::TopicName;
    use crate::schema::Payload;

    #[test]
    fn a_message_as_the_design_shows_it() {
        let record = Record {
            seq: 42,
            time: Time(1_795_000_000_007),
            topic: TopicName::parse("cats").expect("a topic"),
            user: None,
            payload: Payload::from_log(r#"{"name":"Täbby","n":1.0}"#.into()),
        };
        let mut out = Vec::with_capacity(message_len(&record));
        let capacity = out.capacity();
        put_message(&mut out, Epoch(0x9f3c_21aa), &record);
        assert_eq!(
            str::from_utf8(&out).expect("it is UTF-8"),
            r#"{"type":"message","topic":"cats","id":"9f3c21aa-42","time":"2026-11-18T11:06:40.007Z","data":{"name":"Täbby","n":1.0}}"#
        );
        assert_eq!((out.len(), out.capacity()), (message_len(&record), capacity));
    }
}
