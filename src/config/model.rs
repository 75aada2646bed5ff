//! The configuration as plain values: what the files say, with defaults filled in and names parsed. No behaviour.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretSlice};

use crate::name::{Pattern, UserId};
use crate::principal::Grants;
use crate::time::Time;

/// A place in a file of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Index into the loaded sources.
    pub file: usize,
    /// Byte range in its text.
    pub bytes: Range<usize>,
}

/// Everything in relay.toml and its includes.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[log]`
    pub log: Log,
    /// `[topics.*]`, in the order of the files.
    pub topics: Vec<TopicConfig>,
    /// `[tokens.*]`, in the order of the files.
    pub tokens: Vec<TokenConfig>,
    /// `[anonymous]`: what a caller without a token may do.
    pub anonymous: Grants,
    /// `[limits]`
    pub limits: Limits,
    /// `[store]`
    pub store: StoreConfig,
}

/// `[server]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where publishers and subscribers connect.
    pub listen: Listen,
    /// Where operators connect; `None` if switched off with `admin = ""`.
    pub admin: Option<Listen>,
    /// Exact origins (`https://example.org`) of browser pages that may call; the server's own is always allowed.
    pub allowed_origins: Vec<String>,
    /// Host header values that are served; `None` leaves it to the listener (loopback names on loopback, else any).
    pub allowed_hosts: Option<Vec<String>>,
    /// Addresses or networks (CIDR) whose `X-Forwarded-For` names the peer.
    pub trusted_proxies: Vec<(std::net::IpAddr, u8)>,
    /// Base of the URLs that `/register` returns, without a trailing slash; `None` takes it from the request's Host.
    pub public_url: Option<String>,
    /// `[server.tls]`, for TLS on the public listener.
    pub tls: Option<Tls>,
}

/// `[server.tls]`
#[derive(Debug, Clone)]
pub struct Tls {
    /// The path of the certificate chain, as written.
    pub cert: String,
    /// The path of the private key, as written.
    pub key: String,
    /// The certificate chain in PEM.
    pub cert_pem: Arc<[u8]>,
    /// The private key in PEM.
    pub key_pem: Arc<SecretSlice<u8>>,
    /// The place of the certificate's path.
    pub cert_span: Span,
    /// The place of the key's path.
    pub key_span: Span,
}

/// Equal if the files have the same names and contents.
impl PartialEq for Tls {
    fn eq(&self, other: &Self) -> bool {
        (&self.cert, &self.key, &self.cert_pem) == (&other.cert, &other.key, &other.cert_pem)
            && self.key_pem.expose_secret() == other.key_pem.expose_secret()
    }
}

impl Eq for Tls {}

impl Default for Server {
    fn default() -> Self {
        Self {
            listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8000))),
            admin: Some(Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 8001)))),
            allowed_origins: Vec::new(),
            allowed_hosts: None,
            trusted_proxies: Vec::new(),
            public_url: None,
            tls: None,
        }
    }
}

/// Where to listen. `Display` writes it as in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// `"127.0.0.1:8000"`
    Tcp(SocketAddr),
    /// `"unix:/run/relay/relay.sock"`
    Unix(PathBuf),
}

impl std::fmt::Display for Listen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `format = "json"` rather than `"human"`.
    pub json: bool,
    /// `level`: `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
}

impl Default for Log {
    fn default() -> Self {
        Self { json: false, level: "info".to_owned() }
    }
}

/// `[topics.<name>]`
#[derive(Debug, Clone)]
pub struct TopicConfig {
    /// The exact topic or family.
    pub name: Pattern,
    /// For people.
    pub description: String,
    /// The schema that messages must match.
    pub schema: SchemaSource,
    /// The place of the value of `schema`.
    pub schema_span: Span,
    /// The schema that is tried and its place. It judges messages already, but refuses none.
    pub schema_next: Option<(SchemaSource, Span)>,
    /// How much is retained for each concrete topic.
    pub history: History,
    /// What a breaking change of the schema does at a reload.
    pub compatibility: Compatibility,
    /// What happens to a subscriber that is too slow.
    pub on_lag: OnLag,
    /// Example payloads that must be valid or invalid; the check tries them.
    pub examples: Vec<Example>,
}

/// `schema`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaSource {
    /// `"any"`, the explicit opt-out.
    Any,
    /// A file, with its path relative to relay.toml's directory and `/` between its parts.
    File(Arc<str>),
}

/// `history`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct History {
    /// The most messages.
    pub count: usize,
    /// The most bytes of payload.
    pub bytes: usize,
    /// The longest time.
    pub age: Duration,
}

/// `compatibility`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compatibility {
    /// A breaking change is a warning.
    #[default]
    None,
    /// No publisher may be refused that was not refused before.
    Publishers,
    /// No subscriber may receive a new shape.
    Subscribers,
    /// Both.
    Full,
}

/// `on_lag`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnLag {
    /// Skip to what is still retained, and report the gap.
    #[default]
    Gap,
    /// Close with 4101.
    Disconnect,
}

/// One entry of `examples`.
#[derive(Debug, Clone)]
pub struct Example {
    /// The payload.
    pub instance: serde_json::Value,
    /// `valid = …` rather than `invalid = …`.
    pub valid: bool,
    /// Its place.
    pub span: Span,
}

/// Equal if payload and expectation are the same, wherever they are written.
impl PartialEq for Example {
    fn eq(&self, other: &Self) -> bool {
        (&self.instance, self.valid) == (&other.instance, other.valid)
    }
}

/// `[tokens.<name>]`
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// The token's name.
    pub name: Arc<str>,
    /// The place of the name.
    pub span: Span,
    /// SHA-256 of the secret.
    pub digest: [u8; 32],
    /// What it may do.
    pub grants: Grants,
    /// Messages addressed to this user reach the token's connections.
    pub user: Option<UserId>,
    /// When it expires.
    pub not_after: Option<Time>,
}

/// Names in the log for callers that need no token, and for those that need one and have shown none.
const NOBODY: [&str; 2] = ["anonymous", "unauthenticated"];

impl TokenConfig {
    /// Whether a token can have this name.
    pub fn may_be_called(name: &str) -> bool {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        (1..=64).contains(&name.len()) && name.chars().all(fits) && !NOBODY.contains(&name)
    }
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreConfig {
    /// `kind`
    pub kind: String,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self { kind: "memory".to_owned() }
    }
}

/// `[limits]`: the bounds of everything that a caller could otherwise make grow. Sizes are in bytes.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "described once, in the table of keys")]
pub struct Limits {
    pub body: usize,
    pub batch: usize,
    pub frame: usize,
    pub header: usize,
    pub uri: usize,
    pub header_timeout: Duration,
    pub body_timeout: Duration,
    pub auth_timeout: Duration,
    pub unauthenticated: usize,
    pub ping_interval: Duration,
    pub pong_timeout: Duration,
    pub write_stall: Duration,
    pub subscriptions: usize,
    /// `None` means min(65,536, descriptors − 256).
    pub connections: Option<usize>,
    pub send_buffer: usize,
    pub outbound: usize,
    pub window: usize,
    pub family_topics: usize,
    pub idempotency_keys: usize,
    pub idempotency_window: Duration,
    pub registrations: usize,
    pub registration_ttl: Duration,
    pub commands: u32,
    pub auth_failures: u32,
    /// Publishes per second for each token or anonymous address; `None` is off.
    pub publish_rate: Option<u32>,
    /// Connections per second for each address; `None` is off.
    pub connect_rate: Option<u32>,
    pub drain: Duration,
    pub schema_size: usize,
    pub regex_size: usize,
    pub json_depth: usize,
    pub validation_budget: Duration,
    /// Zero is off.
    pub reload_poll: Duration,
}
