//! A whole server in this process.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relay::assemble::reload::Reloader;
use relay::assemble::{PROTOCOLS, build, load};
use relay::config::files::Memory;
use relay::config::model::{Config, Listen, Span, TokenConfig};
use relay::hub::peer::Peer as Other;
use relay::live::Live;
use relay::message::{Position, Record, Seq};
use relay::name::{Pattern, UserId};
use relay::plugin::{Protocol, Query};
use relay::principal::{Grants, UserPattern};
use relay::schema::compile::SchemaCache;
use relay::server::listener::Listener;
use relay::server::{self, Listeners};
use relay::snapshot::Snapshot;
use relay::time::Time;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::peer::{Answer, Peer};

/// The configuration of the tests' servers, unless a test changes it. A token `all` (its secret is `secret-all`) may do
/// everything, and nobody else may do anything.
const RELAY_TOML: &str = r#"
version = 1

[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
allowed_origins = ["https://app.example"]

[topics.cats]
description = "Cat sightings"
schema = "any"

[topics."orders.{region}"]
description = "Orders"
schema = "any"

[topics.sightings]
schema = "schemas/sighting.json"

[tokens.all]
secret = { env = "ALL" }
publish = ["**"]
subscribe = ["**"]
register = ["*"]

[limits]
drain = "5 s"
"#;

const SIGHTING: &str = r#"{
  "type": "object",
  "required": ["name"],
  "properties": {"name": {"type": "string"}, "age": {"type": "integer", "minimum": 0}},
  "additionalProperties": false
}"#;

/// A running server.
pub struct Rig {
    /// Its live state.
    pub live: Arc<Live>,
    /// The address of the public listener.
    pub public: SocketAddr,
    /// The address of the admin listener.
    pub admin: SocketAddr,
    /// The server's task, which ends with the drain.
    pub running: JoinHandle<()>,
}

impl Rig {
    /// Starts a server on the tests' configuration, after `change`.
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        Self::serve(build::live(snapshot(change), 2)).await
    }

    /// Serves this live state.
    pub async fn serve(live: Arc<Live>) -> Self {
        Self::serve_with(live, PROTOCOLS, None).await
    }

    /// Serves this live state in these subprotocols, and reloads when operators ask for it.
    pub async fn serve_with(
        live: Arc<Live>,
        protocols: &'static [&'static dyn Protocol],
        reloader: Option<Arc<Reloader>>,
    ) -> Self {
        let server = live.snapshot().config.server.clone();
        let public = Listener::bind(&server.listen).await.expect("a free port");
        let admin = Listener::bind(&server.admin.expect("an admin listener")).await.expect("a free port");
        let (public_address, admin_address) = (tcp(&public), tcp(&admin));
        let listeners = Listeners { public, admin: Some(admin), reloader };
        let running = spawn(server::run(listeners, live.clone(), protocols));
        Self { live, public: public_address, admin: admin_address, running }
    }

    /// A connection to the public listener.
    pub async fn connect(&self) -> Peer<TcpStream> {
        Peer::new(TcpStream::connect(self.public).await.expect("the server listens"))
    }

    /// One request on a connection of its own. `head` holds the request line and header lines, without Host and length.
    pub async fn call(&self, head: &str, body: &str) -> Answer {
        call(self.public, head, body).await
    }

    /// A POST of JSON as `secret`, or as nobody when that is empty.
    pub async fn post(&self, path: &str, secret: &str, body: &str) -> Answer {
        let bearer = if secret.is_empty() { String::new() } else { format!("Authorization: Bearer {secret}\r\n") };
        self.call(&format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n{bearer}"), body).await
    }

    /// A GET as `secret`, or as nobody when that is empty.
    pub async fn get(&self, path: &str, secret: &str) -> Answer {
        let bearer = if secret.is_empty() { String::new() } else { format!("Authorization: Bearer {secret}\r\n") };
        self.call(&format!("GET {path} HTTP/1.1\r\n{bearer}"), "").await
    }

    /// The records in the log.
    pub async fn records(&self) -> Vec<Arc<Record>> {
        let (topics, all) = ([Pattern::everything()], usize::MAX);
        let query = Query { topics: &topics, after: 0, until: u64::MAX, limit: all, bytes: all, seen: 0 };
        self.live.hub.store().read(query).await.expect("memory can be read").records
    }

    /// The payloads in the log.
    pub async fn payloads(&self) -> Vec<String> {
        let text = |record: &Arc<Record>| String::from_utf8_lossy(record.payload.as_bytes()).into_owned();
        self.records().await.iter().map(text).collect()
    }

    /// The id of a message, as answers show it.
    pub fn id(&self, seq: Seq) -> String {
        Position { epoch: self.live.hub.epoch(), seq }.to_string()
    }

    /// The text of a metrics scrape.
    pub async fn metrics(&self) -> String {
        let answer = call(self.admin, "GET /metrics HTTP/1.1\r\n", "").await;
        String::from_utf8(answer.body).expect("text")
    }

    /// Puts the tests' configuration into force, after `change`.
    pub fn commit(&self, generation: u64, change: impl FnOnce(&mut Config)) {
        let mut next = snapshot(change);
        next.generation = generation;
        drop(self.live.commit(Arc::new(next)));
    }

    /// Begins the drain and waits for the end.
    pub async fn end(mut self) {
        self.live.drain.begin();
        tokio::time::timeout(Duration::from_secs(30), &mut self.running)
            .await
            .expect("an end in time")
            .expect("no panic");
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        self.live.drain.begin();
    }
}

/// Waits until `holds`, for half a minute at most.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// Starts a task that belongs to a test.
#[expect(clippy::disallowed_methods, reason = "the server owns its tasks; these are the tests'")]
pub fn spawn<T: Send + 'static>(task: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(task)
}

/// The snapshot of the tests' configuration, after `change`.
pub fn snapshot(change: impl FnOnce(&mut Config)) -> Snapshot {
    snapshot_of(&Memory::new(RELAY_TOML).with("schemas/sighting.json", SIGHTING), change)
}

/// The snapshot of a configuration, after `change`. The environment holds the secret of the token `all`.
pub fn snapshot_of(files: &Memory, change: impl FnOnce(&mut Config)) -> Snapshot {
    let mut files = files.clone();
    files.env.insert("ALL".into(), "secret-all".into());
    let mut loaded = load(&files, &SchemaCache::default(), Time::now());
    let mut config = loaded.config.take().unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    change(&mut config);
    build::snapshot(config, &loaded, None)
}

/// Trusts loopback as a proxy, so that `X-Forwarded-For` names the peer.
pub fn behind_proxy(config: &mut Config) {
    config.server.trusted_proxies = vec![([127, 0, 0, 1].into(), 32)];
}

/// One request on a connection of its own.
pub async fn call(address: SocketAddr, head: &str, body: &str) -> Answer {
    let mut peer = Peer::new(TcpStream::connect(address).await.expect("the server listens"));
    let host =
        if head.to_ascii_lowercase().contains("\r\nhost:") { String::new() } else { format!("Host: {address}\r\n") };
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    peer.send(format!("{head}{host}{length}\r\n{body}")).await;
    let answer = if head.starts_with("HEAD") { peer.answer_to_head().await } else { peer.answer().await };
    answer.expect("an answer")
}

fn tcp(listener: &Listener) -> SocketAddr {
    match listener.address() {
        Listen::Tcp(address) => address,
        Listen::Unix(path) => panic!("bound to {}", path.display()),
    }
}

/// A token with these grants; its secret is `secret-<name>`.
pub fn token(name: &str, publish: &[&str], subscribe: &[&str], register: &[&str]) -> TokenConfig {
    TokenConfig {
        name: name.into(),
        span: Span { file: 0, bytes: 0..0 },
        digest: Sha256::digest(format!("secret-{name}")).into(),
        grants: grants(publish, subscribe, register),
        user: None,
        not_after: None,
    }
}

/// The peer of a subscriber that has no real one.
pub fn somebody() -> Other {
    Other::new("websocket", [127, 0, 0, 1].into())
}

/// Grants from texts.
pub fn grants(publish: &[&str], subscribe: &[&str], register: &[&str]) -> Grants {
    let pattern = |text: &&str| Pattern::parse(text).expect("a pattern");
    let patterns = |texts: &[&str]| texts.iter().map(pattern).collect::<Vec<_>>().into();
    let users = register.iter().map(|text| match *text {
        "*" => UserPattern::Any,
        one => UserPattern::One(UserId::parse(one).expect("a user")),
    });
    Grants { publish: patterns(publish), subscribe: patterns(subscribe), register: users.collect() }
}
