//! Responses. The one place where a refusal becomes a response.

use serde::Serialize;
use warp::Rejection;
use warp::http::header::{
    ACCEPT, ACCEPT_ENCODING, ALLOW, CONNECTION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_VERSION, UPGRADE,
    WWW_AUTHENTICATE,
};
use warp::http::{HeaderMap, StatusCode};
use warp::reject::Reject;
use warp::reply::Response;

use crate::problem::Refusal;

/// Why a filter turned a request away, whatever the other filters say.
#[derive(Debug)]
pub enum Rejected {
    /// It is refused.
    Refused(Refusal),
    /// It asks which methods are allowed.
    Options(&'static str),
}

impl Reject for Rejected {}

/// A JSON answer.
pub fn json(status: StatusCode, value: &impl Serialize) -> Response {
    json_text(status, serde_json::to_vec(value).expect("the server's own values are JSON"))
}

/// A JSON answer from text.
pub fn json_text(status: StatusCode, text: Vec<u8>) -> Response {
    static JSON: HeaderValue = HeaderValue::from_static("application/json");
    with(status, JSON.clone(), text)
}

/// An answer of some media type.
pub fn typed(status: StatusCode, media_type: &'static str, body: impl Into<Vec<u8>>) -> Response {
    with(status, HeaderValue::from_static(media_type), body.into())
}

fn with(status: StatusCode, media_type: HeaderValue, body: Vec<u8>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, media_type);
    response
}

/// An answer without a body.
pub fn empty(status: StatusCode) -> Response {
    let mut response = Response::default();
    *response.status_mut() = status;
    response
}

/// The response of a handler, or that of its refusal.
pub fn either(result: Result<Response, Refusal>) -> Response {
    result.unwrap_or_else(|refusal| self::refusal(&refusal))
}

/// A refusal as problem details (RFC 9457), with the header fields that belong to its status.
pub fn refusal(refusal: &Refusal) -> Response {
    let status = StatusCode::from_u16(refusal.status()).expect("`problem` knows only real status codes");
    let body = serde_json::to_vec(&refusal.to_json()).expect("a problem is JSON");
    let mut response = typed(status, "application/problem+json", body);
    let headers = response.headers_mut();
    if let Some(seconds) = refusal.retry_after() {
        headers.insert(RETRY_AFTER, seconds.into());
    }
    belongings(refusal, headers);
    response
}

fn belongings(refusal: &Refusal, headers: &mut HeaderMap) {
    match refusal {
        Refusal::Batch(items) => {
            if let Some((_, first)) = items.first() {
                belongings(first, headers);
            }
        }
        Refusal::UnsupportedMediaType { expected, .. } => {
            let types = HeaderValue::from_str(&expected.join(", ")).expect("media types are visible ASCII");
            headers.insert(ACCEPT, types);
        }
        Refusal::UnsupportedCoding { .. } => {
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        Refusal::MethodNotAllowed { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Refusal::UpgradeRequired => {
            headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
            headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
            headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
        }
        // The rest of the body is not read, so no other request can follow.
        Refusal::TooLarge { .. } | Refusal::Timeout { .. } | Refusal::BrokenBody => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        other => {
            if let Some(challenge) = challenge(other) {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
            }
        }
    }
}

/// The credential to ask for (RFC 6750, section 3). It carries an error code only if a credential was shown.
fn challenge(refusal: &Refusal) -> Option<&'static str> {
    match refusal {
        Refusal::Unauthenticated { wrong: false } | Refusal::Anonymous { .. } | Refusal::NotBearer => {
            Some("Bearer realm=\"relay\"")
        }
        Refusal::Unauthenticated { wrong: true } | Refusal::UnknownRegistration => {
            Some("Bearer error=\"invalid_token\"")
        }
        Refusal::TokenExpired => Some("Bearer error=\"invalid_token\", error_description=\"the token has expired\""),
        Refusal::Forbidden { .. } | Refusal::ForbiddenUser { .. } => Some("Bearer error=\"insufficient_scope\""),
        _ => None,
    }
}

/// The answer to a request that no route took.
pub fn rejected(rejection: Rejection) -> Response {
    match rejection.find::<Rejected>() {
        Some(Rejected::Refused(refusal)) => self::refusal(refusal),
        Some(Rejected::Options(allow)) => {
            let mut response = empty(StatusCode::NO_CONTENT);
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
            response
        }
        None => refusal(&Refusal::NotFound),
    }
}
