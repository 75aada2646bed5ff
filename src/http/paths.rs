//! The paths of both listeners.

use crate::http::door::Side;
use crate::problem::Refusal;
use crate::telemetry::stats::Route;

/// The route of a path. It repeats the paths of the filters; a test compares the two.
pub fn route(side: Side, path: &str) -> Route {
    let path = path.strip_prefix('/').unwrap_or_default();
    // One more than any route has.
    let mut segments = [""; 4];
    let found = path.strip_suffix('/').unwrap_or(path).split('/').zip(&mut segments);
    let found = found.map(|(segment, place)| *place = segment).count();
    match (side, &segments[..found]) {
        (_, [.., ""]) => Route::None,
        (_, ["health"]) => Route::Health,
        (_, ["ready"]) => Route::Ready,
        (Side::Public, ["publish"]) => Route::PublishMany,
        (Side::Public, ["publish", _]) => Route::Publish,
        (Side::Public, ["validate", _]) => Route::Validate,
        (Side::Public, ["ws"] | ["ws", _]) => Route::WebSocket,
        (Side::Public, ["events"] | ["events", _]) => Route::Events,
        (Side::Public, ["history", _]) => Route::History,
        (Side::Public, ["register"]) => Route::Register,
        (Side::Public, ["register", _]) => Route::Unregister,
        (Side::Public, ["topics"] | ["topics", _] | ["topics", _, "schema"]) => Route::Topics,
        (Side::Admin, ["metrics"]) => Route::Metrics,
        (Side::Admin, ["config"]) => Route::Config,
        (Side::Admin, ["connections"]) => Route::Connections,
        (Side::Admin, ["reload"]) => Route::Reload,
        _ => Route::None,
    }
}

/// The refusal of an unknown path, which says so if the other listener has it.
pub fn nowhere(side: Side, path: &str) -> Refusal {
    let other = if side == Side::Public { Side::Admin } else { Side::Public };
    match route(other, path) {
        Route::None => Refusal::NotFound,
        _ => Refusal::OtherListener { path: path.to_owned(), admin: other == Side::Admin },
    }
}

/// Whether the path is that of a probe.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/health" | "/ready")
}
