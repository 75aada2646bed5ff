//! What is refused before anything is done with it: how that is told and counted, and what becomes of the connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::event_stream::EventStream;
use crate::peer::{Answer, Peer};
use crate::rig::{Rig, call, grants, token};
use crate::subscriber::Subscriber;

/// Sends a header whose body never comes.
async fn without_body(address: SocketAddr, head: &str) -> Answer {
    let mut peer = Peer::new(TcpStream::connect(address).await.expect("the server listens"));
    peer.send(format!("{head}Host: localhost\r\nContent-Length: 3\r\n\r\n")).await;
    peer.answer().await.expect("an answer")
}

/// More cases beside those of `raw/requests.txt`. Regression: the answer did not say that the connection ends, so the
/// next request on it was lost; behind a proxy, that was somebody else's.
#[tokio::test]
async fn what_is_answered_before_its_body_has_come_is_the_last_and_says_so() {
    let rig = Rig::start(|config| config.limits.auth_failures = 1).await;
    let wrong = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer wrong\r\n";
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = without_body(rig.public, wrong).await;
        assert_eq!(answer.header("connection"), "close", "{answer:?}");
        statuses.push(answer.status);
    }
    // The window is one second, and three requests take less.
    assert!(statuses.contains(&429), "{statuses:?}");
    for head in ["POST /reload HTTP/1.1\r\n", "POST /reload?x HTTP/1.1\r\n", "GET /metrics HTTP/1.1\r\n"] {
        let answer = without_body(rig.admin, head).await;
        assert_eq!(answer.header("connection"), "close", "{head}: {answer:?}");
    }
    let stream = "GET /events?topic=cats HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n";
    let answer = without_body(rig.public, stream).await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
}

/// Regression: they counted as `none`, which is for paths that do not exist.
#[tokio::test]
async fn what_is_refused_at_the_door_counts_as_what_it_asked_for() {
    let rig = Rig::start(|_| {}).await;
    let paths = [
        ("/publish/cats", "publish"),
        ("/publish", "publish_many"),
        ("/validate/cats/", "validate"),
        ("/ws", "ws"),
        ("/events/x", "events"),
        ("/history/cats", "history"),
        ("/register", "register"),
        ("/register/x", "unregister"),
        ("/topics/cats/schema", "topics"),
        ("/health", "health"),
        ("/ready", "ready"),
        ("/metrics", "none"),
    ];
    let admin =
        [("/metrics", "metrics"), ("/config", "config"), ("/connections", "connections"), ("/reload", "reload")];
    let all = paths.map(|row| (rig.public, row)).into_iter().chain(admin.map(|row| (rig.admin, row)));
    for (address, (path, route)) in all {
        let answer = call(address, &format!("GET {path} HTTP/1.1\r\nOrigin: https://evil.example\r\n"), "").await;
        assert_eq!(answer.status, 403, "{path}");
        let line = format!("relay_http_requests_total{{route=\"{route}\",status=\"403\"}} 1\n");
        let metrics = rig.metrics().await;
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[tokio::test]
async fn connections_that_are_turned_away_are_counted_by_the_limit() {
    let rig = Rig::start(|config| config.limits.connections = Some(0)).await;
    assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 503);
    let socket = TcpStream::connect(rig.public).await.expect("the server listens");
    EventStream::open(socket, "/events?topic=cats", "").await.expect("goaway").await;
    assert_eq!(rig.get("/health", "").await.status, 200);
    let text = rig.metrics().await;
    for line in [
        "relay_http_requests_total{route=\"publish\",status=\"503\"} 1\n",
        "relay_http_requests_total{route=\"events\",status=\"200\"} 1\n",
        "relay_connections_refused_total{limit=\"connections\"} 2\n",
        "relay_connections_refused_total{limit=\"connect_rate\"} 0\n",
    ] {
        assert!(text.contains(line), "{line}{text}");
    }

    let rig = Rig::start(|config| config.limits.connect_rate = Some(1)).await;
    let mut refused = 0;
    for _ in 0..4 {
        refused += u32::from(rig.get("/topics", "secret-all").await.status == 429);
    }
    let line = format!("relay_connections_refused_total{{limit=\"connect_rate\"}} {refused}\n");
    let text = rig.metrics().await;
    assert!(refused > 0 && text.contains(&line), "{line}{text}");
}

#[tokio::test]
async fn each_listener_knows_what_the_other_one_is_for() {
    let rig = Rig::start(|_| {}).await;
    let admin = "is on the admin listener: `server.admin` says where that is";
    let public = "is on the public listener: `server.listen` says where that is";
    for (address, request, path, listener) in [
        (rig.public, "GET /metrics", "/metrics", admin),
        (rig.public, "GET /config?schemas=1", "/config", admin),
        (rig.public, "POST /reload", "/reload", admin),
        (rig.admin, "POST /publish/cats", "/publish/cats", public),
        (rig.admin, "GET /history/cats", "/history/cats", public),
        (rig.admin, "GET /ws", "/ws", public),
    ] {
        let answer = call(address, &format!("{request} HTTP/1.1\r\n"), "").await;
        assert_eq!(answer.problem(), (404, "not-found".into(), format!("`{path}` {listener}")), "{request}");
    }
    for address in [rig.public, rig.admin] {
        let answer = call(address, "GET /nothing HTTP/1.1\r\n", "").await;
        assert_eq!(answer.problem().2, "no such path: docs/http.md lists all calls");
    }
}

#[tokio::test]
async fn who_mistypes_a_topic_is_told_the_one_that_it_may_use() {
    let rig = Rig::start(|config| config.tokens.push(token("most", &["catz", "dogs"], &["catz"], &["*"]))).await;
    let meant = "relay.toml declares no topic `catz` and no family that covers it: did you mean `cats`?";
    for path in ["/publish/catz", "/validate/catz"] {
        let answer = rig.post(path, "secret-all", "1").await;
        assert_eq!(answer.problem(), (404, "unknown-topic".into(), meant.into()), "{path}");
        assert_eq!(answer.json()["topic"], "catz");
    }
    for answer in [
        rig.post("/publish", "secret-all", r#"{"topic":"catz","data":1}"#).await,
        rig.post("/register", "secret-all", r#"{"user_id":1,"topics":["catz"]}"#).await,
        rig.get("/events?topic=catz", "secret-all").await,
        rig.get("/history/catz", "secret-all").await,
        rig.get("/topics/catz", "secret-all").await,
    ] {
        assert_eq!(answer.problem().2, meant);
    }
    // One search, however many there are.
    let list = r#"[{"topic":"cats","data":1},{"topic":"catz","data":1},{"topic":"dogz","data":1}]"#;
    let errors = rig.post("/publish", "secret-all", list).await.json()["errors"].clone();
    let details: Vec<_> = errors.as_array().expect("a list").iter().map(|error| &error["detail"]).collect();
    assert_eq!(details, [meant, "relay.toml declares no topic `dogz` and no family that covers it"]);
    let bearer = [("authorization", "Bearer secret-all")];
    let mut socket = Subscriber::connect(&format!("ws://{}/ws", rig.public), &bearer).await;
    socket.send(r#"{"type":"publish","id":1,"topic":"catz","data":1}"#).await;
    assert_eq!(socket.json().await["type"], "hello");
    assert_eq!(socket.json().await["problem"]["detail"], meant);
    // This token may not use `cats`, so it is not told that the topic exists.
    let unknown = "relay.toml declares no topic `catz` and no family that covers it";
    assert_eq!(rig.post("/publish/catz", "secret-most", "1").await.problem().2, unknown);
    assert_eq!(rig.get("/events?topic=catz", "secret-most").await.problem().2, unknown);
    assert_eq!(rig.post("/publish/birds", "secret-all", "1").await.problem().2, unknown.replace("catz", "birds"));
}

#[tokio::test]
async fn what_came_in_place_of_json_is_named() {
    let rig = Rig::start(|config| config.anonymous = grants(&["cats"], &[], &[])).await;
    let long = "x".repeat(70);
    let json = "send `Content-Type: application/json`";
    for (path, headers, detail, accept, encoding) in [
        ("/publish/cats", String::new(), format!("there is no `Content-Type`: {json}"), "application/json", ""),
        (
            "/publish/cats",
            "Content-Type: application/x-www-form-urlencoded\r\n".into(),
            format!("`application/x-www-form-urlencoded`, as `curl -d` sends, is not accepted: {json}"),
            "application/json",
            "",
        ),
        (
            "/publish",
            format!("Content-Type: a\tb{long}\r\n"),
            format!("`a\\tb{}…` is not accepted: {json} or `application/x-ndjson`", &long[..61]),
            "application/json, application/x-ndjson",
            "",
        ),
        (
            "/publish/cats",
            "Content-Type: application/json\r\nContent-Encoding: gzip\r\n".into(),
            "`Content-Encoding: gzip` is not accepted: send the body without a content coding".into(),
            "",
            "identity",
        ),
    ] {
        let answer = rig.call(&format!("POST {path} HTTP/1.1\r\n{headers}"), "1").await;
        assert_eq!(answer.problem(), (415, "unsupported-media-type".into(), detail), "{path} {headers}");
        assert_eq!((answer.header("accept"), answer.header("accept-encoding")), (accept, encoding), "{headers}");
    }
}

#[tokio::test]
async fn operators_over_their_own_limit_are_told_of_that() {
    let rig = Rig::start(|_| {}).await;
    let mut open = Vec::new();
    for _ in 0..64 {
        let mut peer = Peer::new(TcpStream::connect(rig.admin).await.expect("the server listens"));
        peer.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
        assert_eq!(peer.answer().await.expect("an answer").status, 200);
        open.push(peer);
    }
    let detail = "there are as many connections as `server.admin` takes: try again in 1 s";
    assert_eq!(
        call(rig.admin, "GET /metrics HTTP/1.1\r\n", "").await.problem(),
        (503, "overloaded".into(), detail.into())
    );
}
