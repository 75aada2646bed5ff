//! The sentences about a request's header: its path and method, its Host and Origin, the media type of its body.

use std::fmt;

use crate::problem::Refusal;
use crate::spelling::quoted;

/// The media type that `curl -d` sends by default, and a form always.
const FORM: &str = "application/x-www-form-urlencoded";

impl Refusal {
    /// Writes the `detail` of a refusal about a request's header; not called for any other.
    pub(super) fn of_request(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OriginDenied { origin, listed } => {
                let what = match listed {
                    true if origin == "null" => "this server, and `null` cannot be allowed: serve the page over HTTP",
                    true => "this server: add it to `server.allowed_origins`",
                    false => "the admin listener, whatever `server.allowed_origins` says: call it without a browser",
                };
                write!(f, "pages with origin `{origin}` may not call {what}")
            }
            Self::UnknownHost { host, listed } => {
                let also = "use its address, or add this name and every other name of the public listener";
                let add = if *listed { "add it" } else { also };
                write!(f, "`{host}` is not one of this server's names: {add} to `server.allowed_hosts`")
            }
            Self::OtherListener { path, admin } => {
                let (listener, option) = if *admin { ("admin", "server.admin") } else { ("public", "server.listen") };
                write!(f, "{} is on the {listener} listener: `{option}` says where that is", quoted(path))
            }
            Self::MethodNotAllowed { allow } => write!(f, "allowed here: {allow}"),
            Self::UpgradeRequired => f.write_str("this path speaks WebSocket, version 13 (RFC 6455)"),
            Self::UriTooLong { bytes } => {
                write!(f, "the request target is longer than `limits.uri` allows ({bytes} bytes)")
            }
            Self::UnsupportedMediaType { found, expected } => {
                match found.as_deref() {
                    None => f.write_str("there is no `Content-Type`")?,
                    Some(FORM) => write!(f, "`{FORM}`, as `curl -d` sends, is not accepted")?,
                    Some(found) => write!(f, "{} is not accepted", quoted(found))?,
                }
                write!(f, ": send `Content-Type: {}`", expected.join("` or `"))
            }
            Self::UnsupportedCoding { found } => {
                write!(
                    f,
                    "{} is not accepted: send the body without a content coding",
                    quoted(&format!("Content-Encoding: {found}"))
                )
            }
            Self::NotFound => f.write_str("no such path: docs/http.md lists all calls"),
            _ => unreachable!("it is of no request"),
        }
    }
}
