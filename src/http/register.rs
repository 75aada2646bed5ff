//! `POST /register` and `DELETE /register/{id}`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use futures::TryStream;
use serde::Deserialize;
use serde_json::json;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::evaluate;
use crate::http::answer;
use crate::http::body::{Expected, Whole, arrive};
use crate::http::call::Call;
use crate::http::query::{self, Params};
use crate::name::{Pattern, UserId, distinct};
use crate::principal::Principal;
use crate::problem::Refusal;
use crate::registrations::Registration;
use crate::schema::json as strict;
use crate::snapshot::Snapshot;
use crate::time::Time;

const SHAPE: &str = "expected `{\"user_id\": …, \"topics\": […]}`";

/// What is asked for.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    user_id: UserId,
    #[serde(default)]
    topics: Vec<String>,
}

/// `POST /register`: answers a URL with which a connection of this user can be made.
pub async fn register(call: Arc<Call>, body: impl TryStream<Ok: Buf> + Send) -> Result<Response, Refusal> {
    Params::none(&call.uri)?;
    let Whole { body, snapshot, principal, .. } =
        arrive(&call, call.identify(&call.snapshot).await, body, Expected::Json).await?;
    let read = || parse(&body, snapshot.config.limits.json_depth);
    let Request { user_id, topics } = call.live().judging.turn(body.len()).await?.take(read)?;
    let topics = distinct(topics.iter().map(|text| query::topics(text)).collect::<Result<Vec<_>, _>>()?);
    let most = snapshot.config.limits.subscriptions;
    if topics.len() > most {
        return Err(Refusal::TooMany { what: "the list of topics", limit: "subscriptions", most });
    }
    admit(&snapshot, &principal, &user_id, &topics)?;
    let base = base_url(&call, &snapshot)?;
    let registration = Registration::new(principal, user_id, topics);
    let id = call.live().registrations.register(registration, &snapshot.config.limits, Instant::now())?;
    // A reload that came meanwhile did not find it among those that it ended.
    if !call.live().is_current(&snapshot) {
        call.live().registrations.end_lost(&call.live().snapshot(), Time::now());
    }
    Ok(answer::json(StatusCode::OK, &json!({"id": id.to_string(), "url": format!("{base}/ws/{id}")})))
}

/// `DELETE /register/{id}`: the id is a secret, so that knowing it is all it takes; but a wrong credential is refused
/// here as anywhere.
pub async fn unregister(id: String, call: Arc<Call>) -> Result<Response, Refusal> {
    Params::none(&call.uri)?;
    call.identify(&call.snapshot).await?;
    match call.live().registrations.remove(&id, Instant::now()) {
        true => Ok(answer::empty(StatusCode::NO_CONTENT)),
        false => Err(Refusal::NoRegistration),
    }
}

fn parse(body: &bytes::Bytes, depth: usize) -> Result<Request, Refusal> {
    let json = strict::parse(body, depth)?;
    let value = json.tree.to_value();
    if !value.is_object() {
        return Err(Refusal::BadRequest(SHAPE.into()));
    }
    Request::deserialize(value).map_err(|error| {
        // It quotes what it did not expect, however long that is.
        let detail: String = error.to_string().chars().take(200).collect();
        Refusal::BadRequest(format!("{SHAPE}: {detail}"))
    })
}

/// Whether this caller may register a connection of this user that is subscribed to these topics.
fn admit(snapshot: &Snapshot, principal: &Principal, user: &UserId, topics: &[Pattern]) -> Result<(), Refusal> {
    if !principal.may_register(user) {
        return Err(match principal.token {
            None => Refusal::Unauthenticated { wrong: false },
            Some(_) => Refusal::ForbiddenUser { user: user.as_str().into() },
        });
    }
    // The connection of a token may subscribe to nothing else.
    if topics.is_empty() && principal.token.is_some() {
        return Err(Refusal::BadRequest("`topics` is empty: name what the connection may subscribe to".into()));
    }
    topics.iter().try_for_each(|topics| evaluate::admit(snapshot, principal, topics))
}

/// Where this server can be reached by WebSocket, without a slash at the end.
fn base_url(call: &Call, snapshot: &Snapshot) -> Result<String, Refusal> {
    match &snapshot.config.server.public_url {
        Some(url) => Ok(match url.strip_prefix("http") {
            Some(rest) => format!("ws{rest}"),
            None => url.clone(),
        }),
        None => {
            let scheme = if call.secure { "wss" } else { "ws" };
            Ok(format!("{scheme}://{}", call.host()?))
        }
    }
}
