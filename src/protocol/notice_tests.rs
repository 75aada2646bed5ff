//! Every notice, word for word, as each of Relay's own encoders writes it.

use uuid::Uuid;

use crate::close::Close;
use crate::message::{Epoch, Position, Record};
use crate::name::{Pattern, TopicName};
use crate::notice::{GapReason, GoawayReason, Notice, UnsubscribedReason};
use crate::plugin::Encoder;
use crate::problem::{Rate, Refusal};
use crate::protocol::KINDS;
use crate::protocol::relay_raw::RelayRaw;
use crate::protocol::relay_v1::RelayV1;
use crate::protocol::sse::{self, Sse};
use crate::schema::Payload;
use crate::time::Time;

/// Each notice as `relay.v1`, as server-sent events (empty if not told), and as `relay.raw`.
fn notices() -> Vec<(Notice, &'static str, &'static str, Result<&'static str, Close>)> {
    let at = |seq| Position { epoch: Epoch(0x9f3c_21aa), seq };
    let topics = || Pattern::parse("orders.*").expect("a pattern");
    vec![
        (
            Notice::Hello {
                connection: Uuid::from_u128(0x67e5_5044_10b1_426f_9247_bb68_0e5f_e0c8),
                frame: 65_536,
                subscriptions: 128,
                commands: 100,
                generation: 7,
            },
            r#"{"type":"hello","connection":"67e55044-10b1-426f-9247-bb680e5fe0c8","limits":{"frame":65536,"subscriptions":128,"commands":100},"generation":7}"#,
            "",
            Ok(""),
        ),
        (Notice::Ok { id: None, message: None }, r#"{"type":"ok"}"#, "", Ok("")),
        (
            Notice::Ok { id: Some("a\"b".into()), message: Some(at(42)) },
            r#"{"type":"ok","id":"a\"b","message_id":"9f3c21aa-42"}"#,
            "",
            Ok(""),
        ),
        (
            Notice::Error { id: Some(2.into()), refusal: Refusal::UnknownTopic { topic: "dogs".into(), near: None } },
            r#"{"type":"error","id":2,"problem":{"type":"urn:relay:problem:unknown-topic","title":"The topic is not declared","status":404,"detail":"relay.toml declares no topic `dogs` and no family that covers it","topic":"dogs"}}"#,
            "",
            Err(Close::Forbidden),
        ),
        (
            Notice::Synced { id: Some(1.into()), position: at(9) },
            r#"{"type":"synced","id":1,"position":"9f3c21aa-9"}"#,
            "event: synced\nid: 9f3c21aa-9\ndata: {\"type\":\"synced\",\"id\":1,\"position\":\"9f3c21aa-9\"}\n\n",
            Ok(""),
        ),
        (
            Notice::Gap { topics: topics(), from: at(3), to: at(8), reason: GapReason::Retention },
            r#"{"type":"gap","topic":"orders.*","from":"9f3c21aa-3","to":"9f3c21aa-8","reason":"retention"}"#,
            "event: gap\ndata: {\"type\":\"gap\",\"topic\":\"orders.*\",\"from\":\"9f3c21aa-3\",\"to\":\"9f3c21aa-8\",\"reason\":\"retention\"}\n\n",
            Err(Close::Malformed),
        ),
        (
            Notice::Gap { topics: topics(), from: at(3), to: at(8), reason: GapReason::Lag },
            r#"{"type":"gap","topic":"orders.*","from":"9f3c21aa-3","to":"9f3c21aa-8","reason":"lag"}"#,
            "event: gap\ndata: {\"type\":\"gap\",\"topic\":\"orders.*\",\"from\":\"9f3c21aa-3\",\"to\":\"9f3c21aa-8\",\"reason\":\"lag\"}\n\n",
            Err(Close::Lagging),
        ),
        (
            Notice::TopicChanged { topics: topics(), generation: 8 },
            r#"{"type":"topic_changed","topic":"orders.*","generation":8}"#,
            "event: topic_changed\ndata: {\"type\":\"topic_changed\",\"topic\":\"orders.*\",\"generation\":8}\n\n",
            Ok(""),
        ),
        (
            Notice::Unsubscribed { topics: topics(), reason: UnsubscribedReason::TopicRemoved, position: at(9) },
            r#"{"type":"unsubscribed","topic":"orders.*","reason":"topic_removed","position":"9f3c21aa-9"}"#,
            "event: unsubscribed\nid: 9f3c21aa-9\ndata: {\"type\":\"unsubscribed\",\"topic\":\"orders.*\",\"reason\":\"topic_removed\",\"position\":\"9f3c21aa-9\"}\n\n",
            Err(Close::Forbidden),
        ),
        (
            Notice::Goaway { reason: GoawayReason::Draining, reconnect_after_ms: 1500 },
            r#"{"type":"goaway","reason":"draining","reconnect_after_ms":1500}"#,
            "retry: 1500\nevent: goaway\ndata: {\"type\":\"goaway\",\"reason\":\"draining\",\"reconnect_after_ms\":1500}\n\n",
            Ok(""),
        ),
        (Notice::Pong { id: Some(5.into()) }, r#"{"type":"pong","id":5}"#, "", Ok("pong")),
        (Notice::PongText, "pong", "", Ok("pong")),
    ]
}

/// The text of a server's frame of less than 64 KiB.
fn text(frame: &[u8]) -> &str {
    assert_eq!(frame[0], 0x81, "one whole text message");
    let (header, len) = match frame[1] {
        126 => (4, usize::from(u16::from_be_bytes([frame[2], frame[3]]))),
        short => (2, usize::from(short)),
    };
    assert_eq!(frame.len(), header + len);
    str::from_utf8(&frame[header..]).expect("it is UTF-8")
}

#[test]
fn every_notice_word_for_word() {
    for (notice, v1, sse, raw) in notices() {
        let told = |encoder: &dyn Encoder| encoder.notice(&notice);
        assert_eq!(
            told(&RelayV1).map(|frame| text(&frame.expect("it tells everything")).to_owned()),
            Ok(v1.to_owned())
        );
        let event = told(&Sse).expect("a stream is never closed for a notice").unwrap_or_default();
        assert_eq!(str::from_utf8(&event), Ok(sse));
        let frame = told(&RelayRaw).map(|frame| frame.map(|frame| text(&frame).to_owned()).unwrap_or_default());
        assert_eq!(frame, raw.map(str::to_owned));
    }
}

/// A frame that is not whole would be cut short, or have another put into it.
#[test]
fn whatever_a_protocol_writes_is_whole_frames() {
    let sizes = [1_usize, 125, 126, 65_535, 65_536].map(|size| record(&"1".repeat(size)));
    for protocol in KINDS {
        let messages = sizes.iter().map(|record| protocol.message(Epoch(1), record));
        let notices = notices().into_iter().filter_map(|(notice, ..)| protocol.notice(&notice).ok().flatten());
        for bytes in messages.chain(notices) {
            let mut rest = &bytes[..];
            while let [head, length, after @ ..] = rest {
                let (extended, len) = match length {
                    126 => (2, u64::from(u16::from_be_bytes([after[0], after[1]]))),
                    127 => (8, u64::from_be_bytes(after[..8].try_into().expect("eight bytes"))),
                    short => (0, u64::from(*short)),
                };
                let (frame, next) = after[extended..].split_at(len as usize);
                assert_eq!(*head, 0x81, "{}: text, and whole", protocol.name());
                assert!(*length < 128 && str::from_utf8(frame).is_ok(), "{}: unmasked UTF-8", protocol.name());
                rest = next;
            }
            assert!(rest.is_empty() && !bytes.is_empty(), "{}: nothing half", protocol.name());
        }
    }
}

/// A protocol must not hide that a subscriber missed messages, lost a subscription or was refused.
#[test]
fn no_protocol_is_silent_about_a_loss() {
    for protocol in KINDS {
        for (notice, ..) in notices() {
            if matches!(notice, Notice::Gap { .. } | Notice::Unsubscribed { .. } | Notice::Error { .. }) {
                assert_ne!(protocol.notice(&notice), Ok(None), "{} {notice:?}", protocol.name());
            }
        }
    }
}

#[test]
fn reasons_word_for_word() {
    let reasons = [GapReason::Retention, GapReason::Lag, GapReason::Epoch].map(GapReason::as_str);
    assert_eq!(reasons, ["retention", "lag", "epoch"]);
    assert_eq!(
        [GoawayReason::Draining, GoawayReason::Overloaded].map(GoawayReason::as_str),
        ["draining", "overloaded"]
    );
    let reasons = [UnsubscribedReason::Forbidden, UnsubscribedReason::TopicRemoved].map(UnsubscribedReason::as_str);
    assert_eq!(reasons, ["forbidden", "topic_removed"]);
}

#[test]
fn a_refused_command_closes_a_raw_connection_with_the_code_that_says_what_to_do() {
    let retry_after = std::time::Duration::from_secs(1);
    for (refusal, close) in [
        (Refusal::Unauthenticated { wrong: true }, Close::Unauthenticated),
        (Refusal::UnknownRegistration, Close::UnknownRegistration),
        (Refusal::TokenExpired, Close::TokenExpired),
        (Refusal::BadRequest("no".into()), Close::Malformed),
        (Refusal::RateLimited(Rate::Publishes), Close::RateLimited(Rate::Publishes)),
        (Refusal::Overloaded { what: "", retry_after }, Close::OverCapacity),
        (Refusal::Draining, Close::Draining),
        (Refusal::Internal { id: String::new() }, Close::Internal),
    ] {
        assert_eq!(RelayRaw.notice(&Notice::Error { id: None, refusal }), Err(close));
    }
}

fn record(payload: &str) -> Record {
    Record {
        seq: 42,
        time: Time(1_795_000_000_007),
        topic: TopicName::parse("cats").expect("a topic"),
        user: None,
        payload: Payload::from_log(payload.to_owned().into()),
    }
}

#[test]
fn a_message_word_for_word() {
    let (epoch, record) = (Epoch(0x9f3c_21aa), record(r#"{"n":1}"#));
    let json =
        r#"{"type":"message","topic":"cats","id":"9f3c21aa-42","time":"2026-11-18T11:06:40.007Z","data":{"n":1}}"#;
    assert_eq!(text(&RelayV1.message(epoch, &record)), json);
    assert_eq!(text(&RelayRaw.message(epoch, &record)), r#"{"n":1}"#);
    assert_eq!(Sse.message(epoch, &record), format!("id: 9f3c21aa-42\ndata: {json}\n\n"));
}

#[test]
fn a_payload_with_line_ends_stays_one_event() {
    let event = Sse.message(Epoch(1), &record("{\n\"n\":\r1,\r\n\n\"m\":2}"));
    let event = str::from_utf8(&event).expect("it is UTF-8");
    let (body, rest) = event.split_once("\n\n").expect("an event ends with an empty line");
    assert_eq!(rest, "");
    let mut lines = body.split(['\n', '\r']);
    assert_eq!(lines.next(), Some("id: 00000001-42"));
    // As a browser joins data lines (HTML, section 9.2.6).
    let data: Vec<&str> = lines.map(|line| line.strip_prefix("data: ").expect(line)).collect();
    let value: serde_json::Value = serde_json::from_str(&data.join("\n")).expect("it is JSON");
    assert_eq!(value["data"], serde_json::json!({"n": 1, "m": 2}));
}

#[test]
fn what_else_a_stream_carries() {
    assert_eq!(&sse::HEARTBEAT[..], b":\n");
    assert_eq!(sse::retry(2500), "retry: 2500\n");
    assert_eq!(
        sse::close(Close::Unregistered),
        "event: close\ndata: {\"type\":\"close\",\"code\":4011,\"reason\":\"the registration was deleted, or is not allowed \
         any more: register again\"}\n\n"
    );
    let replaced = sse::close(Close::Replaced);
    assert!(replaced.starts_with(b"retry: 86400000\nevent: close\ndata: {"), "{replaced:?}");
}
