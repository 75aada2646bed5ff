//! HTTP/1.1 byte by byte: what a slow, large, rude or hasty peer gets.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::TcpStream;

use crate::event_stream::EventStream;
use crate::rig::{Rig, until};

const TOKEN: &str = "Host: localhost\r\nAuthorization: Bearer secret-all\r\nContent-Type: application/json\r\n";

#[tokio::test]
async fn bodies_over_the_limit_are_refused_before_they_are_read() {
    let rig = Rig::start(|config| config.limits.body = 100).await;
    let too_large =
        (413, "too-large".to_owned(), "the body is larger than `limits.body` allows (100 bytes)".to_owned());

    let mut sized = rig.connect().await;
    sized.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Content-Length: 101\r\n\r\n")).await;
    let answer = sized.answer().await.expect("an answer before the body");
    assert_eq!((answer.problem(), answer.header("connection")), (too_large.clone(), "close"));

    let mut expecting = rig.connect().await;
    expecting
        .send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Expect: 100-continue\r\nContent-Length: 101\r\n\r\n"))
        .await;
    assert_eq!(expecting.answer().await.expect("an answer").problem(), too_large, "and no 100 first");

    let mut chunked = rig.connect().await;
    chunked.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Transfer-Encoding: chunked\r\n\r\n")).await;
    chunked.send(format!("32\r\n{}\r\n33\r\n{}\r\n", "1".repeat(50), "1".repeat(51))).await;
    assert_eq!(chunked.answer().await.expect("an answer before the end").problem(), too_large);

    let mut exact = rig.connect().await;
    exact.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Transfer-Encoding: chunked\r\n\r\n")).await;
    exact.send(format!("32\r\n\"{}\r\n32\r\n{}\"\r\n0\r\n\r\n", "a".repeat(49), "a".repeat(49))).await;
    assert_eq!(exact.answer().await.expect("an answer").status, 200, "as large as is allowed, in two chunks");
    assert_eq!(rig.payloads().await, [format!("\"{}\"", "a".repeat(98))]);
}

/// Regression: the connection ended after the answer without saying so, and clients that keep connections sent the next
/// request on it.
#[tokio::test]
async fn a_body_without_an_end_ends_the_connection_and_says_so() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.connect().await;
    peer.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Transfer-Encoding: chunked\r\n\r\nzz\r\n")).await;
    let answer = peer.answer().await.expect("an answer");
    let detail = "the body ended early, or its chunked encoding is invalid (RFC 9112, section 7.1)";
    assert_eq!((answer.problem(), answer.header("connection")), ((400, "bad-request".into(), detail.into()), "close"));
    assert!(peer.rest().await.is_empty());
}

/// The answer to a large body that is refused early must reach a peer that is still sending: closing a socket with
/// unread bytes in it resets the connection, and the reset overtakes the answer.
#[tokio::test]
async fn a_refusal_reaches_a_peer_that_is_still_sending() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.connect().await;
    let body = "1".repeat(6 << 20);
    // The body is larger than all buffers in between, so this returns only if the server reads.
    peer.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(peer.answer().await.expect("an answer").status, 413);
    assert!(peer.rest().await.is_empty(), "no reset");
}

/// Regression: a list that had been read to its end ended the connection as well, and was called a body that is too
/// large.
#[tokio::test]
async fn a_connection_goes_on_behind_a_list_of_too_many() {
    let rig = Rig::start(|config| (config.limits.batch, config.limits.subscriptions) = (1, 1)).await;
    let mut peer = rig.connect().await;
    for (path, body, detail) in [
        (
            "/publish",
            r#"[{"topic":"cats","data":1},{"topic":"cats","data":2}]"#,
            "the list is longer than `limits.batch`",
        ),
        (
            "/register",
            r#"{"user_id":1,"topics":["cats","dogs"]}"#,
            "the list of topics is longer than `limits.subscriptions`",
        ),
    ] {
        peer.send(format!("POST {path} HTTP/1.1\r\n{TOKEN}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        let answer = peer.answer().await.expect("an answer");
        assert_eq!(answer.problem(), (413, "too-many".into(), format!("{detail} allows (1)")));
        assert_eq!((&answer.json()["title"], answer.header("connection")), (&json!("Too many at once"), ""));
    }
    peer.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Content-Length: 1\r\n\r\n1")).await;
    assert_eq!(peer.answer().await.expect("the connection is open").status, 200);
}

#[tokio::test]
async fn a_target_over_the_limit_is_told_the_limit() {
    let rig = Rig::start(|config| config.limits.uri = 100).await;
    let answer = rig.get(&format!("/health?{}", "x".repeat(93)), "").await;
    let detail = "the request target is longer than `limits.uri` allows (100 bytes)";
    assert_eq!(answer.problem(), (414, "uri-too-long".into(), detail.into()));
}

#[tokio::test]
async fn slow_headers_slow_bodies_and_idle_connections_end() {
    let rig = Rig::start(|config| {
        config.limits.header_timeout = Duration::from_millis(200);
        config.limits.body_timeout = Duration::from_millis(200);
    })
    .await;
    let began = Instant::now();
    let mut silent = rig.connect().await;
    assert!(silent.rest().await.len() < 200, "nothing, or a short goodbye");
    let mut slow = rig.connect().await;
    slow.send("GET /health HTTP/1.1\r\nHost: local").await;
    assert!(slow.rest().await.len() < 200);
    let mut idle = rig.connect().await;
    idle.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(idle.answer().await.expect("an answer").status, 200);
    assert!(idle.rest().await.len() < 200);
    let mut body = rig.connect().await;
    body.send(format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Content-Length: 10\r\n\r\n[1,")).await;
    let answer = body.answer().await.expect("an answer");
    let detail = "the request took longer than `limits.body_timeout` allows";
    assert_eq!(answer.problem(), (408, "timeout".into(), detail.into()));
    assert!(body.rest().await.is_empty(), "the connection ends");
    assert!(began.elapsed() >= Duration::from_millis(800), "each waited for its limit");
}

/// While a request is being answered, however long that takes, no header is due.
#[tokio::test]
async fn streams_and_long_polls_outlast_the_time_of_a_header() {
    let rig = Rig::start(|config| config.limits.header_timeout = Duration::from_millis(100)).await;
    let socket = TcpStream::connect(rig.public).await.expect("the server listens");
    let bearer = "Authorization: Bearer secret-all\r\n";
    let mut stream = EventStream::open(socket, "/events?topic=cats", bearer).await;
    stream.expect("synced").await;
    let mut poll = rig.connect().await;
    poll.send(format!("GET /history/cats?wait=1 HTTP/1.1\r\n{TOKEN}\r\n")).await;
    let answer = poll.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.json()["messages"].clone()), (200, json!([])));
    assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 200);
    assert_eq!(stream.expect("message").await["data"], 1);
    assert!(poll.rest().await.is_empty(), "behind its answer the time of the next header runs");
}

#[tokio::test]
async fn requests_follow_each_other_on_one_connection() {
    let rig = Rig::start(|_| {}).await;
    let mut peer = rig.connect().await;
    let publish = |n: u32| format!("POST /publish/cats HTTP/1.1\r\n{TOKEN}Content-Length: 1\r\n\r\n{n}");
    peer.send(format!("{}{}{}", publish(1), publish(2), publish(3))).await;
    for seq in 1..=3 {
        assert_eq!(peer.answer().await.expect("an answer").json()["id"], json!(rig.id(seq)));
    }
    let refused = format!("POST /publish/dogs HTTP/1.1\r\n{TOKEN}Content-Length: 1\r\n\r\n1");
    peer.send(refused).await;
    assert_eq!(peer.answer().await.expect("an answer").status, 404);
    peer.send(publish(4)).await;
    assert_eq!(peer.answer().await.expect("a refusal does not end the connection").status, 200);
}

#[tokio::test]
async fn a_request_that_names_no_host_is_told_what_is_wrong_with_the_name() {
    let rig = Rig::start(|_| {}).await;
    for (request, expected) in [
        ("GET /ready HTTP/1.1\r\n\r\n", "send one `Host` header"),
        ("GET /ready HTTP/1.1\r\nHost: a@localhost\r\n\r\n", "`Host: a@localhost` is not a name and a port"),
        (
            "GET http://a@localhost:http/ready HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "the target's `localhost:http` is not a name and a port",
        ),
    ] {
        let mut peer = rig.connect().await;
        peer.send(request).await;
        let answer = peer.answer().await.expect("an answer");
        assert_eq!((answer.status, &answer.json()["detail"]), (400, &json!(expected)), "{request:?}");
    }
}

#[tokio::test]
async fn connections_over_the_limit_are_told_and_probes_still_answered() {
    let rig = Rig::start(|config| config.limits.connections = Some(2)).await;
    let mut held = Vec::new();
    for _ in 0..2 {
        let mut peer = rig.connect().await;
        peer.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(peer.answer().await.expect("an answer").status, 200);
        held.push(peer);
    }
    let refused = rig.post("/publish/cats", "secret-all", "1").await;
    let detail =
        "there are as many connections as `limits.connections`, or the limit of open files, allows: try again in 1 s";
    assert_eq!(refused.problem(), (503, "overloaded".into(), detail.into()));
    assert_eq!((refused.header("retry-after"), refused.header("connection")), ("1", "close"));
    assert_eq!(rig.get("/health", "").await.status, 200, "it does live");
    held.clear();
    until("nobody is connected", || rig.live.connections.open() == 0).await;
    assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 200);
}

#[tokio::test]
async fn a_peer_that_never_reads_its_answers_is_let_go() {
    let rig = Rig::start(|config| {
        config.limits.write_stall = Duration::from_millis(200);
        config.limits.send_buffer = 4_096;
    })
    .await;
    let mut peer = rig.connect().await;
    let ask = "GET /topics HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-all\r\n\r\n";
    // The server stops reading while its answers are unread. At some point nothing more can be sent; then the server
    // closes the connection, which ends this loop with an error.
    while peer.try_send(ask.repeat(100)).await.is_ok() {}
    until("nobody is connected", || rig.live.connections.open() == 0).await;
}

/// Regression: the buffer of a connection was 64 KiB whatever the limit said, and a longer header was refused with 431.
#[tokio::test]
async fn a_header_may_be_as_long_as_its_limit_says() {
    let rig = Rig::start(|config| config.limits.header = 256 << 10).await;
    let mut peer = rig.connect().await;
    let cookie =
        |bytes: usize| format!("GET /health HTTP/1.1\r\nHost: localhost\r\nCookie: {}\r\n\r\n", "x".repeat(bytes));
    peer.send(cookie(200 << 10)).await;
    assert_eq!(peer.answer().await.expect("an answer").status, 200);
    peer.send(cookie(257 << 10)).await;
    let answer = peer.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.body.len()), (431, 0));
}
