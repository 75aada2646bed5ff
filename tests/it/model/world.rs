//! The server of a model run, and the plain list of what was published, against which readers are checked.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use relay::assemble::{PROTOCOLS, build};
use relay::close::Close;
use relay::config::model::{TokenConfig, TopicConfig};
use relay::connections::{Connections, Permit};
use relay::http;
use relay::http::door::{Door, Link};
use relay::http::flow::Flow;
use relay::hub::Size;
use relay::hub::entry::{FIXED_BYTES, Mark, Names};
use relay::hub::members::Visits;
use relay::ingest::{self, Publication, Publisher};
use relay::live::Live;
use relay::name::{Pattern, TopicName, UserId};
use relay::plugin::Query;
use relay::protocol::relay_v1::RelayV1;
use relay::server::http_socket::HttpSocket;
use relay::time::Time;
use relay::ws;
use relay::ws::opening::{Opening, Upgraded};
use tokio::io::{DuplexStream, duplex};
use tokio::net::TcpStream;

use crate::model::dice::Dice;
use crate::model::wire::Peer;
use crate::peer::UPGRADE;
use crate::rig::{self, Rig, token};

/// Concrete topics; the last three belong to a family.
pub const TOPICS: [&str; 5] = ["a", "b", "f.x", "f.y", "f.z"];
/// What readers subscribe to.
pub const PATTERNS: [&str; 8] = ["a", "b", "f.x", "f.y", "f.*", "*", "f.**", "**"];
/// The users of the tokens `u0` (which has none), `u1` and `u2`.
pub const USERS: [Option<&str>; 3] = [None, Some("1"), Some("2")];

/// One message that was published.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    pub seq: u64,
    pub topic: usize,
    /// Its only addressee, as an index into [`USERS`]; `None` for everybody.
    pub user: Option<usize>,
    pub number: u64,
}

/// How readers reach the server.
enum Reach {
    /// In memory, so that the seed decides when a reader runs.
    Memory(Arc<Door>),
    /// Over TCP.
    Tcp(Rig),
}

/// One server and its log; a restart makes another one.
pub struct World {
    pub live: Arc<Live>,
    pub log: Vec<Published>,
    /// Where reloads took effect: generation and seq.
    pub marks: Vec<(u64, u64)>,
    /// Whether its clock runs, rather than being paused.
    pub is_real: bool,
    numbers: u64,
    reach: Reach,
    places: Connections,
}

impl World {
    /// Starts a server with a tiny window and tiny rings.
    pub async fn start(dice: &mut Dice, tcp: bool) -> Self {
        let snapshot = rig::snapshot(|config| {
            let topic = config.topics.swap_remove(0);
            let named = |name| TopicConfig { name: pattern(name), ..topic.clone() };
            config.topics = vec![named("a"), named("f.{x}"), named("b")];
            config.topics[0].history.count = 1 + dice.below(6);
            config.topics[1].history.count = 1 + dice.below(4);
            config.topics[1].history.bytes = if dice.one_in(2) { 1 << 20 } else { 8 + dice.below(60) };
            config.topics[2].history.count = 1;
            config.tokens = (0..USERS.len()).map(user_token).collect();
        });
        // Room for a few messages with short payloads.
        let window = (1 + dice.below(8)) * (FIXED_BYTES + 64);
        // Too few to find anybody, enough for some batches, or for all.
        let few = dice.below(4);
        let visits =
            if few < 3 { Visits { append: few, message: few, member: 0, reload: few } } else { Visits::default() };
        let size = Size { shards: 1 + dice.below(4) / 3, window, stride: 1 + dice.below(2), visits };
        let (live, reach) = if tcp {
            let rig = Rig::serve(build::sized(snapshot, size)).await;
            (rig.live.clone(), Reach::Tcp(rig))
        } else {
            let live = build::sized(snapshot, size);
            for shard in live.hub.tasks() {
                live.drain.detach("shard", shard);
            }
            (live.clone(), Reach::Memory(Arc::new(http::public_door(live, false, PROTOCOLS))))
        };
        Self {
            live,
            log: Vec::new(),
            marks: Vec::new(),
            is_real: is_real(),
            numbers: 0,
            reach,
            places: Connections::default(),
        }
    }

    /// The seq of the newest message.
    pub fn head(&self) -> u64 {
        self.log.last().map_or(0, |published| published.seq)
    }

    /// The id of a seq.
    pub fn id(&self, seq: u64) -> String {
        format!("{}-{seq}", self.live.hub.epoch())
    }

    /// Publishes some messages as one batch.
    pub async fn publish(&mut self, list: &[(usize, Option<usize>)]) {
        let snapshot = self.live.snapshot();
        let principal = snapshot.auth.authenticate("secret-u0", Time::now()).await.expect("u0 may publish");
        let first = self.numbers;
        let publications = (first + 1..).zip(list).map(|(number, (topic, user))| Publication {
            topic: TopicName::parse(TOPICS[*topic]).expect("a topic"),
            user: user.and_then(|user| USERS[user]).map(|user| UserId::parse(user).expect("a user")),
            body: Bytes::from(body(number)),
            key: None,
        });
        let publications: Vec<_> = publications.collect();
        let publisher = Publisher { principal: &principal, peer: IpAddr::from([127, 0, 0, 1]) };
        let published = ingest::publish_batch(&self.live, snapshot.clone(), publisher, &publications, None).await;
        for (published, (topic, user)) in published.expect("published").iter().zip(list) {
            self.numbers += 1;
            self.log.push(Published { seq: published.seq, topic: *topic, user: *user, number: self.numbers });
        }
    }

    /// Lets everything that is retained expire.
    pub async fn age(&self) {
        self.live.hub.store().sweep(Time(Time::now().0 + 7_200_000)).await;
    }

    /// Takes away the retention of all declared names but one, or gives it back.
    pub async fn retain(&self, all: bool) {
        let config = &self.live.snapshot().config;
        let mut config = config.clone();
        if !all {
            config.topics.truncate(1);
        }
        self.live.hub.store().retain(build::retention(&config));
        self.live.hub.store().sweep(Time::now()).await;
    }

    /// Puts the mark of a reload that changed the schema of `f.{x}` into the log.
    pub fn mark(&mut self) {
        let generation = self.marks.last().map_or(1, |(generation, _)| *generation) + 1;
        let mut at = 0;
        self.live.hub.mark(|seq| {
            at = seq;
            Mark {
                seq,
                generation,
                first: generation,
                removed: Names::default(),
                changed: vec![pattern("f.{x}")].into(),
                tokens: Default::default(),
                anonymous: false,
            }
        });
        self.marks.push((generation, at));
    }

    /// Tells all connections that this server drains.
    pub fn drain(&self) {
        self.live.drain.begin();
        self.live.hub.connections().iter().for_each(|connection| connection.end(Close::Draining));
    }

    /// Whether readers reach it over TCP.
    pub fn is_tcp(&self) -> bool {
        matches!(self.reach, Reach::Tcp(_))
    }

    /// The highest seq that a topic has evicted.
    pub fn evicted(&self, topic: usize) -> u64 {
        let topics = [pattern(TOPICS[topic])];
        let query = Query { topics: &topics, after: 0, until: u64::MAX, limit: 0, bytes: 0, seen: 0 };
        let page = self.live.hub.store().read(query).now_or_never().expect("memory does not wait");
        page.expect("memory can be read").evicted.iter().map(|(_, seq)| *seq).max().unwrap_or(0)
    }

    /// A user's WebSocket, already upgraded. In memory, `buffer` bytes fit between the two ends.
    pub async fn dial_websocket(&self, user: usize, buffer: usize) -> Box<dyn Peer> {
        match &self.reach {
            Reach::Memory(_) => {
                let (near, far) = duplex(buffer);
                let opening = Opening {
                    protocol: &RelayV1,
                    principal: self
                        .live
                        .snapshot()
                        .auth
                        .authenticate(&format!("secret-u{user}"), Time::now())
                        .await
                        .ok(),
                    registration: None,
                    refused: None,
                    peer: [127, 0, 0, 1].into(),
                    permit: self.permit().await,
                };
                let live = self.live.clone();
                let upgraded = Upgraded { socket: far, answer: Vec::new(), head: Bytes::new() };
                let opened = Box::pin(ws::open(live.clone(), upgraded, opening));
                live.drain.spawn("websocket", async move {
                    // A refused connection has already been sent its close.
                    if let Some(task) = opened.await {
                        task.run().await;
                    }
                });
                Box::new(near)
            }
            Reach::Tcp(rig) => {
                let mut socket = dial(rig.public).await;
                let request = format!(
                    "GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}Authorization: Bearer secret-u{user}\r\n\r\n"
                );
                tokio::io::AsyncWriteExt::write_all(&mut socket, request.as_bytes()).await.expect("the server reads");
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(tokio::io::AsyncReadExt::read_u8(&mut socket).await.expect("an answer"));
                }
                Box::new(socket)
            }
        }
    }

    /// A connection for HTTP requests.
    pub async fn dial_http(&self, buffer: usize) -> Box<dyn Peer> {
        match &self.reach {
            Reach::Memory(door) => {
                let (near, far) = duplex(buffer);
                let (door, permit) = (door.clone(), self.permit().await);
                self.live.drain.spawn("http", serve(far, door, permit));
                Box::new(near)
            }
            Reach::Tcp(rig) => Box::new(dial(rig.public).await),
        }
    }

    async fn permit(&self) -> Permit {
        self.places.enter(|| usize::MAX).await
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.live.drain.begin();
    }
}

async fn serve(socket: DuplexStream, door: Arc<Door>, permit: Permit) {
    let link = Arc::new(Link { door, peer: None, permit, flow: Flow::default(), secure: false, over_rate: false });
    let socket = HttpSocket::new(socket, Duration::from_secs(10), Duration::from_secs(30), link.flow.clone());
    let service = service_fn(move |request| http::serve(request, link.clone()).map(Ok::<_, std::convert::Infallible>));
    let _ = http1::Builder::new().serve_connection(TokioIo::new(socket), service).await;
}

async fn dial(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("the server listens")
}

/// The payload with this number; every fifth is so large that few fit into one chunk.
fn body(number: u64) -> String {
    if number.is_multiple_of(5) { format!("[{number},\"{}\"]", "x".repeat(7_000)) } else { format!("[{number}]") }
}

/// A paused clock needs a single-threaded runtime.
fn is_real() -> bool {
    tokio::runtime::Handle::current().runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread
}

fn user_token(user: usize) -> TokenConfig {
    let mut token = token(&format!("u{user}"), &["**"], &["**"], &[]);
    token.user = USERS[user].map(|user| UserId::parse(user).expect("a user"));
    token
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect(text)
}
