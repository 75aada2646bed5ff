//! The routes of the public listener: their paths, methods and handlers.

use warp::filters::BoxedFilter;
use warp::http::Method;
use warp::reply::Response;
use warp::{Filter, Rejection, path};

use crate::http::call::{Call, Methods, call};
use crate::http::{answer, events, health, history, publish, register, topics, upgrade};
use crate::plugin::Protocol;
use crate::problem::Refusal;
use crate::telemetry::stats::Route;

/// Everything under `server.listen`, with answers for refusals and for requests that no route takes.
pub fn public(protocols: &'static [&'static dyn Protocol]) -> BoxedFilter<(Response,)> {
    // For requests that `published_topic` does not take: other methods, or a slash at the end.
    let publish = path!("publish" / String).and(call(Methods::Post)).and(warp::body::stream()).then(publish::one);
    let publish_many = path!("publish").and(call(Methods::Post)).and(warp::body::stream()).then(publish::envelopes);
    let validate =
        path!("validate" / String).and(call(Methods::Post)).and(warp::body::stream()).then(publish::validate);
    let open = path!("ws")
        .and(call(Methods::GetAndHead))
        .and(upgrade::pending())
        .then(move |call, pending| upgrade::upgrade(call, pending, None, protocols));
    let open_registered = path!("ws" / String)
        .and(call(Methods::GetAndHead))
        .and(upgrade::pending())
        .then(move |id: String, call, pending| upgrade::upgrade(call, pending, Some(id), protocols));
    let register = path!("register").and(call(Methods::Post)).and(warp::body::stream()).then(register::register);
    let unregister = path!("register" / String).and(call(Methods::Delete)).then(register::unregister);
    let stream = path!("events").and(call(Methods::Get)).then(|call| events::open(None, call));
    let stream_registered =
        path!("events" / String).and(call(Methods::Get)).then(|id: String, call| events::open(Some(id), call));
    let history = path!("history" / String).and(call(Methods::GetAndHead)).then(history::show);
    let list = path!("topics").and(call(Methods::GetAndHead)).then(topics::list);
    let show = path!("topics" / String).and(call(Methods::GetAndHead)).then(topics::show);
    let schema = path!("topics" / String / "schema").and(call(Methods::GetAndHead)).then(topics::schema);

    let messages = publish.or(publish_many).unify().or(validate).unify();
    let sockets = open.or(open_registered).unify().or(register).unify().or(unregister).unify();
    let facts = list.or(show).unify().or(schema).unify().or(probes()).unify();
    let streams = stream.or(stream_registered).unify().or(history).unify();
    // They are tried in this order: first the routes with the most requests.
    answered(sockets.or(messages).unify().or(streams).unify().or(facts).unify())
}

/// Answers what the routes refuse, and what no route takes.
pub fn answered<F>(routes: F) -> BoxedFilter<(Response,)>
where
    F: Filter<Extract = (Result<Response, Refusal>,), Error = Rejection> + Clone + Send + Sync + 'static,
{
    let recovered = |rejection| async move { Ok::<_, Rejection>(answer::rejected(rejection)) };
    routes.map(answer::either).recover(recovered).unify().boxed()
}

/// The topic of a `POST /publish/{topic}`.
///
/// That route's handler is called without the filters: it is by far the most frequent, and they would take a tenth of
/// its time.
pub fn published_topic(call: &Call) -> Option<&str> {
    let is_publish = call.route == Route::Publish && call.method == Method::POST;
    call.uri.path().strip_prefix("/publish/").filter(|topic| is_publish && !topic.ends_with('/'))
}

/// `GET /health` and `GET /ready`, on both listeners.
pub fn probes() -> BoxedFilter<(Result<Response, Refusal>,)> {
    let health = path!("health").and(call(Methods::GetAndHead)).then(health::health);
    let ready = path!("ready").and(call(Methods::GetAndHead)).then(health::ready);
    health.or(ready).unify().boxed()
}
