//! Connections that always have something to send: expiry and reloads reach them all the same.
//!
//! Each is in the middle of a stream of messages without a pause, so nothing here is noticed only because a connection
//! is idle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use relay::time::Time;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::Message;

use super::site::{HEAD, Site, token};
use crate::event_stream::EventStream;
use crate::peer::Peer;
use crate::rig::spawn;
use crate::subscriber::Subscriber;

const TOPIC: &str = "[topics.cats]\nschema = \"any\"\n[anonymous]\npublish = [\"cats\"]\n";
const READS: &str = "subscribe = [\"cats\"]";
/// With fewer messages than this there would be no load.
const MANY: usize = 100;

/// Publishes without a pause until it is stopped.
struct Load {
    stop: Arc<AtomicBool>,
    task: JoinHandle<()>,
}

impl Load {
    async fn start(site: &Site) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, mut peer) = (stop.clone(), site.connect().await);
        let head = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
        let body = format!("\"{}\"", "x".repeat(2_000));
        let requests = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).repeat(16);
        let task = spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                peer.send(&requests).await;
                answers(&mut peer).await;
            }
        });
        Self { stop, task }
    }

    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.task.await.expect("no panic");
    }
}

async fn answers(peer: &mut Peer<TcpStream>) {
    for _ in 0..16 {
        assert_eq!(peer.answer().await.expect("an answer").status, 200);
    }
}

/// Reads to the close. Returns the number of messages before it, and its code.
async fn read_socket(mut socket: Subscriber) -> (usize, u16) {
    let mut messages = 0;
    loop {
        match socket.next().await {
            Message::Text(text) => messages += usize::from(text.starts_with(r#"{"type":"message""#)),
            Message::Close(frame) => return (messages, frame.map_or(0, |frame| frame.code.into())),
            other => panic!("{other:?}"),
        }
    }
}

/// The same for a stream, whose last event is its close.
async fn read_stream(mut stream: EventStream<TcpStream>) -> (usize, u16) {
    let (mut messages, mut last) = (0, Value::Null);
    while let Some(event) = stream.next().await {
        messages += usize::from(event.name == "message");
        last = event.data;
    }
    (messages, last["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(0))
}

async fn stream(site: &Site, secret: &str) -> EventStream<TcpStream> {
    let socket = TcpStream::connect(site.public).await.expect("it listens");
    EventStream::open(socket, "/events?topic=cats", &format!("Authorization: Bearer {secret}\r\n")).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_expires_ends_who_is_never_idle() {
    let end = Time(Time::now().0 + 2_000);
    let short = token("short", &format!("{READS}\nnot_after = {end}"));
    let site = Site::start(&[("relay.toml", &format!("{HEAD}{short}{TOPIC}"))]).await;
    let mut socket = site.subscriber("short").await;
    socket.subscribe("cats").await;
    let stream = stream(&site, "short").await;
    let load = Load::start(&site).await;
    let readers = async { tokio::join!(read_socket(socket), read_stream(stream)) };
    let (socket, stream) = tokio::time::timeout(Duration::from_secs(10), readers).await.expect("an end in time");
    let late = Time::now().0 - end.0;
    load.end().await;
    assert_eq!((socket.1, stream.1), (4002, 4002));
    assert!(socket.0 > MANY && stream.0 > MANY, "{socket:?} {stream:?}");
    assert!((0..1_000).contains(&late), "{late} ms late");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_removed_ends_who_is_never_idle_within_a_second() {
    let config = |tokens: &str| format!("{HEAD}{tokens}{TOPIC}");
    let site = Site::start(&[("relay.toml", &config(&token("gone", READS)))]).await;
    let mut socket = site.subscriber("gone").await;
    socket.subscribe("cats").await;
    let stream = stream(&site, "gone").await;
    let load = Load::start(&site).await;
    let readers = spawn(async move { tokio::join!(read_socket(socket), read_stream(stream)) });
    site.until("there is load", |site| site.live.hub.head().seq > 500).await;
    let began = Instant::now();
    site.change(&config("")).await;
    let (socket, stream) = readers.await.expect("no panic");
    let took = began.elapsed();
    load.end().await;
    assert_eq!((socket.1, stream.1), (4010, 4010));
    assert!(socket.0 > MANY && stream.0 > MANY, "{socket:?} {stream:?}");
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// Idle connections are checked every `limits.ping_interval`, which is long; a reload must not wait for that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_a_reload_ends_earlier_ends_who_is_idle_in_time() {
    let until = |end: i64| format!("{HEAD}{}{TOPIC}", token("short", &format!("{READS}\nnot_after = {}", Time(end))));
    let now = Time::now().0;
    let site = Site::start(&[("relay.toml", &until(now + 3_600_000))]).await;
    let mut socket = site.subscriber("short").await;
    socket.subscribe("cats").await;
    let stream = stream(&site, "short").await;
    let end = Time::now().0 + 1_000;
    site.change(&until(end)).await;
    let readers = async { tokio::join!(read_socket(socket), read_stream(stream)) };
    let (socket, stream) = tokio::time::timeout(Duration::from_secs(10), readers).await.expect("an end in time");
    let late = Time::now().0 - end;
    assert_eq!((socket.1, stream.1), (4002, 4002));
    assert!((0..1_000).contains(&late), "{late} ms late");
}
