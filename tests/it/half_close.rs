//! Peers that close their sending direction after a request, as `nc -N` and `socat` do.

use std::sync::Arc;

use tokio::net::TcpStream;

use crate::peer::{Peer, UPGRADE};
use crate::rig::{Rig, snapshot, until};

const TOKEN: &str = "Host: localhost\r\nAuthorization: Bearer secret-all\r\nContent-Type: application/json\r\n";

/// Regression: the answer and the end of the peer's direction raced, and one in ten such requests was neither appended
/// nor answered.
#[tokio::test]
async fn a_whole_request_is_answered_though_nothing_more_comes() {
    let rig = Rig::start(|_| {}).await;
    // Publishes wait until the reload is announced, so the peer's end arrives before the answer.
    let unannounced = rig.live.commit(Arc::new(snapshot(|_| {})));
    let mut peer = rig.connect().await;
    peer.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Content-Length: 1\r\n\r\n1")).await;
    peer.finish().await;
    for _ in 0..3 {
        assert_eq!(rig.get("/health", "").await.status, 200);
    }
    drop(unannounced);
    assert_eq!(peer.answer().await.expect("an answer").status, 200);
    assert!(peer.rest().await.is_empty(), "and then the connection ends");
    assert_eq!(rig.payloads().await, ["1"]);
    rig.end().await;
}

#[tokio::test]
async fn half_a_request_is_not_waited_for() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.connect().await;
    peer.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Content-Length: 9\r\n\r\n1")).await;
    peer.finish().await;
    assert!(peer.answer().await.is_none_or(|answer| answer.status == 400));
    assert!(peer.rest().await.is_empty());
    until("nobody is connected", || rig.live.connections.open() == 0).await;
    assert!(rig.payloads().await.is_empty());
}

/// Nothing distinguishes a peer that has closed one direction from one that is gone, for which an open-ended answer
/// would be held in vain.
#[tokio::test]
async fn streams_long_polls_and_sockets_end_with_their_peer() {
    let rig = Rig::start(|_| {}).await;
    for (request, begun) in [
        (format!("GET /events?topic=cats HTTP/1.1\r\n{TOKEN}\r\n"), "synced"),
        (format!("GET /history/cats?wait=60 HTTP/1.1\r\n{TOKEN}\r\n"), ""),
        (format!("GET /ws HTTP/1.1\r\n{TOKEN}{UPGRADE}\r\n"), "\"generation\":1}"),
    ] {
        for is_gone in [false, true] {
            let mut peer = Peer::new(TcpStream::connect(rig.public).await.expect("the server listens"));
            peer.send(&request).await;
            let seen = peer.until(|read| String::from_utf8_lossy(read).contains(begun)).await;
            assert!(String::from_utf8_lossy(&seen).contains(begun), "{request}");
            assert_eq!(rig.get("/health", "").await.status, 200);
            if is_gone {
                drop(peer);
            } else {
                peer.finish().await;
                let rest = peer.rest().await;
                assert!(
                    !request.starts_with("GET /ws") || rest.is_empty(),
                    "there is nobody to say goodbye to: {rest:?}"
                );
            }
            until("nobody is connected", || rig.live.connections.open() == 0).await;
        }
    }
}

#[tokio::test]
async fn what_is_sent_behind_a_long_poll_is_answered_behind_it() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.connect().await;
    peer.send(format!("GET /history/cats?wait=60 HTTP/1.1\r\n{TOKEN}\r\n")).await;
    assert_eq!(rig.get("/health", "").await.status, 200);
    peer.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    for _ in 0..3 {
        assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 200);
    }
    let polled = peer.answer().await.expect("an answer");
    assert!(polled.json()["messages"].as_array().is_some_and(|messages| !messages.is_empty()), "{polled:?}");
    let health = peer.answer().await.expect("an answer");
    assert_eq!((health.status, health.body.as_slice()), (200, &br#"{"status":"ok"}"#[..]));
}
