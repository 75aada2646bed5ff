//! Every way in, for every kind of caller; `matrix.txt` is the table of expected results.
//!
//! A cell is the status of the answer. Over WebSocket it is `ok`, the status of the reported problem, or the close
//! code; for a list of topics, the number of names. `-` marks ways that a registration does not offer.

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::rig::{Rig, call, grants, token};
use crate::subscriber::Subscriber;

const EXPECTED: &str = include_str!("matrix.txt");

/// Who calls: the holder of a bearer secret, or the user of a registration that such a holder has made.
#[derive(Clone, Copy)]
enum Who {
    Bearer(&'static str),
    RegisteredBy(&'static str),
}

/// The callers: a name, whether `[anonymous]` grants something on the server that they call, and who they are. `other`
/// may do everything with topics that do not exist, `family` everything with `orders.*`, and `gone` was removed by a
/// reload.
const CALLERS: [(&str, bool, Who); 11] = [
    ("nobody", false, Who::Bearer("")),
    ("anon", true, Who::Bearer("")),
    ("wrong", true, Who::Bearer("wrong")),
    ("basic", true, Who::Bearer("basic")),
    ("expired", true, Who::Bearer("secret-expired")),
    ("gone", true, Who::Bearer("secret-gone")),
    ("other", true, Who::Bearer("secret-other")),
    ("family", true, Who::Bearer("secret-family")),
    ("all", false, Who::Bearer("secret-all")),
    ("by-all", false, Who::RegisteredBy("secret-all")),
    ("by-anon", true, Who::RegisteredBy("")),
];

/// One way in.
enum Way {
    Post(&'static str, &'static str),
    Lines(&'static str),
    Get(&'static str),
    Delete(&'static str),
    Stream(&'static str),
    /// A command, with the credential in the upgrade request.
    Command(&'static str),
    /// A command after a first frame with `auth`.
    AuthThen(&'static str),
    /// A command in the small form, whose answer carries no id.
    Small(&'static str),
    /// A command in `relay.raw`, which sends no answers, and closes when it refuses a command.
    Raw(&'static str),
    /// A request to the admin listener, with a body if it is a POST.
    Admin(&'static str),
}

const WAYS: &[(&str, Way)] = &[
    ("publish cats", Way::Post("/publish/cats", "1")),
    ("publish orders.eu", Way::Post("/publish/orders.eu", "1")),
    ("publish nothing", Way::Post("/publish/nothing", "1")),
    ("envelope cats", Way::Post("/publish", r#"{"topic":"cats","data":1}"#)),
    ("envelope nothing", Way::Post("/publish", r#"{"topic":"nothing","data":1}"#)),
    ("list cats, orders.eu", Way::Post("/publish", r#"[{"topic":"cats","data":1},{"topic":"orders.eu","data":1}]"#)),
    ("lines cats", Way::Lines("{\"topic\":\"cats\",\"data\":1}\n")),
    ("lines orders.eu", Way::Lines("{\"topic\":\"orders.eu\",\"data\":1,\"user_id\":7}\n")),
    ("lines nothing", Way::Lines("{\"topic\":\"nothing\",\"data\":1}\n")),
    ("validate cats", Way::Post("/validate/cats", "1")),
    ("validate orders.eu", Way::Post("/validate/orders.eu", "1")),
    ("validate nothing", Way::Post("/validate/nothing", "1")),
    ("history cats", Way::Get("/history/cats")),
    ("history orders.*", Way::Get("/history/orders.*")),
    ("history **", Way::Get("/history/**")),
    ("history nothing", Way::Get("/history/nothing")),
    ("wait for cats", Way::Get("/history/cats?wait=5")),
    ("wait for orders.eu", Way::Get("/history/orders.eu?wait=5")),
    ("topics", Way::Get("/topics")),
    ("topics/cats", Way::Get("/topics/cats")),
    ("topics/orders.eu", Way::Get("/topics/orders.eu")),
    ("topics/nothing", Way::Get("/topics/nothing")),
    ("topics/sightings/schema", Way::Get("/topics/sightings/schema")),
    ("topics/nothing/schema", Way::Get("/topics/nothing/schema")),
    ("register 7 cats", Way::Post("/register", r#"{"user_id":7,"topics":["cats"]}"#)),
    ("register 7 orders.*", Way::Post("/register", r#"{"user_id":7,"topics":["orders.*"]}"#)),
    ("register 8", Way::Post("/register", r#"{"user_id":8,"topics":["cats"]}"#)),
    ("register 7 nothing", Way::Post("/register", r#"{"user_id":7,"topics":["nothing"]}"#)),
    ("delete a registration", Way::Delete("")),
    ("delete an unknown one", Way::Delete("7f1ed001-6b5c-4bd1-9b4c-7b5d3c9d8f11")),
    ("events cats", Way::Stream("?topic=cats")),
    ("events orders.eu", Way::Stream("?topic=orders.eu")),
    ("events orders.*", Way::Stream("?topic=orders.*")),
    ("events **", Way::Stream("?topic=**")),
    ("events nothing", Way::Stream("?topic=nothing")),
    ("resume orders.eu", Way::Stream("?topic=orders.eu&after=earliest")),
    ("ws subscribe cats", Way::Command(r#"{"type":"subscribe","id":1,"topics":["cats"]}"#)),
    ("ws subscribe orders.eu", Way::Command(r#"{"type":"subscribe","id":1,"topics":["orders.eu"]}"#)),
    ("ws subscribe orders.*", Way::Command(r#"{"type":"subscribe","id":1,"topics":["orders.*"]}"#)),
    ("ws subscribe **", Way::Command(r#"{"type":"subscribe","id":1,"topics":["**"]}"#)),
    ("ws subscribe nothing", Way::Command(r#"{"type":"subscribe","id":1,"topics":["nothing"]}"#)),
    ("ws publish cats", Way::Command(r#"{"type":"publish","id":1,"topic":"cats","data":1}"#)),
    ("ws publish orders.eu", Way::Command(r#"{"type":"publish","id":1,"topic":"orders.eu","data":1}"#)),
    ("ws publish nothing", Way::Command(r#"{"type":"publish","id":1,"topic":"nothing","data":1}"#)),
    ("ws resume orders.eu", Way::Command(r#"{"type":"subscribe","id":1,"topics":{"orders.eu":"earliest"}}"#)),
    ("ws ping", Way::Command(r#"{"type":"ping","id":1}"#)),
    ("auth, subscribe cats", Way::AuthThen(r#"{"type":"subscribe","id":1,"topics":["cats"]}"#)),
    ("auth, publish orders.eu", Way::AuthThen(r#"{"type":"publish","id":1,"topic":"orders.eu","data":1}"#)),
    ("small cats", Way::Small(r#"{"topics":["cats"]}"#)),
    ("small orders.eu", Way::Small(r#"{"topics":["orders.eu"]}"#)),
    ("small nothing", Way::Small(r#"{"topics":["nothing"]}"#)),
    ("raw subscribe cats", Way::Raw(r#"{"type":"subscribe","topics":["cats"]}"#)),
    ("raw subscribe orders.eu", Way::Raw(r#"{"type":"subscribe","topics":["orders.eu"]}"#)),
    ("raw subscribe nothing", Way::Raw(r#"{"type":"subscribe","topics":["nothing"]}"#)),
    ("raw publish cats", Way::Raw(r#"{"type":"publish","topic":"cats","data":1}"#)),
    ("raw publish orders.eu", Way::Raw(r#"{"type":"publish","topic":"orders.eu","data":1}"#)),
    ("health", Way::Get("/health")),
    ("metrics", Way::Get("/metrics")),
    ("config", Way::Get("/config")),
    ("reload", Way::Post("/reload", "{}")),
    ("admin metrics", Way::Admin("GET /metrics")),
    ("admin config", Way::Admin("GET /config")),
    ("admin connections", Way::Admin("GET /connections")),
    ("admin history cats", Way::Admin("GET /history/cats")),
    ("admin events cats", Way::Admin("GET /events?topic=cats")),
    ("admin topics", Way::Admin("GET /topics")),
    ("admin publish cats", Way::Admin("POST /publish/cats")),
];

#[tokio::test]
async fn every_way_in_is_judged_for_every_kind_of_caller() {
    let rigs = [rig(false).await, rig(true).await];
    let mut table = format!("{:25}", "");
    for (caller, ..) in CALLERS {
        table += &format!("{caller:>8}");
    }
    for (name, way) in WAYS {
        table += &format!("\n{name:25}");
        for (_, open, who) in CALLERS {
            table += &format!("{:>8}", cell(&rigs[usize::from(open)], way, who).await);
        }
    }
    let expected: Vec<&str> = EXPECTED.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(table, expected.join("\n"), "\n{table}\n");
}

/// A server with all tokens, except one that a reload has removed.
async fn rig(open: bool) -> Rig {
    let config = |config: &mut relay::config::model::Config| {
        config.limits.auth_failures = 10_000;
        if open {
            config.anonymous = grants(&["cats"], &["cats"], &["7"]);
        }
        let mut expired = token("expired", &["**"], &["**"], &["*"]);
        expired.not_after = Some(relay::time::Time(1));
        config.tokens.push(expired);
        config.tokens.push(token("other", &["nothing"], &["nothing"], &[]));
        config.tokens.push(token("family", &["orders.*"], &["orders.*"], &["7"]));
    };
    let rig = Rig::start(|it| {
        config(it);
        it.tokens.push(token("gone", &["**"], &["**"], &["*"]));
    })
    .await;
    assert_eq!(rig.get("/topics", "secret-gone").await.status, 200, "not yet");
    rig.commit(2, config);
    rig
}

fn authorization(secret: &str) -> String {
    match secret {
        "" => String::new(),
        "basic" => "Authorization: Basic c2VjcmV0LWFsbA==\r\n".into(),
        secret => format!("Authorization: Bearer {secret}\r\n"),
    }
}

async fn cell(rig: &Rig, way: &Way, who: Who) -> String {
    let Who::Bearer(secret) = who else { return registered_cell(rig, way, who).await };
    let bearer = authorization(secret);
    let json = "Content-Type: application/json";
    match way {
        Way::Post(path, body) => {
            status(rig.call(&format!("POST {path} HTTP/1.1\r\n{json}\r\n{bearer}"), body).await.status)
        }
        Way::Lines(body) => {
            let head = format!("POST /publish HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n{bearer}");
            status(rig.call(&head, body).await.status)
        }
        Way::Get(path) => {
            let answer = rig.call(&format!("GET {path} HTTP/1.1\r\n{bearer}"), "").await;
            match (*path, answer.status) {
                ("/topics", 200) => format!("{} names", answer.json()["topics"].as_array().expect("a list").len()),
                (_, code) => status(code),
            }
        }
        Way::Delete(id) => {
            let made = register(rig, "secret-all").await;
            let id = if id.is_empty() { made.rsplit('/').next().expect("an id") } else { id };
            status(rig.call(&format!("DELETE /register/{id} HTTP/1.1\r\n{bearer}"), "").await.status)
        }
        Way::Stream(query) => status(rig.call(&format!("GET /events{query} HTTP/1.1\r\n{bearer}"), "").await.status),
        Way::Admin(request) => {
            let head = format!("{request} HTTP/1.1\r\nContent-Type: application/json\r\n{bearer}");
            let body = if request.starts_with("POST") { "1" } else { "" };
            status(call(rig.admin, &head, body).await.status)
        }
        Way::Command(_) | Way::Small(_) | Way::Raw(_) => {
            let header = bearer.trim_end().strip_prefix("Authorization: ").map(|value| ("authorization", value));
            commanded(&format!("ws://{}/ws", rig.public), header.as_slice(), way).await
        }
        Way::AuthThen(command) => {
            let auth = json!({"type": "auth", "token": secret}).to_string();
            let url = format!("ws://{}/ws", rig.public);
            let commands = if secret.is_empty() { vec![*command] } else { vec![auth.as_str(), command] };
            answered(Subscriber::connect(&url, &[]).await, &commands).await
        }
    }
}

/// A registration offers only the WebSocket and the event stream.
async fn registered_cell(rig: &Rig, way: &Way, who: Who) -> String {
    let Who::RegisteredBy(secret) = who else { return String::new() };
    match way {
        Way::Command(_) | Way::Small(_) | Way::Raw(_) => commanded(&register(rig, secret).await, &[], way).await,
        Way::Stream(query) => {
            let url = register(rig, secret).await;
            let id = url.rsplit('/').next().expect("an id");
            status(rig.call(&format!("GET /events/{id}{query} HTTP/1.1\r\n"), "").await.status)
        }
        _ => "-".into(),
    }
}

/// The result of a command over a WebSocket.
async fn commanded(url: &str, headers: &[(&'static str, &str)], way: &Way) -> String {
    let raw = [headers, &[("sec-websocket-protocol", "relay.raw")]].concat();
    let headers = if matches!(way, Way::Raw(_)) { &raw } else { headers };
    let socket = match Subscriber::try_connect(url, headers).await {
        Ok(socket) => socket,
        Err(code) => return status(code),
    };
    match way {
        Way::Command(command) => answered(socket, &[command]).await,
        Way::Small(command) => conclude(socket, &[command], &Value::Null).await,
        Way::Raw(command) => conclude(socket, &[command, "ping"], &Value::Null).await,
        _ => panic!("no command"),
    }
}

async fn register(rig: &Rig, secret: &str) -> String {
    let answer = rig.post("/register", secret, r#"{"user_id":7,"topics":["cats"]}"#).await;
    answer.json()["url"].as_str().expect("a URL").to_owned()
}

/// Sends commands, and waits for the answer with id 1, or for the end.
async fn answered(socket: Subscriber, commands: &[&str]) -> String {
    conclude(socket, commands, &json!(1)).await
}

/// Sends commands, and waits for the first answer with this id (`null`: without an id), or for the end.
async fn conclude(mut socket: Subscriber, commands: &[&str], id: &Value) -> String {
    for command in commands {
        if !socket.try_send(command).await {
            break;
        }
    }
    loop {
        match socket.next().await {
            Message::Close(frame) => return u16::from(frame.expect("a code").code).to_string(),
            // The answer of the small form; it has no id.
            Message::Text(text) if text == "pong" && id.is_null() => return "ok".into(),
            Message::Text(text) => {
                let told: Value = serde_json::from_str(&text).expect("JSON");
                match told["type"].as_str() {
                    _ if told["id"] != *id => {}
                    Some("ok" | "pong") => return "ok".into(),
                    Some("error") => return told["problem"]["status"].to_string(),
                    _ => {}
                }
            }
            other => panic!("{other:?}"),
        }
    }
}

fn status(code: u16) -> String {
    code.to_string()
}

/// Expiry also reaches a connection that is already open.
#[tokio::test]
async fn a_token_that_expires_ends_its_socket_with_4002() {
    let rig = Rig::start(|config| {
        let mut short = token("short", &[], &["cats"], &[]);
        short.not_after = Some(relay::time::Time(relay::time::Time::now().0 + 500));
        config.tokens.push(short);
    })
    .await;
    let url = format!("ws://{}/ws", rig.public);
    let mut socket = Subscriber::connect(&url, &[("authorization", "Bearer secret-short")]).await;
    let code = socket.closed().await.0;
    assert_eq!(code, 4002);
    assert_eq!(rig.get("/history/cats", "secret-short").await.problem().1, "token-expired");
}

/// Nothing that a stranger can ask distinguishes a topic that exists from one that does not.
#[tokio::test]
async fn a_stranger_learns_no_name() {
    let rig = Rig::start(|config| config.tokens.push(token("some", &["cats"], &["cats"], &[]))).await;
    for secret in ["", "secret-some"] {
        for path in ["/topics/{}", "/topics/{}/schema", "/history/{}", "/events?topic={}"] {
            let told = async |topic: &str| {
                let answer = rig.get(&path.replace("{}", topic), secret).await;
                (answer.status, String::from_utf8_lossy(&answer.body).replace(topic, "…"))
            };
            assert_eq!(told("sightings").await, told("nonesuch1").await, "{path} {secret}");
        }
        for (path, body) in [
            ("/publish/{}", "{"),
            ("/validate/{}", "{"),
            ("/publish", r#"{"topic":"{}","data":1}"#),
            ("/publish", r#"[{"topic":"cats","data":1},{"topic":"{}","data":1}]"#),
            ("/register", r#"{"user_id":7,"topics":["{}"]}"#),
        ] {
            let told = async |topic: &str| {
                let answer = rig.post(&path.replace("{}", topic), secret, &body.replace("{}", topic)).await;
                (answer.status, String::from_utf8_lossy(&answer.body).replace(topic, "…"))
            };
            assert_eq!(told("sightings").await, told("nonesuch1").await, "{path} {secret}");
        }
    }
    for command in
        [r#"{"type":"subscribe","id":1,"topics":["{}"]}"#, r#"{"type":"publish","id":1,"topic":"{}","data":1}"#]
    {
        let told = async |topic: &str| {
            let url = format!("ws://{}/ws", rig.public);
            let mut socket = Subscriber::connect(&url, &[("authorization", "Bearer secret-some")]).await;
            assert_eq!(socket.json().await["type"], "hello");
            socket.send(command.replace("{}", topic)).await;
            socket.text().await.replace(topic, "…")
        };
        assert_eq!(told("sightings").await, told("nonesuch1").await, "{command}");
    }
}

#[tokio::test]
async fn no_cookie_is_set_or_read_and_no_credential_is_taken_from_a_url() {
    let rig = Rig::start(|_| {}).await;
    let json = "Content-Type: application/json\r\n";
    for head in [
        format!("POST /publish/cats?token=secret-all HTTP/1.1\r\n{json}"),
        format!("POST /publish/cats?access_token=secret-all HTTP/1.1\r\n{json}"),
        format!("POST /publish/cats HTTP/1.1\r\n{json}Cookie: token=secret-all; Authorization=Bearer secret-all\r\n"),
        format!(
            "POST /publish/cats HTTP/1.1\r\n{json}X-Api-Key: secret-all\r\nProxy-Authorization: Bearer secret-all\r\n"
        ),
        format!("POST http://all:secret-all@{}/publish/cats HTTP/1.1\r\n{json}", rig.public),
    ] {
        let answer = rig.call(&head, "1").await;
        assert!(matches!(answer.status, 400 | 401 | 421), "{head}: {answer:?}");
        assert_eq!(answer.header("set-cookie"), "");
    }
    for path in ["/events?topic=cats&token=secret-all", "/history/cats?access_token=secret-all"] {
        let answer = rig.get(path, "").await;
        assert!(matches!(answer.status, 400 | 401), "{path}: {answer:?}");
        assert_eq!(answer.header("set-cookie"), "");
    }
    let url = format!("ws://{}/ws?token=secret-all", rig.public);
    let socket = Subscriber::connect(&url, &[("cookie", "token=secret-all")]).await;
    assert_eq!(answered(socket, &[r#"{"type":"subscribe","id":1,"topics":["cats"]}"#]).await, "4000");
    assert!(rig.payloads().await.is_empty());
}

/// What a page may send without a preflight (a form, plain text, a beacon) publishes nothing and registers nobody.
#[tokio::test]
async fn requests_that_need_no_preflight_change_nothing() {
    let rig = Rig::start(|config| config.anonymous = grants(&["cats"], &["cats"], &["*"])).await;
    for media in [
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=b",
        "text/plain",
        "text/plain;charset=utf-8",
    ] {
        for (path, body) in [
            ("/publish/cats", "1"),
            ("/publish", r#"{"topic":"cats","data":1}"#),
            ("/validate/cats", "1"),
            ("/register", r#"{"user_id":1}"#),
        ] {
            let head = format!("POST {path} HTTP/1.1\r\nOrigin: https://app.example\r\nContent-Type: {media}\r\n");
            assert_eq!(rig.call(&head, body).await.problem().1, "unsupported-media-type", "{path} {media}");
        }
    }
    assert!(rig.payloads().await.is_empty() && rig.live.registrations.count() == 0);
}
