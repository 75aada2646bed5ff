//! HTTP/1.1: the routes, the checks before them, and what is added to every answer.
//!
//! A request passes the front ([`serve`]), which checks its target, its Host, its Origin, and then whether there is
//! room for it. Warp filters route it, except the publish of one message. One function of this folder answers it, with
//! a response or a [`Refusal`]. Nothing here decides about messages, which is up to `ingest`; only `answer.rs` makes a
//! response of a refusal.

mod admin;
mod answer;
mod body;
mod call;
mod connections;
mod credential;
pub mod door;
mod envelope;
mod events;
pub mod flow;
pub mod forwarded;
mod handshake;
mod headers;
mod health;
mod history;
mod origin;
mod paths;
mod publish;
mod query;
mod register;
mod routes;
mod stream;
mod topics;
mod upgrade;

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::{BoxFuture, ready};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tower_service::Service;
use tracing::info;
use warp::http::header::{CONNECTION, HeaderValue, UPGRADE};
use warp::http::{Method, Request, StatusCode};
use warp::reply::Response;

use crate::assemble::reload::Reloader;
use crate::http::call::Call;
use crate::http::door::{Door, Link, Side};
use crate::http::flow::Holder;
use crate::hub::answer::Answer;
use crate::hub::connection::{Connection, NoSocket};
use crate::live::Live;
use crate::plugin::Protocol;
use crate::problem::{Rate, Refusal};
use crate::telemetry::panics;
use crate::telemetry::stats::Route;

/// A larger answer, in bytes, counts against `limits.outbound` until it is sent.
const LARGE: usize = 16 << 10;

/// The door of `server.listen`. For `loopback` see [`Door::loopback`]; `protocols` are the subprotocols, the default
/// one first.
pub fn public_door(live: Arc<Live>, loopback: bool, protocols: &'static [&'static dyn Protocol]) -> Door {
    Door { live, routes: routes::public(protocols), loopback, side: Side::Public }
}

/// The door of `server.admin`.
pub fn admin_door(live: Arc<Live>, loopback: bool, reloader: Option<Arc<Reloader>>) -> Door {
    Door { routes: admin::routes(&live, reloader), live, loopback, side: Side::Admin }
}

/// Answers one request. Cannot fail: a panic is answered too.
///
/// Work that need not wait is done before the future is made, and work that waits is boxed: a request is large, and
/// every future that it passes through would move it.
pub fn serve(request: Request<Incoming>, link: Arc<Link>) -> impl Future<Output = Response> {
    link.flow.request_came();
    link.flow.set_unread(!request.body().is_end_stream());
    let began = Instant::now();
    let entered = std::panic::catch_unwind(AssertUnwindSafe(|| enter(request, &link)));
    async move {
        let answered = match entered {
            Ok((call, routed)) => AssertUnwindSafe(finish(call, began, routed)).catch_unwind().await,
            Err(panic) => Err(panic),
        };
        let response = answered.unwrap_or_else(|_| {
            let live = &link.door.live;
            live.stats.panics.add(1);
            answer::refusal(&live.internal(&format!("a request handler panicked at {}", panics::last_place())))
        });
        link.flow.answer_came();
        response
    }
}

/// Checks a request at the front, and finds its handler.
fn enter(request: Request<Incoming>, link: &Arc<Link>) -> (Arc<Call>, BoxFuture<'static, Response>) {
    let (parts, body) = request.into_parts();
    let (call, extensions) = Call::take(link.clone(), parts);
    let routed: BoxFuture<'static, Response> = match admit(&call) {
        Err(refusal) => Box::pin(ready(turn_away(&call, &refusal))),
        Ok(()) if call.route == Route::None => {
            Box::pin(ready(answer::refusal(&paths::nowhere(call.side(), call.uri.path()))))
        }
        Ok(()) => match routes::published_topic(&call) {
            Some(topic) => {
                let published = publish::one(topic.to_owned(), call.clone(), body.into_data_stream());
                Box::pin(published.map(answer::either))
            }
            None => {
                let request = call.request(extensions, body);
                let routed = warp::service(link.door.routes.clone()).call(request);
                Box::pin(routed.map(|routed| routed.unwrap_or_else(|never| match never {})))
            }
        },
    };
    (call, routed)
}

/// The checks before routing.
///
/// # Errors
/// The target is too long, the Host or the Origin is foreign, or there is no room.
fn admit(call: &Call) -> Result<(), Refusal> {
    let bytes = call.snapshot.config.limits.uri;
    if call.target_len() > bytes {
        return Err(Refusal::UriTooLong { bytes });
    }
    if !call.framed {
        let detail = "send `Transfer-Encoding: chunked` once, or a `Content-Length`";
        return Err(Refusal::BadRequest(detail.into()));
    }
    origin::admit(call)?;
    // Probes are answered on connections over the limit too: a restart would not help.
    if paths::is_probe(call.uri.path()) {
        return Ok(());
    }
    if call.link.over_rate {
        return Err(Refusal::RateLimited(Rate::Connects));
    }
    if call.link.permit.is_over() {
        return Err(Refusal::Overloaded {
            what: match call.side() {
                Side::Public => {
                    "there are as many connections as `limits.connections`, or the limit of open files, allows"
                }
                Side::Admin => "there are as many connections as `server.admin` takes",
            },
            retry_after: Duration::from_secs(1),
        });
    }
    Ok(())
}

fn turn_away(call: &Call, refusal: &Refusal) -> Response {
    let (stats, listener, peer) = (&call.live().stats, call.side().name(), call.peer);
    match refusal {
        Refusal::Overloaded { .. } if call.side() == Side::Public => stats.over_connections.add(1),
        Refusal::RateLimited(_) => stats.over_connect_rate.add(1),
        // The page sees nothing but that its connection failed. Anybody may send these: as strings they are quoted, so that
        // they cannot pass for other fields, and a name has at most 255 bytes.
        Refusal::OriginDenied { origin, .. } => {
            let origin = origin.get(..300).unwrap_or(origin);
            info!(origin, listener, %peer, "a page of a foreign origin was refused");
        }
        Refusal::UnknownHost { host, .. } => {
            let host = host.get(..300).unwrap_or(host);
            info!(host, listener, %peer, "a request for a foreign host was refused");
        }
        _ => {}
    }
    match refusal {
        // A refusal would end an EventSource for good, although it should come back once there is room.
        Refusal::Overloaded { .. } | Refusal::RateLimited(_) if call.route == Route::Events => {
            events::send_away(call.live(), refusal.into())
        }
        refusal => answer::refusal(refusal),
    }
}

/// Adds what every answer has, and counts it.
async fn finish(call: Arc<Call>, began: Instant, routed: BoxFuture<'static, Response>) -> Response {
    let mut response = routed.await;
    // hyper closes the connection after an answer if the request's body was not read and is not complete at its next
    // read. Yielding lets it read before the answer is written, which then says `Connection: close`; otherwise the
    // client's next request would be lost. (Nothing is handed over yet, so what is flushed meanwhile does not count as
    // the answer.)
    if call.link.flow.is_unread() {
        tokio::task::yield_now().await;
    }
    account_large_answer(&call, &mut response);
    origin::add_headers(&call, &mut response);
    let live = call.live();
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        call.link.flow.upgrade();
    } else if call.is_last() || live.drain.has_begun() {
        let headers = response.headers_mut();
        let close = if headers.contains_key(UPGRADE) { "Upgrade, close" } else { "close" };
        headers.insert(CONNECTION, HeaderValue::from_static(close));
    }
    live.stats.answered(call.route, response.status().as_u16());
    if matches!(call.route, Route::Publish | Route::PublishMany) {
        live.stats.publish_request.observe(began.elapsed());
    }
    response
}

/// Counts a large answer as held until its peer has read it.
///
/// The answer to a GET can be requested again, and so can a refusal: these may be dropped. The result of a publish is
/// delivered in any case.
fn account_large_answer(call: &Call, response: &mut Response) {
    let bytes = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    // The answer to a HEAD is only its header.
    if bytes <= LARGE || call.side() == Side::Admin || call.method == Method::HEAD {
        return;
    }
    let hub = &call.live().hub;
    let repeatable = call.method == Method::GET || !response.status().is_success();
    if repeatable && !hub.outbound.admits_answer(call.snapshot.config.limits.outbound) {
        *response = answer::refusal(&Refusal::Overloaded {
            what: "slow readers hold more than half of `limits.outbound`",
            retry_after: Duration::from_secs(1),
        });
    } else {
        let holder = match repeatable {
            true => Holder::Answer(Answer::new(hub.clone())),
            false => Holder::MustDeliver(Connection::new(NoSocket, hub.outbound.clone())),
        };
        call.link.flow.keep(holder, bytes);
    }
}
