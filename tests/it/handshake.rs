//! The HTTP side of a WebSocket (RFC 6455, section 4.2).

use relay::assemble::PROTOCOLS;

use crate::peer::Answer;
use crate::rig::{Rig, grants, until};

const HEAD: &str = "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n";
const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

async fn open(rig: &Rig, headers: &str) -> Answer {
    rig.call(&format!("GET /ws HTTP/1.1\r\n{headers}"), "").await
}

#[tokio::test]
async fn a_handshake_is_answered_with_its_key() {
    let rig = Rig::start(|_| {}).await;
    let answer = open(&rig, &format!("{HEAD}{KEY}")).await;
    assert_eq!((answer.status, answer.header("sec-websocket-accept")), (101, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    assert_eq!((answer.header("connection"), answer.header("upgrade")), ("Upgrade", "websocket"));
    assert_eq!(answer.header("sec-websocket-protocol"), "", "none was offered");
    assert_eq!(answer.header("sec-websocket-extensions"), "");
}

#[tokio::test]
async fn what_is_no_handshake_is_told_so() {
    let rig = Rig::start(|_| {}).await;
    let required = (426, "upgrade-required".to_owned(), "this path speaks WebSocket, version 13 (RFC 6455)".to_owned());
    for headers in [
        String::new(),
        KEY.to_owned(),
        format!("{KEY}Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\n"),
        format!("{KEY}Connection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"),
        format!("{KEY}Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n"),
        format!("{KEY}Connection: Upgrade\r\nUpgrade: websocket\r\n"),
    ] {
        let answer = open(&rig, &headers).await;
        assert_eq!(answer.problem(), required, "{headers}");
        assert_eq!((answer.header("sec-websocket-version"), answer.header("upgrade")), ("13", "websocket"));
        // Otherwise a proxy would pass on a header that is for one connection only (RFC 9110, section 7.8).
        let connection = if headers.contains("close") { "Upgrade, close" } else { "Upgrade" };
        assert_eq!(answer.header("connection"), connection);
    }
    let key = "`Sec-WebSocket-Key` must be 16 bytes in base64";
    let known = PROTOCOLS.iter().map(|protocol| format!("`{}`", protocol.name())).collect::<Vec<_>>().join(", ");
    let offered = format!("none of the offered subprotocols is supported: offer {known}, or none");
    for (headers, detail) in [
        (HEAD.to_owned(), key),
        (format!("{HEAD}Sec-WebSocket-Key: dG9vIHNob3J0\r\n"), key),
        (format!("{HEAD}{KEY}{KEY}"), "the header `sec-websocket-key` appears twice: send it once"),
        (format!("{HEAD}{KEY}Content-Length: 1\r\n"), "a WebSocket handshake must not have a body"),
        (format!("{HEAD}{KEY}Transfer-Encoding: chunked\r\n"), "a WebSocket handshake must not have a body"),
        (format!("{HEAD}{KEY}Sec-WebSocket-Protocol: mqtt, relay.v9\r\n"), &offered),
    ] {
        assert_eq!(open(&rig, &headers).await.problem(), (400, "bad-request".into(), detail.into()), "{headers}");
    }
    assert_eq!(open(&rig, &format!("{HEAD}{KEY}Content-Length: 0\r\n")).await.status, 101);
    let head = rig.call(&format!("HEAD /ws HTTP/1.1\r\n{HEAD}{KEY}"), "").await;
    assert_eq!(head.status, 426);
}

#[tokio::test]
async fn the_last_answer_of_a_connection_may_ask_for_an_upgrade_too() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.connect().await;
    peer.send("GET /ws HTTP/1.1\r\n").await;
    until("it is open", || rig.live.connections.open() > 0).await;
    rig.live.drain.begin();
    peer.send("Host: localhost\r\n\r\n").await;
    let answer = peer.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.header("connection")), (426, "Upgrade, close"));
    assert!(peer.rest().await.is_empty());
}

#[tokio::test]
async fn the_first_known_subprotocol_that_is_offered_is_spoken() {
    let rig = Rig::start(|_| {}).await;
    for (offered, spoken) in [
        ("Sec-WebSocket-Protocol: relay.v1\r\n", "relay.v1"),
        ("Sec-WebSocket-Protocol: mqtt, relay.raw, relay.v1\r\n", "relay.raw"),
        ("Sec-WebSocket-Protocol: mqtt\r\nSec-WebSocket-Protocol: relay.v1\r\n", "relay.v1"),
    ] {
        let answer = open(&rig, &format!("{HEAD}{KEY}{offered}")).await;
        assert_eq!((answer.status, answer.header("sec-websocket-protocol")), (101, spoken), "{offered}");
    }
}

/// A browser cannot see why an upgrade was refused. So a status refuses only what is not the page's to fix, or what a
/// browser cannot send.
#[tokio::test]
async fn an_upgrade_is_refused_by_status_only_where_a_page_cannot_help_it() {
    let rig = Rig::start(|_| {}).await;
    for (headers, status) in [
        ("Origin: https://evil.example\r\n", 403),
        ("Origin: https://app.example\r\n", 101),
        ("Host: evil.example\r\n", 421),
        ("Authorization: Bearer wrong\r\n", 401),
        ("Authorization: Bearer \r\n", 401),
        ("Authorization: Basic d3Jvbmc6\r\n", 101),
    ] {
        assert_eq!(open(&rig, &format!("{HEAD}{KEY}{headers}")).await.status, status, "{headers}");
    }
    let rig = Rig::start(|config| config.limits.connections = Some(0)).await;
    assert_eq!(open(&rig, &format!("{HEAD}{KEY}")).await.problem().0, 503);
}

#[tokio::test]
async fn bytes_behind_the_handshake_are_its_first_frames() {
    let rig = Rig::start(|config| config.anonymous = grants(&[], &["cats"], &[])).await;
    let mut peer = rig.connect().await;
    // A masked text frame `ping`, with a mask of zeros.
    let ping = b"\x81\x84\0\0\0\0ping";
    let mut request = format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{HEAD}{KEY}\r\n").into_bytes();
    request.extend_from_slice(ping);
    request.extend_from_slice(b"\x88\x80\0\0\0\0");
    peer.send(request).await;
    assert_eq!(peer.answer().await.expect("an answer").status, 101);
    let frames = peer.rest().await;
    let text = String::from_utf8_lossy(&frames);
    assert!(text.contains("hello") && text.contains("pong"), "{text}");
}

#[tokio::test]
async fn a_place_is_kept_for_as_long_as_the_websocket_lasts() {
    let rig = Rig::start(|config| config.limits.connections = Some(1)).await;
    let mut peer = rig.connect().await;
    peer.send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{HEAD}{KEY}\r\n")).await;
    assert_eq!(peer.answer().await.expect("an answer").status, 101);
    assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 503);
    drop(peer);
    until("nobody is connected", || rig.live.connections.open() == 0).await;
    assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 200);
}
