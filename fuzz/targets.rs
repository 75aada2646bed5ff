//! What must hold for any input: one function for each place where bytes come from outside.

#![allow(dead_code, reason = "each target uses one of these")]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use relay::assemble::{PROTOCOLS, load};
use relay::config::files::Memory;
use relay::diagnostic::{any_error, render};
use relay::frame::inbound::Inbound;
use relay::message::{Epoch, Position, Record};
use relay::name::TopicName;
use relay::plugin::Encoder;
use relay::protocol::sse::Sse;
use relay::schema::compile::SchemaCache;
use relay::schema::json::parse;
use relay::schema::{MAX_VIOLATIONS, Payload, Schema};
use relay::time::Time;
use serde_json::Value;

const SCHEMA: &str = r##"{
  "type": "object",
  "required": ["id"],
  "properties": {
    "id": {"type": "string", "pattern": "^[a-z]+-[0-9]+$", "maxLength": 40},
    "at": {"type": "string", "format": "date-time"},
    "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": true, "maxItems": 8},
    "size": {"oneOf": [{"type": "integer", "multipleOf": 3}, {"type": "null"}]},
    "next": {"$ref": "#"}
  },
  "additionalProperties": false
}"##;

static CHECKED: LazyLock<Arc<Schema>> = LazyLock::new(|| {
    let toml = "version = 1\n[topics.t]\nschema = \"t.json\"\n";
    let loaded = load(&Memory::new(toml).with("t.json", SCHEMA), &SchemaCache::default(), Time::now());
    loaded.schemas.values().next().expect("the schema is sound").clone()
});

/// relay.toml: any text is judged, and its diagnostics can be written in every format.
pub fn config(bytes: &[u8]) {
    let mut files = Memory::default().with("t.json", SCHEMA);
    files.files.insert("relay.toml".to_owned(), bytes.to_vec());
    let loaded = load(&files, &SchemaCache::default(), Time(0));
    assert_eq!(loaded.config.is_none(), any_error(&loaded.diagnostics));
    render::human(&loaded.diagnostics, &loaded.sources, false);
    render::json(&loaded.diagnostics, &loaded.sources);
}

/// A schema file: any text is judged and its diagnostics can be written; a sound schema judges any payload without
/// panicking.
pub fn schema(bytes: &[u8]) {
    let mut files = Memory::new("version = 1\n[topics.t]\nschema = \"t.json\"\n");
    files.files.insert("t.json".to_owned(), bytes.to_vec());
    let loaded = load(&files, &SchemaCache::default(), Time(0));
    assert_eq!(loaded.config.is_none(), any_error(&loaded.diagnostics));
    render::human(&loaded.diagnostics, &loaded.sources, false);
    render::json(&loaded.diagnostics, &loaded.sources);
    let Some(schema) = loaded.schemas.values().next() else { return };
    for text in ["null", "-1.5e3", r#""a-1""#, r#"[1,"a",[],{}]"#, r#"{"id":"a-1","next":{"id":[0]},"":null}"#] {
        let text = Bytes::from_static(text.as_bytes());
        let json = parse(&text, 64).unwrap_or_else(|_| panic!("it is JSON"));
        if let Err(refused) = schema.accept(json) {
            assert!((1..=MAX_VIOLATIONS).contains(&refused.violations.len()));
        }
    }
}

/// The body of a publish. An accepted body becomes the same JSON without line breaks and is accepted again; a refusal
/// has violations.
pub fn publish(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    let Ok(json) = parse(&bytes, 64) else { return };
    let value: Value = serde_json::from_slice(&bytes).expect("what the strict parser takes, others do");
    match CHECKED.accept(json) {
        Ok(payload) => {
            let text = payload.as_bytes();
            assert!(!text.iter().any(|byte| matches!(byte, b'\r' | b'\n')), "SSE relies on it");
            assert_eq!(serde_json::from_slice::<Value>(text).expect("JSON"), value);
            let again = parse(text, 64).unwrap_or_else(|_| panic!("it was taken before"));
            assert_eq!(CHECKED.accept(again).expect("it was accepted before").as_bytes(), text);
        }
        Err(refused) => assert!((1..=MAX_VIOLATIONS).contains(&refused.violations.len())),
    }
}

/// Bytes on a WebSocket: however they are split into chunks, the result is the same, and memory stays bounded. The
/// first input byte is the size of the chunks.
pub fn inbound(bytes: &[u8]) {
    const LIMIT: usize = 1_000;
    let Some((step, bytes)) = bytes.split_first() else { return };
    let read = |step: usize| {
        let (mut inbound, mut lines) = (Inbound::new(LIMIT), Vec::new());
        for part in bytes.chunks(step) {
            let mut part = part.to_vec();
            let mut part = &mut part[..];
            loop {
                match inbound.next(&mut part) {
                    Ok(Some(item)) => lines.push(format!("{item:?}")),
                    Ok(None) => break,
                    Err(close) => {
                        lines.push(format!("{close:?}"));
                        return lines;
                    }
                }
            }
            assert!(inbound.held() <= 2 * LIMIT + 512, "{} bytes held", inbound.held());
        }
        lines
    };
    assert_eq!(read(usize::from(*step).max(1)), read(bytes.len().max(1)));
}

/// Command frames: each protocol accepts them, or refuses them with a reason.
pub fn command(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for protocol in PROTOCOLS {
        if let Err(bad) = protocol.command(text) {
            assert!((400..500).contains(&bad.refusal.status()), "{}", bad.refusal);
            let sentence = bad.refusal.to_string();
            assert!((1..text.len() + 400).contains(&sentence.len()), "{sentence}");
        }
    }
}

/// Server-sent events: whatever payload the log holds becomes exactly one event, and no byte of it can forge an id or a
/// line.
pub fn sse(bytes: &[u8]) {
    let record = Record {
        seq: 42,
        time: Time(0),
        topic: TopicName::parse("t").expect("a name"),
        user: None,
        payload: Payload::from_log(Bytes::copy_from_slice(bytes)),
    };
    let event = Sse.message(Epoch(7), &record);
    let body = event.strip_suffix(b"\n\n").expect("an empty line ends it");
    let lines: Vec<&[u8]> = body.split(|byte| matches!(byte, b'\n' | b'\r')).collect();
    assert_eq!(lines[0], b"id: 00000007-42");
    assert!(lines.len() >= 2 && lines[1..].iter().all(|line| line.starts_with(b"data: ")), "{event:?}");
}

/// Positions have one spelling each; an accepted topic name is written back unchanged.
pub fn position(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(position) = text.parse::<Position>() {
        assert_eq!(position.to_string(), text);
    }
    if let Ok(topic) = TopicName::parse(text) {
        assert_eq!(topic.as_str(), text);
    }
}
