//! The routes of the public listener: the path, the methods, and who answers.

use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::reply::Response;
use warp::{Filter, Rejection, path};

use crate::http::Side;
use crate::http::call::{Call, Methods, call};
use crate::http::{answer, events, health, history, publish, register, topics, upgrade};
use crate::plugin::Protocol;
use crate::problem::Refusal;
use crate::telemetry::stats::Route;

/// Everything under `server.listen`. Refusals and what no route takes are answered too.
pub fn public(protocols: &'static [&'static dyn Protocol]) -> BoxedFilter<(Response,)> {
    // What `published_topic` does not take: other methods, a slash at the end.
    let publish =
        path!("publish" / String).and(call(Route::Publish, Methods::Post)).and(warp::body::stream()).then(publish::one);
    let publish_many = path!("publish")
        .and(call(Route::PublishMany, Methods::Post))
        .and(warp::body::stream())
        .then(publish::envelopes);
    let validate = path!("validate" / String)
        .and(call(Route::Validate, Methods::Post))
        .and(warp::body::stream())
        .then(publish::validate);
    let open = path!("ws")
        .and(call(Route::WebSocket, Methods::GetAndHead))
        .and(upgrade::pending())
        .then(move |call, pending| upgrade::upgrade(call, pending, None, protocols));
    let open_registered = path!("ws" / String)
        .and(call(Route::WebSocket, Methods::GetAndHead))
        .and(upgrade::pending())
        .then(move |id: String, call, pending| upgrade::upgrade(call, pending, Some(id), protocols));
    let register =
        path!("register").and(call(Route::Register, Methods::Post)).and(warp::body::stream()).then(register::register);
    let unregister =
        path!("register" / String).and(call(Route::Unregister, Methods::Delete)).then(register::unregister);
    let stream = path!("events").and(call(Route::Events, Methods::Get)).then(|call| events::open(None, call));
    let stream_registered = path!("events" / String)
        .and(call(Route::Events, Methods::Get))
        .then(|id: String, call| events::open(Some(id), call));
    let history = path!("history" / String).and(call(Route::History, Methods::GetAndHead)).then(history::show);
    let list = path!("topics").and(call(Route::Topics, Methods::GetAndHead)).then(topics::list);
    let show = path!("topics" / String).and(call(Route::Topics, Methods::GetAndHead)).then(topics::show);
    let schema = path!("topics" / String / "schema").and(call(Route::Topics, Methods::GetAndHead)).then(topics::schema);

    let messages = publish.or(publish_many).unify().or(validate).unify();
    let sockets = open.or(open_registered).unify().or(register).unify().or(unregister).unify();
    let facts = list.or(show).unify().or(schema).unify().or(probes()).unify();
    let streams = stream.or(stream_registered).unify().or(history).unify();
    // They are tried in this order: first those of whom there may be a crowd.
    answered(sockets.or(messages).unify().or(streams).unify().or(facts).unify())
}

/// Routes with what they refuse answered, and what no route takes.
pub fn answered<F>(routes: F) -> BoxedFilter<(Response,)>
where
    F: Filter<Extract = (Result<Response, Refusal>,), Error = Rejection> + Clone + Send + Sync + 'static,
{
    let recovered = |rejection| async move { Ok::<_, Rejection>(answer::rejected(rejection)) };
    routes.map(answer::either).recover(recovered).unify().boxed()
}

/// The topic of a `POST /publish/{topic}`, which goes to the handler of that route without the filters: it is asked by
/// far the most, and they would take a tenth of its time.
pub fn published_topic(call: &Call) -> Option<&str> {
    let topic = call.uri.path().strip_prefix("/publish/")?;
    let is_publish = call.side() == Side::Public && call.method == Method::POST;
    (is_publish && !topic.is_empty() && !topic.contains('/')).then_some(topic)
}

/// The route of a path, whatever the method.
///
/// # Errors
/// 404, which knows the paths of the other listener.
pub fn find(side: Side, path: &str) -> Result<Route, Refusal> {
    let other = if side == Side::Public { Side::Admin } else { Side::Public };
    let elsewhere = || match of(other, path) {
        Some(_) => Refusal::OtherListener { path: path.to_owned(), admin: other == Side::Admin },
        None => Refusal::NotFound,
    };
    of(side, path).ok_or_else(elsewhere)
}

/// As the filters of the listener take it.
fn of(side: Side, path: &str) -> Option<Route> {
    let path = path.strip_prefix('/')?;
    let segments: Vec<&str> = path.strip_suffix('/').unwrap_or(path).split('/').collect();
    Some(match (side, segments.as_slice()) {
        (_, [.., ""]) => return None,
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
        _ => return None,
    })
}

/// `GET /health` and `GET /ready`, on both listeners.
pub fn probes() -> BoxedFilter<(Result<Response, Refusal>,)> {
    let health = path!("health").and(call(Route::Health, Methods::GetAndHead)).then(health::health);
    let ready = path!("ready").and(call(Route::Ready, Methods::GetAndHead)).then(health::ready);
    health.or(ready).unify().boxed()
}
