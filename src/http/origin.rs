//! What a page in a browser may do: the Host allow-list against DNS rebinding, the Origin allow-list, CORS.
//!
//! No answer depends on cookies, and none are set. A cross-site form cannot publish, because it cannot send JSON's
//! media type.

use warp::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, HeaderValue, ORIGIN, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use warp::http::{Method, StatusCode};
use warp::reply::Response;

use crate::host::Host;
use crate::http::call::Call;
use crate::http::door::Side;
use crate::http::paths;
use crate::problem::Refusal;

const LOOPBACK_NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Checks the name by which a request addresses the server, and the page that it comes from.
///
/// A probe may use any name, because an orchestrator uses an address that nobody can list; it is told only what a
/// rebound page may know (see [`is_served`]). In HTTP/1.0, which has no Host, a probe may use none, as load balancers
/// do.
///
/// # Errors
/// 400, 421 or 403.
pub fn admit(call: &Call) -> Result<(), Refusal> {
    let is_probe = paths::is_probe(call.uri.path());
    if is_probe && call.is_nameless() {
        return Ok(());
    }
    let host = call.host()?;
    if !serves(call, host) && !is_probe {
        let listed = call.snapshot.config.server.allowed_hosts.is_some();
        return Err(Refusal::UnknownHost { host: host.to_string(), listed });
    }
    match call.one(&ORIGIN)? {
        Some(origin) if !allows(call, host, origin) => {
            let listed = call.side() == Side::Public;
            Err(Refusal::OriginDenied { origin: origin.escape_default().to_string(), listed })
        }
        _ => Ok(()),
    }
}

/// Whether the server is addressed by a name of its own. For requests that are let in under other names too.
pub fn is_served(call: &Call) -> bool {
    call.host().is_ok_and(|host| serves(call, host))
}

/// Adds the headers of every answer: no cache keeps it, no browser guesses its type, an allowed page may read it.
pub fn add_headers(call: &Call, response: &mut Response) {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return;
    }
    let preflight = call.method == Method::OPTIONS;
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(
        VARY,
        HeaderValue::from_static(if preflight {
            "Origin, Access-Control-Request-Method, Access-Control-Request-Headers"
        } else {
            "Origin"
        }),
    );
    let Some(origin) = call.headers.get(ORIGIN) else { return };
    let Ok(host) = call.host() else { return };
    if !origin.to_str().is_ok_and(|origin| allows(call, host, origin)) {
        return;
    }
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers
        .insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("ETag, Link, Retry-After, WWW-Authenticate"));
    if let Some(allow) = headers.get(ALLOW).filter(|_| preflight).cloned() {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, allow);
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Authorization, Content-Type, Idempotency-Key, If-None-Match, Last-Event-ID"),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    }
}

fn serves(call: &Call, host: Host<'_>) -> bool {
    let loopback = call.link.door.loopback;
    // No page can reach a Unix socket, even by DNS rebinding.
    let is_local = loopback || call.link.peer.is_none();
    let is_one_of = |names: &[&str]| names.iter().any(|name| is_name(name, host));
    match &call.snapshot.config.server.allowed_hosts {
        None => !loopback || is_one_of(&LOOPBACK_NAMES),
        Some(_) if call.side() == Side::Admin && is_local && is_one_of(&LOOPBACK_NAMES) => true,
        Some(names) => names.iter().any(|name| is_name(name, host)),
    }
}

/// A name without a port matches any port.
fn is_name(name: &str, host: Host<'_>) -> bool {
    name.eq_ignore_ascii_case(host.as_str()) || name.eq_ignore_ascii_case(host.name())
}

fn allows(call: &Call, host: Host<'_>, origin: &str) -> bool {
    // A proxy may terminate TLS without saying so: over plain HTTP the page may have used either scheme.
    let is_ours = |scheme: &str| scheme == "https" || scheme == "http" && !call.secure;
    let names = |scheme: &str| [host.as_str(), host.in_origin(scheme)];
    let is_own = |(scheme, rest): (&str, &str)| {
        is_ours(scheme) && names(scheme).iter().any(|name| rest.eq_ignore_ascii_case(name))
    };
    // The origin of a rebound page is the rebound name, so that name must be served too.
    let own = origin.split_once("://").is_some_and(is_own) && serves(call, host);
    // Pages of other origins must not reach the operators' listener, even those that may publish and subscribe.
    own || (call.side() == Side::Public
        && call.snapshot.config.server.allowed_origins.iter().any(|allowed| allowed == origin))
}
