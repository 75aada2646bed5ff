//! A whole server in this process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use relay::auth::tokens::Tokens;
use relay::config::model::{
    Compatibility, Config, History, Limits, Listen, Log, OnLag, SchemaSource, Server, Span, StoreConfig, TokenConfig,
    TopicConfig,
};
use relay::hub::topic::Topic;
use relay::hub::{Hub, Size};
use relay::live::Live;
use relay::message::{Position, Record, Seq, Time};
use relay::name::{Pattern, UserId};
use relay::plugin::{Query, Retention};
use relay::principal::{Grants, Principal, UserPattern};
use relay::schema::Schema;
use relay::server::listener::Listener;
use relay::server::{self, Listeners};
use relay::snapshot::{Snapshot, TopicRules};
use relay::store;
use sha2::{Digest, Sha256};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::peer::{Answer, Peer};

/// Subprotocols of the tests' servers.
pub const PROTOCOLS: &[&str] = &["relay.v1", "relay.raw"];

/// A running server.
pub struct Rig {
    /// What it is.
    pub live: Arc<Live>,
    /// Where it listens.
    pub public: SocketAddr,
    /// Where operators connect.
    pub admin: SocketAddr,
    /// Ends with the drain.
    pub running: JoinHandle<()>,
}

impl Rig {
    /// Starts a server with the topics `cats` and `orders.{region}` and what the change makes of the configuration.
    pub async fn start(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let live = Arc::new(live(snapshot(config, 1)));
        let listen = Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        let public = Listener::bind(&listen).await.expect("a free port");
        let admin = Listener::bind(&listen).await.expect("a free port");
        let (public_address, admin_address) = (tcp(&public), tcp(&admin));
        let listeners = Listeners { public, admin: Some(admin) };
        let running = tokio::spawn(server::run(listeners, live.clone(), PROTOCOLS));
        Self { live, public: public_address, admin: admin_address, running }
    }

    /// A connection.
    pub async fn connect(&self) -> Peer<TcpStream> {
        Peer::new(TcpStream::connect(self.public).await.expect("the server listens"))
    }

    /// One request on a connection of its own. `head` is a request line and header lines without Host and length.
    pub async fn call(&self, head: &str, body: &str) -> Answer {
        call(self.public, head, body).await
    }

    /// Publishes JSON as `secret`, or as nobody when that is empty.
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
        let store = self.live.hub.store();
        let query = Query { topics: &[Pattern::everything()], after: 0, until: store.head(), limit: usize::MAX };
        store.read(query).await.expect("a memory log reads").records
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

/// A token of these grants, its secret `secret-<name>`.
pub fn token(name: &str, publish: &[&str], subscribe: &[&str], register: &[&str]) -> TokenConfig {
    TokenConfig {
        name: name.into(),
        span: span(),
        digest: Sha256::digest(format!("secret-{name}")).into(),
        grants: grants(publish, subscribe, register),
        user: None,
        not_after: None,
    }
}

/// Grants from texts.
pub fn grants(publish: &[&str], subscribe: &[&str], register: &[&str]) -> Grants {
    let patterns = |texts: &[&str]| texts.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect();
    let users = register.iter().map(|text| match *text {
        "*" => UserPattern::Any,
        one => UserPattern::One(UserId::parse(one).expect("a user")),
    });
    Grants { publish: patterns(publish), subscribe: patterns(subscribe), register: users.collect() }
}

/// A configuration that lets a token `all` do everything and nobody else anything.
pub fn config() -> Config {
    Config {
        server: Server {
            listen: Listen::Tcp(SocketAddr::from(([127, 0, 0, 1], 0))),
            admin: None,
            allowed_origins: vec!["https://app.example".into()],
            allowed_hosts: None,
            trusted_proxies: vec![],
            public_url: None,
        },
        log: Log { json: false, level: "info".into() },
        topics: vec![topic("cats", "Cat sightings"), topic("orders.{region}", "Orders")],
        tokens: vec![token("all", &["**"], &["**"], &["*"])],
        anonymous: Grants::default(),
        limits: Limits { drain: Duration::from_secs(5), ..Limits::default() },
        store: StoreConfig { kind: "memory".into() },
    }
}

fn topic(name: &str, description: &str) -> TopicConfig {
    TopicConfig {
        name: Pattern::parse(name).expect("a name"),
        span: span(),
        description: description.into(),
        schema: SchemaSource::Any,
        schema_span: span(),
        history: History { count: 1_000, bytes: 1 << 20, age: Duration::from_secs(3_600) },
        compatibility: Compatibility::None,
        on_lag: OnLag::Gap,
        examples: vec![],
    }
}

fn span() -> Span {
    Span { file: 0, bytes: 0..0 }
}

/// A log, a hub and its tasks.
fn live(snapshot: Snapshot) -> Live {
    let store = (store::KINDS[0].build)(&store::Settings { key_window: Duration::from_secs(60), keys: 1_000 });
    let topics = || snapshot.config.topics.iter();
    store.retain(topics().map(|t| (t.name.clone(), retention(t))).collect());
    let by_index: HashMap<usize, Arc<Topic>> =
        snapshot.topics.iter().map(|rules| (rules.config, rules.topic.clone())).collect();
    let declared = topics().enumerate().map(|(index, t)| (t.name.clone(), by_index[&index].clone())).collect();
    let hub = Hub::new(store, Size::default(), declared);
    let live = Live::new(snapshot, hub);
    for task in live.hub.tasks() {
        live.drain.detach("shard", task);
    }
    live
}

fn retention(topic: &TopicConfig) -> Retention {
    let History { count, bytes, age } = topic.history;
    Retention { count, bytes, age, declared: topic.name.clone(), topics: 10_000 }
}

/// Builds a snapshot as the server does.
pub fn snapshot(config: Config, generation: u64) -> Snapshot {
    let rules = config.topics.iter().enumerate().map(|(index, topic)| {
        let rules =
            TopicRules { config: index, schema: Schema::any(), topic: Arc::new(Topic::new(topic.name.clone())) };
        (topic.name.clone(), Arc::new(rules))
    });
    let anonymous =
        Principal { token: None, user: None, grants: config.anonymous.clone(), not_after: None, fingerprint: 0 };
    Snapshot {
        generation,
        hash: "test".into(),
        loaded_at: Time(0),
        topics: rules.collect(),
        auth: Arc::new(Tokens::new(&config.tokens)),
        anonymous: Arc::new(anonymous),
        config,
    }
}
