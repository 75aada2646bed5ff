//! Facts about `[server]` and `[limits]`.

use std::fmt;

use super::About;

/// What is wrong with the server's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum ServerFact {
    BadListen { value: String },
    LongSocket { value: String, bytes: usize, most: usize },
    SameListener { admin: String, listen: String },
    AdminExposed { value: String },
    BadOrigin { value: String },
    BadHost { value: String },
    BadProxy { value: String },
    BadPublicUrl { value: String },
    WindowBelowBody { window: String, body: String },
    TlsUnreadable { path: String, cause: String },
    BadTls { why: String },
    OtherKey { cert: String, key: String },
    ExpiredCertificate { path: String, since: String },
    EarlyCertificate { path: String, from: String },
}

impl ServerFact {
    pub(super) fn about(&self) -> About {
        match self {
            Self::BadListen { .. } => About::error(
                "bad-listen",
                "write an address and a port, `127.0.0.1:8000` or `[::1]:8000`, or the absolute path of a socket, \
                 `unix:/run/relay/relay.sock`",
            ),
            Self::LongSocket { .. } => About::error(
                "bad-listen",
                "the operating system allows no longer path: write a shorter one, such as `unix:/run/relay/relay.sock`",
            ),
            Self::SameListener { .. } => About::error(
                "same-listener",
                "give `server.admin` a port or path of its own; without one it is `127.0.0.1:8001`",
            ),
            Self::AdminExposed { .. } => About::warning(
                "admin-exposed",
                "whoever reaches it may read the configuration and reload it: listen on loopback, or keep others out by \
                 other means",
            ),
            Self::BadOrigin { .. } => About::error(
                "bad-origin",
                "write scheme, host and port as a browser sends them, without a path: `https://app.example.org`",
            ),
            Self::BadHost { .. } => {
                About::error("bad-host", "write a host, with a port or without: `relay.example.org` or `[::1]:8000`")
            }
            Self::BadProxy { .. } => {
                About::error("bad-proxy", "write an address or a network: `10.0.0.7`, `10.0.0.0/8` or `fd00::/8`")
            }
            Self::BadPublicUrl { .. } => About::error(
                "bad-public-url",
                "write the base that browsers reach, without a query: `https://relay.example.org` or `wss://example.org/relay`",
            ),
            Self::WindowBelowBody { .. } => About::error(
                "window-below-body",
                "the window must be able to hold any single message: raise `window` or lower `body`",
            ),
            Self::TlsUnreadable { .. } => {
                About::error("tls-unreadable", "check the path and who may read it; it is relative to relay.toml")
            }
            Self::BadTls { .. } => About::error(
                "bad-tls",
                "write PEM: in `cert` the server's certificate and then those that signed it, in `key` its private key",
            ),
            Self::OtherKey { .. } => About::error(
                "bad-tls",
                "replace both files; a relay that runs keeps the pair it has until the new one is whole",
            ),
            Self::ExpiredCertificate { .. } => About::warning(
                "expired-certificate",
                "clients refuse it: renew it; the new files are reloaded like everything else, without a restart",
            ),
            Self::EarlyCertificate { .. } => About::warning(
                "early-certificate",
                "clients refuse it until then: use one that is valid now, or check this machine's clock",
            ),
        }
    }
}

impl fmt::Display for ServerFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadListen { value } => write!(f, "`{value}` is not an address to listen on"),
            Self::LongSocket { value, bytes, most } => {
                write!(f, "the path of the socket `{value}` has {bytes} bytes; at most {most} are allowed")
            }
            Self::SameListener { admin, listen } if admin == listen => {
                write!(f, "`server.admin` and `server.listen` are both `{admin}`")
            }
            Self::SameListener { admin, listen } => {
                write!(f, "`server.listen` (`{listen}`) would take the connections of `server.admin` (`{admin}`)")
            }
            Self::AdminExposed { value } => write!(f, "the admin listener `{value}` is not on loopback"),
            Self::BadOrigin { value } => write!(f, "`{value}` is not an origin"),
            Self::BadHost { value } => write!(f, "`{value}` is not a valid Host header value"),
            Self::BadProxy { value } => write!(f, "`{value}` is neither an address nor a network"),
            Self::BadPublicUrl { value } => write!(f, "`{value}` is not a base URL"),
            Self::WindowBelowBody { window, body } => {
                write!(f, "`limits.window` ({window}) is below `limits.body` ({body})")
            }
            Self::TlsUnreadable { path, cause } => write!(f, "cannot read `{path}`: {cause}"),
            Self::BadTls { why } => f.write_str(why),
            Self::OtherKey { cert, key } => write!(f, "`{key}` does not belong to the certificate in `{cert}`"),
            Self::ExpiredCertificate { path, since } => {
                write!(f, "the certificate in `{path}` has expired: it was valid until {since}")
            }
            Self::EarlyCertificate { path, from } => {
                write!(f, "the certificate in `{path}` is not valid before {from}")
            }
        }
    }
}
