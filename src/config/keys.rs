//! Every key that relay.toml can have, described once.
//!
//! The decoder looks each key up here for its type, range and choices; the editor's JSON Schema and the reference in
//! docs/configuration.md are written from here. A key that is not here cannot be read.

use std::fmt::Write;
use std::time::Duration;

use serde_json::{Value, json};

use super::units::{show_duration, show_size};

/// A key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The table it stands in: `server`, `topics.<name>.history`; empty for the top of the file.
    pub table: &'static str,
    /// Its name in the table.
    pub name: &'static str,
    /// What its value is.
    pub kind: Type,
    /// What it is when it is absent, as it would be written or in words; empty: nothing.
    pub default: &'static str,
    /// What it is for, in one sentence without a full stop.
    pub doc: &'static str,
}

/// What the value of a key is. Ranges include both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Type {
    /// Text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number.
    Count(u64, u64),
    /// Bytes.
    Size(u64, u64),
    /// A span of time, in milliseconds.
    Duration(u64, u64),
    /// So many times a second, from 1 to this, or `"off"`.
    Rate(u64),
    /// A list of texts.
    Texts,
    /// A point in time.
    Time,
    /// Whatever JSON can hold.
    Json,
    /// A table with the keys described for it.
    Table,
    /// A table of such tables, by names that the user chooses.
    Named,
    /// A list of such tables.
    Tables,
}

/// A kind that a component can have.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// The value of `kind`.
    pub name: &'static str,
    /// What it is, in one line.
    pub doc: &'static str,
    /// What the component's table has beside `kind`.
    pub keys: &'static [Key],
}

/// The kinds that are built into this relay, by component.
#[derive(Debug, Clone, Copy)]
pub struct Kinds {
    /// `[store]`
    pub store: &'static [Kind],
}

/// The default of a key that must be there.
pub const REQUIRED: &str = "required";

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

const fn key(table: &'static str, name: &'static str, kind: Type, default: &'static str, doc: &'static str) -> Key {
    Key { table, name, kind, default, doc }
}

const TOP: &str = "";
const TOPIC: &str = "topics.<name>";
const HISTORY: &str = "topics.<name>.history";
const EXAMPLES: &str = "topics.<name>.examples";
const TOKEN: &str = "tokens.<name>";
const SECRET: &str = "tokens.<name>.secret";

/// The log's levels, from quiet to talkative.
pub const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Every key, table by table.
pub const KEYS: &[Key] = &[
    key(TOP, "version", Type::Count(0, u64::MAX), REQUIRED, "the version of this format: `1`"),
    key(TOP, "include", Type::Texts, "[]", "further files with topics and tokens, such as `topics.d/*.toml`"),
    key(TOP, "server", Type::Table, "", "where the server listens and whom it trusts"),
    key(TOP, "log", Type::Table, "", "how the server logs"),
    key(TOP, "topics", Type::Named, "", "topics and families by name; `{name}` stands for one segment of a family"),
    key(TOP, "tokens", Type::Named, "", "callers with a token, by name"),
    key(TOP, "anonymous", Type::Table, "", "what a caller without a token may do; nothing when absent"),
    key(TOP, "limits", Type::Table, "", "everything that a caller could otherwise make grow"),
    key(TOP, "store", Type::Table, "", "where the log of messages is kept"),
    key(
        "server",
        "listen",
        Type::Text,
        "127.0.0.1:8000",
        "where publishers and subscribers connect; `unix:/path` for a socket",
    ),
    key("server", "admin", Type::Text, "127.0.0.1:8001", "where operators connect; empty switches it off"),
    key(
        "server",
        "allowed_origins",
        Type::Texts,
        "[]",
        "origins of browser pages that may call; the server's own always may, over TLS only its `https://`",
    ),
    key(
        "server",
        "allowed_hosts",
        Type::Texts,
        "loopback names on loopback, else any",
        "values of the Host header that are served, with or without a port",
    ),
    key(
        "server",
        "trusted_proxies",
        Type::Texts,
        "[]",
        "addresses and networks whose `X-Forwarded-For` names the caller",
    ),
    key("server", "public_url", Type::Text, "from the request's Host", "base of the URLs that `/register` gives out"),
    key("server", "tls", Type::Table, "plain", "certificate and key of `server.listen`, reloaded like everything else"),
    key("server.tls", "cert", Type::Text, REQUIRED, "file with the certificate chain in PEM, the server's own first"),
    key("server.tls", "key", Type::Text, REQUIRED, "file with its private key in PEM"),
    key("log", "format", Type::Choice(&["human", "json"]), "human", "lines for people or JSON for programs"),
    key(
        "log",
        "level",
        Type::Choice(LEVELS),
        "info",
        "the least important level that is logged; `RUST_LOG` overrides it",
    ),
    key(TOPIC, "description", Type::Text, "", "what the topic is, for people"),
    key(
        TOPIC,
        "schema",
        Type::Text,
        REQUIRED,
        "JSON Schema of its messages, a path relative to relay.toml; `any` accepts all JSON except what is always refused",
    ),
    key(
        TOPIC,
        "schema_next",
        Type::Text,
        "",
        "the next JSON Schema, on trial: it judges what is published without refusing it, and `GET /config` says what it would refuse",
    ),
    key(TOPIC, "history", Type::Table, "", "what each concrete topic retains for replay, whichever bound is met first"),
    key(HISTORY, "count", Type::Count(0, 100_000_000), "1000", "at most so many messages"),
    key(
        HISTORY,
        "bytes",
        Type::Size(0, 64 * GIB),
        "1 MiB",
        "at most so many bytes of payload; at least `limits.body`, to which the default is raised",
    ),
    key(HISTORY, "age", Type::Duration(1, 3_650 * DAY), "1 h", "for so long; what is older goes within a second"),
    key(
        TOPIC,
        "compatibility",
        Type::Choice(&["none", "publishers", "subscribers", "full"]),
        "none",
        "for whom a reload must not break the schema; `none` only warns",
    ),
    key(
        TOPIC,
        "on_lag",
        Type::Choice(&["gap", "disconnect"]),
        "gap",
        "whether a subscriber that is too slow is told of a gap or disconnected",
    ),
    key(TOPIC, "examples", Type::Tables, "", "messages that are tried on the schema by every check"),
    key(EXAMPLES, "valid", Type::Json, "", "a message that the schema must accept"),
    key(EXAMPLES, "invalid", Type::Json, "", "a message that the schema must refuse"),
    key(TOKEN, "sha256", Type::Text, "", "SHA-256 of the secret, 64 hex digits; `relay token new` prints it"),
    key(TOKEN, "secret", Type::Table, "", "where the secret itself is, instead of `sha256`"),
    key(SECRET, "env", Type::Text, "", "the environment variable that holds it"),
    key(SECRET, "file", Type::Text, "", "the file that holds it; one newline at its end does not count"),
    key(TOKEN, "publish", Type::Texts, "[]", "topics it may publish to; `*` is one segment, a last `**` one or more"),
    key(TOKEN, "subscribe", Type::Texts, "[]", "topics it may subscribe to"),
    key(TOKEN, "register", Type::Texts, "[]", "users for whom it may register connections; a `*` may end each"),
    key(TOKEN, "user", Type::Text, "", "messages addressed to this user reach its connections"),
    key(TOKEN, "not_after", Type::Time, "", "when it expires; a date and time with offset"),
    key("anonymous", "publish", Type::Texts, "[]", "topics that anybody may publish to"),
    key("anonymous", "subscribe", Type::Texts, "[]", "topics that anybody may subscribe to"),
    key("anonymous", "register", Type::Texts, "[]", "users for whom anybody may register connections"),
    key("limits", "body", Type::Size(16, 64 * MIB), "256 KiB", "one request body, and one published message"),
    key("limits", "batch", Type::Count(1, 100_000), "1000", "messages in one publish"),
    key("limits", "frame", Type::Size(128, 64 * MIB), "64 KiB", "one inbound WebSocket message"),
    key("limits", "header", Type::Size(8 * KIB, MIB), "16 KiB", "request line and header of a request"),
    key("limits", "uri", Type::Size(64, 60 * KIB), "8 KiB", "the target of a request"),
    key(
        "limits",
        "header_timeout",
        Type::Duration(10, HOUR),
        "10 s",
        "until the header has arrived, and for an idle keep-alive connection",
    ),
    key("limits", "body_timeout", Type::Duration(10, HOUR), "15 s", "until the body has arrived"),
    key("limits", "auth_timeout", Type::Duration(10, HOUR), "5 s", "until a WebSocket has shown its credential"),
    key(
        "limits",
        "unauthenticated",
        Type::Count(1, 1_000_000),
        "256",
        "WebSockets that have not shown a credential yet",
    ),
    key("limits", "ping_interval", Type::Duration(10, HOUR), "25 s", "between pings to a silent connection"),
    key("limits", "pong_timeout", Type::Duration(10, HOUR), "10 s", "without a sign of life after a ping"),
    key("limits", "write_stall", Type::Duration(10, HOUR), "30 s", "without progress of a write"),
    key("limits", "subscriptions", Type::Count(1, 100_000), "128", "subscriptions of one connection; a pattern is one"),
    key("limits", "connections", Type::Count(1, 10_000_000), "65,536 or descriptors − 256", "open connections"),
    key(
        "limits",
        "send_buffer",
        Type::Size(4 * KIB, 64 * MIB),
        "128 KiB",
        "what the kernel holds for one slow connection",
    ),
    key(
        "limits",
        "outbound",
        Type::Size(64 * KIB, 64 * GIB),
        "256 MiB",
        "what all slow connections hold together; then new subscribers are refused, and the furthest behind dropped",
    ),
    key(
        "limits",
        "window",
        Type::Size(64 * KIB, 64 * GIB),
        "16 MiB",
        "newest messages of all topics that are kept for live delivery",
    ),
    key("limits", "family_topics", Type::Count(1, 10_000_000), "10000", "concrete topics of one family"),
    key("limits", "idempotency_keys", Type::Count(0, 100_000_000), "100000", "idempotency keys that are remembered"),
    key(
        "limits",
        "idempotency_window",
        Type::Duration(SECOND, 7 * DAY),
        "5 min",
        "for how long an idempotency key is remembered",
    ),
    key("limits", "registrations", Type::Count(1, 10_000_000), "100000", "registered connections"),
    key(
        "limits",
        "registration_ttl",
        Type::Duration(SECOND, 365 * DAY),
        "1 h",
        "a registration's life after its last use",
    ),
    key("limits", "commands", Type::Count(1, 1_000_000), "100", "commands a second of one connection"),
    key(
        "limits",
        "auth_failures",
        Type::Count(1, 1_000_000),
        "10",
        "wrong credentials a second of one address (IPv6: /64)",
    ),
    key(
        "limits",
        "publish_rate",
        Type::Rate(10_000_000),
        "off",
        "messages a second of one token, or of one anonymous address (IPv6: /64)",
    ),
    key("limits", "connect_rate", Type::Rate(10_000_000), "off", "new connections a second of one address (IPv6: /64)"),
    key("limits", "drain", Type::Duration(0, HOUR), "20 s", "for connections to end when the server stops"),
    key("limits", "schema_size", Type::Size(KIB, 64 * MIB), "1 MiB", "one schema file"),
    key("limits", "regex_size", Type::Size(KIB, 64 * MIB), "1 MiB", "one compiled `pattern`"),
    key("limits", "json_depth", Type::Count(1, 127), "64", "depth of a message"),
    key(
        "limits",
        "validation_budget",
        Type::Duration(1, HOUR),
        "100 ms",
        "one validation; a topic that is over it again and again rests for a while",
    ),
    key("limits", "reload_poll", Type::Duration(0, DAY), "5 s", "between looks at the files; `0 s` is off"),
    key("store", "kind", Type::Text, "memory", "the kind of log"),
];

/// The key of this name in this table.
pub fn find(table: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name && key.table == table)
}

/// The names that are known in a table.
pub fn names(table: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |key| key.table == table).map(|key| key.name)
}

/// The tables in which a key of this name is known.
pub fn tables_with(name: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |key| key.name == name).map(|key| key.table)
}

/// `[topics.<name>]`, or in words for what stands before the first table.
pub fn show_table(table: &str) -> String {
    if table.is_empty() { "the file".to_owned() } else { format!("`[{table}]`") }
}

impl Key {
    /// Its whole path, `topics.<name>.schema`.
    pub fn path(&self) -> String {
        if self.table.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.table, self.name) }
    }

    /// The default as a value; `None` where it is nothing or is said in words.
    pub fn default_value(&self) -> Option<Value> {
        match self.kind {
            Type::Count(..) => self.default.parse::<u64>().ok().map(Value::from),
            Type::Texts => (self.default == "[]").then(|| json!([])),
            Type::Text if self.default.contains(' ') => None,
            Type::Text | Type::Choice(_) | Type::Size(..) | Type::Duration(..) | Type::Rate(_) => {
                (!self.default.is_empty() && !self.required()).then(|| json!(self.default))
            }
            _ => None,
        }
    }

    /// Whether it must be there.
    pub fn required(&self) -> bool {
        self.default == REQUIRED
    }
}

impl Type {
    /// What is to be written, with an article.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Text | Self::Choice(_) => "text",
            Self::Count(..) => "a whole number",
            Self::Size(..) => "a size such as `\"64 KiB\"`",
            Self::Duration(..) => "a duration such as `\"10 s\"`",
            Self::Rate(_) => "a whole number a second, or `\"off\"`",
            Self::Texts => "a list of texts",
            Self::Time => "a date and time with offset, such as `2027-01-01T00:00:00Z`",
            Self::Json => "a value",
            Self::Table => "a table",
            Self::Named => "a table of tables",
            Self::Tables => "a list of tables",
        }
    }

    fn reference(self) -> String {
        let milliseconds = |ms: u64| show_duration(Duration::from_millis(ms));
        match self {
            Self::Text => "text".to_owned(),
            Self::Choice(words) => words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
            Self::Count(0, u64::MAX) => "number".to_owned(),
            Self::Count(min, max) => format!("number, {min} to {max}"),
            Self::Size(min, max) => format!("size, {} to {}", show_size(min), show_size(max)),
            Self::Duration(min, max) => format!("duration, {} to {}", milliseconds(min), milliseconds(max)),
            Self::Rate(max) => format!("`off`, or 1 to {max} a second"),
            Self::Texts => "list of texts".to_owned(),
            Self::Time => "date and time with offset".to_owned(),
            Self::Json => "any value".to_owned(),
            Self::Table => "table".to_owned(),
            Self::Named => "tables by name".to_owned(),
            Self::Tables => "list of tables".to_owned(),
        }
    }
}

/// The reference of all keys as a Markdown table, for docs/configuration.md.
pub fn markdown() -> String {
    let mut text = String::from("| key | value | default | what it is |\n|---|---|---|---|\n");
    for key in KEYS {
        let default = match key.default {
            REQUIRED => format!("*{REQUIRED}*"),
            literal if key.default_value().is_some() => format!("`{literal}`"),
            words => words.to_owned(),
        };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "| `{}` | {} | {default} | {} |", key.path(), key.kind.reference(), key.doc);
    }
    text
}
