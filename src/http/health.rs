//! `GET /health` and `GET /ready`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use warp::http::StatusCode;
use warp::reply::Response;

use crate::http::call::Call;
use crate::http::{answer, origin};
use crate::problem::Refusal;

/// Whether the path asks how the server is.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/health" | "/ready")
}

/// 200 while the process lives.
pub async fn health(_: Arc<Call>) -> Response {
    answer::json(StatusCode::OK, &json!({"status": "ok"}))
}

/// 200 until the server drains.
pub async fn ready(call: Arc<Call>) -> Response {
    if call.live().drain.has_begun() {
        return answer::refusal(&Refusal::Draining { retry_after: Duration::from_secs(1) });
    }
    let generation = call.snapshot.generation;
    let body = match call.live().reloads.stale() {
        // Why names keys and topics, which a page that has rebound a name would read.
        stale if !origin::is_served(&call) => json!({"status": if stale.is_some() { "stale" } else { "ready" }}),
        // It serves as well as before; whoever deployed the change should look.
        Some(why) => json!({"status": "stale", "generation": generation, "why": why}),
        None => json!({"status": "ready", "generation": generation}),
    };
    answer::json(StatusCode::OK, &body)
}
