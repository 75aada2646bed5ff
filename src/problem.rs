//! Why a request was refused, and how to say so: problem details (RFC 9457), over HTTP and in WebSocket `error` notices
//! alike.
//!
//! HTTP status codes are decided here and nowhere else.

mod batch;
mod detail;
mod logged;
mod rate;

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value, json};

pub use self::rate::Rate;
use crate::name::Pattern;
use crate::principal::{Action, Principal};

/// The slugs of all problems: the last parts of their types.
pub const SLUGS: [&str; 24] = [
    "malformed-json",
    "duplicate-key",
    "bad-request",
    "unauthenticated",
    "token-expired",
    "forbidden",
    "origin-denied",
    "unknown-topic",
    "not-found",
    "method-not-allowed",
    "timeout",
    "upgrade-required",
    "idempotency-in-flight",
    "idempotency-key-reused",
    "too-large",
    "too-many",
    "uri-too-long",
    "unsupported-media-type",
    "unknown-host",
    "validation-failed",
    "rate-limited",
    "overloaded",
    "draining",
    "internal",
];

/// One way in which a payload breaks its schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Where in the payload (RFC 6901).
    pub pointer: String,
    /// The schema keyword that refused it.
    pub keyword: String,
    /// Where in the schema (RFC 6901, with the file in front when it is not the topic's own).
    pub schema_pointer: String,
    /// What is wrong, in a sentence.
    pub detail: String,
}

/// Why something was refused: the facts. [`Display`](std::fmt::Display) makes a sentence of them.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum Refusal {
    MalformedJson {
        line: usize,
        column: usize,
        detail: String,
    },
    DuplicateKey {
        pointer: String,
    },
    BadRequest(String),
    /// A body whose end cannot be found, so that no other request can follow it.
    BrokenBody,
    /// `wrong`: an unknown credential was shown; otherwise none was shown.
    Unauthenticated {
        wrong: bool,
    },
    /// No credential was shown, and anonymous callers have no grant for these topics.
    ///
    /// `open`: the connection is already open, so that only a new one can show a credential.
    Anonymous {
        topics: Pattern,
        open: bool,
    },
    /// An `Authorization` that is not a bearer.
    NotBearer,
    TokenExpired,
    /// The registration was used as a credential.
    UnknownRegistration,
    /// The registration was named by its id.
    NoRegistration,
    Forbidden {
        action: Action,
        topics: Pattern,
    },
    ForbiddenUser {
        user: String,
    },
    /// `listed`: whether there is a list of origins that this one can be added to.
    OriginDenied {
        origin: String,
        listed: bool,
    },
    /// `near`: a topic that the caller may use and may have meant.
    UnknownTopic {
        topic: String,
        near: Option<String>,
    },
    NotFound,
    /// `admin`: whether the admin listener has this path, rather than the public one.
    OtherListener {
        path: String,
        admin: bool,
    },
    MethodNotAllowed {
        allow: &'static str,
    },
    Timeout {
        limit: &'static str,
    },
    UpgradeRequired,
    IdempotencyInFlight,
    IdempotencyKeyReused,
    TooLarge {
        what: &'static str,
        limit: &'static str,
        bytes: usize,
    },
    TooMany {
        what: &'static str,
        limit: &'static str,
        most: usize,
    },
    /// This many subscribe commands of a connection wait for their `synced` already.
    TooManyUnsynced {
        most: usize,
    },
    UriTooLong {
        bytes: usize,
    },
    /// `found`: the value of its header, if there was one.
    UnsupportedMediaType {
        found: Option<String>,
        expected: &'static [&'static str],
    },
    UnsupportedCoding {
        found: String,
    },
    /// `listed`: whether there is a list of names that this one can be added to.
    ///
    /// Without a list certain names are served by default, which the list's first entry replaces, on both listeners.
    UnknownHost {
        host: String,
        listed: bool,
    },
    /// At most 16 violations; `more` if there were others.
    ValidationFailed {
        topic: String,
        violations: Vec<Violation>,
        more: bool,
    },
    /// Items of a batch, by index; never empty. The first decides type and status.
    Batch(Vec<(usize, Refusal)>),
    RateLimited(Rate),
    Overloaded {
        what: &'static str,
        retry_after: Duration,
    },
    Draining,
    /// The cause is in the log under this id.
    Internal {
        id: String,
    },
}

impl Refusal {
    /// Converts the line and column of a part to those of the whole text, in which the part begins at this line and
    /// column.
    pub fn placed(self, (first, start): (usize, usize)) -> Self {
        match self {
            Self::MalformedJson { line, column, detail } => {
                let column = if line == 1 { start + column - 1 } else { column };
                Self::MalformedJson { line: first + line - 1, column, detail }
            }
            other => other,
        }
    }

    /// The refusal of a principal without a grant: 401 if a credential could help, otherwise 403.
    pub fn denied(principal: &Principal, action: Action, topics: &Pattern) -> Self {
        match principal.token {
            None if principal.user.is_none() => Self::Anonymous { topics: topics.clone(), open: false },
            _ => Self::Forbidden { action, topics: topics.clone() },
        }
    }

    /// The last part of the problem's type, `urn:relay:problem:<slug>`.
    pub fn slug(&self) -> &'static str {
        self.row().0
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.row().1
    }

    /// The problem's title: the same for every problem of the type.
    pub fn title(&self) -> &'static str {
        self.row().2
    }

    /// Seconds after which trying again may help, for `Retry-After` (RFC 9110, section 10.2.3).
    pub fn retry_after(&self) -> Option<u64> {
        match self {
            Self::Overloaded { retry_after, .. } => Some(seconds(*retry_after)),
            Self::RateLimited(_) | Self::Draining | Self::IdempotencyInFlight => Some(1),
            Self::Batch(items) => items.first().and_then(|(_, first)| first.retry_after()),
            _ => None,
        }
    }

    fn row(&self) -> (&'static str, u16, &'static str) {
        match self {
            Self::MalformedJson { .. } => ("malformed-json", 400, "The text is not acceptable JSON"),
            Self::DuplicateKey { .. } => ("duplicate-key", 400, "An object has the same key twice"),
            Self::BadRequest(_) | Self::BrokenBody => ("bad-request", 400, "The request is invalid"),
            Self::Unauthenticated { .. } | Self::Anonymous { .. } | Self::NotBearer | Self::UnknownRegistration => {
                ("unauthenticated", 401, "A valid token is needed")
            }
            Self::TokenExpired => ("token-expired", 401, "The token has expired"),
            Self::Forbidden { .. } | Self::ForbiddenUser { .. } => ("forbidden", 403, "The token does not allow this"),
            Self::OriginDenied { .. } => ("origin-denied", 403, "The page's origin is not allowed"),
            Self::UnknownTopic { .. } => ("unknown-topic", 404, "The topic is not declared"),
            Self::NotFound | Self::OtherListener { .. } | Self::NoRegistration => ("not-found", 404, "Not found"),
            Self::MethodNotAllowed { .. } => ("method-not-allowed", 405, "The method is not allowed here"),
            Self::Timeout { .. } => ("timeout", 408, "The request took too long"),
            Self::UpgradeRequired => ("upgrade-required", 426, "A WebSocket upgrade is needed"),
            Self::IdempotencyInFlight => ("idempotency-in-flight", 409, "The first request is still being handled"),
            Self::IdempotencyKeyReused => ("idempotency-key-reused", 422, "The key was used for another message"),
            Self::TooLarge { .. } => ("too-large", 413, "The body is too large"),
            Self::TooMany { .. } | Self::TooManyUnsynced { .. } => ("too-many", 413, "Too many at once"),
            Self::UriTooLong { .. } => ("uri-too-long", 414, "The request target is too long"),
            Self::UnsupportedMediaType { .. } | Self::UnsupportedCoding { .. } => {
                ("unsupported-media-type", 415, "The content type is not supported")
            }
            Self::UnknownHost { .. } => ("unknown-host", 421, "This host name is not served here"),
            Self::ValidationFailed { .. } => {
                ("validation-failed", 422, "The payload does not match its topic's schema")
            }
            Self::Batch(items) => items.first().map_or(("bad-request", 400, ""), |(_, first)| first.row()),
            Self::RateLimited(_) => ("rate-limited", 429, "Too many requests"),
            Self::Overloaded { .. } => ("overloaded", 503, "The server is at a limit"),
            Self::Draining => ("draining", 503, "The server is shutting down"),
            Self::Internal { .. } => ("internal", 500, "Internal error"),
        }
    }

    /// The problem details object: `type`, `title`, `status`, `detail`, and the members of the type.
    pub fn to_json(&self) -> Value {
        let mut object = Map::new();
        object.insert("type".into(), format!("urn:relay:problem:{}", self.slug()).into());
        object.insert("title".into(), self.title().into());
        object.insert("status".into(), self.status().into());
        object.insert("detail".into(), self.to_string().into());
        match self {
            Self::MalformedJson { line, column, .. } => {
                object.insert("line".into(), (*line).into());
                object.insert("column".into(), (*column).into());
            }
            Self::DuplicateKey { pointer } => {
                object.insert("pointer".into(), pointer.as_str().into());
            }
            Self::Anonymous { topics, .. } | Self::Forbidden { topics, .. } => {
                object.insert("topic".into(), topics.as_str().into());
            }
            Self::UnknownTopic { topic, .. } => {
                object.insert("topic".into(), topic.as_str().into());
            }
            Self::ValidationFailed { violations, .. } => {
                object.insert("errors".into(), json!(violations));
            }
            Self::Batch(items) => {
                object.insert("errors".into(), batch::errors(items).into());
            }
            Self::Internal { id } => {
                object.insert("id".into(), id.as_str().into());
            }
            _ => {}
        }
        if let Some(seconds) = self.retry_after() {
            object.insert("retry_after".into(), seconds.into());
        }
        Value::Object(object)
    }
}

/// Whole seconds, rounded up and at least 1, for `Retry-After`.
fn seconds(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u64::MAX).max(1)
}

impl std::error::Error for Refusal {}

#[cfg(test)]
#[path = "problem_test.rs"]
mod tests;
