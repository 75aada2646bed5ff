//! The routes of the admin listener: probes, metrics, the configuration, reloads, and the subscribers.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use warp::filters::BoxedFilter;
use warp::http::StatusCode;
use warp::reply::Response;
use warp::{Filter, path};

use crate::assemble::reload::Reloader;
use crate::background;
use crate::config::view::view;
use crate::http::call::{Call, Methods, call};
use crate::http::query::Params;
use crate::http::{answer, connections, routes};
use crate::live::Live;
use crate::problem::Refusal;
use crate::reloads::{Outcome, Trigger};
use crate::snapshot::TopicRules;
use crate::telemetry::scrape::{MEDIA_TYPE, Scraper};

/// Everything under `server.admin`, with answers for refusals and for requests that no route takes.
pub fn routes(live: &Arc<Live>, reloader: Option<Arc<Reloader>>) -> BoxedFilter<(Response,)> {
    let scraper = Arc::new(Scraper::new(live.clone()));
    let metrics = path!("metrics").and(call(Methods::GetAndHead)).map(move |_: Arc<Call>| {
        Ok::<_, Refusal>(answer::typed(StatusCode::OK, MEDIA_TYPE, background::in_place(|| scraper.text())))
    });
    let config =
        path!("config").and(call(Methods::GetAndHead)).map(|call: Arc<Call>| background::in_place(|| config(&call)));
    let connections = path!("connections")
        .and(call(Methods::GetAndHead))
        .map(|call: Arc<Call>| background::in_place(|| connections::show(&call)));
    let reload = path!("reload").and(call(Methods::Post)).then(move |call: Arc<Call>| {
        let reloader = reloader.clone();
        async move { reload(&call, reloader).await }
    });
    let all = routes::probes().or(metrics).unify().or(config).unify().or(connections).unify().or(reload).unify();
    routes::answered(all)
}

/// `POST /reload`, with `?dry_run=1` only to show what it would do: the plan, or the diagnostics in a 422.
async fn reload(call: &Call, reloader: Option<Arc<Reloader>>) -> Result<Response, Refusal> {
    let dry_run = switch(call, "dry_run")?;
    let reloader = reloader.ok_or(Refusal::NotFound)?;
    let report =
        reloader.reload(Trigger::Request, dry_run).await.ok_or_else(|| match call.live().drain.has_begun() {
            true => Refusal::Draining,
            false => call.live().internal("a reload panicked"),
        })?;
    let status = match report.result {
        Outcome::Refused => StatusCode::UNPROCESSABLE_ENTITY,
        _ => StatusCode::OK,
    };
    Ok(answer::json(status, &report.to_json()))
}

/// `GET /config`: the configuration in force. With `?schemas=1` also its schemas, for `relay check --against`.
fn config(call: &Call) -> Result<Response, Refusal> {
    let with_schemas = switch(call, "schemas")?;
    let snapshot = &call.snapshot;
    let blown = snapshot.topics.iter().filter(|rules| rules.fuse.is_blown());
    let resting: Vec<_> = blown.map(|rules| rules.topic.name.as_str()).collect();
    let shadows: Map<_, _> = snapshot.topics.iter().filter_map(|rules| shadow(rules)).collect();
    let mut json = json!({
        "generation": snapshot.generation,
        "hash": snapshot.hash,
        "loaded_at": snapshot.loaded_at.to_string(),
        "last_reload": call.live().reloads.to_json(),
        // Topics that refuse publishes because validation was too slow again and again.
        "resting_topics": resting,
        "stale": call.live().reloads.stale(),
        "config": view(&snapshot.config),
        "shadows": shadows,
    });
    if with_schemas {
        let next = |rules: &TopicRules| rules.shadow.as_ref().map(|shadow| shadow.schema.clone());
        let all = snapshot.topics.iter().flat_map(|rules| std::iter::once(rules.schema.clone()).chain(next(rules)));
        let mut files = Map::new();
        for schema in all {
            files.extend(schema.files().map(|(file, document)| (file.to_owned(), document.clone())));
        }
        json["schemas"] = files.into();
    }
    Ok(answer::json(StatusCode::OK, &json))
}

fn shadow(rules: &TopicRules) -> Option<(String, Value)> {
    let shadow = rules.shadow.as_ref()?;
    Some((rules.topic.name.to_string(), shadow.to_json()))
}

/// The only parameter of a call, which must be `1` or `0`.
fn switch(call: &Call, name: &str) -> Result<bool, Refusal> {
    Ok(Params::parse(&call.uri, &[name])?.number(name, 0, 1)? == Some(1))
}
