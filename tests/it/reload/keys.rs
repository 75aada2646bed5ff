//! Every key of `[server]`, `[log]`, `[limits]` and `[store]` either applies while the server runs or is refused by name.

use std::time::Duration;

use relay::config::keys::{KEYS, Type};
use relay::connections::OVER;
use relay::store::KINDS;
use serde_json::json;
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;

use super::site::{Site, token};
use crate::peer::{Answer, Peer};
use crate::rig::call;
use crate::subscriber::Subscriber;

const RESTART_ONLY: [&str; 4] = ["server.listen", "server.admin", "log.format", "store.kind"];

/// A relay.toml in which one key has this value.
fn with(key: &str, value: &str) -> String {
    let all = token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]\nregister = [\"*\"]");
    let mut text = String::from("version = 1\n");
    for (table, lines) in [
        ("server", &["listen = \"127.0.0.1:0\"", "admin = \"127.0.0.1:0\""][..]),
        ("log", &[]),
        ("limits", &[]),
        ("store", &[]),
    ] {
        text.push_str(&format!("[{table}]\n"));
        let name = key.strip_prefix(table).and_then(|rest| rest.strip_prefix('.'));
        for line in lines.iter().filter(|line| !name.is_some_and(|name| line.starts_with(name))) {
            text.push_str(&format!("{line}\n"));
        }
        if let Some(name) = name {
            text.push_str(&format!("{name} = {value}\n"));
        }
    }
    format!("{text}{all}[topics.cats]\nschema = \"any\"\n[topics.\"o.{{r}}\"]\nschema = \"any\"\n")
}

/// A value that the key does not have yet.
fn another(path: &str, kind: Type) -> String {
    match (path, kind) {
        ("server.listen" | "server.admin", _) => "\"127.0.0.1:9\"".to_owned(),
        ("server.allowed_origins", _) => "[\"https://a.example\"]".to_owned(),
        ("server.trusted_proxies", _) => "[\"10.0.0.0/8\"]".to_owned(),
        ("server.allowed_hosts", _) => "[\"a.example\"]".to_owned(),
        ("server.public_url", _) => "\"https://a.example\"".to_owned(),
        (_, Type::Choice(words)) => format!("\"{}\"", words.last().expect("a choice")),
        (_, Type::Count(least, _)) => (least + 2).to_string(),
        ("limits.body" | "limits.window", _) => "\"512 KiB\"".to_owned(),
        (_, Type::Size(least, _)) => format!("\"{} KiB\"", least / 1024 + 1),
        (_, Type::Duration(..)) => "\"7 s\"".to_owned(),
        (_, Type::Rate(_)) => "77".to_owned(),
        _ => panic!("{path} is of no kind that stands in these tables"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_is_live_or_refused_by_name() {
    let site = Site::start(&[("relay.toml", &with("", ""))]).await;
    let (mut live, mut refused) = (0, Vec::new());
    for key in KEYS.iter().filter(|key| matches!(key.table, "server" | "log" | "limits" | "store")) {
        let path = key.path();
        if key.value == Type::Table {
            continue;
        }
        if path == "store.kind" && KINDS.len() == 1 {
            // There is nothing to change to.
            refused.push(path);
            continue;
        }
        let text = with(&path, &another(&path, key.value));
        site.place.write("relay.toml", &text);
        let answer = call(site.admin, "POST /reload HTTP/1.1\r\n", "").await;
        let report = answer.json();
        if answer.status == 200 {
            assert_eq!(report["plan"], json!({"keys_changed": [path]}), "{path}");
            live += 1;
            if path == "server.allowed_hosts" {
                // The listener is on loopback, where operators may always use its own names.
                assert_eq!(call(site.admin, "GET /config HTTP/1.1\r\n", "").await.status, 200);
            }
            site.change(&with("", "")).await;
        } else {
            let diagnostic = &report["diagnostics"][0];
            assert_eq!(diagnostic["code"], "restart-only", "{path}: {report:#}");
            let line = text.lines().position(|line| line.starts_with(key.name)).expect("it is there") + 1;
            assert_eq!((&diagnostic["line"], &diagnostic["column"]), (&json!(line), &json!(1)), "{path}");
            let message = diagnostic["message"].as_str().expect("text");
            assert!(message.starts_with(&format!("`{path}` cannot change while relay runs: it is")), "{message}");
            refused.push(path);
        }
    }
    assert_eq!(refused, RESTART_ONLY);
    assert!(live > 30, "only {live} keys were changed");
}

async fn post(site: &Site, topic: &str, body: &str) -> u16 {
    site.post(&format!("/publish/{topic}"), "all", body).await.status
}

async fn get(site: &Site, header: &str) -> u16 {
    call(site.public, &format!("GET /topics HTTP/1.1\r\nAuthorization: Bearer all\r\n{header}"), "").await.status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_held_to_the_newest_limits() {
    let site = Site::start(&[("relay.toml", &with("", ""))]).await;
    let long = format!("\"{}\"", "x".repeat(2_000));
    let deep = "[[[[1]]]]";
    assert_eq!((post(&site, "cats", &long).await, post(&site, "cats", deep).await), (200, 200));
    site.change(&with("limits.body", "\"1 KiB\"")).await;
    assert_eq!(post(&site, "cats", &long).await, 413);
    site.change(&with("limits.json_depth", "3")).await;
    assert_eq!((post(&site, "cats", &long).await, post(&site, "cats", deep).await), (200, 400));
    site.change(&with("limits.uri", "\"64 B\"")).await;
    assert_eq!(site.get(&format!("/topics/{}", "x".repeat(100)), "all").await.status, 414);
    site.change(&with("limits.batch", "1")).await;
    let many = r#"[{"topic":"cats","data":1},{"topic":"cats","data":2}]"#;
    assert_eq!(site.post("/publish", "all", many).await.status, 413);
    site.change(&with("limits.family_topics", "1")).await;
    assert_eq!((post(&site, "o.a", "1").await, post(&site, "o.b", "1").await), (200, 503));
    site.change(&with("limits.family_topics", "2")).await;
    assert_eq!((post(&site, "o.b", "1").await, post(&site, "o.c", "1").await), (200, 503));
    let keyed = async || {
        let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer all\r\n\
                    Idempotency-Key: \"once\"\r\n";
        site.call(head, "1").await.json()["id"].clone()
    };
    let first = keyed().await;
    assert_eq!(keyed().await, first);
    site.change(&with("limits.idempotency_window", "\"1 s\"")).await;
    let second = loop {
        let now = keyed().await;
        if now != first {
            break now;
        }
    };
    site.change(&with("limits.idempotency_keys", "0")).await;
    assert_ne!(keyed().await, second, "no key is remembered any more");
    site.change(&with("limits.auth_failures", "1")).await;
    let wrong = [site.get("/topics", "wrong").await.status, site.get("/topics", "wrong").await.status];
    assert_eq!(wrong, [401, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_are_judged_by_the_newest_lists() {
    let site = Site::start(&[("relay.toml", &with("", ""))]).await;
    let page = "Origin: https://app.example\r\n";
    assert_eq!((get(&site, page).await, get(&site, "Host: relay.example\r\n").await), (403, 421));
    site.change(&with("server.allowed_origins", "[\"https://app.example\"]")).await;
    assert_eq!(get(&site, page).await, 200);
    site.change(&with("server.allowed_hosts", "[\"relay.example\"]")).await;
    assert_eq!((get(&site, "").await, get(&site, "Host: relay.example\r\n").await), (421, 200));
    let register = async |site: &Site| -> Answer {
        let head = "POST /register HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer all\r\n\
                    X-Forwarded-Proto: https\r\n";
        call(site.public, head, r#"{"user_id":1,"topics":["cats"]}"#).await
    };
    site.change(&with("server.trusted_proxies", "[\"127.0.0.1\"]")).await;
    assert!(register(&site).await.json()["url"].as_str().is_some_and(|url| url.starts_with("wss://127.0.0.1")));
    site.change(&with("server.public_url", "\"https://relay.example/base\"")).await;
    let registered = register(&site).await.json();
    assert!(registered["url"].as_str().is_some_and(|url| url.starts_with("wss://relay.example/base/ws/")));
    site.change(&with("limits.registrations", "1")).await;
    assert_eq!(register(&site).await.status, 503);
    site.change(&with("limits.registration_ttl", "\"1 s\"")).await;
    let url = format!("ws://{}/ws/{}", site.public, registered["id"].as_str().expect("an id"));
    site.until("the end of what was registered before", |site| {
        site.live
            .registrations
            .register(
                relay::registrations::Registration::new(
                    site.live.snapshot().anonymous.clone(),
                    relay::name::UserId::parse("1").expect("a user"),
                    Vec::new(),
                ),
                &relay::config::model::Limits {
                    registrations: 1,
                    registration_ttl: Duration::from_secs(1),
                    ..Default::default()
                },
                std::time::Instant::now(),
            )
            .is_ok()
    })
    .await;
    assert_eq!(Subscriber::connect(&url, &[]).await.closed().await.0, 4001);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_held_to_the_newest_limits() {
    let site = Site::start(&[("relay.toml", &with("", ""))]).await;
    let mut old = site.subscriber("all").await;
    site.change(&with("limits.subscriptions", "1")).await;
    old.send(r#"{"type":"subscribe","id":1,"topics":["cats","o.a"]}"#).await;
    let answer = old.json().await;
    let detail = "the list of subscriptions is longer than `limits.subscriptions` allows (1)";
    assert_eq!(answer["problem"]["detail"], detail);
    site.change(&with("limits.frame", "\"1 KiB\"")).await;
    let big = format!(r#"{{"type":"publish","id":2,"topic":"cats","data":"{}"}}"#, "x".repeat(2_000));
    old.send(big.clone()).await;
    assert_eq!(old.json().await["type"], "ok", "a frame's size was told in `hello`");
    let url = format!("ws://{}/ws", site.public);
    let mut new = Subscriber::connect(&url, &[("authorization", "Bearer all")]).await;
    assert_eq!(new.json().await["limits"]["frame"], 1_024);
    new.send(big).await;
    assert_eq!(new.closed().await.0, 1009);
    site.change(&with("limits.commands", "1")).await;
    for _ in 0..3 {
        old.send_message(Message::text("ping")).await;
    }
    assert_eq!(old.closed().await.0, 4102);

    let mut kept = Peer::new(TcpStream::connect(site.public).await.expect("it listens"));
    kept.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    assert_eq!(kept.answer().await.expect("an answer").status, 200);
    site.change(&with("limits.connections", "1")).await;
    let room = |site: &Site| site.live.connections.open() == 1;
    site.until("only the kept connection", room).await;
    assert_eq!(get(&site, "").await, 503);
    site.change(&with("limits.connections", "100")).await;
    assert_eq!(get(&site, "").await, 200);
}

/// With so many connections over the limit, none is accepted. A new limit must be noticed without one of them leaving.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_to_be_let_in_hears_of_more_room() {
    let site = Site::start(&[("relay.toml", &with("limits.connections", "1"))]).await;
    let mut held = Vec::new();
    for _ in 0..1 + OVER {
        held.push(TcpStream::connect(site.public).await.expect("it listens"));
    }
    site.until("all of them are there", |site| site.live.connections.open() == 1 + OVER).await;
    let mut late = Peer::new(TcpStream::connect(site.public).await.expect("the backlog takes it"));
    late.send("GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
    site.change(&with("limits.connections", "100")).await;
    let answer = tokio::time::timeout(Duration::from_secs(5), late.answer()).await.expect("it is let in");
    assert_eq!(answer.expect("an answer").status, 200);
    drop(held);
}
