//! The end of the program: by then, every subscriber that reads has received all that was acknowledged.

#![expect(clippy::disallowed_methods, reason = "the peers of this test are its own tasks")]

use std::collections::BTreeSet;
use std::io::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::event_stream::EventStream;
use crate::peer::Peer;
use crate::program::{Place, Relay};
use crate::rig::{Rig, until};
use crate::subscriber::Subscriber;

const CONFIG: &str = r#"
version = 1
[server]
listen = "127.0.0.1:0"
admin = ""
[topics.cats]
schema = "any"
[anonymous]
publish = ["cats"]
subscribe = ["cats"]
[limits]
drain = "10 s"
"#;

/// Publishes until it is refused or the server is gone. Returns the acknowledged ids, and the last status.
async fn publish_to_the_end(address: SocketAddr) -> (Vec<String>, Option<u16>) {
    let (mut ids, mut last) = (Vec::new(), None);
    while let Ok(socket) = TcpStream::connect(address).await {
        let mut peer = Peer::new(socket);
        loop {
            let head = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
            let body = format!("\"{}\"", "x".repeat(8 << 10));
            let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
            if peer.try_send(request).await.is_err() {
                break;
            }
            let Some(answer) = peer.answer().await else { break };
            last = Some(answer.status);
            if answer.status != 200 {
                return (ids, last);
            }
            ids.push(answer.json()["id"].as_str().expect("an id").to_owned());
            if answer.header("connection") == "close" {
                break;
            }
        }
    }
    (ids, last)
}

/// Reads to the end. Returns the ids of the messages, whether `goaway` came, and the close code.
async fn read_to_the_end<S: AsyncRead + AsyncWrite + Unpin>(
    mut subscriber: Subscriber<S>,
) -> (BTreeSet<String>, bool, u16) {
    let (mut ids, mut goaway) = (BTreeSet::new(), false);
    loop {
        match subscriber.next().await {
            Message::Text(text) => {
                let notice: Value = serde_json::from_str(&text).expect("JSON");
                goaway |= notice["type"] == "goaway" && notice["reason"] == "draining";
                if notice["type"] == "message" {
                    ids.insert(notice["id"].as_str().expect("an id").to_owned());
                }
            }
            Message::Close(frame) => return (ids, goaway, frame.map_or(0, |frame| frame.code.into())),
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_missing_from_a_subscriber_that_reads_when_it_is_told_to_end() {
    let place = Place::new("drain");
    let mut relay = Relay::start(&place.write("relay.toml", CONFIG));
    let address: SocketAddr = relay.addresses().0.parse().expect("an address");
    let mut readers = Vec::new();
    for _ in 0..8 {
        let mut subscriber = Subscriber::open(address).await;
        subscriber.subscribe("cats").await;
        readers.push(tokio::spawn(read_to_the_end(subscriber)));
    }
    // It reads nothing until the drain has begun, and is behind by more than the kernel buffers.
    let mut late = Subscriber::narrow(address).await;
    late.subscribe("cats").await;
    let socket = TcpStream::connect(address).await.expect("it listens");
    let mut stream = EventStream::open(socket, "/events?topic=cats", "").await;
    assert_eq!(stream.next().await.expect("an event").name, "synced");
    let streamed = tokio::spawn(async move {
        let mut ids = BTreeSet::new();
        while let Some(event) = stream.next().await {
            if event.name == "goaway" {
                return ids;
            }
            ids.insert(event.id);
        }
        panic!("the stream ended without a word");
    });
    let publishers: Vec<_> = (0..4).map(|_| tokio::spawn(publish_to_the_end(address))).collect();
    // Wait until some messages are out before the signal, however long that takes.
    let mut probe = Subscriber::open(address).await;
    probe.send(r#"{"type":"subscribe","id":1,"topics":["cats"]}"#).await;
    for _ in 0..50 {
        probe.json().await;
    }
    drop(probe);
    let began = Instant::now();
    relay.signal("TERM");
    relay.wait_for("draining");
    let late = tokio::spawn(read_to_the_end(late));
    let mut acknowledged = BTreeSet::new();
    for publisher in publishers {
        let (ids, last) = publisher.await.expect("no panic");
        assert!(matches!(last, Some(200 | 503)), "{last:?}");
        acknowledged.extend(ids);
    }
    assert!(acknowledged.len() > 40, "{}", acknowledged.len());
    let late = late.await.expect("no panic");
    assert_eq!(acknowledged.difference(&late.0).count(), 0, "of {}", acknowledged.len());
    assert_eq!((late.1, late.2), (true, 4200));
    for reader in readers {
        let (ids, goaway, code) = reader.await.expect("no panic");
        assert_eq!(acknowledged.difference(&ids).count(), 0, "of {}", acknowledged.len());
        assert!(goaway);
        assert_eq!(code, 4200);
    }
    let streamed = streamed.await.expect("no panic");
    assert_eq!(acknowledged.difference(&streamed).count(), 0, "of {}", acknowledged.len());
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("drained") && began.elapsed() < Duration::from_secs(10), "{:?} {log}", began.elapsed());
}

#[tokio::test]
async fn a_connection_that_waits_in_the_kernel_when_the_drain_begins_is_answered() {
    let place = Place::new("backlog");
    let mut relay = Relay::start(&place.write("relay.toml", CONFIG));
    let address: SocketAddr = relay.addresses().0.parse().expect("an address");
    // While it is stopped it accepts nothing; the signal is delivered when it continues.
    relay.signal("STOP");
    let mut peer = Peer::new(TcpStream::connect(address).await.expect("the backlog takes it"));
    peer.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    relay.signal("TERM");
    relay.signal("CONT");
    let answer = peer.answer().await.expect("an answer and no reset");
    assert!(matches!(answer.status, 200 | 503), "{answer:?}");
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
}

/// Regression: publishers that reconnect whenever their connection is closed were reset in half of the cases: the last
/// to come were still in the kernel's backlog when the listener was closed.
#[tokio::test]
async fn who_waits_in_the_kernel_when_the_listener_is_closed_is_answered() {
    let rig = Rig::start(|_| {}).await;
    rig.live.drain.begin();
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    // The runtime is this thread. When it goes on, the time is over and all connections are in the backlog.
    let came = Instant::now();
    let mut peers = Vec::new();
    for _ in 0..64 {
        let mut peer = std::net::TcpStream::connect(rig.public).expect("it listens");
        peer.write_all(b"GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("the kernel takes it");
        peers.push(peer);
    }
    while came.elapsed() < Duration::from_millis(400) {
        std::hint::spin_loop();
    }
    for (n, peer) in peers.into_iter().enumerate() {
        peer.set_nonblocking(true).expect("a socket");
        let mut peer = Peer::new(TcpStream::from_std(peer).expect("a socket"));
        let answer = peer.answer().await.unwrap_or_else(|| panic!("connection {n} was reset"));
        assert_eq!(answer.problem().1, "draining");
    }
    rig.end().await;
}

/// Regression: a peer that had sent half of a header (a scanner, or a phone in a tunnel) made every restart take as
/// long as `limits.header_timeout`.
#[tokio::test]
async fn half_a_header_does_not_hold_up_the_end() {
    let rig = Rig::start(|config| config.limits.drain = Duration::from_secs(25)).await;
    let mut peers = Vec::new();
    for begun in ["", "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"] {
        let mut peer = rig.connect().await;
        peer.send(begun).await;
        if !begun.is_empty() {
            assert_eq!(peer.answer().await.expect("an answer").status, 200);
        }
        peer.send("GET /health HTTP/1.1\r\nHo").await;
        peers.push(peer);
    }
    until("they are let in", || rig.live.connections.open() == 2).await;
    let began = Instant::now();
    rig.end().await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_publish_that_was_begun_is_waited_for() {
    for (path, body) in [("/publish/cats", "\"a cat\""), ("/publish", r#"{"topic":"cats","data":1}"#)] {
        let rig = Rig::start(|config| config.limits.drain = Duration::from_secs(20)).await;
        let mut peer = rig.connect().await;
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-all\r\n");
        let length = format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len());
        peer.send(format!("{head}{length}Expect: 100-continue\r\n\r\n")).await;
        peer.asked_for_body().await;
        rig.live.drain.begin();
        let sealed = tokio::time::timeout(Duration::from_secs(1), rig.live.appending.sealed()).await;
        assert!(sealed.is_err(), "{path}: the log was closed");
        peer.send(body).await;
        assert_eq!(peer.answer().await.expect("an answer").status, 200, "{path}");
        drop(peer);
        rig.end().await;
    }
}

/// Regression: a body that did not come made a restart take as long as `limits.body_timeout`, although the log no
/// longer accepted anything.
#[tokio::test]
async fn a_body_that_is_late_for_the_log_is_not_waited_for() {
    let rig = Rig::start(|config| config.limits.drain = Duration::from_secs(8)).await;
    let mut peer = rig.connect().await;
    let head = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-all\r\n";
    peer.send(format!("{head}Content-Type: application/json\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n"))
        .await;
    peer.asked_for_body().await;
    let began = Instant::now();
    rig.live.drain.begin();
    let answer = peer.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.problem().1), (503, "draining".to_owned()));
    drop(peer);
    rig.end().await;
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());
}
