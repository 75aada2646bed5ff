//! The routes of the admin listener: how the server is, what it counts, what it is configured as.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use crate::assemble::reload::{Reloader, Trigger};
use crate::config::view::view;
use crate::http::call::{Call, call};
use crate::http::{answer, routes};
use crate::live::Live;
use crate::problem::Refusal;
use crate::reloads::Outcome;
use crate::telemetry::scrape::{MEDIA_TYPE, Scraper};
use crate::telemetry::stats::Route;

/// Everything under `server.admin`. Refusals and what no route takes are answered too.
pub fn routes(live: &Arc<Live>, reloader: Option<Arc<Reloader>>) -> BoxedFilter<(Response,)> {
    let scraper = Arc::new(Scraper::new(live.clone()));
    let metrics = path!("metrics")
        .and(call(Route::Metrics, "GET, HEAD"))
        .map(move |_: Arc<Call>| answer::typed(StatusCode::OK, MEDIA_TYPE, scraper.text()));
    let config = path!("config").and(call(Route::Config, "GET, HEAD")).map(|call: Arc<Call>| config(&call));
    let reload = path!("reload").and(call(Route::Reload, "POST")).then(move |call: Arc<Call>| {
        let reloader = reloader.clone();
        async move { answer::either(reload(&call, reloader).await) }
    });
    let all = routes::probes().or(metrics).unify().or(config).unify().or(reload).unify();
    all.recover(|rejection| async move { Ok::<_, warp::Rejection>(answer::turned(rejection)) }).unify().boxed()
}

/// `POST /reload`, with `?dry_run=1` only what it would do: the plan, or the diagnostics in a 422.
async fn reload(call: &Call, reloader: Option<Arc<Reloader>>) -> Result<Response, Refusal> {
    let dry_run = match call.uri.query() {
        None | Some("" | "dry_run=0") => false,
        Some("dry_run=1") => true,
        Some(_) => return Err(Refusal::BadRequest("the only parameter is `dry_run`, `1` or `0`".into())),
    };
    let reloader = reloader.ok_or(Refusal::NotFound)?;
    let draining = Refusal::Draining { retry_after: Duration::from_secs(1) };
    let report = reloader.reload(Trigger::Request, dry_run).await.ok_or(draining)?;
    let status = match report.result {
        Outcome::Refused { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    Ok(answer::json(status, &report.to_json()))
}

/// `GET /config`: which configuration is in force.
fn config(call: &Call) -> Response {
    let snapshot = call.live.snapshot();
    let blown = snapshot.topics.iter().filter(|rules| rules.fuse.is_blown());
    let resting: Vec<_> = blown.map(|rules| rules.topic.name.as_str()).collect();
    answer::json(
        StatusCode::OK,
        &json!({
            "generation": snapshot.generation,
            "hash": snapshot.hash,
            "loaded_at": snapshot.loaded_at.to_string(),
            // Whose publishes are refused because validating them took too long again and again.
            "resting_topics": resting,
            "last_reload": call.live.reloads.to_json(),
            "config": view(&snapshot.config),
        }),
    )
}
