//! `POST /register` and `DELETE /register/{id}`.

use std::sync::Arc;
use std::time::Instant;

use bytes::Buf;
use futures::TryStream;
use serde::Deserialize;
use serde_json::json;
use tracing::info;
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

/// The body of a registration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    user_id: UserId,
    #[serde(default)]
    topics: Vec<String>,
}

/// `POST /register`: answers with a URL that connects as this user.
pub async fn register(call: Arc<Call>, body: impl TryStream<Ok: Buf> + Send) -> Result<Response, Refusal> {
    // First, so that the log line of any refusal can name it.
    let _ = call.caller().await;
    make(&call, body).await.inspect_err(|refusal| log_refused(&call, refusal))
}

/// The one log line of a refused registration.
fn log_refused(call: &Call, refusal: &Refusal) {
    let (problem, cause, topic) = (refusal.slug(), refusal.cause(), refusal.topics());
    let (principal, peer) = (call.caller_name(), call.peer);
    let user = match refusal {
        Refusal::ForbiddenUser { user } => Some(user.as_str()),
        _ => None,
    };
    info!(problem, cause, topic, user, principal, %peer, "a registration was refused");
}

async fn make(call: &Call, body: impl TryStream<Ok: Buf> + Send) -> Result<Response, Refusal> {
    Params::none(&call.uri)?;
    let Whole { body, snapshot, principal, .. } = arrive(call, body, Expected::Json).await?;
    let read = || parse(&body, snapshot.config.limits.json_depth);
    let Request { user_id, topics } = call.live().judging.turn(body.len()).await?.take(read)?;
    let topics = distinct(topics.iter().map(|text| query::topics(text)).collect::<Result<Vec<_>, _>>()?);
    let most = snapshot.config.limits.subscriptions;
    if topics.len() > most {
        return Err(Refusal::TooMany { what: "the list of topics", limit: "subscriptions", most });
    }
    admit(&snapshot, &principal, &user_id, &topics)?;
    let base = base_url(call, &snapshot)?;
    let registration = Registration::new(principal, user_id, topics);
    let id = call.live().registrations.register(registration, &snapshot.config.limits, Instant::now())?;
    // A reload that was committed meanwhile could not end this registration, which did not exist yet.
    if !call.live().is_current(&snapshot) {
        call.live().registrations.end_lost(&call.live().snapshot(), Time::now());
    }
    Ok(answer::json(StatusCode::OK, &json!({"id": id.to_string(), "url": format!("{base}/ws/{id}")})))
}

/// `DELETE /register/{id}`: the id is a secret, so knowing it is enough.
///
/// A wrong credential is refused here as everywhere.
pub async fn unregister(id: String, call: Arc<Call>) -> Result<Response, Refusal> {
    // As above.
    let _ = call.caller().await;
    end(&call, &id).await.inspect_err(|refusal| {
        let (problem, principal) = (refusal.slug(), call.caller_name());
        info!(problem, principal, peer = %call.peer, "a request to end a registration was refused");
    })
}

async fn end(call: &Call, id: &str) -> Result<Response, Refusal> {
    Params::none(&call.uri)?;
    call.caller().await?;
    match call.live().registrations.remove(id, Instant::now()) {
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
        // serde quotes the unexpected value, however long it is.
        let detail: String = error.to_string().chars().take(200).collect();
        Refusal::BadRequest(format!("{SHAPE}: {detail}"))
    })
}

/// Whether the caller may register a connection for this user that subscribes to these topics.
fn admit(snapshot: &Snapshot, principal: &Principal, user: &UserId, topics: &[Pattern]) -> Result<(), Refusal> {
    if !principal.may_register(user) {
        return Err(match principal.token {
            None => Refusal::Unauthenticated { wrong: false },
            Some(_) => Refusal::ForbiddenUser { user: user.as_str().into() },
        });
    }
    // A token's registration grants nothing but these topics.
    if topics.is_empty() && principal.token.is_some() {
        return Err(Refusal::BadRequest("`topics` is empty: name what the connection may subscribe to".into()));
    }
    topics.iter().try_for_each(|topics| evaluate::admit(snapshot, principal, topics))
}

/// The URL of this server for WebSockets, without a slash at the end.
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
