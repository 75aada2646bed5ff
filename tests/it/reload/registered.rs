//! What a reload means for registrations that have no connection at the time.

use relay::close::Close;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::site::{HEAD, Site, token};
use crate::event_stream::EventStream;
use crate::subscriber::Subscriber;

const CATS: &str = "[topics.cats]\nschema = \"any\"\n";
const DOGS: &str = "[topics.dogs]\nschema = \"any\"\n";

fn config(subscribe: &str, topics: &str) -> String {
    let grants = format!("subscribe = {subscribe}\nregister = [\"*\"]");
    format!("{HEAD}{}{topics}", token("all", &grants))
}

async fn register(site: &Site, topics: &[&str]) -> String {
    let head = "POST /register HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer all\r\n";
    let answer = site.call(head, &json!({"user_id": "u", "topics": topics}).to_string()).await;
    answer.json()["id"].as_str().expect("an id").to_owned()
}

async fn socket(site: &Site, id: &str, headers: &[(&'static str, &str)]) -> Subscriber {
    Subscriber::connect(&format!("ws://{}/ws/{id}", site.public), headers).await
}

async fn stream(site: &Site, id: &str) -> EventStream<TcpStream> {
    let socket = TcpStream::connect(site.public).await.expect("it listens");
    EventStream::open(socket, &format!("/events/{id}"), "").await
}

fn lost(site: &Site, topic: &str, reason: &str) -> Value {
    json!({"type": "unsubscribed", "topic": topic, "reason": reason, "position": site.id(0)})
}

/// Regression: a connection made after the reload was not told that a part of its registration is not subscribed.
#[tokio::test]
async fn who_connects_behind_a_reload_is_told_what_it_took() {
    let after = [
        ("forbidden", config("[\"cats\"]", &format!("{CATS}{DOGS}"))),
        ("topic_removed", config("[\"cats\", \"dogs\"]", CATS)),
    ];
    for (reason, after) in after {
        let site = Site::start(&[("relay.toml", &config("[\"**\"]", &format!("{CATS}{DOGS}")))]).await;
        let id = register(&site, &["cats", "dogs"]).await;
        site.change(&after).await;

        let mut socket = socket(&site, &id, &[]).await;
        assert_eq!(socket.json().await["type"], "hello");
        assert_eq!(socket.json().await, lost(&site, "dogs", reason));
        assert_eq!(socket.json().await["type"], "synced");

        let mut stream = stream(&site, &id).await;
        let event = stream.event().await;
        assert_eq!((event.name.as_str(), event.data), ("unsubscribed", lost(&site, "dogs", reason)));
        stream.expect("synced").await;
    }
}

/// If this notice had a later id, a client that kept it would resume past the messages that are still to come.
#[tokio::test]
async fn what_was_lost_is_told_before_everything_that_is_still_to_come() {
    let publish = "publish = [\"**\"]\nregister = [\"*\"]";
    let config = |topics: &str| format!("{HEAD}{}{topics}", token("all", &format!("{publish}\nsubscribe = [\"**\"]")));
    let site = Site::start(&[("relay.toml", &config(&format!("{CATS}{DOGS}")))]).await;
    let id = register(&site, &["cats", "dogs"]).await;
    for cat in ["1", "2", "3"] {
        assert_eq!(site.post("/publish/cats", "all", cat).await.status, 200);
    }
    site.change(&config(CATS)).await;
    for (after, seq) in [("earliest", 0), (&*site.id(1), 1)] {
        let socket = TcpStream::connect(site.public).await.expect("it listens");
        let mut stream = EventStream::open(socket, &format!("/events/{id}?after={after}"), "").await;
        let event = stream.event().await;
        assert_eq!((event.name.as_str(), &event.data["topic"]), ("unsubscribed", &json!("dogs")));
        assert_eq!((&event.id, &event.data["position"]), (&site.id(seq), &json!(site.id(seq))), "after {after}");
        assert_eq!(stream.expect("message").await["id"], site.id(seq + 1));
    }
}

/// Regression: the stream was refused with 403, and the WebSocket stayed silent forever. Both must be told what a
/// connection is told that is open during the reload.
#[tokio::test]
async fn who_connects_behind_a_reload_that_took_everything_is_told_so() {
    let site = Site::start(&[("relay.toml", &config("[\"**\"]", &format!("{CATS}{DOGS}")))]).await;
    let id = register(&site, &["dogs"]).await;
    let mut before = stream(&site, &id).await;
    before.expect("synced").await;
    site.change(&config("[\"cats\"]", &format!("{CATS}{DOGS}"))).await;
    before.expect("unsubscribed").await;
    assert_eq!(before.expect("close").await["code"], 4003);
    before.end().await;

    let mut again = stream(&site, &id).await;
    assert_eq!(again.expect("unsubscribed").await, lost(&site, "dogs", "forbidden"));
    assert_eq!(again.expect("close").await["code"], 4003);
    assert_eq!(again.retry, Some(60_000), "who does not heed the close comes back seldom");
    again.end().await;

    let mut socket = socket(&site, &id, &[]).await;
    assert_eq!(socket.json().await["type"], "hello");
    assert_eq!(socket.json().await, lost(&site, "dogs", "forbidden"));
    socket.send(r#"{"type":"ping","id":1}"#).await;
    assert_eq!(socket.json().await["type"], "pong", "it stays, as one that was connected");
    site.change(&config("[\"**\"]", &format!("{CATS}{DOGS}"))).await;
    socket.subscribe("dogs").await;

    let mut raw =
        self::socket(&site, &register(&site, &["dogs"]).await, &[("sec-websocket-protocol", "relay.raw")]).await;
    raw.send("ping").await;
    assert_eq!(raw.text().await, "pong");
}

/// As docs/http.md says for both streams.
#[tokio::test]
async fn a_stream_that_names_what_a_reload_took_is_refused_when_it_comes_back() {
    let anonymous = |subscribe: &str| format!("{HEAD}{CATS}{DOGS}[anonymous]\nsubscribe = {subscribe}\n");
    let site = Site::start(&[("relay.toml", &anonymous("[\"**\"]"))]).await;
    let open = async |target: &str| {
        let socket = TcpStream::connect(site.public).await.expect("it listens");
        EventStream::try_open(socket, target, "").await
    };
    let (both, dogs) = ("/events?topic=cats&topic=dogs", "/events?topic=dogs");
    let mut left = open(both).await.expect("a stream");
    let mut bereft = open(dogs).await.expect("a stream");
    left.expect("synced").await;
    bereft.expect("synced").await;
    site.change(&anonymous("[\"cats\"]")).await;
    bereft.expect("unsubscribed").await;
    assert_eq!(bereft.expect("close").await["code"], 4003);
    bereft.end().await;
    assert_eq!(left.expect("unsubscribed").await["topic"], "dogs");
    for target in [both, dogs] {
        assert_eq!(open(target).await.err().map(|(status, _)| status), Some(401), "{target}");
    }
    assert!(open("/events?topic=cats").await.is_ok());
}

/// Regression: the connection went on as the user, and so did the URL, forever, since each use prolonged it.
#[tokio::test]
async fn a_registration_ends_with_the_grant_by_which_it_was_made() {
    let of_token =
        |register: &str| format!("{HEAD}{CATS}{}", token("all", &format!("subscribe = [\"**\"]\n{register}")));
    let of_nobody = |register: &str| format!("{HEAD}{CATS}[anonymous]\nsubscribe = [\"**\"]\n{register}");
    for (before, after) in [
        (of_token("register = [\"*\"]"), of_token("")),
        (of_token("register = [\"u\", \"v\"]"), of_token("register = [\"v\"]")),
        (of_nobody("register = [\"*\"]"), of_nobody("")),
    ] {
        let site = Site::start(&[("relay.toml", &before)]).await;
        let credential = if before.contains("[anonymous]") { "" } else { "Authorization: Bearer all\r\n" };
        let head = format!("POST /register HTTP/1.1\r\nContent-Type: application/json\r\n{credential}");
        let body = json!({"user_id": "u", "topics": ["cats"]}).to_string();
        let ids = [site.call(&head, &body).await, site.call(&head, &body).await];
        let [id, other] = ids.map(|answer| answer.json()["id"].as_str().expect("an id").to_owned());
        let mut socket = socket(&site, &id, &[]).await;
        let mut stream = stream(&site, &other).await;
        for kind in ["hello", "synced"] {
            assert_eq!(socket.json().await["type"], kind);
        }
        stream.expect("synced").await;

        site.change(&after).await;
        assert_eq!(socket.closed().await, (4011, Close::Unregistered.reason().to_owned()));
        assert_eq!(stream.expect("close").await["code"], 4011);
        stream.end().await;
        let mut again = self::socket(&site, &id, &[]).await;
        assert_eq!(again.closed().await.0, 4001, "there is no such registration any more");
        let socket = TcpStream::connect(site.public).await.expect("it listens");
        let refused = EventStream::try_open(socket, &format!("/events/{other}"), "").await;
        assert_eq!(refused.err().map(|(status, _)| status), Some(401));
    }
}

/// Regression: it held its place until `limits.registration_ttl` had passed, or for as long as somebody tried its URL,
/// so that nobody else could register. And when the token or the grant came back, so did a URL that had been given away
/// before.
#[tokio::test]
async fn what_a_reload_ends_makes_room_and_does_not_come_back() {
    let with = |tokens: &str| format!("{HEAD}{CATS}{tokens}[limits]\nregistrations = 2\n");
    let grants = "subscribe = [\"**\"]\n";
    let all = token("all", &format!("{grants}register = [\"*\"]"));
    let leaked = token("leaked", &format!("{grants}register = [\"*\"]"));
    let before = with(&format!("{all}{leaked}"));
    for (without, code) in [(all.clone(), 4010), (format!("{all}{}", token("leaked", grants)), 4011)] {
        let site = Site::start(&[("relay.toml", &before)]).await;
        let register = async |secret: &str| {
            let head = "POST /register HTTP/1.1\r\nContent-Type: application/json\r\n";
            site.call(&format!("{head}Authorization: Bearer {secret}\r\n"), r#"{"user_id":1,"topics":["cats"]}"#).await
        };
        let [used, idle] = [register("leaked").await, register("leaked").await]
            .map(|answer| answer.json()["id"].as_str().expect("an id").to_owned());
        assert_eq!(register("all").await.status, 503);
        let mut connected = socket(&site, &used, &[]).await;
        assert_eq!(connected.json().await["type"], "hello");

        site.change(&with(&without)).await;
        assert_eq!(connected.closed().await.0, code);
        assert_eq!(site.live.registrations.count(), 0);
        let kept = register("all").await.json()["id"].as_str().expect("there is room").to_owned();

        site.change(&before).await;
        for id in [used, idle] {
            assert_eq!(socket(&site, &id, &[]).await.closed().await.0, 4001);
        }
        assert_eq!(socket(&site, &kept, &[]).await.json().await["type"], "hello", "another token's are left alone");
    }
}
