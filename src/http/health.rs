//! `GET /health` and `GET /ready`.

use std::sync::Arc;

use serde_json::json;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::http::call::Call;
use crate::http::door::Side;
use crate::http::{answer, origin};
use crate::problem::Refusal;

/// 200 while the process lives.
pub async fn health(_: Arc<Call>) -> Result<Response, Refusal> {
    Ok(answer::json(StatusCode::OK, &json!({"status": "ok"})))
}

/// 200 until the server drains.
pub async fn ready(call: Arc<Call>) -> Result<Response, Refusal> {
    if call.live().drain.has_begun() {
        return Err(Refusal::Draining);
    }
    let generation = call.snapshot.generation;
    let stale = call.live().reloads.stale();
    // A stale server serves as well as before; it is up to whoever deployed the change to look.
    let mut body = json!({"status": if stale.is_some() { "stale" } else { "ready" }});
    // A page that has rebound a name (DNS rebinding) must not learn more.
    if origin::is_served(&call) {
        body["generation"] = generation.into();
        // The reason names files, topics and tokens, which only operators may see.
        if let (Some(why), Side::Admin) = (stale, call.side()) {
            body["why"] = why.into();
        }
    }
    Ok(answer::json(StatusCode::OK, &body))
}
