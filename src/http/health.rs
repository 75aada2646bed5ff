//! `GET /health` and `GET /ready`.

use std::sync::Arc;

use serde_json::json;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::http::call::Call;
use crate::http::{Side, answer, origin};
use crate::problem::Refusal;

/// Whether the path asks how the server is.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/health" | "/ready")
}

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
    // Also when stale it serves as well as before; whoever deployed the change should look.
    let mut body = json!({"status": if stale.is_some() { "stale" } else { "ready" }});
    // A page that has rebound a name is told no more.
    if origin::is_served(&call) {
        body["generation"] = generation.into();
        // Why names files, topics and tokens: that is for operators.
        if let (Some(why), Side::Admin) = (stale, call.side()) {
            body["why"] = why.into();
        }
    }
    Ok(answer::json(StatusCode::OK, &body))
}
