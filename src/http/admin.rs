//! The routes of the admin listener: how the server is, what it counts, what it is configured as.

use std::sync::Arc;

use serde_json::json;
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use crate::config::view::view;
use crate::http::call::{Call, call};
use crate::http::{answer, routes};
use crate::live::Live;
use crate::telemetry::scrape::{MEDIA_TYPE, Scraper};
use crate::telemetry::stats::Route;

/// Everything under `server.admin`. Refusals and what no route takes are answered too.
pub fn routes(live: &Arc<Live>) -> BoxedFilter<(Response,)> {
    let scraper = Arc::new(Scraper::new(live.clone()));
    let metrics = path!("metrics")
        .and(call(Route::Metrics, "GET, HEAD"))
        .map(move |_: Arc<Call>| answer::typed(StatusCode::OK, MEDIA_TYPE, scraper.text()));
    let config = path!("config").and(call(Route::Config, "GET, HEAD")).map(|call: Arc<Call>| config(&call));
    let all = routes::probes().or(metrics).unify().or(config).unify();
    all.recover(|rejection| async move { Ok::<_, warp::Rejection>(answer::turned(rejection)) }).unify().boxed()
}

/// `GET /config`: which configuration is in force.
fn config(call: &Call) -> Response {
    let snapshot = call.live.snapshot();
    answer::json(
        StatusCode::OK,
        &json!({
            "generation": snapshot.generation,
            "hash": snapshot.hash,
            "loaded_at": snapshot.loaded_at.to_string(),
            "config": view(&snapshot.config),
        }),
    )
}
