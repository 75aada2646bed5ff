//! What a hostile WebSocket peer may try, frame by frame: each attack is bounded, and ends at most its own connection.

use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::peer::{Peer, UPGRADE, frame};
use crate::rig::{Rig, behind_proxy, grants, until};
use crate::subscriber::Subscriber;

/// What the server sent on one connection, until its end.
struct Heard {
    texts: Vec<String>,
    code: Option<u16>,
}

impl Heard {
    fn read(bytes: &[u8]) -> Self {
        let mut heard = Self { texts: Vec::new(), code: None };
        let mut rest = bytes;
        while let [first, second, after @ ..] = rest {
            let (wide, after) = after
                .split_at_checked(match second {
                    126 => 2,
                    127 => 8,
                    _ => 0,
                })
                .unwrap_or_default();
            let long = wide.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            let length = if *second < 126 { usize::from(*second) } else { long };
            let Some((payload, after)) = after.split_at_checked(length) else { break };
            match first & 0x0f {
                1 => heard.texts.push(String::from_utf8(payload.to_vec()).expect("text")),
                8 => heard.code = payload.first_chunk().map(|code| u16::from_be_bytes(*code)),
                _ => {}
            }
            rest = after;
        }
        heard
    }

    fn count(&self, part: &str) -> usize {
        self.texts.iter().filter(|text| text.contains(part)).count()
    }
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, payload.as_bytes())
}

async fn open(rig: &Rig) -> Peer<TcpStream> {
    let mut peer = rig.connect().await;
    peer.send(format!("GET /ws HTTP/1.1\r\nHost: localhost\r\n{UPGRADE}\r\n")).await;
    assert_eq!(peer.answer().await.expect("an answer").status, 101);
    peer
}

async fn anonymous(change: impl FnOnce(&mut relay::config::model::Config)) -> Rig {
    Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["**"], &[]);
        change(config);
    })
    .await
}

/// Sends `bytes`, then reads up to the server's close frame, which it answers, or to the end of the connection.
async fn attack(rig: &Rig, bytes: &[u8]) -> Heard {
    let mut peer = open(rig).await;
    // The server may close before all is sent.
    let _ = peer.try_send(bytes).await;
    let heard = Heard::read(&peer.until(|heard| Heard::read(heard).code.is_some()).await);
    let _ = peer.try_send(frame(0x88, b"")).await;
    heard
}

async fn nobody_is_connected(rig: &Rig) {
    until("nobody is connected", || rig.live.connections.open() == 0).await;
}

#[tokio::test]
async fn broken_framing_ends_with_the_code_of_the_standard() {
    let rig = anonymous(|_| {}).await;
    let huge = |length: u64| [&[0x81, 0xff][..], &length.to_be_bytes(), &[0; 4]].concat();
    for (what, bytes, code) in [
        ("a length of 2^63 - 1", huge((1 << 63) - 1), 1009),
        ("a length of 2^64 - 1", huge(u64::MAX), 1002),
        ("binary", frame(0x82, b"ping"), 1003),
        ("what is no UTF-8", frame(0x81, b"\xff"), 1007),
        ("a close of one byte", frame(0x88, b"\x03"), 1002),
        ("a close, answered in kind", frame(0x88, &3_000_u16.to_be_bytes()), 3000),
        ("commands behind a close", [frame(0x88, &1_000_u16.to_be_bytes()), text("ping")].concat(), 1000),
    ] {
        let heard = attack(&rig, &bytes).await;
        assert_eq!(heard.code, Some(code), "{what}");
        assert_eq!(heard.count("pong"), 0, "{what}");
    }
    nobody_is_connected(&rig).await;
}

/// A declared length reserves nothing: only the bytes that arrive are held, up to `limits.frame`.
#[tokio::test]
async fn fragments_are_summed_and_empty_ones_cost_nothing() {
    let rig = anonymous(|_| {}).await;
    let mut flood = frame(0x01, b"x");
    for _ in 0..(64 << 10) {
        flood.extend_from_slice(&frame(0x00, b"x"));
    }
    assert_eq!(attack(&rig, &flood).await.code, Some(1009), "65,537 fragments of one byte");

    let mut flood = frame(0x01, b"pi");
    for _ in 0..100_000 {
        flood.extend_from_slice(&frame(0x00, b""));
    }
    flood.extend_from_slice(&frame(0x80, b"ng"));
    flood.extend_from_slice(&frame(0x88, b""));
    let heard = attack(&rig, &flood).await;
    assert_eq!((heard.count("pong"), heard.code), (1, None), "100,000 fragments of nothing within a message");
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_as_far_as_it_is_read() {
    let rig = anonymous(|_| {}).await;
    let mut flood = frame(0x89, &[7; 125]).repeat(10_000);
    flood.extend_from_slice(&frame(0x8a, b"unasked").repeat(10_000));
    flood.extend_from_slice(&text("ping"));
    flood.extend_from_slice(&frame(0x88, b""));
    let heard = attack(&rig, &flood).await;
    assert_eq!(heard.count("pong"), 1, "what came behind it is answered");
}

/// Pongs do not queue: while one cannot be written, the server stops reading.
#[tokio::test]
async fn a_peer_that_pings_and_never_reads_is_let_go() {
    let rig = anonymous(|config| {
        config.limits.write_stall = Duration::from_millis(300);
        config.limits.send_buffer = 4_096;
    })
    .await;
    let mut peer = open(&rig).await;
    let pings = frame(0x89, &[7; 125]).repeat(1_000);
    while peer.try_send(&pings).await.is_ok() {}
    nobody_is_connected(&rig).await;
}

#[tokio::test]
async fn a_message_is_no_longer_than_a_body_may_be_on_a_websocket_either() {
    let rig = anonymous(|config| config.limits.body = 16).await;
    let publish = |data: &str| text(&format!(r#"{{"type":"publish","topic":"cats","data":"{data}"}}"#));
    let heard = attack(&rig, &[publish("fourteen bytes"), publish("fifteen bytes.."), frame(0x88, b"")].concat()).await;
    assert_eq!((heard.count(r#""type":"ok""#), heard.count(r#""type":"error""#)), (1, 1), "{:?}", heard.texts);
    assert_eq!(heard.count("the message is larger than `limits.body` allows (16 bytes)"), 1, "{:?}", heard.texts);
}

/// The peer closed before the server did, so the server has no answer to wait for.
#[tokio::test]
async fn a_peer_that_has_closed_is_not_waited_for() {
    let rig = anonymous(|_| {}).await;
    let mut peer = open(&rig).await;
    peer.send(&[text("{").repeat(10), frame(0x88, &1000_u16.to_be_bytes())].concat()).await;
    let began = Instant::now();
    assert_eq!(Heard::read(&peer.rest().await).code, Some(4013));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_flood_of_commands_ends_in_4102() {
    let rig = anonymous(|config| config.limits.commands = 10).await;
    let heard = attack(&rig, &text(r#"{"type":"ping"}"#).repeat(1_000)).await;
    assert_eq!(heard.code, Some(4102));
    // A new second may begin meanwhile, which allows another ten.
    assert!((10..=20).contains(&heard.count("pong")), "{:?}", heard.texts);
}

#[tokio::test]
async fn ten_malformed_messages_end_in_4013() {
    let rig = anonymous(|_| {}).await;
    let heard = attack(&rig, &text("{").repeat(1_000)).await;
    assert_eq!((heard.code, heard.count("error")), (Some(4013), 10));
}

#[tokio::test]
async fn the_unauthenticated_are_few_and_short_lived() {
    let rig = Rig::start(|config| {
        config.limits.unauthenticated = 2;
        config.limits.auth_timeout = Duration::from_millis(400);
    })
    .await;
    let mut first = open(&rig).await;
    let mut second = open(&rig).await;
    until("both are there", || rig.live.unauthenticated.count() >= 2).await;
    assert_eq!(attack(&rig, b"").await.code, Some(4100), "one too many");
    let known = attack(&rig, &[text(r#"{"type":"subscribe","topics":["cats"]}"#)].concat()).await;
    assert_eq!(known.code, Some(4100), "whatever it says");
    for peer in [&mut first, &mut second] {
        assert_eq!(Heard::read(&peer.rest().await).code, Some(4008), "nothing was said in time");
    }
    drop((first, second));
    until("their places are free", || rig.live.unauthenticated.count() == 0).await;
    for (bytes, code) in [
        (text(r#"{"type":"subscribe","id":1,"topics":["cats"]}"#), 4001),
        (text(r#"{"type":"auth","token":"wrong"}"#), 4001),
        (frame(0x81, b"{\"type\":\"auth\",\"tok").repeat(1), 4008),
    ] {
        assert_eq!(attack(&rig, &bytes).await.code, Some(code), "{}", String::from_utf8_lossy(&bytes));
    }
    let auth = text(r#"{"type":"auth","id":1,"token":"secret-all"}"#);
    let heard = attack(&rig, &[auth.clone(), auth, frame(0x88, b"")].concat()).await;
    assert_eq!((heard.count(r#""type":"ok""#), heard.count("this connection is already authenticated")), (1, 1));
}

/// Regression: one address that opened WebSockets and stayed silent took all places, and kept out peers that
/// authenticate at once.
#[tokio::test]
async fn one_network_takes_half_of_the_places_of_the_unauthenticated_and_two_do_not_take_all() {
    let rig = Rig::start(|config| {
        config.limits.unauthenticated = 4;
        behind_proxy(config);
    })
    .await;
    let url = format!("ws://{}/ws", rig.public);
    let mut held = Vec::new();
    for (peer, has_room) in [
        ("2001:db8::1", true),
        ("2001:db8::2", true),
        ("2001:db8::3", false),
        ("192.0.2.1", true),
        ("192.0.2.2", true),
        // The network that holds two places loses its older one.
        ("192.0.2.3", true),
        ("192.0.2.4", false),
    ] {
        let mut socket = Subscriber::connect(&url, &[("x-forwarded-for", peer)]).await;
        let first = socket.json().await;
        assert_eq!(first["type"], if has_room { "hello" } else { "goaway" }, "{peer}");
        if has_room {
            held.push(socket);
        } else {
            assert_eq!(socket.closed().await.0, 4100, "{peer}");
        }
    }
    let mut oldest = held.remove(0);
    assert_eq!(oldest.json().await["type"], "goaway");
    assert_eq!(oldest.closed().await.0, 4100);
    held.remove(0).send(r#"{"type":"auth","token":"secret-all"}"#).await;
    until("a place is free", || rig.live.unauthenticated.count() != 4).await;
    assert_eq!(Subscriber::connect(&url, &[("x-forwarded-for", "2001:db8::3")]).await.json().await["type"], "hello");
}

/// Regression: while a socket always had something to read, its task never looked at the clock. A peer that never
/// stopped pinging could stay without a credential, or keep an expired one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_never_stops_talking_does_not_outlive_its_time() {
    let rig = Rig::start(|config| config.limits.auth_timeout = Duration::from_millis(300)).await;
    let mut peer = open(&rig).await;
    let pings = frame(0x89, b"").repeat(10_000);
    let began = Instant::now();
    while rig.live.unauthenticated.count() > 0 && peer.try_send(&pings).await.is_ok() {
        assert!(began.elapsed() < Duration::from_secs(10), "it is still there");
    }
    nobody_is_connected(&rig).await;
}

/// A ping is no credential, even from a peer that reads its pongs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_pings_and_reads_does_not_outlive_auth_timeout() {
    let rig = Rig::start(|config| config.limits.auth_timeout = Duration::from_millis(300)).await;
    let mut socket = Subscriber::open(rig.public).await;
    let began = Instant::now();
    while socket.try_send_ping().await {
        assert!(began.elapsed() < Duration::from_secs(5), "it is still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    nobody_is_connected(&rig).await;
}

/// The server waits five seconds, whatever the peer does: say nothing, keep sending, or answer and keep the socket
/// open.
#[tokio::test]
async fn a_close_that_is_never_answered_ends_all_the_same() {
    let rig = anonymous(|_| {}).await;
    let began = Instant::now();
    let mut peers = Vec::new();
    for last in [&b""[..], &frame(0x89, b"still here"), &frame(0x88, b"")] {
        let mut peer = open(&rig).await;
        peer.send(text("{").repeat(10)).await;
        peer.send(last).await;
        peers.push(peer);
    }
    nobody_is_connected(&rig).await;
    let took = began.elapsed();
    assert!((Duration::from_secs(4)..Duration::from_secs(15)).contains(&took), "{took:?}");
    drop(peers);
}

#[tokio::test]
async fn huge_lists_of_subscriptions_are_refused_whole() {
    let rig = anonymous(|config| config.limits.commands = 1_000).await;
    let list = |n: std::ops::Range<usize>| n.map(|n| format!("\"orders.{n}\"")).collect::<Vec<_>>().join(",");
    let subscribe = |id: u8, topics: &str| text(&format!(r#"{{"type":"subscribe","id":{id},"topics":[{topics}]}}"#));
    let replace = text(&format!("{{\"topics\":[{}]}}", list(0..129)));
    let deep = text(&format!(r#"{{"type":"subscribe","id":9,"topics":{}}}"#, "[".repeat(30_000)));
    let bytes = [
        subscribe(1, &list(0..4_000)),
        subscribe(2, &list(0..128)),
        subscribe(3, "\"cats\""),
        subscribe(4, "\"orders.0\""),
        subscribe(5, &["\"cats\""; 5_000].join(",")),
        replace,
        deep,
        frame(0x88, b""),
    ]
    .concat();
    let heard = attack(&rig, &bytes).await;
    let many = "the list of subscriptions is longer than `limits.subscriptions` allows (128)";
    assert_eq!(
        heard.count(many),
        4,
        "very many, one more, also named very often, and a list of as many: {:?}",
        heard.texts
    );
    assert_eq!(heard.count(r#""status":413"#), 4, "{:?}", heard.texts);
    assert_eq!(heard.count(r#"{"type":"ok""#), 2, "128, and one of them again: {:?}", heard.texts);
    assert_eq!(heard.count(r#""type":"error""#), 5, "{:?}", heard.texts);
}
