//! `GET /events` and `GET /events/{registration}`: server-sent events.
//!
//! A refusal before the stream is a problem with its status, which ends an EventSource for good. If a reader should
//! come back, it is told in a stream, however short: while the server drains or is full, or the reader's network
//! connects too often.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures::Stream;
use warp::Reply;
use warp::http::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use warp::http::{HeaderMap, HeaderName};
use warp::reply::Response;

use crate::close::Close;
use crate::evaluate::{self, Remaining, admit};
use crate::http::call::Call;
use crate::http::headers::one;
use crate::http::query::{self, Params};
use crate::http::stream::{Chunks, Events, farewell};
use crate::hub::connection::NoSocket;
use crate::hub::peer::Peer;
use crate::hub::subscriber::Subscriber;
use crate::live::Live;
use crate::message::Position;
use crate::name::{Pattern, distinct};
use crate::notice::After;
use crate::principal::Principal;
use crate::problem::Refusal;
use crate::protocol::sse::{self, Sse};
use crate::reconnect;
use crate::registrations::Registration;
use crate::snapshot::Snapshot;
use crate::time::Time;

/// A stream that only says to come back later. Its connection closes, which frees its place.
pub fn send_away(live: &Live, close: Close) -> Response {
    let chunks = [sse::retry(reconnect::after_loss()), farewell(live, close)].map(Ok::<_, std::convert::Infallible>);
    let mut response = stream(futures::stream::iter(chunks));
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

/// `GET /events` and `GET /events/{registration}`.
///
/// A registration replaces the credential, which an EventSource cannot send; a wrong credential beside it is refused
/// all the same.
pub async fn open(registration: Option<String>, call: Arc<Call>) -> Result<Response, Refusal> {
    if call.live().drain.has_begun() {
        return Ok(send_away(call.live(), Close::Draining));
    }
    let snapshot = &call.snapshot;
    if !call.live().hub.outbound.admits(snapshot.config.limits.outbound) {
        return Ok(send_away(call.live(), Close::OverCapacity));
    }
    let query = Params::parse(&call.uri, &["topic", "after"])?;
    let asked = distinct(query.all("topic").map(query::topics).collect::<Result<Vec<_>, _>>()?);
    let after = after(&call.headers, &query)?;
    let caller = call.caller().await?;
    let registrations = &call.live().registrations;
    let registration = registration.as_deref();
    let find = |id| registrations.find(id, Instant::now()).ok_or(Refusal::UnknownRegistration);
    let registered = registration.map(find).transpose()?;
    let principal = match &registered {
        Some(registered) => registered.principal(snapshot, Time::now()).map_err(refused)?,
        None => caller.clone(),
    };
    let remaining = topics(snapshot, &principal, registered.as_deref(), asked)
        .inspect_err(|refusal| evaluate::refused(call.live(), &principal, call.peer, None, refusal))?;
    let mut subscriber = call.live().hub.subscriber(NoSocket, &Sse, Peer::new("stream", call.peer));
    // Not before: a request that is refused must not replace the connection that has the seat.
    let attach = |id| registrations.attach(id, subscriber.connection(), snapshot, Instant::now()).map_err(refused);
    let seat = registration.map(attach).transpose()?.map(|(_, seat)| Box::new(seat));
    subscriber.identify(&principal);
    let position = begins(after, &mut subscriber);
    let gone = remaining.told(position).collect();
    let head = subscriber.subscribe(remaining.kept.into_iter().map(|topics| (topics, after)).collect());
    subscriber.tell_synced(head, None);
    if call.live().drain.has_begun() {
        // It has missed the drain's signal to all connections.
        subscriber.connection().end(Close::Draining);
    }
    Ok(stream(Chunks::new(Events::new(&call, subscriber, principal, seat, gone))))
}

/// Where to start. An EventSource that reconnects sends the last id it got, and must not be refused if that is invalid.
fn after(headers: &HeaderMap, query: &Params) -> Result<After, Refusal> {
    let asked = query.after()?;
    match headers.get("last-event-id").filter(|id| !id.is_empty()) {
        None => Ok(asked.unwrap_or(After::Live)),
        Some(_) => {
            let last = one(headers, &HeaderName::from_static("last-event-id")).ok().flatten();
            Ok(last.and_then(|id| id.parse().ok()).map_or(After::Foreign, After::Position))
        }
    }
}

/// The reader's position: an id that is told first must not lead it past what it has not received.
fn begins(after: After, subscriber: &mut Subscriber) -> Position {
    let now = subscriber.position();
    match after {
        After::Live => now,
        After::Position(position) => position,
        After::Earliest | After::Foreign => Position { seq: 0, ..now },
    }
}

/// How to refuse, before a stream, a registration that is no longer valid.
fn refused(close: Close) -> Refusal {
    match close {
        Close::TokenExpired => Refusal::TokenExpired,
        _ => Refusal::UnknownRegistration,
    }
}

/// What to subscribe to: what is asked for, or else the registration's topics.
///
/// Registered topics that are no longer granted are told in the stream, even if none is left, as they are to a stream
/// that is open when it loses them.
fn topics(
    snapshot: &Snapshot,
    principal: &Principal,
    registration: Option<&Registration>,
    asked: Vec<Pattern>,
) -> Result<Remaining, Refusal> {
    let limit = snapshot.config.limits.subscriptions;
    if asked.len() > limit {
        return Err(Refusal::TooMany { what: "the list of topics", limit: "subscriptions", most: limit });
    }
    for topics in &asked {
        admit(snapshot, principal, topics)?;
    }
    let registered = registration.map(|registration| registration.topics.as_slice()).unwrap_or_default();
    match (asked.is_empty(), registered) {
        (false, _) => Ok(Remaining { kept: asked, ..Remaining::default() }),
        (true, []) => Err(Refusal::BadRequest("name at least one topic: `/events?topic=…`".into())),
        (true, registered) => Ok(Remaining::new(snapshot, principal, registered)),
    }
}

fn stream(chunks: impl Stream<Item = Result<Bytes, std::convert::Infallible>> + Send + Sync + 'static) -> Response {
    let mut response = warp::reply::stream(chunks).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    // Has nginx pass on each event at once.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}
