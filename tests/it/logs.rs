//! What gets into the log, and what never may.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use relay::config::model::Log;
use relay::telemetry::logs;
use serde_json::{Value, json};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::event_stream::EventStream;
use crate::peer::narrow;
use crate::rig::{Rig, behind_proxy, call, grants, token, until};
use crate::subscriber::Subscriber;

#[derive(Clone, Default)]
pub struct Page(Arc<Mutex<Vec<u8>>>);

impl Write for Page {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("not poisoned").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Page {
    pub fn text(&self) -> String {
        String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("text")
    }
}

/// Everything that any test of this process logs from now on, at the finest level. All tests share one log, because
/// tracing remembers a callsite as disabled if a thread without a subscriber meets it first.
pub fn log_everything() -> Page {
    static PAGE: OnceLock<Page> = OnceLock::new();
    let install = || {
        let page = Page::default();
        let writer = {
            let page = page.clone();
            BoxMakeWriter::new(move || page.clone())
        };
        let (subscriber, _) = logs::build(&Log { json: true, level: "trace".into() }, Some("trace"), writer);
        tracing::subscriber::set_global_default(subscriber).expect("nobody else logs here");
        page
    };
    PAGE.get_or_init(install).clone()
}

#[tokio::test]
async fn neither_payloads_nor_secrets_are_logged_at_any_level() {
    let page = log_everything();
    let rig = Rig::start(|config| config.anonymous = grants(&[], &["cats"], &["*"])).await;
    let payload = r#"{"name":"unspeakable-payload"}"#;
    assert_eq!(rig.post("/publish/cats", "secret-all", payload).await.status, 200);
    assert_eq!(rig.post("/publish/sightings", "secret-all", r#"{"name":["unspeakable-payload"]}"#).await.status, 422);
    assert_eq!(rig.post("/publish", "secret-all", r#"{"topic":"cats","data":"unspeakable-payload"#).await.status, 400);
    assert_eq!(rig.post("/publish/cats", "unspeakable-secret", payload).await.status, 401);
    let registered = rig.post("/register", "", r#"{"user_id":1,"topics":["cats"]}"#).await.json();
    let (id, url) = (registered["id"].as_str().expect("an id"), registered["url"].as_str().expect("a URL"));
    let mut socket = Subscriber::connect(url, &[]).await;
    assert_eq!(socket.json().await["type"], "hello");
    assert_eq!(socket.json().await["type"], "synced");
    assert_eq!(rig.post("/publish/cats", "secret-all", payload).await.status, 200);
    assert_eq!(socket.payload().await, json!({"name": "unspeakable-payload"}));
    let url = format!("ws://{}/ws", rig.public);
    let wrong = Subscriber::try_connect(&url, &[("authorization", "Bearer unspeakable-secret")]).await;
    assert_eq!(wrong.err(), Some(401));
    let mut late = Subscriber::connect(&url, &[]).await;
    assert_eq!(late.json().await["type"], "hello");
    late.send(r#"{"type":"auth","token":"unspeakable-secret"}"#).await;
    assert_eq!(late.closed().await.0, 4001);
    assert_eq!(rig.call(&format!("DELETE /register/{id} HTTP/1.1\r\n"), "").await.status, 204);
    assert_eq!(socket.closed().await.0, 4011);
    rig.end().await;
    let text = page.text();
    for secret in ["unspeakable", "secret-all", id] {
        assert!(!text.contains(secret), "`{secret}` in\n{text}");
    }
    assert!(text.contains("a publish was refused"), "{text}");
    assert!(text.contains(r#""a credential was refused","peer":"127.0.0.1","reason":"unknown""#), "{text}");
}

/// For a list, the line names one topic that was refused.
#[tokio::test]
async fn a_refused_publish_is_one_line() {
    let page = log_everything();
    let rig = Rig::start(behind_proxy).await;
    let list = r#"[{"topic":"cats","data":1},{"topic":"sightings","data":2},{"topic":"dogs","data":3}]"#;
    let head = "POST /publish HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer secret-all\r\n\
                X-Forwarded-For: 192.0.2.77\r\n";
    assert_eq!(call(rig.public, head, list).await.status, 422);
    let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nX-Forwarded-For: 192.0.2.77\r\n";
    assert_eq!(call(rig.public, head, "1").await.status, 401);
    assert_eq!(
        refused(&page, "192.0.2.77"),
        [
            json!({"level": "INFO", "problem": "validation-failed", "topic": "sightings", "principal": "all", "items": 2}),
            json!({"level": "INFO", "problem": "unauthenticated", "topic": "cats", "principal": "anonymous", "items": 1}),
        ]
    );
}

/// Regression: the log lines of requests that were refused before validation lacked the caller's name.
#[tokio::test]
async fn the_line_of_a_request_that_is_refused_says_who_it_was() {
    let page = log_everything();
    let rig = Rig::start(|config| {
        behind_proxy(config);
        config.limits.body = 16;
    })
    .await;
    let large = format!("\"{}\"", "x".repeat(100));
    let chunked = format!("{:x}\r\n{large}\r\n0\r\n\r\n", large.len());
    for (path, media, how, body, status) in [
        ("/publish/cats", "application/json", "Transfer-Encoding: chunked\r\n", chunked.as_str(), 413),
        ("/publish/cats", "application/json", "", &large, 413),
        ("/publish/cats", "text/plain", "", "1", 415),
        ("/publish/a..b", "application/json", "", "1", 400),
        ("/publish/cats?x=1", "application/json", "", "1", 400),
        ("/publish", "application/json", "", "{}", 400),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {media}\r\n{how}");
        let length = if how.is_empty() { format!("Content-Length: {}\r\n", body.len()) } else { String::new() };
        for (secret, peer) in [("all", "192.0.2.82"), ("none", "192.0.2.83")] {
            let mut socket = rig.connect().await;
            let who = format!("Authorization: Bearer secret-{secret}\r\nX-Forwarded-For: {peer}\r\n");
            socket.send(format!("{head}{length}{who}\r\n{body}")).await;
            let answer = socket.answer().await.expect("an answer");
            assert!(secret == "none" || answer.status == status, "{path}: {}", answer.json());
        }
    }
    for (peer, principal) in [("192.0.2.82", "all"), ("192.0.2.83", "unauthenticated")] {
        let lines = lines(&page, "a publish was refused", peer, &["principal"]);
        assert_eq!(lines, vec![json!({ "principal": principal }); 6]);
    }
}

/// This is the question after a schema was tightened, and the publisher's own log may be elsewhere. The line says
/// nothing of the payload.
#[tokio::test]
async fn the_line_of_a_refused_publish_says_what_in_the_schema_refused_it() {
    let page = log_everything();
    let rig = Rig::start(behind_proxy).await;
    let head = |path: &str| {
        format!(
            "POST {path} HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer secret-all\r\n\
             X-Forwarded-For: 192.0.2.84\r\n"
        )
    };
    assert_eq!(call(rig.public, &head("/publish/sightings"), r#"{"name":"Tom","age":-1}"#).await.status, 422);
    let list = r#"[{"topic":"cats","data":1},{"topic":"sightings","data":{"name":[]}},{"topic":"sightings","data":1}]"#;
    assert_eq!(call(rig.public, &head("/publish"), list).await.status, 422);
    assert_eq!(call(rig.public, &head("/publish/nothing"), "1").await.status, 404);
    assert_eq!(
        lines(&page, "a publish was refused", "192.0.2.84", &["keyword", "schema_pointer"]),
        [
            json!({"keyword": "minimum", "schema_pointer": "/properties/age/minimum"}),
            json!({"keyword": "type", "schema_pointer": "/properties/name/type"}),
            json!({"keyword": null, "schema_pointer": null}),
        ]
    );
}

/// Regression: the likeliest reason for a missing message left no trace; over WebSocket, it was neither logged nor
/// counted.
#[tokio::test]
async fn a_refused_subscription_is_one_line_and_counted() {
    let page = log_everything();
    let rig = Rig::start(|config| {
        behind_proxy(config);
        config.anonymous = grants(&[], &["cats"], &[]);
        config.limits.subscriptions = 1;
    })
    .await;
    let peer = ("x-forwarded-for", "192.0.2.85");
    let mut socket = Subscriber::connect(&format!("ws://{}/ws", rig.public), &[peer]).await;
    let connection = socket.json().await["connection"].clone();
    for command in [
        r#"{"type":"subscribe","topics":["dogs"]}"#,
        r#"{"type":"subscribe","topics":["cats","cats.*"]}"#,
        r#"{"topics":["orders.eu"]}"#,
    ] {
        socket.send(command).await;
        assert_eq!(socket.json().await["type"], "error", "{command}");
    }
    socket.send(r#"{"type":"subscribe","topics":["cats"]}"#).await;
    assert_eq!(socket.json().await["type"], "ok");
    let head =
        "GET /events?topic=nothing HTTP/1.1\r\nAuthorization: Bearer secret-all\r\nX-Forwarded-For: 192.0.2.85\r\n";
    assert_eq!(call(rig.public, head, "").await.status, 404);
    let fields = ["level", "problem", "topic", "principal", "connection"];
    let line = |problem: &str, topic: &str, principal: &str, connection: &Value| json!({"level": "INFO", "problem": problem, "topic": topic, "principal": principal, "connection": connection});
    assert_eq!(
        lines(&page, "a subscription was refused", "192.0.2.85", &fields),
        [
            line("unauthenticated", "dogs", "anonymous", &connection),
            line("too-many", "", "anonymous", &connection),
            line("unauthenticated", "orders.eu", "anonymous", &connection),
            line("unknown-topic", "nothing", "all", &Value::Null),
        ]
    );
    let counted: Vec<_> = rig.live.stats.subscribe_refused.by_problem().collect();
    assert_eq!(counted, [("unauthenticated", 2), ("unknown-topic", 1), ("too-many", 1)]);
    // The debug lines say what it subscribes to, and from where.
    let begun = lines(&page, "a WebSocket has begun", "192.0.2.85", &["level", "principal", "connection"]);
    assert_eq!(begun, [json!({"level": "DEBUG", "principal": "anonymous", "connection": connection})]);
    let text = page.text();
    let subscribed = text.lines().filter(|line| line.contains(connection.as_str().expect("an id")));
    let subscribed = subscribed.filter(|line| line.contains(r#""message":"subscribed""#)).collect::<Vec<_>>();
    assert!(matches!(subscribed[..], [line] if line.contains(r#""topics":"[(`cats`, Live)]""#)), "{subscribed:?}");
}

/// A back end that could not register its users answered an error to their pages, and the log said nothing of why.
#[tokio::test]
async fn a_refused_registration_is_one_line() {
    let page = log_everything();
    let rig = Rig::start(|config| {
        behind_proxy(config);
        config.limits.registrations = 1;
        config.tokens.push(token("one", &[], &["cats"], &["1"]));
    })
    .await;
    let ask = async |secret: &str, body: &str| {
        let who = format!("Authorization: Bearer secret-{secret}\r\nX-Forwarded-For: 192.0.2.90\r\n");
        let head = format!("POST /register HTTP/1.1\r\nContent-Type: application/json\r\n{who}");
        call(rig.public, &head, body).await.status
    };
    for (secret, body, status) in [
        ("one", r#"{"user_id":1,"topics":["dogs"]}"#, 403),
        ("one", r#"{"user_id":2,"topics":["cats"]}"#, 403),
        ("one", r#"{"user_id":1}"#, 400),
        ("none", r#"{"user_id":1,"topics":["cats"]}"#, 401),
        ("one", r#"{"user_id":1,"topics":["cats"]}"#, 200),
        ("one", r#"{"user_id":1,"topics":["cats"]}"#, 503),
    ] {
        assert_eq!(ask(secret, body).await, status, "{secret} {body}");
    }
    let line = |problem: &str, topic: &str, user: Option<&str>, principal: &str, cause: Option<&str>| json!({"level": "INFO", "problem": problem, "topic": topic, "user": user, "principal": principal, "cause": cause});
    let full = "there are as many registrations as `limits.registrations` allows";
    assert_eq!(
        lines(
            &page,
            "a registration was refused",
            "192.0.2.90",
            &["level", "problem", "topic", "user", "principal", "cause"]
        ),
        [
            line("forbidden", "dogs", None, "one", None),
            line("forbidden", "", Some("2"), "one", None),
            line("bad-request", "", None, "one", None),
            line("unauthenticated", "", None, "unauthenticated", None),
            line("overloaded", "", None, "one", Some(full)),
        ]
    );
}

/// Regression: these calls were refused without a trace, unlike publishes and subscriptions.
#[tokio::test]
async fn whatever_else_is_refused_is_one_line_too() {
    let page = log_everything();
    let rig = Rig::start(behind_proxy).await;
    let ask = async |request: &str, who: &str, body: &str| {
        let head =
            format!("{request} HTTP/1.1\r\nContent-Type: application/json\r\nX-Forwarded-For: 192.0.2.93\r\n{who}");
        call(rig.public, &head, body).await.status
    };
    let (all, wrong) = ("Authorization: Bearer secret-all\r\n", "Authorization: Bearer unspeakable\r\n");
    for (request, who, body, status) in [
        ("GET /history/dogs", "", "", 401),
        ("GET /history/catz", all, "", 404),
        ("GET /history/cats", wrong, "", 401),
        ("GET /history/cats?limit=x", all, "", 400),
        ("POST /validate/sightings", all, r#"{"name":"Tom","age":-1}"#, 422),
        ("POST /validate/sightings", all, "{", 400),
        ("POST /validate/a..b", all, "1", 400),
        ("POST /validate/cats", "", "1", 401),
        ("DELETE /register/unspeakable-id", "", "", 404),
        ("DELETE /register/unspeakable-id", wrong, "", 401),
    ] {
        assert_eq!(ask(request, who, body).await, status, "{request}");
    }
    let told = |message: &str, fields: &[&str]| lines(&page, message, "192.0.2.93", fields);
    let line = |problem: &str, topic: &str, principal: &str| json!({"level": "INFO", "problem": problem, "topic": topic, "principal": principal});
    assert_eq!(
        told("a request for history was refused", &["level", "problem", "topic", "principal"]),
        [
            line("unauthenticated", "dogs", "anonymous"),
            line("unknown-topic", "catz", "all"),
            line("unauthenticated", "", "unauthenticated"),
            line("bad-request", "", "all"),
        ]
    );
    let judged = |problem: &str, topic: &str, principal: &str, keyword: Option<&str>| json!({"problem": problem, "topic": topic, "principal": principal, "keyword": keyword});
    assert_eq!(
        told("a message to validate was refused", &["problem", "topic", "principal", "keyword"]),
        [
            judged("validation-failed", "sightings", "all", Some("minimum")),
            judged("malformed-json", "sightings", "all", None),
            judged("bad-request", "", "all", None),
            judged("unauthenticated", "cats", "anonymous", None),
        ]
    );
    let ended = |problem: &str, principal: &str| json!({"level": "INFO", "problem": problem, "principal": principal});
    assert_eq!(
        told("a request to end a registration was refused", &["level", "problem", "principal"]),
        [ended("not-found", "anonymous"), ended("unauthenticated", "unauthenticated")]
    );
}

/// Three limits are one problem, and the log did not say which of them it was.
#[tokio::test]
async fn the_line_of_a_publish_that_is_refused_at_a_limit_says_which() {
    let page = log_everything();
    let rig = Rig::start(|config| {
        behind_proxy(config);
        config.limits.family_topics = 1;
    })
    .await;
    for (topic, status) in [("orders.eu", 200), ("orders.us", 503), ("nothing", 404)] {
        let head = format!(
            "POST /publish/{topic} HTTP/1.1\r\nContent-Type: application/json\r\n\
             Authorization: Bearer secret-all\r\nX-Forwarded-For: 192.0.2.91\r\n"
        );
        assert_eq!(call(rig.public, &head, "1").await.status, status, "{topic}");
    }
    let full = "the topic's family has as many concrete topics as `limits.family_topics` allows";
    assert_eq!(
        lines(&page, "a publish was refused", "192.0.2.91", &["problem", "cause"]),
        [json!({"problem": "overloaded", "cause": full}), json!({"problem": "unknown-topic", "cause": null})]
    );
}

/// All pages of a back end have its name and often its address, so nobody could tell whose connection had ended.
#[tokio::test]
async fn the_line_about_an_end_says_whose_connection_it_was() {
    let page = log_everything();
    let rig = Rig::start(behind_proxy).await;
    let register = async |user: &str| {
        let body = json!({"user_id": user, "topics": ["cats"]}).to_string();
        rig.post("/register", "secret-all", &body).await.json()["id"].as_str().expect("an id").to_owned()
    };
    let (socket, stream) = (register("alice").await, register("bob").await);
    let peer = ("x-forwarded-for", "192.0.2.92");
    let mut socket = Subscriber::connect(&format!("ws://{}/ws/{socket}", rig.public), &[peer]).await;
    assert_eq!(socket.json().await["type"], "hello");
    let of_nobody = [peer, ("authorization", "Bearer secret-all")];
    let mut nobody = Subscriber::connect(&format!("ws://{}/ws", rig.public), &of_nobody).await;
    assert_eq!(nobody.json().await["type"], "hello");
    let headers = "X-Forwarded-For: 192.0.2.92\r\n";
    let mut stream = EventStream::open(narrow(rig.public).await, &format!("/events/{stream}"), headers).await;
    assert_eq!(stream.event().await.name, "synced");
    drop((socket, stream));
    for (message, users) in [
        ("a WebSocket has ended", vec![json!({"user": "alice"})]),
        ("an event stream has ended", vec![json!({"user": "bob"})]),
    ] {
        let ended = || lines(&page, message, "192.0.2.92", &["user"]);
        until("it has ended", || !ended().is_empty()).await;
        assert_eq!(ended(), users);
    }
    drop(nobody);
    until("the other has ended", || {
        lines(&page, "a WebSocket has ended", "192.0.2.92", &["user"]).contains(&json!({"user": null}))
    })
    .await;
}

/// Regression: it was counted but not logged.
#[tokio::test]
async fn a_publish_that_is_refused_over_websocket_is_the_same_line() {
    let page = log_everything();
    let rig = Rig::start(behind_proxy).await;
    let headers = [("authorization", "Bearer secret-all"), ("x-forwarded-for", "192.0.2.79")];
    let mut socket = Subscriber::connect(&format!("ws://{}/ws", rig.public), &headers).await;
    assert_eq!(socket.json().await["type"], "hello");
    socket.send(r#"{"type":"publish","topic":"sightings","data":1}"#).await;
    assert_eq!(socket.json().await["problem"]["status"], 422);
    socket.send(r#"{"type":"publish","topic":"cats","data":1}"#).await;
    assert_eq!(socket.json().await["type"], "ok");
    let line =
        json!({"level": "INFO", "problem": "validation-failed", "topic": "sightings", "principal": "all", "items": 1});
    assert_eq!(refused(&page, "192.0.2.79"), [line]);
}

/// Regression: the log said of a stalled reader that it had hung up, while it was still there.
#[tokio::test]
async fn a_stream_that_takes_nothing_is_logged_as_that() {
    let page = log_everything();
    let rig = Rig::start(|config| {
        behind_proxy(config);
        config.limits.write_stall = Duration::from_millis(300);
        config.limits.send_buffer = 4 << 10;
    })
    .await;
    let open = async |peer: &str| {
        let headers = format!("Authorization: Bearer secret-all\r\nX-Forwarded-For: {peer}\r\n");
        EventStream::open(narrow(rig.public).await, "/events?topic=cats", &headers).await
    };
    let (mut stays, goes) = (open("192.0.2.80").await, open("192.0.2.81").await);
    assert_eq!(stays.event().await.name, "synced");
    drop(goes);
    let body = format!("\"{}\"", "x".repeat(200 << 10));
    assert_eq!(rig.post("/publish/cats", "secret-all", &body).await.status, 200);
    for (peer, reason) in
        [("192.0.2.80", "nothing could be written for `limits.write_stall`"), ("192.0.2.81", "the peer is gone")]
    {
        let ended = || lines(&page, "an event stream has ended", peer, &["reason"]);
        until("it has ended", || !ended().is_empty()).await;
        assert_eq!(ended(), [json!({ "reason": reason })]);
    }
    drop(stays);
}

/// A browser tells its page nothing but that the connection failed.
#[tokio::test]
async fn a_foreign_origin_and_a_foreign_host_are_logged_as_such() {
    let page = log_everything();
    let rig = Rig::start(behind_proxy).await;
    let from = "X-Forwarded-For: 192.0.2.86\r\n";
    for (headers, status) in [
        ("Host: localhost\r\nOrigin: https://shop.example\r\n".to_owned(), 403),
        (format!("Host: localhost\r\nOrigin: https://{}\r\n", "x".repeat(2_000)), 403),
        ("Host: rebound.example:80\r\n".to_owned(), 421),
    ] {
        let mut socket = rig.connect().await;
        socket.send(format!("GET /history/cats HTTP/1.1\r\n{headers}{from}\r\n")).await;
        assert_eq!(socket.answer().await.expect("an answer").status, status, "{headers}");
    }
    assert_eq!(
        lines(&page, "a page of a foreign origin was refused", "192.0.2.86", &["level", "origin", "listener"]),
        [
            json!({"level": "INFO", "origin": "https://shop.example", "listener": "public"}),
            json!({"level": "INFO", "origin": format!("https://{}", "x".repeat(292)), "listener": "public"}),
        ]
    );
    assert_eq!(
        lines(&page, "a request for a foreign host was refused", "192.0.2.86", &["level", "host", "listener"]),
        [json!({"level": "INFO", "host": "rebound.example:80", "listener": "public"})]
    );
    // Only the public listener can be made to take it.
    let head = format!("GET /config HTTP/1.1\r\nOrigin: https://admin.example\r\n{from}");
    assert_eq!(call(rig.admin, &head, "").await.status, 403);
    let told = lines(&page, "a page of a foreign origin was refused", "192.0.2.86", &["origin", "listener"]);
    assert_eq!(told[2..], [json!({"origin": "https://admin.example", "listener": "admin"})]);
}

/// The lines about a peer's refused publishes, without their times.
fn refused(page: &Page, peer: &str) -> Vec<Value> {
    lines(page, "a publish was refused", peer, &["level", "problem", "topic", "principal", "items"])
}

/// The given fields of each line with this message about this peer.
pub fn lines(page: &Page, message: &str, peer: &str, fields: &[&str]) -> Vec<Value> {
    let lines = page.text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let lines = lines.filter(|line| line["message"] == message && line["peer"] == peer);
    lines.map(|line| fields.iter().map(|field| ((*field).to_owned(), line[*field].clone())).collect()).collect()
}
