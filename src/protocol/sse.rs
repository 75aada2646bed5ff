//! Server-sent events (HTML, section 9.2): the same JSON as on the WebSocket, in events that a plain EventSource reads.
//!
//! A message is an event without a name, so that `onmessage` gets it; notices are named. `id:` is where to resume: a
//! message's own id, and for `synced` and `unsubscribed` the position up to which everything was sent, so that a reader
//! that got no message can resume too. A `gap` has no `id:`. It is told before the messages that still come from its
//! range, so a reader that leaves right after it resumes before it and is told again.
//!
//! An empty line ends an event, and LF, CR or both end a line, so nothing written here may contain one. Names and
//! positions cannot, notices are escaped by their JSON, and a payload is forwarded without white space. Should a log
//! hold one with line ends nevertheless, each of its lines becomes a `data:` line of the same event.

use std::fmt;

use bytes::Bytes;
use serde_json::json;

use crate::close::Close;
use crate::message::{Epoch, Position, Record};
use crate::notice::Notice;
use crate::plugin::Encoder;
use crate::protocol::written;

const ID: &[u8] = b"id: ";
const DATA: &[u8] = b"data: ";
const END: &[u8] = b"\n\n";

/// A comment, which readers ignore and every proxy takes for a sign of life.
///
/// No empty line ends it, nor the output of [`retry`]: some readers take a block without data for an event.
pub const HEARTBEAT: Bytes = Bytes::from_static(b":\n");

/// Tells the reader how long to wait before it reconnects, in milliseconds.
pub fn retry(ms: u64) -> Bytes {
    format!("retry: {ms}\n").into()
}

/// The last event of a stream that the server ends, with the codes of the WebSocket protocol.
///
/// An EventSource reconnects by itself, and a status then tells it if it may not. But one that was replaced would
/// replace its successor, and so on, so it is told to stay away for a day. One whose topics are gone may belong to a
/// registration, which would be let in again, so it is told to ask once a minute.
pub fn close(close: Close) -> Bytes {
    let retry = match close {
        Close::Replaced => "retry: 86400000\n",
        Close::Forbidden => "retry: 60000\n",
        _ => "",
    };
    let data = json!({"type": "close", "code": close.code(), "reason": close.reason()});
    format!("{retry}event: close\ndata: {data}\n\n").into()
}

/// The encoder; it has no state.
pub struct Sse;

impl Encoder for Sse {
    fn slot(&self) -> usize {
        2
    }

    fn message(&self, epoch: Epoch, record: &Record) -> Bytes {
        let len = written::message_len(record);
        let id = Position::len(record.seq);
        let mut out = Vec::with_capacity(ID.len() + id + 1 + DATA.len() + len + END.len());
        out.extend_from_slice(ID);
        Position { epoch, seq: record.seq }.put(&mut out);
        out.push(b'\n');
        out.extend_from_slice(DATA);
        let start = out.len();
        written::put_message(&mut out, epoch, record);
        break_lines(&mut out, start);
        out.extend_from_slice(END);
        out.into()
    }

    /// Answers to commands are not told: a stream has no commands.
    fn notice(&self, notice: &Notice) -> Result<Option<Bytes>, Close> {
        let (event, retry, id) = match notice {
            Notice::Synced { position, .. } => ("synced", None, Some(position)),
            Notice::Gap { .. } => ("gap", None, None),
            Notice::Unsubscribed { position, .. } => ("unsubscribed", None, Some(position)),
            Notice::TopicChanged { .. } => ("topic_changed", None, None),
            Notice::Goaway { reconnect_after_ms, .. } => ("goaway", Some(reconnect_after_ms), None),
            Notice::Hello { .. }
            | Notice::Ok { .. }
            | Notice::Error { .. }
            | Notice::Pong { .. }
            | Notice::PongText => return Ok(None),
        };
        let retry = fmt::from_fn(|f| retry.map_or(Ok(()), |ms| writeln!(f, "retry: {ms}")));
        let id = fmt::from_fn(|f| id.map_or(Ok(()), |position| writeln!(f, "id: {position}")));
        let head = format!("{retry}event: {event}\n{id}");
        Ok(Some([head.as_bytes(), DATA, &written::notice(notice), END].concat().into()))
    }
}

/// Makes every line from `start` on a `data:` line. In JSON text a line end can only be white space.
fn break_lines(out: &mut Vec<u8>, start: usize) {
    let text = &out[start..];
    if text.contains(&b'\n') || text.contains(&b'\r') {
        let lines: Vec<&[u8]> = text.split(|byte| matches!(byte, b'\n' | b'\r')).collect();
        let lines = lines.join(&b"\ndata: "[..]);
        out.truncate(start);
        out.extend_from_slice(&lines);
    }
}
