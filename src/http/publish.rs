//! `POST /publish/{topic}`, `POST /publish`, `POST /validate/{topic}`.
//!
//! Judging a publish is up to `ingest`, which also counts each refusal and logs it in one line.

use std::sync::Arc;

use bytes::Buf;
use futures::TryStream;
use percent_encoding::percent_decode_str;
use serde_json::json;
use tracing::info;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::http::body::{Expected, Whole, arrive};
use crate::http::call::Call;
use crate::http::envelope::Envelopes;
use crate::http::query::Params;
use crate::http::{answer, credential, envelope};
use crate::ingest::{self, Publication, Publisher};
use crate::judging::Turn;
use crate::message::Position;
use crate::name::TopicName;
use crate::plugin::Receipt;
use crate::principal::Principal;
use crate::problem::Refusal;
use crate::spelling::quoted;

const TOPIC: &[u8] = br#"{"topic":""#;
const ID: &[u8] = br#"","id":""#;
const END: &[u8] = br#""}"#;

/// `POST /publish/{topic}`: the body is the payload.
pub async fn one(topic: String, call: Arc<Call>, body: impl TryStream<Ok: Buf> + Send) -> Result<Response, Refusal> {
    let _held = call.live().drain.hold();
    // First, so that the log line of any refusal can name it.
    let _ = call.caller().await;
    let early = |topic: Option<&TopicName>, refusal| refused_early(&call, topic, refusal);
    let topic = parse_topic(&topic).map_err(|refusal| early(None, refusal))?;
    Params::none(&call.uri).map_err(|refusal| early(Some(&topic), refusal))?;
    let key = credential::idempotency_key(&call.headers).map_err(|refusal| early(Some(&topic), refusal))?;
    let arrived = arrive(&call, body, Expected::Json).await.map_err(|refusal| early(Some(&topic), refusal))?;
    let Whole { body, principal, snapshot, .. } = arrived;
    let publication = Publication { topic, user: None, body, key };
    let published = ingest::publish(call.live(), snapshot, publisher(&call, &principal), &publication).await;
    published.map(|id| receipt(&publication.topic, id))
}

/// `POST /publish`: one envelope, a list of them, or one on each line.
pub async fn envelopes(call: Arc<Call>, body: impl TryStream<Ok: Buf> + Send) -> Result<Response, Refusal> {
    let _held = call.live().drain.hold();
    let _ = call.caller().await;
    let read = read_envelopes(&call, body).await;
    let (arrived, envelopes, turn) = read.map_err(|refusal| refused_early(&call, None, refusal))?;
    let Envelopes { publications, single, places } = envelopes;
    let Whole { principal, snapshot, .. } = arrived;
    let publisher = publisher(&call, &principal);
    let published = ingest::publish_batch(call.live(), snapshot, publisher, &publications, Some(turn)).await;
    let epoch = call.live().hub.epoch();
    let id = |receipt: &Receipt| Position { epoch, seq: receipt.seq };
    let topics = publications.iter().map(|publication| &publication.topic);
    match published {
        Ok(published) => {
            let mut published = topics.zip(published.iter().map(id));
            Ok(match published.next() {
                Some((topic, id)) if single => receipt(topic, id),
                first => receipts(first.into_iter().chain(published)),
            })
        }
        Err(refusal) => {
            let refusal = places.place(refusal);
            Err(ingest::meant(call.live(), &principal, if single { refusal.only() } else { refusal }))
        }
    }
}

/// `POST /validate/{topic}`: judges a message without publishing it.
pub async fn validate(
    topic: String,
    call: Arc<Call>,
    body: impl TryStream<Ok: Buf> + Send,
) -> Result<Response, Refusal> {
    let _ = call.caller().await;
    let topic = parse_topic(&topic);
    let judged = judge(&call, topic.clone(), body).await;
    judged.inspect_err(|refusal| log_invalid(&call, topic.ok().as_ref(), refusal))
}

async fn judge(
    call: &Call,
    topic: Result<TopicName, Refusal>,
    body: impl TryStream<Ok: Buf>,
) -> Result<Response, Refusal> {
    let topic = topic?;
    Params::none(&call.uri)?;
    let arrived = arrive(call, body, Expected::Json).await?;
    let publication = Publication { topic, user: None, body: arrived.body, key: None };
    let publisher = publisher(call, &arrived.principal);
    ingest::validate(call.live(), &arrived.snapshot, publisher, &publication).await?;
    Ok(answer::json(StatusCode::OK, &json!({"valid": true})))
}

/// The one log line of a refused validation.
fn log_invalid(call: &Call, topic: Option<&TopicName>, refusal: &Refusal) {
    let (problem, cause, topic) = (refusal.slug(), refusal.cause(), topic.map_or("", TopicName::as_str));
    let (principal, peer) = (call.caller_name(), call.peer);
    let (keyword, schema_pointer) = refusal.rule().unzip();
    info!(problem, cause, topic, principal, %peer, keyword, schema_pointer, "a message to validate was refused");
}

/// Reads the body in a turn of its own, which is then good for judging the messages too.
async fn read_envelopes<'c>(
    call: &'c Call,
    body: impl TryStream<Ok: Buf>,
) -> Result<(Whole, Envelopes, Turn<'c>), Refusal> {
    Params::none(&call.uri)?;
    let key = credential::idempotency_key(&call.headers)?;
    let arrived = arrive(call, body, Expected::JsonOrLines).await?;
    let turn = call.live().judging.turn(arrived.body.len()).await?;
    let mut envelopes = turn.take(|| envelope::read(&arrived.body, arrived.media, &arrived.snapshot.config.limits))?;
    if let Some(key) = key {
        envelopes.take_key(key)?;
    }
    Ok((arrived, envelopes, turn))
}

fn publisher<'a>(call: &Call, principal: &'a Principal) -> Publisher<'a> {
    Publisher { principal, peer: call.peer }
}

/// Reports a publish that was refused before it could be judged.
fn refused_early(call: &Call, topic: Option<&TopicName>, refusal: Refusal) -> Refusal {
    ingest::refused_early(call.live(), topic, call.known(), call.peer, &refusal);
    refusal
}

fn parse_topic(text: &str) -> Result<TopicName, Refusal> {
    let text = percent_decode_str(text).decode_utf8_lossy();
    TopicName::parse(&text)
        .map_err(|error| Refusal::BadRequest(format!("{} is not a topic name: {error}", quoted(&text))))
}

fn receipt(topic: &TopicName, id: Position) -> Response {
    let mut text = Vec::with_capacity(len(topic, id));
    put(&mut text, topic, id);
    answer::json_text(StatusCode::OK, text)
}

fn receipts<'a>(published: impl Iterator<Item = (&'a TopicName, Position)> + Clone) -> Response {
    let len = published.clone().map(|(topic, id)| len(topic, id) + 1).sum::<usize>();
    let mut text = Vec::with_capacity(2 + len);
    text.push(b'[');
    for (index, (topic, id)) in published.enumerate() {
        if index > 0 {
            text.push(b',');
        }
        put(&mut text, topic, id);
    }
    text.push(b']');
    answer::json_text(StatusCode::OK, text)
}

/// Writes a receipt as JSON. A topic's alphabet needs no escaping.
fn put(out: &mut Vec<u8>, topic: &TopicName, id: Position) {
    out.extend_from_slice(TOPIC);
    out.extend_from_slice(topic.as_str().as_bytes());
    out.extend_from_slice(ID);
    id.put(out);
    out.extend_from_slice(END);
}

/// Bytes that [`put`] will write.
fn len(topic: &TopicName, id: Position) -> usize {
    TOPIC.len() + topic.as_str().len() + ID.len() + Position::len(id.seq) + END.len()
}
