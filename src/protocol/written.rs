//! The JSON of messages and notices, shared by every protocol.
//!
//! Writing a message is the hot path: one allocation of the exact size, into which text is copied. Nothing in it needs
//! escaping: a topic's alphabet has no quotes, and a payload is JSON already.

use serde::Serialize;

use crate::message::{Epoch, Position, Record};
use crate::notice::Notice;

const TOPIC: &[u8] = br#"{"type":"message","topic":""#;
const ID: &[u8] = br#"","id":""#;
const TIME: &[u8] = br#"","time":""#;
const DATA: &[u8] = br#"","data":"#;
const END: &[u8] = b"}";
/// Bytes that every message has: the text in between, and the time.
const FIXED: usize = TOPIC.len() + ID.len() + TIME.len() + 24 + DATA.len() + END.len();

/// Bytes that [`put_message`] will write.
pub fn message_len(record: &Record) -> usize {
    FIXED + record.topic.as_str().len() + Position::len(record.seq) + record.payload.size()
}

/// Writes a message as JSON; the payload is copied as it was published.
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

/// Capacity that suffices for nearly every notice, in bytes.
const NOTICE: usize = 256;

/// The text of a notice: a JSON object, except for [`Notice::PongText`], which is the text `pong`.
pub fn notice(notice: &Notice) -> Vec<u8> {
    match notice {
        Notice::Hello { connection, frame, subscriptions, commands, generation } => {
            let limits = Limits { frame: *frame, subscriptions: *subscriptions, commands: *commands };
            let connection = format_args!("{connection}");
            Object::new("hello").with("connection", &connection).with("limits", &limits).with("generation", generation)
        }
        Notice::Ok { id, message } => Object::new("ok").with_some("id", id).with_some("message_id", message),
        Notice::Error { id, refusal } => Object::new("error").with_some("id", id).with("problem", &refusal.to_json()),
        Notice::Synced { id, position } => Object::new("synced").with_some("id", id).with("position", position),
        Notice::Gap { topics, from, to, reason } => {
            let gap = Object::new("gap").with("topic", topics.as_str());
            gap.with("from", from).with("to", to).with("reason", reason.as_str())
        }
        Notice::TopicChanged { topics, generation } => {
            Object::new("topic_changed").with("topic", topics.as_str()).with("generation", generation)
        }
        Notice::Unsubscribed { topics, reason, position } => {
            let unsubscribed = Object::new("unsubscribed").with("topic", topics.as_str());
            unsubscribed.with("reason", reason.as_str()).with("position", position)
        }
        Notice::Goaway { reason, reconnect_after_ms } => {
            Object::new("goaway").with("reason", reason.as_str()).with("reconnect_after_ms", reconnect_after_ms)
        }
        Notice::Pong { id } => Object::new("pong").with_some("id", id),
        Notice::PongText => return b"pong".to_vec(),
    }
    .end()
}

#[derive(Serialize)]
struct Limits {
    frame: usize,
    subscriptions: usize,
    commands: u32,
}

/// A JSON object, written member by member. The names are constants that need no escaping.
struct Object(Vec<u8>);

impl Object {
    fn new(kind: &str) -> Self {
        let mut text = Vec::with_capacity(NOTICE);
        text.push(b'{');
        Self(text).with("type", kind)
    }

    fn with(mut self, name: &str, value: &(impl Serialize + ?Sized)) -> Self {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        serde_json::to_writer(&mut self.0, value).expect("the server's own values are JSON, and memory takes them");
        self
    }

    fn with_some(self, name: &str, value: &Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{message_len, put_message};
    use crate::message::{Epoch, Record};
    use crate::name::TopicName;
    use crate::schema::Payload;
    use crate::time::Time;

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
