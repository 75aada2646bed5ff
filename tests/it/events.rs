//! Server-sent events, over real sockets.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use relay::close::Close;
use relay::config::model::OnLag;
use relay::ingest::{self, Publication, Publisher};
use relay::name::TopicName;
use relay::protocol::relay_v1::RelayV1;
use relay::time::Time;
use serde_json::json;
use tokio::io::duplex;
use tokio::net::{TcpSocket, TcpStream};

use crate::event_stream::EventStream;
use crate::peer::narrow;
use crate::rig::{Rig, grants, somebody, token, until};

const ALL: &str = "Authorization: Bearer secret-all\r\n";

async fn open(rig: &Rig, target: &str, headers: &str) -> EventStream<TcpStream> {
    EventStream::open(TcpStream::connect(rig.public).await.expect("the server listens"), target, headers).await
}

async fn refused(rig: &Rig, target: &str, headers: &str) -> (u16, String) {
    let socket = TcpStream::connect(rig.public).await.expect("the server listens");
    match EventStream::try_open(socket, target, headers).await {
        Ok(_) => panic!("{target} was not refused"),
        Err((status, body)) => {
            let problem: serde_json::Value = serde_json::from_str(&body).expect("a problem");
            (status, problem["detail"].as_str().expect("a detail").to_owned())
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_several_topics_is_left_and_resumed() {
    let rig = Rig::start(|_| {}).await;
    let epoch = rig.live.hub.epoch();
    let mut stream = open(&rig, "/events?topic=cats&topic=orders.*", ALL).await;
    assert_eq!(stream.headers["content-type"], "text/event-stream");
    assert_eq!(stream.headers["x-accel-buffering"], "no");
    assert_eq!(stream.headers["cache-control"], "no-store");
    let event = stream.event().await;
    assert!(stream.retry.is_some_and(|ms| (500..5_000).contains(&ms)), "{:?}", stream.retry);
    assert_eq!((event.name.as_str(), event.id), ("synced", format!("{epoch}-0")));
    for (topic, n) in [("cats", 1), ("orders.eu", 2), ("cats", 3)] {
        rig.post(&format!("/publish/{topic}"), "secret-all", &format!(r#"{{"n":{n}}}"#)).await;
    }
    for (topic, n) in [("cats", 1), ("orders.eu", 2)] {
        let event = stream.event().await;
        assert_eq!((event.name.as_str(), event.id), ("message", format!("{epoch}-{n}")));
        assert_eq!((&event.data["topic"], &event.data["data"]["n"]), (&json!(topic), &json!(n)));
    }
    drop(stream);
    let resume = format!("{ALL}Last-Event-ID: {epoch}-2\r\n");
    let mut stream = open(&rig, "/events?topic=cats&topic=orders.*&after=earliest", &resume).await;
    assert_eq!(stream.expect("message").await["data"]["n"], 3, "the header wins");
    assert_eq!(stream.expect("synced").await["position"], format!("{epoch}-3"));
    drop(stream);
    let mut stream = open(&rig, "/events?topic=cats&after=earliest", ALL).await;
    for n in [1, 3] {
        assert_eq!(stream.expect("message").await["data"]["n"], n);
    }
    drop(stream);
    let none = format!("{ALL}Last-Event-ID: \r\n");
    let mut stream = open(&rig, "/events?topic=cats&after=earliest", &none).await;
    assert_eq!(stream.expect("message").await["data"]["n"], 1, "who has got no id yet has lost nothing");
    drop(stream);
    let garbage = format!("{ALL}Last-Event-ID: 12\r\n");
    let mut stream = open(&rig, "/events?topic=cats", &garbage).await;
    let gap = stream.expect("gap").await;
    let start = format!("{epoch}-0");
    assert_eq!(gap, json!({"type": "gap", "topic": "cats", "from": start, "to": start, "reason": "epoch"}));
    assert_eq!(stream.expect("message").await["data"]["n"], 1);
    drop(stream);
    rig.end().await;
}

#[tokio::test]
async fn refusals_come_before_the_stream_with_their_status() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&[], &["cats"], &[]);
        config.limits.subscriptions = 2;
        config.tokens.push(token("orders", &[], &["orders.*"], &[]));
    })
    .await;
    let orders = "Authorization: Bearer secret-orders\r\n";
    for (target, headers, status, detail) in [
        ("/events", "", 400, "name at least one topic: `/events?topic=…`"),
        ("/events?topic=cats&afer=1", "", 400, "unknown parameter `afer`: this call takes `topic`, `after`"),
        ("/events?topic=a..b", "", 400, "`a..b` is not a topic: a name or a segment of it is empty"),
        (
            "/events?topic=orders.eu",
            "",
            401,
            "anonymous callers have no grant for `orders.eu`: check the name, or send `Authorization: Bearer <token>`",
        ),
        (
            "/events?topic=cats",
            orders,
            403,
            "this credential has no grant to subscribe to `cats`: check the name, or grant it in relay.toml",
        ),
        ("/events?topic=dogs", ALL, 404, "relay.toml declares no topic `dogs` and no family that covers it"),
        (
            "/events?topic=cats&topic=dogs&topic=cats&topic=birds",
            "",
            413,
            "the list of topics is longer than `limits.subscriptions` allows (2)",
        ),
        (
            "/events/67e55044-10b1-426f-9247-bb680e5fe0c8",
            "",
            401,
            "unknown registration: it was deleted or has expired, or the server was restarted; register again",
        ),
    ] {
        assert_eq!(refused(&rig, target, headers).await, (status, detail.to_owned()), "{target}");
    }
    let mut stream = open(&rig, "/events?topic=cats&topic=cats&topic=cats", "").await;
    stream.expect("synced").await;
    drop(stream);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_registration_stands_for_a_credential_and_its_end_is_told() {
    let rig = Rig::start(|config| config.tokens.push(token("web", &["**"], &["cats"], &["*"]))).await;
    let registered = rig.post("/register", "secret-web", r#"{"user_id":7,"topics":["cats"]}"#).await.json();
    let id = registered["id"].as_str().expect("an id");
    let mut first = open(&rig, &format!("/events/{id}"), "").await;
    first.expect("synced").await;
    rig.post("/publish", "secret-all", r#"{"topic":"cats","user_id":8,"data":0}"#).await;
    rig.post("/publish", "secret-all", r#"{"topic":"cats","user_id":7,"data":1}"#).await;
    assert_eq!(first.expect("message").await["data"], 1);
    let mut second = open(&rig, &format!("/events/{id}"), "").await;
    second.expect("synced").await;
    let told = first.expect("close").await;
    assert_eq!(told, json!({"type": "close", "code": 4012, "reason": "a newer connection uses this registration"}));
    assert_eq!(first.retry, Some(86_400_000), "it must not come back and replace the other");
    first.end().await;
    assert_eq!(rig.call(&format!("DELETE /register/{id} HTTP/1.1\r\n"), "").await.status, 204);
    assert_eq!(second.expect("close").await["code"], 4011);
    second.end().await;
    drop((first, second));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a caller of its own")]
async fn a_drain_tells_each_reader_when_to_come_back() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = open(&rig, "/events?topic=cats", ALL).await;
    stream.expect("synced").await;
    let mut socket = crate::subscriber::Subscriber::connect(
        &format!("ws://{}/ws", rig.public),
        &[("authorization", "Bearer secret-all")],
    )
    .await;
    assert_eq!(socket.json().await["type"], "hello");
    let head = "GET /history/cats?wait=60 HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n";
    let live = rig.live.clone();
    let public = rig.public;
    let poll = tokio::spawn(async move { crate::rig::call(public, head, "").await });
    until("all three have subscribed", || live.hub.connections().len() >= 3).await;
    live.drain.begin();
    let goaway = stream.expect("goaway").await;
    assert_eq!((&goaway["type"], &goaway["reason"]), (&json!("goaway"), &json!("draining")));
    assert_eq!(stream.retry, goaway["reconnect_after_ms"].as_u64());
    stream.end().await;
    assert_eq!(socket.json().await["type"], "goaway");
    assert_eq!(socket.closed().await.0, 4200);
    let answer = poll.await.expect("no panic");
    assert_eq!((answer.status, answer.json()["messages"].clone()), (200, json!([])));
    drop((stream, socket));
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_server_sends_readers_away_in_a_stream() {
    let rig = Rig::start(|config| config.limits.connections = Some(1)).await;
    let mut first = open(&rig, "/events?topic=cats", ALL).await;
    first.expect("synced").await;
    let mut second = open(&rig, "/events?topic=cats", ALL).await;
    assert_eq!(second.expect("goaway").await["reason"], "overloaded");
    assert!(second.retry.is_some_and(|ms| (500..10_500).contains(&ms)));
    second.end().await;
    assert_eq!(rig.get("/topics", "secret-all").await.status, 503);
    drop((first, second));
    rig.end().await;
}

/// Unlike a reader over `limits.connections`, this one has taken a place, which it must give back.
#[tokio::test]
async fn a_reader_for_whom_there_is_no_memory_is_sent_away_with_its_connection() {
    let rig = Rig::start(|config| config.limits.outbound = 1_000).await;
    let (slow, _far) = duplex(64);
    let mut subscriber = rig.live.hub.subscriber(slow, &RelayV1, somebody());
    subscriber.reply(&[b'x'; 1_000]);
    let mut stream = open(&rig, "/events?topic=cats", ALL).await;
    assert_eq!(stream.headers["connection"], "close");
    assert_eq!(stream.expect("goaway").await["reason"], "overloaded");
    stream.end().await;
    drop(subscriber);
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_does_not_read_is_a_cursor_and_hears_of_its_gap() {
    for on_lag in [OnLag::Gap, OnLag::Disconnect] {
        let rig = Rig::start(|config| {
            config.topics[0].history.count = 10;
            config.topics[0].on_lag = on_lag;
            config.limits.send_buffer = 4 << 10;
            config.limits.write_stall = Duration::from_secs(600);
        })
        .await;
        let mut stream = EventStream::open(narrow(rig.public).await, "/events?topic=cats", ALL).await;
        stream.expect("synced").await;
        let big = "x".repeat(60_000);
        for n in 0..600 {
            let answer = rig.post("/publish/cats", "secret-all", &format!(r#"{{"n":{n},"x":"{big}"}}"#)).await;
            assert_eq!(answer.status, 200);
        }
        assert!(
            rig.live.hub.outbound.held() >= 60_000,
            "what it has not taken counts: {}",
            rig.live.hub.outbound.held()
        );
        let mut expected = 0;
        loop {
            let event = stream.event().await;
            match (event.name.as_str(), on_lag) {
                ("message", _) => {
                    assert_eq!(event.data["data"]["n"], expected);
                    expected += 1;
                }
                ("gap", OnLag::Gap) => {
                    assert_eq!(event.data["reason"], "lag");
                    assert_eq!(event.data["from"].as_str().map(seq), Some(expected));
                    expected = event.data["to"].as_str().map(seq).expect("a position");
                    assert!(expected > 300, "it is told once for all");
                }
                ("close", OnLag::Disconnect) => {
                    assert_eq!(event.data["code"], 4101);
                    break;
                }
                other => panic!("{other:?}"),
            }
            if expected == 600 {
                break;
            }
        }
        drop(stream);
        rig.end().await;
    }
}

fn seq(position: &str) -> u64 {
    position.split('-').nth(1).and_then(|seq| seq.parse().ok()).expect("a position")
}

#[tokio::test]
async fn a_quiet_stream_has_a_heartbeat() {
    let rig = Rig::start(|config| config.limits.ping_interval = Duration::from_millis(20)).await;
    let mut stream = open(&rig, "/events?topic=cats", ALL).await;
    stream.expect("synced").await;
    let quiet = tokio::time::timeout(Duration::from_millis(300), stream.next()).await;
    assert!(quiet.is_err() && stream.comments >= 2, "{} comments", stream.comments);
    rig.post("/publish/cats", "secret-all", "1").await;
    assert_eq!(stream.expect("message").await["data"], 1);
    drop(stream);
    rig.end().await;
}

#[tokio::test]
async fn pages_of_allowed_origins_may_read_a_stream() {
    let rig = Rig::start(|_| {}).await;
    let headers = format!("{ALL}Origin: https://app.example\r\n");
    let stream = open(&rig, "/events?topic=cats", &headers).await;
    assert_eq!(stream.headers["access-control-allow-origin"], "https://app.example");
    drop(stream);
    let (status, _) = refused(&rig, "/events?topic=cats", &format!("{ALL}Origin: https://evil.example\r\n")).await;
    assert_eq!(status, 403);
    rig.end().await;
}

#[tokio::test]
async fn a_token_that_ends_ends_its_stream() {
    let rig = Rig::start(|config| {
        let mut token = token("short", &[], &["cats"], &[]);
        token.not_after = Some(Time(Time::now().0 + 300));
        config.tokens.push(token);
    })
    .await;
    let mut stream = open(&rig, "/events?topic=cats", "Authorization: Bearer secret-short\r\n").await;
    stream.expect("synced").await;
    assert_eq!(stream.expect("close").await["code"], 4002);
    stream.end().await;
    drop(stream);
    rig.end().await;
}

/// Regression: a page that opened five streams at once got two of them, and the other three were refused for good.
#[tokio::test]
async fn a_stream_over_the_rate_of_connections_is_told_to_come_back() {
    let rig = Rig::start(|config| config.limits.connect_rate = Some(1)).await;
    let mut sent_away = 0;
    for _ in 0..4 {
        let mut stream = open(&rig, "/events?topic=cats", ALL).await;
        let event = stream.event().await;
        assert!(stream.retry.is_some_and(|ms| (500..5_000).contains(&ms)), "{:?}", stream.retry);
        if event.name == "close" {
            sent_away += 1;
            let reason = "more than `limits.connect_rate` connections per second: reconnect with backoff";
            assert_eq!((&event.data["code"], &event.data["reason"]), (&json!(4102), &json!(reason)));
            assert_eq!(stream.headers["connection"], "close");
            stream.end().await;
        }
    }
    assert!(sent_away >= 1, "4 in at most a few seconds");
}

/// Nobody answers a heartbeat, and what the kernel accepts says nothing about the reader. Regression: a reader that was
/// gone stayed until the kernel gave up on it, after a quarter of an hour.
#[tokio::test]
async fn a_reader_that_takes_nothing_is_let_go_though_nothing_is_unsent_here() {
    let rig = Rig::start(|config| config.limits.write_stall = Duration::from_millis(300)).await;
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    let socket = socket.connect(rig.public).await.expect("the server listens");
    let mut stream = EventStream::open(socket, "/events?topic=cats", ALL).await;
    assert_eq!(stream.event().await.name, "synced");
    let body = format!("\"{}\"", "x".repeat(14 << 10));
    for _ in 0..4 {
        assert_eq!(rig.post("/publish/cats", "secret-all", &body).await.status, 200);
    }
    until("the kernel has all of it", || rig.live.hub.outbound.held() == 0).await;
    until("it is let go", || rig.live.connections.open() == 0).await;
    drop(stream);
    rig.end().await;
}

/// As for a long poll: when the stream is told to go, its shard has not yet reached the end of the log.
#[tokio::test]
async fn a_stream_gets_what_was_acknowledged_before_the_end() {
    let rig = Rig::start(|_| {}).await;
    let mut stream = open(&rig, "/events?topic=cats", ALL).await;
    stream.expect("synced").await;
    let live = &rig.live;
    until("it waits", || live.hub.behind.get() == 0).await;
    let snapshot = live.snapshot();
    let principal = snapshot.auth.authenticate("secret-all", Time::now()).await.expect("it is known");
    let publisher = Publisher { principal: &principal, peer: rig.public.ip() };
    let topic = TopicName::parse("cats").expect("a topic");
    let publication = Publication { topic, user: None, body: Bytes::from_static(b"7"), key: None };
    // The runtime is this thread, so nothing else runs between these two calls.
    live.hub.connections().iter().for_each(|connection| connection.end(Close::Draining));
    let published = ingest::publish(live, snapshot.clone(), publisher, &publication).now_or_never();
    assert!(published.is_some_and(|published| published.is_ok()), "acknowledged while nobody else runs");
    assert_eq!(stream.expect("message").await["data"], 7);
    stream.expect("goaway").await;
    stream.end().await;
    rig.end().await;
}
