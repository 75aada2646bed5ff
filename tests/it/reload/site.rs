//! A server over a directory of its own, whose files a test changes.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use relay::assemble::reload::Reloader;
use relay::assemble::{PROTOCOLS, build, load};
use relay::disk::Disk;
use relay::name::TopicName;
use relay::reload;
use relay::schema::compile::SchemaCache;
use relay::time::Time;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::signal::unix::{SignalKind, signal};

use crate::peer::Answer;
use crate::program::Place;
use crate::rig::{Rig, call, spawn};
use crate::subscriber::Subscriber;

/// Whatever must happen happens within this time; shorter promises are measured.
const SOON: Duration = Duration::from_secs(20);

/// The head of every relay.toml here.
pub const HEAD: &str = "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"127.0.0.1:0\"\n";

/// The server.
pub struct Site {
    /// Its files.
    pub place: Place,
    /// What reloads it.
    pub reloader: Arc<Reloader>,
    rig: Rig,
}

impl Deref for Site {
    type Target = Rig;

    fn deref(&self) -> &Rig {
        &self.rig
    }
}

impl Site {
    /// Serves `relay.toml` of these files; reloads only when asked.
    pub async fn start(files: &[(&str, &str)]) -> Self {
        let place = Place::new("site");
        files.iter().for_each(|(name, text)| drop(place.write(name, text)));
        Self::open(place, "relay.toml").await
    }

    /// The same, and watches the files.
    pub async fn watched(files: &[(&str, &str)]) -> Self {
        let site = Self::start(files).await;
        site.watch();
        site
    }

    /// Serves the relay.toml of this name in a directory.
    pub async fn open(place: Place, name: &str) -> Self {
        let path = place.0.join(name);
        let mut loaded = load(&Disk::new(&path), &SchemaCache::default(), Time::now());
        let config = loaded.config.take().unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
        let live = build::live(build::snapshot(config, &loaded, None), 2);
        let reloader = Arc::new(Reloader::new(path, live.clone(), None, loaded));
        let rig = Rig::serve_with(live, PROTOCOLS, Some(reloader.clone())).await;
        Self { place, reloader, rig }
    }

    /// Begins the drain and waits for the end.
    pub async fn end(self) {
        self.rig.end().await;
    }

    /// Begins to watch the files.
    pub fn watch(&self) {
        let hangup = signal(SignalKind::hangup()).expect("a signal");
        spawn(reload::run(hangup, self.reloader.clone(), self.live.clone()));
    }

    /// `POST /reload`.
    pub async fn reload(&self) -> Answer {
        call(self.admin, "POST /reload HTTP/1.1\r\n", "").await
    }

    /// Writes relay.toml and reloads, which must succeed; returns the report.
    pub async fn change(&self, relay_toml: &str) -> Value {
        self.place.write("relay.toml", relay_toml);
        let answer = self.reload().await;
        assert_eq!(answer.status, 200, "{:#}", answer.json());
        answer.json()
    }

    /// The admin listener's answer to a GET.
    pub async fn ask(&self, path: &str) -> Value {
        call(self.admin, &format!("GET {path} HTTP/1.1\r\n"), "").await.json()
    }

    /// A WebSocket with this token, after its `hello`.
    pub async fn subscriber(&self, token: &str) -> Subscriber {
        let url = format!("ws://{}/ws", self.public);
        let bearer = format!("Bearer {token}");
        let mut socket = Subscriber::connect(&url, &[("authorization", &bearer)]).await;
        assert_eq!(socket.json().await["type"], "hello");
        socket
    }

    /// Whether a topic is declared now.
    pub fn has(&self, topic: &str) -> bool {
        self.live.snapshot().resolve(&TopicName::parse(topic).expect("a topic")).is_some()
    }

    /// Waits until something holds; returns how long that took.
    pub async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) -> Duration {
        let began = Instant::now();
        while !holds(self) {
            let stale = self.live.reloads.stale();
            assert!(began.elapsed() < SOON, "{what} does not come to be; {stale:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        began.elapsed()
    }
}

/// A `[tokens.<name>]` whose secret is its name.
pub fn token(name: &str, rest: &str) -> String {
    let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("[tokens.{name}]\nsha256 = \"{digest}\"\n{rest}\n")
}

/// A relay.toml with these topics, each `"any"`, and a token `all` that may do everything.
pub fn with_topics(topics: &[&str]) -> String {
    let topics: String = topics.iter().map(|name| format!("[topics.\"{name}\"]\nschema = \"any\"\n")).collect();
    format!("{HEAD}{}{topics}", token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]\nregister = [\"*\"]"))
}
