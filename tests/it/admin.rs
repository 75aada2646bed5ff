//! The admin listener.

use relay::assemble::build;
use relay::config::model::TokenConfig;
use relay::name::Pattern;
use relay::notice::After;
use relay::protocol::relay_v1::RelayV1;
use relay::reloads::{Outcome, Report, Trigger};
use relay::time::Time;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use crate::event_stream::EventStream;
use crate::logs::{lines, log_everything};
use crate::peer::Answer;
use crate::rig::{Rig, behind_proxy, call, grants, snapshot, somebody, token, until};

async fn get(rig: &Rig, path: &str) -> Answer {
    call(rig.admin, &format!("GET {path} HTTP/1.1\r\n"), "").await
}

/// The value of a sample in the metrics, by its name and labels.
fn value(metrics: &str, line: &str) -> Option<f64> {
    let rest = metrics.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '))?;
    Some(rest.parse().expect("a number"))
}

#[tokio::test]
async fn what_happens_is_counted() {
    let rig = Rig::start(|config| config.anonymous = grants(&["cats"], &[], &[])).await;
    for body in ["1", "2", "{"] {
        rig.post("/publish/cats", "", body).await;
    }
    rig.post("/publish/sightings", "", "{}").await;
    rig.post("/publish/sightings", "secret-all", "{}").await;
    rig.post("/publish/nothing", "secret-all", "1").await;
    rig.post("/publish/cats", "wrong", "1").await;
    rig.post("/publish", "", r#"{"topic":"cats"}"#).await;
    let answer = get(&rig, "/metrics").await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    let text = String::from_utf8(answer.body).expect("text");
    for (line, expected) in [
        ("relay_published_total{topic=\"cats\"}", 2.0),
        ("relay_published_total{topic=\"orders.{region}\"}", 0.0),
        ("relay_publish_refused_total{topic=\"cats\",problem=\"malformed-json\"}", 1.0),
        ("relay_publish_refused_total{topic=\"cats\",problem=\"unauthenticated\"}", 1.0),
        ("relay_publish_refused_total{topic=\"sightings\",problem=\"unauthenticated\"}", 1.0),
        ("relay_publish_refused_total{topic=\"sightings\",problem=\"validation-failed\"}", 1.0),
        ("relay_publish_refused_total{topic=\"\",problem=\"unknown-topic\"}", 1.0),
        ("relay_publish_refused_total{topic=\"\",problem=\"bad-request\"}", 1.0),
        ("relay_retained_bytes{topic=\"cats\"}", 2.0),
        ("relay_http_requests_total{route=\"publish\",status=\"200\"}", 2.0),
        ("relay_http_requests_total{route=\"publish\",status=\"401\"}", 2.0),
        ("relay_http_requests_total{route=\"publish_many\",status=\"400\"}", 1.0),
        ("relay_http_publish_seconds_count", 8.0),
        ("relay_publish_seconds_count", 2.0),
        ("relay_publish_seconds_bucket{le=\"+Inf\"}", 2.0),
        ("relay_auth_failures_total{reason=\"unknown\"}", 1.0),
        ("relay_config_generation", 1.0),
        ("relay_log_seq", 2.0),
        ("relay_draining", 0.0),
    ] {
        assert_eq!(value(&text, line), Some(expected), "{line} in\n{text}");
    }
    assert!(!text.contains("nothing"), "only declared names become labels:\n{text}");
    assert!(text.ends_with("# EOF\n"));
}

/// Regression: the refusal of a whole request, such as for its rate, counted under no topic, although the log named
/// one.
#[tokio::test]
async fn a_publish_of_one_message_is_refused_under_its_topic() {
    let rig = Rig::start(|config| config.limits.publish_rate = Some(0)).await;
    for path in ["/publish/cats", "/publish/orders.eu", "/publish/nothing"] {
        assert_eq!(rig.post(path, "secret-all", "1").await.status, 429);
    }
    let list = r#"[{"topic":"cats","data":1},{"topic":"cats","data":2}]"#;
    assert_eq!(rig.post("/publish", "secret-all", list).await.status, 413, "more at once than there may ever be");
    let text = rig.metrics().await;
    for (topic, problem) in
        [("cats", "rate-limited"), ("orders.{region}", "rate-limited"), ("", "rate-limited"), ("", "too-many")]
    {
        let line = format!("relay_publish_refused_total{{topic=\"{topic}\",problem=\"{problem}\"}}");
        assert_eq!(value(&text, &line), Some(1.0), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn connections_and_subscriptions_are_gauges() {
    let rig = Rig::start(|_| {}).await;
    let url = format!("ws://{}/ws", rig.public);
    let mut socket = crate::subscriber::Subscriber::connect(&url, &[("authorization", "Bearer secret-all")]).await;
    assert_eq!(socket.json().await["type"], "hello");
    socket.send(r#"{"type":"subscribe","id":1,"topics":["cats","orders.*","**"]}"#).await;
    while socket.json().await["type"] != "synced" {}
    let stream = TcpStream::connect(rig.public).await.expect("the server listens");
    let mut stream = EventStream::open(stream, "/events?topic=cats", "Authorization: Bearer secret-all\r\n").await;
    assert_eq!(stream.event().await.name, "synced");
    let idle = rig.connect().await;
    until("it is accepted", || rig.live.connections.open() == 3).await;
    let text = rig.metrics().await;
    for kind in ["websocket", "stream", "http"] {
        assert_eq!(value(&text, &format!("relay_connections{{kind=\"{kind}\"}}")), Some(1.0), "{text}");
    }
    for (topic, n) in [("cats", 2.0), ("orders.{region}", 1.0), ("sightings", 0.0), ("", 1.0)] {
        assert_eq!(value(&text, &format!("relay_subscriptions{{topic=\"{topic}\"}}")), Some(n), "{text}");
    }
    assert_eq!(value(&text, "relay_tasks{task=\"websocket\"}"), Some(1.0), "{text}");
    drop((socket, stream, idle));
}

/// Regression: half of the subscribers ended without being counted.
#[tokio::test]
async fn streams_that_end_are_counted_by_who_ended_them() {
    let rig = Rig::start(|_| {}).await;
    let open = async |path: &str| {
        let socket = TcpStream::connect(rig.public).await.expect("the server listens");
        let mut stream = EventStream::open(socket, path, "Authorization: Bearer secret-all\r\n").await;
        assert_eq!(stream.event().await.name, "synced");
        stream
    };
    drop(open("/events?topic=cats").await);
    let registered = rig.post("/register", "secret-all", r#"{"user_id":1,"topics":["cats"]}"#).await.json();
    let path = format!("/events/{}", registered["id"].as_str().expect("an id"));
    let (older, newer) = (open(&path).await, open(&path).await);
    until("they have ended", || rig.live.stats.streams.get() == 1).await;
    let text = rig.metrics().await;
    for labels in ["by=\"peer\",code=\"\"", "by=\"server\",code=\"4012\""] {
        assert_eq!(value(&text, &format!("relay_streams_ended_total{{{labels}}}")), Some(1.0), "{text}");
    }
    drop((older, newer));
}

/// Regression: the expiry of certificates was a metric, that of tokens was not: one could expire at night unnoticed.
#[tokio::test]
async fn when_tokens_expire_is_a_metric_and_a_use_after_that_is_told_by_name() {
    let page = log_everything();
    let rig = Rig::start(|config| {
        behind_proxy(config);
        config.tokens.push(TokenConfig { not_after: Some(Time(1_700_000_000_000)), ..token("old", &[], &[], &[]) });
    })
    .await;
    let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nX-Forwarded-For: 192.0.2.90\r\n";
    assert_eq!(call(rig.public, &format!("{head}Authorization: Bearer secret-old\r\n"), "1").await.status, 401);
    let text = rig.metrics().await;
    assert_eq!(value(&text, "relay_token_expires_timestamp_seconds{token=\"old\"}"), Some(1.7e9), "{text}");
    assert!(!text.contains("token=\"all\""), "{text}");
    assert_eq!(value(&text, "relay_auth_failures_total{reason=\"expired\"}"), Some(1.0), "{text}");
    let told = lines(&page, "a credential was refused", "192.0.2.90", &["reason", "token"]);
    assert_eq!(told, [json!({"reason": "expired", "token": "old"})]);
}

#[tokio::test]
async fn who_has_still_to_say_who_it_is_and_what_is_registered_are_gauges() {
    let rig = Rig::start(|_| {}).await;
    let stranger = crate::subscriber::Subscriber::open(rig.public).await;
    for user in 1..=2 {
        let body = format!(r#"{{"user_id":{user},"topics":["cats"]}}"#);
        assert_eq!(rig.post("/register", "secret-all", &body).await.status, 200);
    }
    let text = rig.metrics().await;
    for (line, expected) in [("relay_unidentified", 1.0), ("relay_registrations", 2.0)] {
        assert_eq!(value(&text, line), Some(expected), "{line} in\n{text}");
    }
    drop(stranger);
}

/// Alerts watch these rare events, so each has a metric of its own.
#[tokio::test]
async fn what_seldom_happens_is_counted_under_its_own_name() {
    let mut snapshot = snapshot(|config| config.limits.idempotency_keys = 1);
    snapshot.loaded_at = Time(7_000);
    let rig = Rig::serve(build::live(snapshot, 2)).await;
    for key in ["a", "b", "c"] {
        let head =
            "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer secret-all\r\n";
        assert_eq!(rig.call(&format!("{head}Idempotency-Key: {key}\r\n"), "1").await.status, 200);
    }
    let mut peer = rig.connect().await;
    peer.send("NONSENSE\r\n\r\n").await;
    until("it is no request", || rig.live.stats.unreadable_requests.get() > 0).await;
    let list = r#"[{"topic":"sightings","data":1},{"topic":"sightings","data":2}]"#;
    assert_eq!(rig.post("/publish", "secret-all", list).await.status, 422);
    rig.live.hub.outbound.refused.add(2);
    rig.live.hub.outbound.dropped.add(3);
    rig.live.stats.panics.add(4);
    assert_eq!(rig.get("/events?topic=cats", "").await.status, 401);
    let (near, _far) = tokio::io::duplex(64);
    let mut slow = rig.live.hub.subscriber(near, &RelayV1, somebody());
    slow.reply(&[b'x'; 5_000]);
    let mut peer = crate::subscriber::Subscriber::open(rig.public).await;
    peer.send_message(Message::Close(None)).await;
    until("it has ended", || !rig.live.stats.websockets_ended.read().is_empty()).await;
    let text = rig.metrics().await;
    for (line, expected) in [
        ("relay_idempotency_keys", 1.0),
        ("relay_idempotency_keys_forgotten_total", 2.0),
        ("relay_unreadable_requests_total", 1.0),
        ("relay_publish_refused_total{topic=\"sightings\",problem=\"validation-failed\"}", 2.0),
        ("relay_shed_total{step=\"refuse\"}", 2.0),
        ("relay_shed_total{step=\"drop\"}", 3.0),
        ("relay_panics_total", 4.0),
        ("relay_subscribe_refused_total{problem=\"unauthenticated\"}", 1.0),
        ("relay_websockets_ended_total{by=\"peer\",code=\"\"}", 1.0),
        ("relay_config_loaded_timestamp_seconds", 7.0),
        ("relay_last_reload_timestamp_seconds", 7.0),
    ] {
        assert_eq!(value(&text, line), Some(expected), "{line} in\n{text}");
    }
    for line in ["relay_outbound_bytes", "process_resident_memory_bytes"] {
        let least = if line.starts_with("process") { 4e6 } else { 4_900.0 };
        assert!(value(&text, line).is_some_and(|bytes| bytes >= least), "{line} in\n{text}");
    }
    let (trigger, result, diagnostics) = (Trigger::Poll, Outcome::Refused, json!([]));
    rig.live.reloads.note(Report { at: Time(9_000), trigger, took_ms: 0, generation: 1, result, diagnostics });
    let text = rig.metrics().await;
    for (line, expected) in
        [("relay_config_loaded_timestamp_seconds", 7.0), ("relay_last_reload_timestamp_seconds", 9.0)]
    {
        assert_eq!(value(&text, line), Some(expected), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn the_configuration_is_shown_without_its_secrets() {
    let rig = Rig::start(|_| {}).await;
    let answer = get(&rig, "/config").await;
    let config = answer.json();
    assert_eq!((answer.status, &config["generation"]), (200, &json!(1)));
    assert_eq!(config["hash"].as_str().map(str::len), Some(64), "{config}");
    assert!(config["loaded_at"].as_str().is_some_and(|time| time.ends_with('Z')), "{config}");
    assert_eq!(config["config"]["topics"]["cats"]["description"], "Cat sightings");
    let text = config.to_string();
    let digest: String = {
        use sha2::Digest;
        sha2::Sha256::digest("secret-all").iter().map(|byte| format!("{byte:02x}")).collect()
    };
    assert!(!text.contains("secret-all") && !text.contains(&digest), "{text}");
}

#[tokio::test]
async fn pages_of_other_origins_and_names_stay_out() {
    let rig = Rig::start(|_| {}).await;
    for path in ["/metrics", "/config"] {
        for (header, status) in
            [("Origin: https://app.example", 403), ("Origin: null", 403), ("Host: evil.example", 421)]
        {
            let answer = call(rig.admin, &format!("GET {path} HTTP/1.1\r\n{header}\r\n"), "").await;
            assert_eq!(answer.status, status, "{path} {header}");
            assert_eq!(answer.header("access-control-allow-origin"), "");
        }
        let own = format!("GET {path} HTTP/1.1\r\nOrigin: http://{}\r\n", rig.admin);
        assert_eq!(call(rig.admin, &own, "").await.status, 200, "{path}");
    }
    assert_eq!(get(&rig, "/publish/cats").await.status, 404, "publishing has its own listener");
    let post = call(rig.admin, "POST /metrics HTTP/1.1\r\n", "").await;
    assert_eq!((post.status, post.header("allow")), (405, "GET, HEAD"));
}

#[tokio::test]
async fn it_is_not_ready_once_it_drains() {
    let rig = Rig::start(|_| {}).await;
    let mut kept = crate::peer::Peer::new(TcpStream::connect(rig.admin).await.expect("it listens"));
    kept.send("GET /ready HTTP/1.1\r\nHost: localhost\r\n\r\nGET /ready HTTP/1.1\r\nHost: localhost\r\n").await;
    let answer = kept.answer().await.expect("an answer");
    assert_eq!((answer.status, answer.json()), (200, json!({"status": "ready", "generation": 1})));
    // This request is half sent when the drain begins, and is still answered.
    rig.live.drain.begin();
    kept.send("\r\n").await;
    let mut scraped = crate::peer::Peer::new(TcpStream::connect(rig.admin).await.expect("it listens"));
    scraped.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    let text = String::from_utf8(scraped.answer().await.expect("an answer").body).expect("text");
    assert_eq!(value(&text, "relay_draining"), Some(1.0), "{text}");
    let answer = kept.answer().await.expect("an answer");
    let detail = "the server is shutting down: try again in 1 s";
    assert_eq!(answer.problem(), (503, "draining".into(), detail.into()));
    assert_eq!(answer.header("connection"), "close");
    rig.end().await;
}

#[tokio::test]
async fn what_is_delivered_is_counted_and_who_has_left_is_not_behind() {
    let rig = Rig::start(|_| {}).await;
    let url = format!("ws://{}/ws", rig.public);
    let mut socket = crate::subscriber::Subscriber::connect(&url, &[("authorization", "Bearer secret-all")]).await;
    assert_eq!(socket.json().await["type"], "hello");
    socket.subscribe("cats").await;
    until("it is live", || rig.live.hub.behind.get() == 0).await;
    for n in 1..=3 {
        assert_eq!(rig.post("/publish/cats", "secret-all", &n.to_string()).await.status, 200);
        assert_eq!(socket.payload().await, n);
    }
    let topic = rig.live.hub.containing(&Pattern::parse("cats").expect("a pattern")).expect("it is declared");
    until("each is counted", || topic.delivered.get() == 3).await;
    drop(socket);
    until("it has left", || rig.live.hub.connections().is_empty()).await;
    let text = rig.metrics().await;
    for (line, expected) in [("relay_delivered_total{topic=\"cats\"}", 3.0), ("relay_subscribers_behind", 0.0)] {
        assert_eq!(value(&text, line), Some(expected), "{line} in\n{text}");
    }
}

#[tokio::test]
async fn who_is_subscribed_to_what_and_how_far_behind_is_shown() {
    let rig = Rig::start(|config| config.tokens.push(token("shop", &[], &["cats"], &["*"]))).await;
    let url = format!("ws://{}/ws", rig.public);
    let mut peer = crate::subscriber::Subscriber::connect(&url, &[("authorization", "Bearer secret-all")]).await;
    let hello = peer.json().await;
    peer.send(r#"{"type":"subscribe","id":1,"topics":["cats","orders.*"]}"#).await;
    while peer.json().await["type"] != "synced" {}
    let registered = rig.post("/register", "secret-shop", r#"{"user_id":"ann","topics":["cats"]}"#).await.json();
    let stream = TcpStream::connect(rig.public).await.expect("the server listens");
    let path = format!("/events/{}", registered["id"].as_str().expect("an id"));
    let mut stream = EventStream::open(stream, &path, "").await;
    assert_eq!(stream.event().await.name, "synced");
    let stranger = crate::subscriber::Subscriber::open(rig.public).await;
    // A subscriber that does not read: its pipe takes 64 bytes.
    let (near, _far) = tokio::io::duplex(64);
    let mut slow = rig.live.hub.subscriber(near, &RelayV1, somebody());
    slow.reply(&[b'x'; 1_000]);
    for n in 1..=3 {
        assert_eq!(rig.post("/publish/cats", "secret-all", &n.to_string()).await.status, 200);
        assert_eq!(peer.payload().await, n);
        stream.expect("message").await;
    }
    let ask = async |query: &str| get(&rig, &format!("/connections{query}")).await;
    let names = async |query: &str| {
        let answer = ask(query).await.json();
        let one = |one: &Value| format!("{} {}", one["kind"].as_str().unwrap(), one["principal"].as_str().unwrap());
        let mut names: Vec<_> = answer["connections"].as_array().expect("a list").iter().map(one).collect();
        names.sort();
        (answer["total"].as_u64().expect("a number"), names.join(", "))
    };
    let all = ask("").await.json();
    let first = &all["connections"][0];
    assert_eq!((&first["behind"], &first["principal"]), (&json!(3), &json!("unauthenticated")), "{all}");
    assert!(first["held_bytes"].as_u64().is_some_and(|held| held >= 936), "{all}");
    let mut shown = ask("?principal=all").await.json()["connections"][0].take();
    assert!(shown["since"].take().as_str().is_some_and(|since| since.starts_with("20") && since.ends_with('Z')));
    let expected = json!({
        "connection": hello["connection"], "kind": "websocket", "peer": "127.0.0.1", "since": null, "principal": "all",
        "user": null, "topics": ["cats", "orders.*"], "subscriptions": 2, "behind": 0, "held_bytes": 0,
    });
    assert_eq!(shown, expected);
    for (query, total, who) in [
        ("", 4, "stream shop, websocket all, websocket unauthenticated, websocket unauthenticated"),
        ("?limit=1", 4, "websocket unauthenticated"),
        ("?topic=cats", 2, "stream shop, websocket all"),
        ("?topic=orders.eu", 1, "websocket all"),
        ("?topic=*.eu", 1, "websocket all"),
        ("?user=ann", 1, "stream shop"),
        ("?user=ann&topic=orders.eu", 0, ""),
        ("?principal=unauthenticated&limit=1000", 2, "websocket unauthenticated, websocket unauthenticated"),
    ] {
        assert_eq!(names(query).await, (total, who.to_owned()), "{query}");
    }
    for (query, detail) in [
        ("?topics=cats", "unknown parameter `topics`: this call takes `topic`, `principal`, `user`, `limit`"),
        ("?topic=a..b", "`a..b` is not a topic: a name or a segment of it is empty"),
        ("?limit=0", "the parameter `limit` must be a whole number from 1 to 1000"),
    ] {
        let answer = ask(query).await;
        assert_eq!((answer.status, answer.json()["detail"].as_str()), (400, Some(detail)), "{query}");
    }
    drop((peer, stream, stranger, slow));
    until("they have gone", || rig.live.hub.connections().is_empty()).await;
    assert_eq!(ask("").await.json(), json!({"total": 0, "connections": []}));
}

/// Of those as far behind, first the one that holds most; and no more of its topics than are looked at.
#[tokio::test]
async fn who_holds_most_is_shown_first_and_many_topics_in_part() {
    let rig = Rig::start(|_| {}).await;
    let mut slow = Vec::new();
    for bytes in [1_000, 3_000, 2_000] {
        let (near, far) = tokio::io::duplex(64);
        let mut one = rig.live.hub.subscriber(near, &RelayV1, somebody());
        one.reply(&vec![b'x'; bytes]);
        slow.push((one, far));
    }
    let topics = (0..101).map(|n| Pattern::parse(&format!("orders.t{n}")).expect("a topic"));
    slow[1].0.subscribe(topics.map(|topic| (topic, After::Live)).collect());
    let shown = get(&rig, "/connections").await.json();
    let of = |n: usize, member: &str| shown["connections"][n][member].as_u64().expect("a number");
    assert!(of(0, "held_bytes") > 2_500 && of(1, "held_bytes") > 1_500 && of(2, "held_bytes") < 1_500, "{shown}");
    let first = &shown["connections"][0];
    assert_eq!((first["topics"].as_array().map(Vec::len), of(0, "subscriptions")), (Some(100), 101), "{first}");
}

#[tokio::test]
async fn a_proxy_of_any_address_is_looked_through() {
    let rig = Rig::start(|config| {
        behind_proxy(config);
        config.server.trusted_proxies.push(("::".parse().expect("an address"), 0));
    })
    .await;
    let url = format!("ws://{}/ws", rig.public);
    let headers = [("x-forwarded-for", "2001:db8::7, 2001:db8::8")];
    let _peer = crate::subscriber::Subscriber::connect(&url, &headers).await;
    assert_eq!(get(&rig, "/connections").await.json()["connections"][0]["peer"], "2001:db8::7");
}
