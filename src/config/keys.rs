//! Describes every key of relay.toml, once.
//!
//! The decoder looks up each key's type, range and choices here; the editors' JSON Schema and the reference in
//! docs/configuration.md are generated from here. A key that is not here cannot be read.

use serde_json::{Value, json};

/// A key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The table it belongs to, such as `server` or `topics.<name>.history`; empty for the top level.
    pub table: &'static str,
    /// Its name in the table.
    pub name: &'static str,
    /// The type of its value.
    pub value: Type,
    /// What applies if it is absent.
    pub default: Absent,
    /// What it is for, in one sentence without a full stop.
    pub doc: &'static str,
}

/// The type of a key's value. Ranges include both ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Type {
    /// Text.
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number within this range.
    Count(u64, u64),
    /// A size within this range, in bytes.
    Size(u64, u64),
    /// A duration within this range, in milliseconds.
    Duration(u64, u64),
    /// A number per second, from 1 to this, or `"off"`.
    Rate(u64),
    /// A list of texts.
    Texts,
    /// A point in time.
    Time,
    /// Any value that JSON can represent.
    Json,
    /// A table whose keys are described under its path.
    Table,
    /// A table of such tables, with names of the user's choice.
    Named,
    /// A list of such tables.
    Tables,
}

/// What applies if a key is absent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Absent {
    /// It must be there.
    Required,
    /// Nothing.
    Nothing,
    /// This value, as it would be written.
    Value(&'static str),
    /// What is said here in words.
    Words(&'static str),
}

const SECOND: u64 = 1_000;
const HOUR: u64 = 3_600 * SECOND;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// A key whose default is written as in a file; `""` for none.
const fn key(table: &'static str, name: &'static str, value: Type, default: &'static str, doc: &'static str) -> Key {
    let default = if default.is_empty() { Absent::Nothing } else { Absent::Value(default) };
    Key { table, name, value, default, doc }
}

const fn required(table: &'static str, name: &'static str, doc: &'static str) -> Key {
    Key { table, name, value: Type::Text, default: Absent::Required, doc }
}

/// A key whose default can only be described in words.
const fn told(table: &'static str, name: &'static str, value: Type, words: &'static str, doc: &'static str) -> Key {
    Key { table, name, value, default: Absent::Words(words), doc }
}

const TOP: &str = "";
const TOPIC: &str = "topics.<name>";
const HISTORY: &str = "topics.<name>.history";
const EXAMPLES: &str = "topics.<name>.examples";
const TOKEN: &str = "tokens.<name>";
const SECRET: &str = "tokens.<name>.secret";

/// The levels of the log, from the fewest lines to the most.
pub const LEVELS: &[&str] = &["error", "warn", "info", "debug", "trace"];

/// Every key, table by table.
pub const KEYS: &[Key] = &[
    Key { value: Type::Count(0, u64::MAX), ..required(TOP, "version", "the version of this format: `1`") },
    key(TOP, "include", Type::Texts, "[]", "further files with topics and tokens, such as `topics.d/*.toml`"),
    key(TOP, "server", Type::Table, "", "where the server listens and whom it trusts"),
    key(TOP, "log", Type::Table, "", "how the server logs"),
    key(TOP, "topics", Type::Named, "", "topics and families by name; `{name}` stands for one segment of a family"),
    key(TOP, "tokens", Type::Named, "", "callers with a token, by name"),
    key(TOP, "anonymous", Type::Table, "", "what a caller without a token may do; nothing when absent"),
    key(TOP, "limits", Type::Table, "", "upper bounds for everything that callers can make grow"),
    key(TOP, "store", Type::Table, "", "where messages are kept"),
    key(
        "server",
        "listen",
        Type::Text,
        "127.0.0.1:8000",
        "where publishers and subscribers connect; `unix:/path` for a Unix socket",
    ),
    key("server", "admin", Type::Text, "127.0.0.1:8001", "where operators connect; empty switches it off"),
    key(
        "server",
        "allowed_origins",
        Type::Texts,
        "[]",
        "origins of browser pages that may call; the server's own is always allowed, over TLS only as `https://`",
    ),
    told(
        "server",
        "allowed_hosts",
        Type::Texts,
        "loopback names on loopback, else any",
        "Host headers that are served, with or without a port; for both listeners",
    ),
    key(
        "server",
        "trusted_proxies",
        Type::Texts,
        "[]",
        "addresses and networks whose `X-Forwarded-For` (the caller) and `X-Forwarded-Proto` are believed",
    ),
    told("server", "public_url", Type::Text, "from the request's Host", "base of the URLs that `/register` gives out"),
    told(
        "server",
        "tls",
        Type::Table,
        "plain",
        "certificate and key of `server.listen`, reloaded like everything else",
    ),
    required("server.tls", "cert", "file with the certificate chain in PEM, the server's own first"),
    required("server.tls", "key", "file with its private key in PEM"),
    key("log", "format", Type::Choice(&["human", "json"]), "human", "lines for people, or JSON for programs"),
    key(
        "log",
        "level",
        Type::Choice(LEVELS),
        "info",
        "the most detailed level that is logged; `RUST_LOG` overrides it",
    ),
    key(TOPIC, "description", Type::Text, "", "what the topic is, for people"),
    required(TOPIC, "schema", "JSON Schema of its messages, a path relative to relay.toml; `any` accepts any JSON"),
    key(
        TOPIC,
        "schema_next",
        Type::Text,
        "",
        "a JSON Schema on trial: it judges what is published without refusing it; `GET /config` says what it would refuse",
    ),
    key(
        TOPIC,
        "history",
        Type::Table,
        "",
        "what each concrete topic retains for replay; the first bound that is reached counts",
    ),
    key(HISTORY, "count", Type::Count(0, 100_000_000), "1000", "maximum number of messages"),
    key(
        HISTORY,
        "bytes",
        Type::Size(0, 64 * GIB),
        "1 MiB",
        "maximum bytes of payload; must be at least `limits.body`, and the default is raised to it",
    ),
    key(HISTORY, "age", Type::Duration(1, 3_650 * DAY), "1 h", "maximum age; older messages go within a second"),
    key(
        TOPIC,
        "compatibility",
        Type::Choice(&["none", "publishers", "subscribers", "full"]),
        "none",
        "whom a change of schema must not break; with `none`, breaking publishers is only a warning",
    ),
    key(
        TOPIC,
        "on_lag",
        Type::Choice(&["gap", "disconnect"]),
        "gap",
        "whether a subscriber that is too slow gets a gap or is disconnected",
    ),
    key(TOPIC, "examples", Type::Tables, "", "messages that every check tries on the schema"),
    key(EXAMPLES, "valid", Type::Json, "", "a message that the schema must accept"),
    key(EXAMPLES, "invalid", Type::Json, "", "a message that the schema must refuse"),
    key(TOKEN, "sha256", Type::Text, "", "SHA-256 of the secret, 64 hex digits; `relay token new` prints it"),
    key(TOKEN, "secret", Type::Table, "", "where the secret itself is, in place of `sha256`"),
    key(SECRET, "env", Type::Text, "", "the environment variable that holds it, at most 4 KiB"),
    key(SECRET, "file", Type::Text, "", "the file that holds it, at most 4 KiB; one newline at its end does not count"),
    key(TOKEN, "publish", Type::Texts, "[]", "topics it may publish to; `*` is one segment, a last `**` one or more"),
    key(TOKEN, "subscribe", Type::Texts, "[]", "topics it may subscribe to"),
    key(TOKEN, "register", Type::Texts, "[]", "users for whom it may register connections; each may end in `*`"),
    key(TOKEN, "user", Type::Text, "", "messages addressed to this user reach its connections"),
    key(TOKEN, "not_after", Type::Time, "", "when it expires"),
    key("anonymous", "publish", Type::Texts, "[]", "topics that anybody may publish to"),
    key("anonymous", "subscribe", Type::Texts, "[]", "topics that anybody may subscribe to"),
    key(
        "anonymous",
        "register",
        Type::Texts,
        "[]",
        "users for whom anybody may register connections, and so receive their messages",
    ),
    key("limits", "body", Type::Size(16, 64 * MIB), "256 KiB", "size of a request body, and of a published message"),
    key(
        "limits",
        "batch",
        Type::Count(1, 100_000),
        "1000",
        "number of messages in one publish; all other publishes wait while they are appended",
    ),
    key("limits", "frame", Type::Size(128, 64 * MIB), "64 KiB", "size of a WebSocket message to the server"),
    key("limits", "header", Type::Size(8 * KIB, MIB), "16 KiB", "size of request line and header together"),
    key("limits", "uri", Type::Size(64, 60 * KIB), "8 KiB", "size of the target of a request"),
    key(
        "limits",
        "header_timeout",
        Type::Duration(10, HOUR),
        "10 s",
        "time for a request header to arrive, and for a keep-alive connection to stay idle",
    ),
    key("limits", "body_timeout", Type::Duration(10, HOUR), "15 s", "time for a request body to arrive"),
    key("limits", "auth_timeout", Type::Duration(10, HOUR), "5 s", "time for a WebSocket to send its credential"),
    key(
        "limits",
        "unauthenticated",
        Type::Count(1, 1_000_000),
        "256",
        "number of WebSockets that have not sent a credential yet",
    ),
    key(
        "limits",
        "ping_interval",
        Type::Duration(10, HOUR),
        "25 s",
        "time of silence after which a connection is pinged",
    ),
    key("limits", "pong_timeout", Type::Duration(10, HOUR), "10 s", "time for a sign of life after a ping"),
    key("limits", "write_stall", Type::Duration(10, HOUR), "30 s", "longest time that a write may go without progress"),
    key(
        "limits",
        "subscriptions",
        Type::Count(1, 100_000),
        "128",
        "number of subscriptions of one connection; a pattern is one",
    ),
    told(
        "limits",
        "connections",
        Type::Count(1, 10_000_000),
        "65,536 or descriptors − 256",
        "number of open connections",
    ),
    key(
        "limits",
        "send_buffer",
        Type::Size(4 * KIB, 64 * MIB),
        "128 KiB",
        "memory that the kernel holds for one slow connection",
    ),
    key(
        "limits",
        "outbound",
        Type::Size(64 * KIB, 64 * GIB),
        "256 MiB",
        "memory for all slow connections together; near it new subscribers are refused, over it those furthest behind are dropped",
    ),
    key(
        "limits",
        "window",
        Type::Size(64 * KIB, 64 * GIB),
        "16 MiB",
        "memory for the newest messages of all topics, for live delivery; must be at least `limits.body`",
    ),
    key("limits", "family_topics", Type::Count(1, 10_000_000), "10000", "number of concrete topics of one family"),
    key(
        "limits",
        "idempotency_keys",
        Type::Count(0, 100_000_000),
        "100000",
        "number of idempotency keys that are remembered",
    ),
    key(
        "limits",
        "idempotency_window",
        Type::Duration(SECOND, 7 * DAY),
        "5 min",
        "time that an idempotency key is remembered",
    ),
    key("limits", "registrations", Type::Count(1, 10_000_000), "100000", "number of registrations"),
    key(
        "limits",
        "registration_ttl",
        Type::Duration(SECOND, 365 * DAY),
        "1 h",
        "time that a registration lives after its last use",
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
        "messages published or validated a second by one token, or one anonymous address (IPv6: /64)",
    ),
    key("limits", "connect_rate", Type::Rate(10_000_000), "off", "new connections a second of one address (IPv6: /64)"),
    key("limits", "drain", Type::Duration(0, HOUR), "20 s", "time for connections to end when the server stops"),
    key("limits", "schema_size", Type::Size(KIB, 64 * MIB), "1 MiB", "size of a schema file"),
    key("limits", "regex_size", Type::Size(KIB, 64 * MIB), "1 MiB", "size of a compiled `pattern`"),
    key("limits", "json_depth", Type::Count(1, 127), "64", "depth of a message's JSON"),
    key(
        "limits",
        "validation_budget",
        Type::Duration(1, HOUR),
        "100 ms",
        "time for one validation; publishes to a topic that repeatedly exceeds it get 503 for ten seconds at a time",
    ),
    key(
        "limits",
        "reload_poll",
        Type::Duration(0, DAY),
        "5 s",
        "time between comparisons of the files, in addition to file events; `0 s` switches them off",
    ),
    key("store", "kind", Type::Choice(&["memory"]), "memory", "where messages are kept"),
];

/// The key of this name in a table.
pub fn find(table: &str, name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name && key.table == table)
}

/// The tables that included files may have.
pub const INCLUDABLE: [&str; 2] = ["topics", "tokens"];

/// The names of all keys in a table.
pub fn names(table: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |key| key.table == table).map(|key| key.name)
}

/// The tables that have a key of this name.
pub fn tables_with(name: &str) -> impl Iterator<Item = &'static str> {
    KEYS.iter().filter(move |key| key.name == name).map(|key| key.table)
}

/// The name of a table in messages, such as `[topics.<name>]`.
pub fn show_table(table: &str) -> String {
    if table.is_empty() { "the file".to_owned() } else { format!("`[{table}]`") }
}

impl Key {
    /// Its full path, such as `topics.<name>.schema`.
    pub fn path(&self) -> String {
        if self.table.is_empty() { self.name.to_owned() } else { format!("{}.{}", self.table, self.name) }
    }

    /// The default as a value; `None` if there is none, or only words for it.
    pub fn default_value(&self) -> Option<Value> {
        let Absent::Value(text) = self.default else { return None };
        Some(match self.value {
            Type::Count(..) => json!(text.parse::<u64>().expect("the table writes a number as a file does")),
            Type::Texts => json!([]),
            _ => json!(text),
        })
    }

    /// The table, or the kind of tables, that it holds.
    pub fn below(&self) -> Option<&'static str> {
        let path = if self.value == Type::Named { format!("{}.<name>", self.path()) } else { self.path() };
        KEYS.iter().map(|key| key.table).find(|table| *table == path)
    }

    /// Whether the key must be there.
    pub fn required(&self) -> bool {
        self.default == Absent::Required
    }
}
