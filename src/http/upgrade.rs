//! The HTTP side of a WebSocket: the opening handshake (RFC 6455, section 4.2).
//!
//! A browser cannot see the status of a refused upgrade. So for what a browser can send, a wrong registration or a
//! credential in the query, the upgrade succeeds and the WebSocket side closes with a code. A bearer token in the
//! header, which browsers cannot send, is refused with a status: a program that connects in a loop would take each
//! upgrade for success.

use std::convert::Infallible;
use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use secrecy::SecretString;
use tracing::debug;
use warp::Filter;
use warp::http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, HeaderName, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, TRANSFER_ENCODING, UPGRADE,
};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use crate::close::Close;
use crate::http::answer;
use crate::http::call::Call;
use crate::http::credential;
use crate::http::handshake::{accept_key, is_key};
use crate::http::query::Params;
use crate::live::Live;
use crate::plugin::Protocol;
use crate::problem::Refusal;
use crate::server::http_socket::HttpSocket;
use crate::server::socket::Socket;
use crate::ws;
use crate::ws::opening::{Opening, Upgraded};

/// Extracts the upgrade that hyper offers, if the request asked for one.
pub fn pending() -> impl Filter<Extract = (Option<OnUpgrade>,), Error = Infallible> + Copy {
    warp::ext::optional::<OnUpgrade>()
}

/// Answers the handshake and starts the WebSocket's task.
///
/// # Errors
/// 400 or 426 if it is not a handshake, or no subprotocol can be agreed on; 401 or 429 for its `Authorization`.
pub async fn upgrade(
    call: Arc<Call>,
    pending: Option<OnUpgrade>,
    registration: Option<String>,
    protocols: &'static [&'static dyn Protocol],
) -> Result<Response, Refusal> {
    let accept = accept_key(handshake(&call)?);
    let pending = pending.ok_or(Refusal::UpgradeRequired)?;
    let chosen = choose(&call, protocols)?;
    let known = match call.headers.contains_key(AUTHORIZATION) {
        true => Some(call.caller().await.cloned()),
        false => None,
    };
    let (principal, refused) = match known.transpose() {
        Ok(principal) => (principal, Params::of_socket(&call.uri)),
        // A page's browser sends the credentials that a proxy asked for, whose scheme is never Bearer.
        Err(Refusal::NotBearer) if !credential::says_bearer(&call.headers) => (None, Some(Close::Unauthenticated)),
        Err(refusal) => return Err(refusal),
    };
    let opening = Opening {
        protocol: chosen.unwrap_or(protocols[0]),
        principal,
        registration: registration.map(SecretString::from),
        refused,
        peer: call.peer,
        permit: call.link.permit.clone(),
    };
    let mut response = answer::empty(StatusCode::SWITCHING_PROTOCOLS);
    let headers = response.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_str(&accept).expect("base64 is visible ASCII"));
    if let Some(chosen) = chosen {
        headers.insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(chosen.name()));
    }
    let live = call.live().clone();
    // Boxed, so that none of it remains in the task once it is done: there may be very many idle connections.
    let opened = Box::pin(open(live, pending, opening));
    call.live().drain.spawn("websocket", async move {
        if let Some(task) = opened.await {
            task.run().await;
        }
    });
    Ok(response)
}

async fn open(live: Arc<Live>, pending: OnUpgrade, opening: Opening) -> Option<Box<ws::Task>> {
    let upgraded = match pending.await {
        Ok(upgraded) => upgraded,
        Err(error) => {
            debug!(%error, "a connection ended before its upgrade");
            return None;
        }
    };
    match upgraded.downcast::<TokioIo<HttpSocket<Socket>>>() {
        Ok(parts) => {
            let (socket, answer) = parts.io.into_inner().into_parts();
            ws::open(live, Upgraded { socket, answer, head: parts.read_buf }, opening).await
        }
        Err(_) => unreachable!("the accept loop serves sockets of this type only"),
    }
}

/// Checks the handshake; returns its key.
fn handshake(call: &Call) -> Result<&str, Refusal> {
    let asks = call.method == Method::GET
        && lists(call, &CONNECTION, "upgrade")
        && lists(call, &UPGRADE, "websocket")
        && call.one(&SEC_WEBSOCKET_VERSION)? == Some("13");
    if !asks {
        return Err(Refusal::UpgradeRequired);
    }
    let has_body =
        call.headers.contains_key(TRANSFER_ENCODING) || call.one(&CONTENT_LENGTH)?.is_some_and(|length| length != "0");
    if has_body {
        return Err(Refusal::BadRequest("a WebSocket handshake must not have a body".into()));
    }
    call.one(&SEC_WEBSOCKET_KEY)?
        .filter(|key| is_key(key))
        .ok_or_else(|| Refusal::BadRequest("`Sec-WebSocket-Key` must be 16 bytes in base64".into()))
}

/// The first offered subprotocol that is supported; `None` if none was offered.
fn choose(call: &Call, protocols: &'static [&'static dyn Protocol]) -> Result<Option<&'static dyn Protocol>, Refusal> {
    let mut offered = items(call, &SEC_WEBSOCKET_PROTOCOL).peekable();
    if offered.peek().is_none() {
        return Ok(None);
    }
    let known = |name: &str| protocols.iter().find(|protocol| protocol.name() == name).copied();
    offered.find_map(known).map(Some).ok_or_else(|| {
        let known: Vec<_> = protocols.iter().map(|protocol| protocol.name()).collect();
        let known = known.join("`, `");
        Refusal::BadRequest(format!("none of the offered subprotocols is supported: offer `{known}`, or none"))
    })
}

fn lists(call: &Call, name: &HeaderName, item: &str) -> bool {
    items(call, name).any(|found| found.eq_ignore_ascii_case(item))
}

/// The items of a comma-separated header, which may appear several times.
fn items<'a>(call: &'a Call, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = call.headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim).filter(|item| !item.is_empty())
}
