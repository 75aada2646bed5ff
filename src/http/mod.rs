//! HTTP/1.1: the routes, what is checked before them, and what is added to every answer.
//!
//! A request passes the front ([`Door::answer`]: its target, its Host, its Origin, then whether there is room for it),
//! is routed by a warp filter, and is answered by one function of this folder with a response or a [`Refusal`].
//! Decides nothing about messages: that is `ingest`'s. Only `answer` makes a response of a refusal.

mod admin;
mod answer;
mod body;
mod call;
mod credential;
mod envelope;
mod events;
pub mod flow;
pub mod forwarded;
mod health;
mod history;
mod origin;
mod publish;
mod query;
mod register;
mod routes;
mod stream;
mod topics;
mod upgrade;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use hyper::body::{Body as _, Incoming};
use tower_service::Service;
use warp::filters::BoxedFilter;
use warp::http::header::{CONNECTION, HeaderValue};
use warp::http::{Method, Request, StatusCode};
use warp::reply::Response;

use crate::assemble::reload::Reloader;
use crate::close::Close;
use crate::connections::Permit;
use crate::http::call::Call;
use crate::http::flow::Flow;
use crate::hub::connection::NoSocket;
use crate::live::Live;
use crate::plugin::Protocol;
use crate::problem::Refusal;
use crate::protocol::sse::Sse;
use crate::snapshot::Snapshot;
use crate::telemetry::stats::Route;

/// A larger answer counts in `limits.outbound` until it has left, in bytes.
const LARGE: usize = 16 << 10;

/// What the server knows of a connection; every request on it has it.
#[derive(Clone)]
pub struct Link {
    /// The other end; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Its place.
    pub permit: Permit,
    /// Whether what is answered has left.
    pub flow: Flow,
    /// Whether it is encrypted.
    pub secure: bool,
    /// Whether its network makes more connections than `limits.connect_rate` allows.
    pub hasty: bool,
}

/// Where requests of one listener come in.
pub struct Door {
    live: Arc<Live>,
    routes: BoxedFilter<(Response,)>,
    /// Whether only this machine reaches the listener over TCP: then a foreign Host is a page that rebinds its name.
    loopback: bool,
    side: Side,
}

/// For whom a door is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Publishers and subscribers.
    Public,
    /// Operators.
    Admin,
}

impl Door {
    /// The door of `server.listen`. `protocols` are the subprotocols, the default one first.
    pub fn public(live: Arc<Live>, loopback: bool, protocols: &'static [&'static dyn Protocol]) -> Self {
        Self { live, routes: routes::public(protocols), loopback, side: Side::Public }
    }

    /// The door of `server.admin`.
    pub fn admin(live: Arc<Live>, loopback: bool, reloader: Option<Arc<Reloader>>) -> Self {
        Self { routes: admin::routes(&live, reloader), live, loopback, side: Side::Admin }
    }

    /// For whom the door is.
    pub fn side(&self) -> Side {
        self.side
    }

    /// Answers one request. Cannot fail, and a panic on the way is an answer too.
    pub async fn answer(&self, request: Request<Incoming>, link: Link) -> Response {
        let flow = link.flow.clone();
        flow.ask();
        let response = AssertUnwindSafe(self.pass(request, link)).catch_unwind().await.unwrap_or_else(|_| {
            self.live.stats.panics.add(1);
            answer::refusal(&self.live.internal("a request handler panicked"))
        });
        flow.answer();
        response
    }

    async fn pass(&self, mut request: Request<Incoming>, link: Link) -> Response {
        let began = Instant::now();
        let snapshot = self.live.snapshot();
        let call = Arc::new(Call::take(&self.live, &snapshot, self.side, &mut request, link));
        let mut response = match call.admit(&snapshot, self.loopback) {
            Err(Refusal::Overloaded { .. }) if events::is_stream(call.uri.path()) => {
                events::send_away(&self.live, Close::OverCapacity)
            }
            Err(refusal) => answer::refusal(&refusal),
            Ok(()) => {
                request.extensions_mut().insert(call.clone());
                let routed = warp::service(self.routes.clone()).call(request).await;
                match routed {
                    Ok(response) => response,
                    Err(never) => match never {},
                }
            }
        };
        self.weigh(&call, &snapshot, &mut response);
        origin::mark(&call, &snapshot, &mut response);
        let is_upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if !is_upgrade && (call.is_last() || self.live.drain.has_begun()) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        self.live.stats.answered(call.route(), response.status().as_u16());
        if matches!(call.route(), Route::Publish | Route::PublishMany) {
            self.live.stats.publish_request.observe(began.elapsed());
        }
        response
    }

    /// A peer that does not read its answer holds all of it. What a GET asked for can be asked for again; what came of a
    /// publish is told in any case.
    fn weigh(&self, call: &Call, snapshot: &Snapshot, response: &mut Response) {
        let bytes = response.body().size_hint().exact().and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
        if bytes <= LARGE || self.side == Side::Admin {
            return;
        }
        if call.method == Method::GET && !self.live.hub.outbound.admits(snapshot.config.limits.outbound) {
            *response = answer::refusal(&Refusal::Overloaded {
                what: "slow readers hold nearly as much as `limits.outbound` allows",
                retry_after: Duration::from_secs(1),
            });
        } else {
            call.flow.keep(self.live.hub.subscriber(NoSocket, &Sse), bytes);
        }
    }
}
