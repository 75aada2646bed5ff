//! The sentence of each refusal: what is wrong, and what to do.
//!
//! Those about credentials say where a valid one goes, and none of them says whether a topic exists.

use std::fmt::{self, Display, Formatter};

use crate::name::Pattern;
use crate::problem::{Refusal, seconds};
use crate::spelling::quoted;

/// The media type that `curl -d` sends by default, and a form always.
const FORM: &str = "application/x-www-form-urlencoded";

impl Display for Refusal {
    #[expect(clippy::too_many_lines, reason = "a sentence for each refusal")]
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MalformedJson { line, column, detail } => return write!(f, "line {line}, column {column}: {detail}"),
            Self::DuplicateKey { pointer } => {
                return write!(f, "the key at `{pointer}` appears twice: keep one of them");
            }
            Self::BadRequest(detail) => detail,
            Self::BrokenBody => "the body ended early, or its chunked encoding is invalid (RFC 9112, section 7.1)",
            Self::Unauthenticated { wrong: true } => {
                "unknown token: check that it is spelled correctly and still in relay.toml"
            }
            Self::Unauthenticated { wrong: false } => {
                "anonymous callers have no grant for this: send `Authorization: Bearer <token>`"
            }
            Self::Anonymous { topics, open } => return anonymous(f, topics, *open),
            Self::NotBearer => "only bearer tokens are accepted: send `Authorization: Bearer <token>`",
            Self::TokenExpired => "the token has expired (`not_after`): use its successor",
            Self::UnknownRegistration => {
                "unknown registration: it was deleted or has expired, or the server was restarted; register again"
            }
            Self::NoRegistration => "unknown registration: it was deleted or has expired, or the server was restarted",
            Self::Forbidden { action, topics } => {
                let help = "check the name, or grant it in relay.toml";
                return write!(f, "this credential has no grant to {action} `{topics}`: {help}");
            }
            Self::ForbiddenUser { user } => {
                return write!(f, "this credential has no grant to register connections for user `{user}`");
            }
            Self::OriginDenied { origin, listed } => return origin_denied(f, origin, *listed),
            Self::UnknownTopic { topic, near } => return unknown_topic(f, topic, near.as_deref()),
            Self::NotFound => "no such path: docs/http.md lists all calls",
            Self::OtherListener { path, admin } => return other_listener(f, path, *admin),
            Self::MethodNotAllowed { allow } => return write!(f, "allowed here: {allow}"),
            Self::Timeout { limit } => return write!(f, "the request took longer than `limits.{limit}` allows"),
            Self::UpgradeRequired => "this path speaks WebSocket, version 13 (RFC 6455)",
            Self::IdempotencyInFlight => "a request with this idempotency key has no answer yet: try again",
            Self::IdempotencyKeyReused => {
                "this idempotency key was used for another payload or user: use a new key for a new message"
            }
            Self::TooLarge { what, limit, bytes } => {
                return write!(f, "{what} is larger than `limits.{limit}` allows ({bytes} bytes)");
            }
            Self::TooMany { what, limit, most } => {
                return write!(f, "{what} is longer than `limits.{limit}` allows ({most})");
            }
            Self::TooManyUnsynced { most } => {
                let help = "wait for one before the next";
                return write!(f, "too many subscribe commands wait for their `synced` ({most}): {help}");
            }
            Self::UriTooLong { bytes } => {
                return write!(f, "the request target is longer than `limits.uri` allows ({bytes} bytes)");
            }
            Self::UnsupportedMediaType { found, expected } => return media_type(f, found.as_deref(), expected),
            Self::UnsupportedCoding { found } => {
                let found = quoted(&format!("Content-Encoding: {found}"));
                return write!(f, "{found} is not accepted: send the body without a content coding");
            }
            Self::UnknownHost { host, listed } => return unknown_host(f, host, *listed),
            Self::ValidationFailed { topic, violations, more } => {
                return validation_failed(f, topic, violations.len(), *more);
            }
            Self::Batch(items) => return batch(f, items),
            Self::RateLimited(rate) => return write!(f, "over `limits.{}`: try again in 1 s", rate.name()),
            Self::Overloaded { what, retry_after } => {
                return write!(f, "{what}: try again in {} s", seconds(*retry_after));
            }
            Self::Draining => "the server is shutting down: try again in 1 s",
            Self::Internal { id } => return write!(f, "the cause is in the server's log under id `{id}`"),
        })
    }
}

fn anonymous(f: &mut Formatter<'_>, topics: &Pattern, open: bool) -> fmt::Result {
    let show = match open {
        true => "reconnect and send `auth` as the first message or a bearer token with the upgrade request",
        false => "send `Authorization: Bearer <token>`",
    };
    write!(f, "anonymous callers have no grant for `{topics}`: check the name, or {show}")
}

fn origin_denied(f: &mut Formatter<'_>, origin: &str, listed: bool) -> fmt::Result {
    let what = match listed {
        true if origin == "null" => "this server, and `null` cannot be allowed: serve the page over HTTP",
        true => "this server: add it to `server.allowed_origins`",
        false => "the admin listener, whatever `server.allowed_origins` says: call it without a browser",
    };
    write!(f, "pages with origin `{origin}` may not call {what}")
}

fn unknown_topic(f: &mut Formatter<'_>, topic: &str, near: Option<&str>) -> fmt::Result {
    write!(f, "relay.toml declares no topic `{topic}` and no family that covers it")?;
    near.map_or(Ok(()), |near| write!(f, ": did you mean `{near}`?"))
}

fn other_listener(f: &mut Formatter<'_>, path: &str, admin: bool) -> fmt::Result {
    let (listener, option) = if admin { ("admin", "server.admin") } else { ("public", "server.listen") };
    write!(f, "{} is on the {listener} listener: `{option}` says where that is", quoted(path))
}

fn media_type(f: &mut Formatter<'_>, found: Option<&str>, expected: &[&str]) -> fmt::Result {
    match found {
        None => f.write_str("there is no `Content-Type`")?,
        Some(FORM) => write!(f, "`{FORM}`, as `curl -d` sends, is not accepted")?,
        Some(found) => write!(f, "{} is not accepted", quoted(found))?,
    }
    write!(f, ": send `Content-Type: {}`", expected.join("` or `"))
}

fn unknown_host(f: &mut Formatter<'_>, host: &str, listed: bool) -> fmt::Result {
    let also = "use its address, or add this name and every other name of the public listener";
    let add = if listed { "add it" } else { also };
    write!(f, "`{host}` is not one of this server's names: {add} to `server.allowed_hosts`")
}

fn validation_failed(f: &mut Formatter<'_>, topic: &str, violations: usize, more: bool) -> fmt::Result {
    let (least, s) = (if more { "at least " } else { "" }, if violations == 1 { "" } else { "s" });
    write!(f, "{least}{violations} violation{s} of the schema of `{topic}`")
}

fn batch(f: &mut Formatter<'_>, items: &[(usize, Refusal)]) -> fmt::Result {
    match items {
        [(index, only)] => write!(f, "nothing was published: item {index}: {only}"),
        _ => write!(f, "nothing was published: {} items were refused", items.len()),
    }
}
