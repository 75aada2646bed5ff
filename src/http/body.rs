//! Receives a request with a body: checks who calls, the media type, the size, and the time it takes.
//!
//! warp's own body filters either have no limit or refuse chunked bodies; this one counts what arrives.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use bytes::{Buf, BufMut, Bytes};
use futures::TryStream;
use warp::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};

use crate::config::model::Limits;
use crate::http::call::Call;
use crate::live::Live;
use crate::principal::Principal;
use crate::problem::Refusal;
use crate::snapshot::Snapshot;

/// The format of a body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Media {
    /// One JSON text: `application/json` or `…+json`.
    Json,
    /// One JSON text a line: `application/x-ndjson`.
    Lines,
}

/// The formats that a call accepts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Expected {
    /// One JSON text.
    Json,
    /// One JSON text, or one on each line.
    JsonOrLines,
}

impl Expected {
    /// The media types to name in a refusal.
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Json => &["application/json"],
            Self::JsonOrLines => &["application/json", "application/x-ndjson"],
        }
    }
}

/// A request that has arrived completely.
pub struct Whole {
    /// The body.
    pub body: Bytes,
    /// Its format.
    pub media: Media,
    /// The configuration in force once the body is complete.
    pub snapshot: Arc<Snapshot>,
    /// Who calls.
    pub principal: Arc<Principal>,
}

/// Waits for a body in one of the expected formats.
///
/// A body without a valid caller is not read. If the configuration has changed meanwhile, the caller is identified
/// again: a complete request is judged by what is then in force.
///
/// # Errors
/// 415 or 413 for what is announced, 401 or 429 for the caller, and whatever goes wrong while the body is read.
pub async fn arrive(call: &Call, body: impl TryStream<Ok: Buf>, expected: Expected) -> Result<Whole, Refusal> {
    let before = &call.snapshot;
    let media = announce(call, &before.config.limits, expected)?;
    let principal = call.caller().await?;
    // An anonymous caller without any grant is refused before its body is read.
    if principal.token.is_none() && principal.grants.is_empty() {
        return Err(Refusal::Unauthenticated { wrong: false });
    }
    let body = read(body, &before.config.limits, call.live()).await?;
    call.link.flow.set_unread(false);
    if call.live().is_current(before) {
        return Ok(Whole { body, media, snapshot: before.clone(), principal: principal.clone() });
    }
    let snapshot = call.live().snapshot();
    let principal = call.identify(&snapshot).await?;
    Ok(Whole { body, media, snapshot, principal })
}

/// Checks what is known before the body: its media type, its encoding, its announced length.
///
/// # Errors
/// 415 or 413.
fn announce(call: &Call, limits: &Limits, expected: Expected) -> Result<Media, Refusal> {
    let found = call.one(&CONTENT_TYPE)?;
    let taken = found.and_then(media).filter(|media| *media == Media::Json || expected == Expected::JsonOrLines);
    let unsupported = || Refusal::UnsupportedMediaType { found: found.map(str::to_owned), expected: expected.types() };
    let media = taken.ok_or_else(unsupported)?;
    if let Some(coding) = call.one(&CONTENT_ENCODING)?.filter(|coding| is_coded(coding)) {
        return Err(Refusal::UnsupportedCoding { found: coding.to_owned() });
    }
    let length = call.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| length > limits.body as u64) {
        return Err(too_large(limits));
    }
    Ok(media)
}

/// Reads the body.
///
/// # Errors
/// 413 as soon as it is too large, 408 if it takes too long, 400 if the peer gives up, and 503 once a drain has sealed
/// the log, which no body can reach any more.
async fn read(body: impl TryStream<Ok: Buf>, limits: &Limits, live: &Live) -> Result<Bytes, Refusal> {
    let (most, time) = (limits.body, limits.body_timeout);
    let mut reading = std::pin::pin!(async {
        let mut body = std::pin::pin!(body);
        let mut first = Bytes::new();
        let mut all = Vec::new();
        while let Some(chunk) = poll_fn(|cx| body.as_mut().try_poll_next(cx)).await {
            let mut chunk = chunk.map_err(|_| Refusal::BrokenBody)?;
            if first.len().max(all.len()) + chunk.remaining() > most {
                return Err(too_large(limits));
            }
            // Most bodies are one chunk, which need not be copied. Nothing is allocated for a merely announced length.
            if first.is_empty() && all.is_empty() {
                first = chunk.copy_to_bytes(chunk.remaining());
            } else {
                append(&mut all, std::mem::take(&mut first), most);
                append(&mut all, chunk, most);
            }
        }
        Ok(if all.is_empty() { first } else { all.into() })
    });
    // Most bodies arrive with their header and need no timer.
    if let Poll::Ready(read) = futures::poll!(&mut reading) {
        return read;
    }
    tokio::select! {
        biased;
        read = tokio::time::timeout(time, reading) => read.unwrap_or(Err(Refusal::Timeout { limit: "body_timeout" })),
        () = live.appending.sealed() => Err(Refusal::Draining),
    }
}

/// Appends a chunk. Doubles the capacity as needed, but not beyond the largest allowed body.
fn append(all: &mut Vec<u8>, chunk: impl Buf, most: usize) {
    let len = all.len() + chunk.remaining();
    if len > all.capacity() {
        all.reserve_exact(len.max(most.min(2 * len)) - all.len());
    }
    all.put(chunk);
}

fn too_large(limits: &Limits) -> Refusal {
    Refusal::TooLarge { what: "the body", limit: "body", bytes: limits.body }
}

/// Whether a `Content-Encoding` names a coding. Empty list items do not count (RFC 9110, section 5.6.1.2).
fn is_coded(codings: &str) -> bool {
    codings.split(',').map(str::trim).any(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity"))
}

/// The format of a media type; `None` if it is not JSON, or not in UTF-8.
fn media(value: &str) -> Option<Media> {
    // The usual spelling.
    if value == "application/json" {
        return Some(Media::Json);
    }
    let mut parts = value.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media = match parts.next()?.as_str() {
        "application/json" => Media::Json,
        "application/x-ndjson" => Media::Lines,
        other
            if other.len() > "application/+json".len()
                && other.starts_with("application/")
                && other.ends_with("+json") =>
        {
            Media::Json
        }
        _ => return None,
    };
    let foreign = |part: String| {
        part.strip_prefix("charset=").is_some_and(|charset| !matches!(charset, "utf-8" | "\"utf-8\"" | "utf8"))
    };
    (!parts.any(foreign)).then_some(media)
}
