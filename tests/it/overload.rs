//! More demand than memory: newcomers are refused, those furthest behind are dropped, and readers that keep up notice
//! nothing.

use std::net::SocketAddr;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use relay::close::Close;
use relay::hub::outbound::Step;
use relay::protocol::relay_v1::RelayV1;
use serde_json::json;
use tokio::io::{AsyncReadExt, duplex};
use tokio::net::TcpStream;

use crate::event_stream::EventStream;
use crate::logs::log_everything;
use crate::peer::{Peer, UPGRADE, frame, narrow};
use crate::rig::{Rig, grants, somebody, until};
use crate::subscriber::Subscriber;

const BUDGET: usize = 2 << 20;

/// A WebSocket that has subscribed to `cats` and will not read.
async fn deaf(address: SocketAddr) -> Subscriber<TcpStream> {
    let mut subscriber = Subscriber::narrow(address).await;
    subscriber.subscribe("cats").await;
    subscriber
}

async fn start() -> Rig {
    Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["cats"], &[]);
        config.limits.outbound = BUDGET;
        config.limits.send_buffer = 4 << 10;
    })
    .await
}

/// Opens WebSockets and event streams that do not read.
async fn do_not_read(
    rig: &Rig,
    sockets: usize,
    streams: usize,
) -> (Vec<Subscriber<TcpStream>>, Vec<EventStream<TcpStream>>) {
    let (mut slow, mut open) = (Vec::new(), Vec::new());
    for _ in 0..sockets {
        slow.push(deaf(rig.public).await);
    }
    for _ in 0..streams {
        let mut stream = EventStream::open(narrow(rig.public).await, "/events?topic=cats", "").await;
        assert_eq!(stream.event().await.name, "synced");
        open.push(stream);
    }
    (slow, open)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_readers_cost_no_more_than_the_budget_and_it_recovers() {
    let rig = start().await;
    let outbound = &rig.live.hub.outbound;
    // Each slow reader holds most of one such message. Seven of them leave room for newcomers; nine, with one that
    // reads, are within the budget.
    let body = format!("\"{}\"", "x".repeat(200 << 10));
    let first = do_not_read(&rig, 4, 3).await;
    assert_eq!(rig.post("/publish/cats", "", &body).await.status, 200);
    until("the first are behind", || outbound.held() > 5 * body.len()).await;
    let mut reader = Subscriber::open(rig.public).await;
    reader.subscribe("cats").await;
    let second = do_not_read(&rig, 6, 3).await;
    for _ in 0..6 {
        assert_eq!(rig.post("/publish/cats", "", &body).await.status, 200);
        while reader.json().await["type"] != "message" {}
    }
    until("somebody is dropped", || outbound.dropped.get() > 0).await;
    until("within the budget", || outbound.held() <= BUDGET).await;
    assert!(outbound.dropped.get() <= 7, "no more than needed: {}", outbound.dropped.get());
    assert!(outbound.step(BUDGET) > Step::Serve, "those who stay hold what they did: {}", outbound.held());

    let mut late = Subscriber::connect(&format!("ws://{}/ws", rig.public), &[]).await;
    let goaway = late.json().await;
    assert_eq!((&goaway["type"], &goaway["reason"]), (&json!("goaway"), &json!("overloaded")), "{goaway}");
    assert_eq!(late.closed().await.0, 4100);
    let socket = TcpStream::connect(rig.public).await.expect("the server listens");
    let mut late = EventStream::open(socket, "/events?topic=cats", "").await;
    assert_eq!(late.expect("goaway").await["reason"], "overloaded");
    late.end().await;
    assert_eq!(outbound.refused.get(), 2);

    assert_eq!(rig.post("/publish/cats", "", "1").await.status, 200, "publishers notice nothing");
    assert_eq!(reader.payload().await, json!(1), "nor does whoever reads");
    drop((first, second));
    until("all of it is given back", || outbound.held() == 0).await;
    let mut next = Subscriber::open(rig.public).await;
    next.send("ping").await;
    assert_eq!(next.text().await, "pong");
    rig.end().await;
}

/// Regression: some two hundred answers that were read drop by drop kept every new subscriber out, for as long as their
/// readers liked.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_leave_room_for_subscribers() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["cats"], &[]);
        config.limits.outbound = 4 * BUDGET;
    })
    .await;
    let body = format!("\"{}\"", "x".repeat(200 << 10));
    for _ in 0..4 {
        assert_eq!(rig.post("/publish/cats", "", &body).await.status, 200);
    }
    let outbound = &rig.live.hub.outbound;
    let mut deaf = Vec::new();
    while outbound.held() <= 2 * BUDGET {
        let held = outbound.held();
        let mut peer = Peer::new(narrow(rig.public).await);
        peer.send("GET /history/cats HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        until("an answer is held", || outbound.held() > held).await;
        deaf.push(peer);
    }
    assert_eq!(rig.get("/history/cats", "").await.status, 503);
    let mut subscriber = Subscriber::open(rig.public).await;
    subscriber.subscribe("cats").await;
    drop((deaf, subscriber));
    rig.end().await;
}

/// An unread answer is held just as a message is. Regression: eight hundred of them took 800 MiB beside a budget of 256
/// MiB.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_nobody_reads_are_within_the_budget_too() {
    let rig = start().await;
    let body = format!("\"{}\"", "x".repeat(200 << 10));
    for _ in 0..4 {
        assert_eq!(rig.post("/publish/cats", "", &body).await.status, 200);
    }
    let outbound = &rig.live.hub.outbound;
    let mut deaf = Vec::new();
    for _ in 0..2 {
        let held = outbound.held();
        let mut peer = Peer::new(narrow(rig.public).await);
        peer.send("GET /history/cats HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        until("an answer is held", || outbound.held() > held + (800 << 10)).await;
        deaf.push(peer);
    }
    let refused = rig.get("/history/cats", "").await;
    let detail = "slow readers hold more than half of `limits.outbound`: try again in 1 s";
    assert_eq!(refused.problem(), (503, "overloaded".into(), detail.into()));
    assert_eq!(rig.get("/history/cats?after=earliest&limit=1", "").await.status, 503, "large as well");
    assert_eq!(rig.get("/topics", "").await.status, 200, "a small answer is not held back");

    rig.commit(2, |config| config.limits.outbound = 1 << 20);
    until("one is dropped", || outbound.dropped.get() == 1 && outbound.held() <= 1 << 20).await;
    assert!(outbound.held() > 800 << 10, "and the other is not: {}", outbound.held());
    drop(deaf);
    until("all of it is given back", || outbound.held() == 0).await;
    let mut reader = rig.connect().await;
    reader
        .send("GET /history/cats?limit=1 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-all\r\n\r\n")
        .await;
    assert_eq!(reader.answer().await.expect("an answer").status, 200);
    until("what was read is not held, though the connection stays", || outbound.held() == 0).await;
    rig.end().await;
}

/// Publishes a list of a thousand messages, from a peer that does not read the answer yet.
async fn publish_a_list(rig: &Rig, payload: &str) -> Peer<TcpStream> {
    let batch = format!("[{}]", vec![format!(r#"{{"topic":"cats","data":{payload}}}"#); 1_000].join(","));
    let mut peer = Peer::new(narrow(rig.public).await);
    let request = "POST /publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    peer.send(format!("{request}Content-Length: {}\r\n\r\n{batch}", batch.len())).await;
    let outbound = &rig.live.hub.outbound;
    until("the answer is held", || outbound.held() > 30 << 10).await;
    rig.commit(2, |config| config.limits.outbound = 1 << 10);
    peer
}

/// A page of history can be requested again; the result of a publish cannot.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_came_of_a_publish_is_told_however_little_room_there_is() {
    let rig = start().await;
    let mut peer = publish_a_list(&rig, "1").await;
    let (slow, _far) = duplex(64);
    let mut subscriber = rig.live.hub.subscriber(slow, &RelayV1, somebody());
    subscriber.reply(&[b'x'; 1_000]);
    until("a slow reader is dropped for it", || subscriber.connection().ending() == Some(Close::Shed)).await;
    assert_eq!(rig.live.hub.outbound.dropped.get(), 1, "the answer is not counted as dropped");
    let answer = peer.answer().await.expect("all of it");
    assert_eq!((answer.status, answer.json().as_array().map(Vec::len)), (200, Some(1_000)));
    rig.end().await;
}

/// Serves so many WebSockets that do not read the large message they get; returns them, and the bytes that are held.
async fn behind(readers: usize) -> (Rig, Vec<Subscriber<TcpStream>>, usize) {
    let rig = start().await;
    let (slow, _) = do_not_read(&rig, readers, 0).await;
    let body = format!("\"{}\"", "x".repeat(250 << 10));
    assert_eq!(rig.post("/publish/cats", "", &body).await.status, 200);
    let outbound = &rig.live.hub.outbound;
    until("all of them are behind", || outbound.held() > (2 * readers - 1) * (125 << 10)).await;
    let held = outbound.held();
    (rig, slow, held)
}

/// Regression: each kept what was unsent for the five seconds of a goodbye, and a close frame behind it doubled that.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn to_drop_a_slow_reader_frees_what_it_holds_at_once() {
    let (rig, slow, held) = behind(8).await;
    let outbound = &rig.live.hub.outbound;
    let budget = held / 2 + held / 16;
    rig.commit(2, |config| config.limits.outbound = budget);
    let mut most = 0;
    let began = Instant::now();
    until("it fits", || {
        most = most.max(outbound.held());
        outbound.held() <= budget
    })
    .await;
    assert!(most <= held, "{most} of {held}");
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert_eq!(outbound.dropped.get(), 4, "the others stay");
    drop(slow);
    rig.end().await;
}

/// The same for what is sent behind an unread message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_goodbye_behind_an_unread_message_takes_no_more_than_its_bytes() {
    let (rig, slow, held) = behind(1).await;
    let outbound = &rig.live.hub.outbound;
    rig.live.hub.connections().iter().for_each(|connection| connection.end(Close::TokenRevoked));
    until("the close waits behind the message", || outbound.held() > held).await;
    assert!(outbound.held() < held + 200, "{} of {held}", outbound.held());
    drop(slow);
    rig.end().await;
}

/// Nothing was published: a caller that provokes refusals and reads them drop by drop must keep nobody else out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_refusal_is_cut_for_want_of_room() {
    let rig = start().await;
    let mut peer = publish_a_list(&rig, r#"{"a":1,"a":2}"#).await;
    until("it is dropped", || rig.live.hub.outbound.held() == 0).await;
    assert_eq!(rig.live.hub.outbound.dropped.get(), 1);
    let answer = String::from_utf8(peer.rest().await).expect("text");
    assert!(answer.starts_with("HTTP/1.1 400 ") && answer.len() < 30 << 10, "it breaks off: {answer}");
    rig.end().await;
}

#[tokio::test]
async fn of_readers_equally_far_behind_those_that_stalled_are_dropped_first() {
    let rig = start().await;
    let (hub, mut cx) = (&rig.live.hub, Context::from_waker(Waker::noop()));
    let mut pairs = Vec::new();
    for _ in 0..3 {
        let (near, far) = duplex(64);
        let mut subscriber = hub.subscriber(near, &RelayV1, somebody());
        subscriber.reply(&[b'x'; 1_000]);
        pairs.push((subscriber, far));
    }
    let (reads, far) = &mut pairs[0];
    far.read_exact(&mut [0; 64]).await.expect("it was written");
    assert!(reads.connection().poll_rest(&mut cx, || hub.clock() + 1_000).is_pending(), "there is more");
    let budget = hub.outbound.held() / 2;
    assert_eq!(hub.shed(budget), 2);
    assert_eq!(hub.shed(budget), 0, "what they hold is about to be free");
    let ended: Vec<_> = pairs.iter().map(|(subscriber, _)| subscriber.connection().ending()).collect();
    assert_eq!(ended, [None, Some(Close::Shed), Some(Close::Shed)]);
    rig.end().await;
}

/// What it has still to get is evicted first, however much it has read lately.
#[tokio::test]
async fn who_is_the_furthest_behind_goes_first() {
    let rig = start().await;
    let (hub, mut cx) = (&rig.live.hub, Context::from_waker(Waker::noop()));
    let stand = || {
        let (near, far) = duplex(64);
        let mut subscriber = hub.subscriber(near, &RelayV1, somebody());
        subscriber.reply(&[b'x'; 1_000]);
        (subscriber, far)
    };
    let mut behind = stand();
    assert_eq!(rig.post("/publish/cats", "", "1").await.status, 200);
    let ahead = stand();
    // It has read something since.
    behind.1.read_exact(&mut [0; 64]).await.expect("it was written");
    assert!(behind.0.connection().poll_rest(&mut cx, || hub.clock() + 1_000).is_pending(), "there is more");
    let budget = hub.outbound.held() - 1;
    assert_eq!((hub.shed(budget), hub.shed(budget)), (1, 0));
    let ended = [&behind, &ahead].map(|(subscriber, _)| subscriber.connection().ending());
    assert_eq!(ended, [Some(Close::Shed), None]);
    rig.end().await;
}

/// Regression: an answer that can be requested again was made at the head of the log, so every subscriber that was
/// behind stood further back and was dropped in its place. Strangers could keep subscribers out with GETs.
#[tokio::test]
async fn an_answer_that_can_be_asked_for_again_is_cut_before_a_subscriber_is_dropped() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["cats"], &[]);
        config.limits.outbound = 4 * BUDGET;
    })
    .await;
    assert_eq!(rig.post("/publish/cats", "", "1").await.status, 200);
    let (slow, _far) = duplex(64);
    let mut subscriber = rig.live.hub.subscriber(slow, &RelayV1, somebody());
    subscriber.reply(&[b'x'; 1_000]);
    let body = format!("\"{}\"", "x".repeat(200 << 10));
    for _ in 0..4 {
        assert_eq!(rig.post("/publish/cats", "", &body).await.status, 200);
    }
    let outbound = &rig.live.hub.outbound;
    let held = outbound.held();
    let mut peer = Peer::new(narrow(rig.public).await);
    peer.send("GET /history/cats HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    until("an answer is held", || outbound.held() > held + (100 << 10)).await;
    assert_eq!(rig.live.hub.shed(outbound.held() - 1), 1);
    assert_eq!(subscriber.connection().ending(), None);
    until("the answer is cut", || outbound.held() == held).await;
    drop(peer);
    rig.end().await;
}

/// A WebSocket whose peer sends nothing after its subscription.
async fn silent(rig: &Rig) -> Peer<TcpStream> {
    let mut peer = rig.connect().await;
    // A masked frame comes with the handshake: a subscription to `cats`.
    let subscribe = frame(0x81, br#"{"type":"subscribe", "topics":["cats"]}"#);
    let handshake = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n");
    peer.send([handshake.as_bytes(), &subscribe].concat()).await;
    peer
}

async fn start_impatient() -> Rig {
    Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["cats"], &[]);
        config.limits.ping_interval = Duration::from_millis(20);
        config.limits.pong_timeout = Duration::from_millis(20);
    })
    .await
}

#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed() {
    let rig = start_impatient().await;
    let heard = silent(&rig).await.rest().await;
    let has = |bytes: &[u8]| heard.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(&[0x89, 0]), "a ping: {:?}", String::from_utf8_lossy(&heard));
    assert!(has(&4201_u16.to_be_bytes()) && has(b"no sign of life"), "{:?}", String::from_utf8_lossy(&heard));
    rig.end().await;
}

/// Regression: bytes that the kernel accepted counted as a sign of life, so the busiest topics kept their dead
/// subscribers.
#[tokio::test]
async fn a_peer_that_answers_no_ping_is_closed_however_much_is_sent_to_it() {
    let rig = start_impatient().await;
    let mut silent = silent(&rig).await;
    let publishing = async {
        loop {
            assert_eq!(rig.post("/publish/cats", "", "1").await.status, 200);
        }
    };
    let heard = tokio::select! {
        heard = silent.rest() => heard,
        () = publishing => unreachable!("it goes on"),
    };
    let has = |bytes: &[u8]| heard.windows(bytes.len()).any(|window| window == bytes);
    assert!(has(br#""type":"message""#) && has(&4201_u16.to_be_bytes()), "{:?}", String::from_utf8_lossy(&heard));
    rig.end().await;
}

/// Whoever was warned reads that it is over.
#[tokio::test]
async fn that_there_is_room_again_is_logged() {
    const BUDGET: usize = 777_216;
    let page = log_everything();
    let rig = Rig::start(|config| config.limits.outbound = BUDGET).await;
    let (near, far) = duplex(64);
    let mut slow = rig.live.hub.subscriber(near, &RelayV1, somebody());
    slow.reply(&vec![b'x'; BUDGET / 10 * 9]);
    let told = |sentence: &str| {
        let budget = format!("\"budget\":{BUDGET}");
        page.text().lines().filter(|line| line.contains(&budget) && line.contains(sentence)).count()
    };
    until("it is told", || told("near `limits.outbound`: new subscribers are refused") == 1).await;
    drop((slow, far));
    until("it is told", || told("within `limits.outbound` again") == 1).await;
    rig.end().await;
}
