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
    BadTls(TlsFault),
    ExpiredCertificate { path: String, since: String },
    EarlyCertificate { path: String, from: String },
}

/// Why certificate and key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum TlsFault {
    /// `key` is `cert` or `key`.
    InPlaceOfPath {
        key: &'static str,
    },
    /// `why` continues the sentence that begins with the path.
    NotPem {
        path: String,
        why: String,
    },
    Encrypted {
        path: String,
    },
    UnknownKey {
        path: String,
    },
    OldCertificate {
        path: String,
    },
    OtherKey {
        cert: String,
        key: String,
    },
    NotFirst {
        cert: String,
        key: String,
    },
    Unusable {
        path: String,
        why: String,
    },
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
            Self::BadTls(fault) => About::error("bad-tls", fault.help()),
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
            Self::BadTls(fault) => fault.fmt(f),
            Self::ExpiredCertificate { path, since } => {
                write!(f, "the certificate in `{path}` has expired: it was valid until {since}")
            }
            Self::EarlyCertificate { path, from } => {
                write!(f, "the certificate in `{path}` is not valid before {from}")
            }
        }
    }
}

impl TlsFault {
    fn help(&self) -> &'static str {
        match self {
            Self::InPlaceOfPath { .. } => "put it into a file, and write the file's path here",
            Self::NotPem { .. } => {
                "write PEM: in `cert` the server's certificate and then those that signed it, in `key` its private key"
            }
            Self::Encrypted { .. } => "give relay the key without a passphrase: `openssl pkey -in KEY -out NEW`",
            Self::UnknownKey { .. } => "keys that work: RSA of 2048 to 4096 bits, ECDSA P-256 and P-384, Ed25519",
            Self::OldCertificate { .. } => {
                "make one of version 3: `openssl req -x509 -key KEY -subj /CN=HOST -addext subjectAltName=DNS:HOST`"
            }
            Self::Unusable { .. } => "get the certificate again from who issued it: it may have been cut or changed",
            Self::OtherKey { .. } => {
                "replace both files; a relay that runs keeps the pair it has until the new one is whole"
            }
            Self::NotFirst { .. } => "put that certificate first, and after it those that signed it",
        }
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InPlaceOfPath { key } => write!(f, "`server.tls.{key}` contains PEM text, not a path"),
            Self::NotPem { path, why } => write!(f, "`{path}` {why}"),
            Self::Encrypted { path } => write!(f, "`{path}` is encrypted"),
            Self::UnknownKey { path } => {
                write!(f, "`{path}` is damaged, or a private key of a kind or size that cannot be used")
            }
            Self::OldCertificate { path } => write!(f, "`{path}` has a certificate of X.509 version 1 or 2"),
            Self::OtherKey { cert, key } => write!(f, "`{key}` does not belong to the certificate in `{cert}`"),
            Self::NotFirst { cert, key } => write!(f, "`{key}` belongs to a later certificate of `{cert}`"),
            Self::Unusable { path, why } => write!(f, "`{path}` has a certificate that cannot be used: {why}"),
        }
    }
}
