//! `GET /topics`, `/topics/{topic}`, `/topics/{topic}/schema`: what is declared, as far as the caller may know it.
//!
//! A caller may know a declared name if it may publish or subscribe to some topic of it. To anybody else an undeclared
//! name looks the same as a declared one.

use std::sync::Arc;

use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};
use warp::http::StatusCode;
use warp::reply::Response;

use crate::background;
use crate::evaluate;
use crate::http::answer;
use crate::http::call::Call;
use crate::http::query::Params;
use crate::name::Pattern;
use crate::principal::{Action, Principal, authorize_topic};
use crate::problem::Refusal;
use crate::snapshot::{Snapshot, TopicRules};
use crate::spelling::quoted;

/// Characters of declared names that must be escaped in a path.
const BRACES: &AsciiSet = &CONTROLS.add(b'{').add(b'}');

/// `GET /topics`
pub async fn list(call: Arc<Call>) -> Result<Response, Refusal> {
    Params::none(&call.uri)?;
    let snapshot = &call.snapshot;
    let principal = call.caller().await?;
    // There may be thousands.
    Ok(background::in_place(|| {
        let mut visible: Vec<&Arc<TopicRules>> =
            snapshot.topics.iter().filter(|rules| may_know(snapshot, principal, &rules.topic.name)).collect();
        visible.sort_unstable_by_key(|rules| rules.config);
        let topics: Vec<Value> = visible.into_iter().map(|rules| shown(snapshot, rules)).collect();
        answer::json(StatusCode::OK, &json!({"topics": topics}))
    }))
}

/// `GET /topics/{topic}`: of a declared name or of a concrete topic.
pub async fn show(topic: String, call: Arc<Call>) -> Result<Response, Refusal> {
    Params::none(&call.uri)?;
    let snapshot = &call.snapshot;
    let principal = call.caller().await?;
    let rules = find(&topic, snapshot, principal)?;
    Ok(answer::json(StatusCode::OK, &shown(snapshot, &rules)))
}

/// `GET /topics/{topic}/schema`: the schema as a document.
pub async fn schema(topic: String, call: Arc<Call>) -> Result<Response, Refusal> {
    Params::none(&call.uri)?;
    let snapshot = &call.snapshot;
    let principal = call.caller().await?;
    let rules = find(&topic, snapshot, principal)?;
    let text = serde_json::to_vec(rules.schema.document()).expect("a schema is JSON");
    Ok(answer::typed(StatusCode::OK, "application/schema+json", text))
}

/// The declared topic for a name in a path. A family's own name has braces, which are percent-encoded in a path.
fn find(text: &str, snapshot: &Snapshot, principal: &Principal) -> Result<Arc<TopicRules>, Refusal> {
    let text = percent_decode_str(text).decode_utf8_lossy();
    let bad = |error| Refusal::BadRequest(format!("{} is not a topic name: {error}", quoted(&text)));
    let pattern = Pattern::parse(&text).map_err(bad)?;
    let topic = pattern.exact();
    let may = match &topic {
        Some(topic) => [Action::Publish, Action::Subscribe].iter().any(|act| authorize_topic(principal, *act, topic)),
        None => may_know(snapshot, principal, &pattern),
    };
    if !may {
        return Err(Refusal::denied(principal, Action::Subscribe, &pattern));
    }
    let found = match &topic {
        Some(topic) => snapshot.resolve(topic),
        None => snapshot.topics.get(&pattern).filter(|rules| rules.topic.name.as_str() == text),
    };
    let undeclared = || evaluate::undeclared(snapshot, principal, text.into_owned());
    found.cloned().ok_or_else(undeclared)
}

fn may_know(snapshot: &Snapshot, principal: &Principal, declared: &Pattern) -> bool {
    let grants = &principal.grants;
    grants.publish.iter().chain(grants.subscribe.iter()).any(|grant| snapshot.reaches(grant, declared))
}

/// The JSON of a topic. `schema` is the path of its schema, `null` if it takes any JSON; `examples` are the valid ones
/// of relay.toml.
fn shown(snapshot: &Snapshot, rules: &TopicRules) -> Value {
    let config = &snapshot.config.topics[rules.config];
    let examples: Vec<&Value> =
        config.examples.iter().filter(|example| example.valid).map(|example| &example.instance).collect();
    json!({
        "topic": config.name.as_str(),
        "description": config.description,
        "schema": rules.schema.file().map(|_| format!("/topics/{}/schema", utf8_percent_encode(config.name.as_str(), BRACES))),
        "examples": examples,
        "history": {
            "count": config.history.count,
            "bytes": config.history.bytes,
            "age_seconds": config.history.age.as_secs(),
        },
    })
}
