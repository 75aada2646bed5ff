//! Reads what a subscriber receives, as far as the accounts need it, without parsing payloads.

use memchr::memmem;
use serde_json::Value;

use crate::message::{Position, Seq};

const MESSAGE: &[u8] = br#"{"type":"message","topic":""#;
const ID: &[u8] = br#"","id":""#;

/// One text message of `relay.v1`, or the JSON of one server-sent event.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// A message.
    Message(Seq),
    /// The subscription is in effect.
    Subscribed,
    /// Messages up to here may have been missed.
    Gap(Seq),
    /// Nothing more will come: the code and the reason.
    End(u16, String),
    /// Something that does not matter to the accounts.
    Other,
}

impl Heard {
    /// Reads a text. Messages are the hot path: since a topic has no quotes, a search finds the id after it.
    pub(super) fn read(text: &[u8]) -> Self {
        let Some(rest) = text.strip_prefix(MESSAGE) else { return notice(text) };
        let id = memmem::find(rest, ID).map(|at| &rest[at + ID.len()..]);
        let id = id.and_then(|id| Some(&id[..memchr::memchr(b'"', id)?]));
        id.and_then(|id| seq(str::from_utf8(id).ok()?)).map_or(Self::Other, Self::Message)
    }
}

fn notice(text: &[u8]) -> Heard {
    let notice: Value = serde_json::from_slice(text).unwrap_or_default();
    let text = |member: &str| notice[member].as_str().unwrap_or_default().to_owned();
    match notice["type"].as_str() {
        Some("synced") => Heard::Subscribed,
        Some("gap") => seq(&text("to")).map_or(Heard::Other, Heard::Gap),
        Some("unsubscribed") => Heard::End(0, format!("unsubscribed: {}", text("reason"))),
        Some("close") => {
            Heard::End(notice["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0), text("reason"))
        }
        Some("error") => {
            let problem = &notice["problem"];
            let detail = problem["detail"].as_str().or(problem["title"].as_str()).unwrap_or_default();
            Heard::End(0, detail.to_owned())
        }
        _ => Heard::Other,
    }
}

fn seq(position: &str) -> Option<Seq> {
    position.parse::<Position>().ok().map(|position| position.seq)
}

/// The seq in the receipt of a publish.
pub(super) fn receipt(answer: &[u8]) -> Option<Seq> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    seq(answer["id"].as_str()?)
}

#[cfg(test)]
mod tests {
    use super::{Heard, receipt};
    use crate::message::{Epoch, Position, Record};
    use crate::name::TopicName;
    use crate::protocol::written::put_message;
    use crate::schema::Payload;
    use crate::time::Time;

    #[test]
    fn what_the_protocol_writes_is_read() {
        for payload in [r#"{"n":1}"#, r#"{"type":"message","topic":"x","id":"9f3c21aa-7"}"#, r#"","id":""#] {
            let record = Record {
                seq: 42,
                time: Time(0),
                topic: TopicName::parse("orders.eu").expect("a topic"),
                user: None,
                payload: Payload::from_log(payload.into()),
            };
            let mut text = Vec::new();
            put_message(&mut text, Epoch(7), &record);
            assert_eq!(Heard::read(&text), Heard::Message(42), "{payload}");
        }
        let id = Position { epoch: Epoch(7), seq: u64::MAX };
        assert_eq!(receipt(format!(r#"{{"topic":"cats","id":"{id}"}}"#).as_bytes()), Some(u64::MAX));
    }

    #[test]
    fn notices_are_told_apart() {
        for (text, expected) in [
            (r#"{"type":"hello","generation":1}"#, Heard::Other),
            (r#"{"type":"synced","id":1,"position":"9f3c21aa-7"}"#, Heard::Subscribed),
            (r#"{"type":"gap","topic":"a","from":"9f3c21aa-1","to":"9f3c21aa-5","reason":"lag"}"#, Heard::Gap(5)),
            (r#"{"type":"close","code":4200,"reason":"away"}"#, Heard::End(4200, "away".into())),
            (r#"{"type":"error","problem":{"detail":"no"}}"#, Heard::End(0, "no".into())),
            (
                r#"{"type":"unsubscribed","topic":"a","reason":"forbidden"}"#,
                Heard::End(0, "unsubscribed: forbidden".into()),
            ),
            ("no JSON", Heard::Other),
        ] {
            assert_eq!(Heard::read(text.as_bytes()), expected, "{text}");
        }
    }
}
