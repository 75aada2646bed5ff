//! Registrations: who may make one, what its connection may do, and how it ends.

use relay::config::model::TokenConfig;
use relay::time::Time;
use serde_json::{Value, json};

use crate::peer::Answer;
use crate::rig::{Rig, behind_proxy, grants, token};
use crate::subscriber::Subscriber;

async fn register(rig: &Rig, secret: &str, body: Value) -> Answer {
    rig.post("/register", secret, &body.to_string()).await
}

async fn url(rig: &Rig, secret: &str, body: Value) -> String {
    let answer = register(rig, secret, body).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
    answer.json()["url"].as_str().expect("a URL").to_owned()
}

async fn publish(rig: &Rig, body: Value) {
    let answer = rig.post("/publish", "secret-all", &body.to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.json());
}

#[tokio::test]
async fn a_registration_needs_a_grant_for_its_user_and_its_topics() {
    let rig = Rig::start(|config| {
        config.tokens.push(token("one", &[], &["cats", "dogs"], &["1"]));
        config.tokens.push(token("none", &["cats"], &["cats"], &[]));
    })
    .await;
    let forbidden = |what: &str| format!("this credential has no grant to {what}");
    for (secret, body, status, slug, detail) in [
        (
            "",
            json!({"user_id": 1}),
            401,
            "unauthenticated",
            "anonymous callers have no grant for this: send `Authorization: Bearer <token>`".to_owned(),
        ),
        ("secret-none", json!({"user_id": 1}), 403, "forbidden", forbidden("register connections for user `1`")),
        ("secret-one", json!({"user_id": 2}), 403, "forbidden", forbidden("register connections for user `2`")),
        (
            "secret-one",
            json!({"user_id": 1, "topics": ["orders.eu"]}),
            403,
            "forbidden",
            forbidden("subscribe to `orders.eu`: check the name, or grant it in relay.toml"),
        ),
        (
            "secret-one",
            json!({"user_id": 1, "topics": ["**"]}),
            403,
            "forbidden",
            forbidden("subscribe to `**`: check the name, or grant it in relay.toml"),
        ),
        (
            "secret-one",
            json!({"user_id": 1, "topics": ["dogs"]}),
            404,
            "unknown-topic",
            "relay.toml declares no topic `dogs` and no family that covers it".to_owned(),
        ),
    ] {
        assert_eq!(
            register(&rig, secret, body.clone()).await.problem(),
            (status, slug.into(), detail),
            "{secret} {body}"
        );
    }
    for body in [json!({"user_id": "1", "topics": ["cats"]}), json!({"user_id": 1, "topics": ["cats"]})] {
        assert_eq!(register(&rig, "secret-one", body.clone()).await.status, 200, "{body}");
    }
    assert_eq!(rig.live.registrations.count(), 2);
}

#[tokio::test]
async fn what_is_wrong_with_a_registration_is_said() {
    let rig = Rig::start(|config| config.limits.subscriptions = 2).await;
    let shape = "expected `{\"user_id\": …, \"topics\": […]}`";
    for (body, status, detail) in [
        ("{}", 400, format!("{shape}: missing field `user_id`")),
        ("[]", 400, shape.to_owned()),
        (r#"{"user_id":true}"#, 400, format!("{shape}: invalid type: boolean `true`, expected a string or an integer")),
        (
            r#"{"user_id":1,"topic":"cats"}"#,
            400,
            format!("{shape}: unknown field `topic`, expected `user_id` or `topics`"),
        ),
        // Regression: with a token, such a connection was made, was never told `synced`, and was refused all that it
        // asked for.
        (r#"{"user_id":1}"#, 400, "`topics` is empty: name what the connection may subscribe to".to_owned()),
        (r#"{"user_id":1,"topics":["c ts"]}"#, 400, "`c ts` is not a topic: ` ` is not allowed in a name".to_owned()),
        (
            r#"{"user_id":1,"topics":["a","b","c"]}"#,
            413,
            "the list of topics is longer than `limits.subscriptions` allows (2)".to_owned(),
        ),
        (
            r#"{"user_id":100000000000000000000000000000}"#,
            400,
            format!("{shape}: only 64-bit integers may be written as numbers: send any other id as a string"),
        ),
        (r#"{"user_id":1,"user_id":2}"#, 400, "the key at `/user_id` appears twice: keep one of them".to_owned()),
    ] {
        let answer = rig.post("/register", "secret-all", body).await;
        let (found, _, said) = answer.problem();
        assert_eq!((found, said), (status, detail), "{body}");
    }
    let twice = rig.post("/register", "secret-all", r#"{"user_id":1,"topics":["cats","cats","cats"]}"#).await;
    assert_eq!(twice.status, 200, "a topic counts once, however often it is named");
}

/// Regression: a request of 100 kB was answered with as much, at six bytes for every `é`.
#[tokio::test]
async fn what_is_wrong_with_a_registration_is_said_in_short() {
    let rig = Rig::start(|_| {}).await;
    let long = "é ".repeat(30_000);
    let object = json!({"user_id": 1, long.as_str(): 1});
    for body in [json!({"user_id": 1, "topics": [long]}), json!({"user_id": 1, "topics": long}), object] {
        let (status, _, detail) = register(&rig, "secret-all", body).await.problem();
        assert_eq!((status, detail.len() < 600), (400, true), "{} bytes", detail.len());
    }
}

#[tokio::test]
async fn the_url_leads_back_to_where_the_caller_came_from() {
    let rig = Rig::start(behind_proxy).await;
    let base = async |headers: &str| {
        let head = format!(
            "POST /register HTTP/1.1\r\nAuthorization: Bearer secret-all\r\nContent-Type: application/json\r\n{headers}"
        );
        let answer = rig.call(&head, r#"{"user_id":1,"topics":["cats"]}"#).await.json();
        let (id, url) = (answer["id"].as_str().expect("an id"), answer["url"].as_str().expect("a URL"));
        url.strip_suffix(&format!("/ws/{id}")).expect("ends with its id").to_owned()
    };
    assert_eq!(base("").await, format!("ws://{}", rig.public));
    assert_eq!(base("Host: localhost:8000\r\nX-Forwarded-Proto: https\r\n").await, "wss://localhost:8000");

    for (public_url, expected) in
        [("https://relay.example", "wss://relay.example"), ("http://relay.example/x", "ws://relay.example/x")]
    {
        let rig = Rig::start(|config| config.server.public_url = Some(public_url.into())).await;
        assert!(
            url(&rig, "secret-all", json!({"user_id": 1, "topics": ["cats"]}))
                .await
                .starts_with(&format!("{expected}/ws/"))
        );
    }
}

#[tokio::test]
async fn a_registered_connection_may_use_its_topics_only_and_not_publish() {
    let rig = Rig::start(|_| {}).await;
    let registered = url(&rig, "secret-all", json!({"user_id": "u", "topics": ["cats"]})).await;
    let mut socket = Subscriber::connect(&registered, &[]).await;
    assert_eq!(socket.json().await["type"], "hello");
    assert_eq!(socket.json().await["type"], "synced");
    socket.send(r#"{"type":"subscribe","id":1,"topics":["orders.eu"]}"#).await;
    let refused = socket.json().await;
    assert_eq!(refused["problem"]["type"], "urn:relay:problem:forbidden", "{refused}");
    socket.send(r#"{"type":"publish","id":2,"topic":"cats","data":1}"#).await;
    let refused = socket.json().await;
    assert_eq!(refused["problem"]["type"], "urn:relay:problem:forbidden", "{refused}");
    publish(&rig, json!({"topic": "cats", "data": 1, "user_id": "u"})).await;
    assert_eq!(socket.payload().await, json!(1));
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older_and_delete_ends_it() {
    let rig = Rig::start(|_| {}).await;
    let registered = url(&rig, "secret-all", json!({"user_id": 1, "topics": ["cats"]})).await;
    let id = registered.rsplit('/').next().expect("an id").to_owned();
    let mut older = Subscriber::connect(&registered, &[]).await;
    assert_eq!(older.json().await["type"], "hello");
    let mut newer = Subscriber::connect(&registered, &[]).await;
    assert_eq!(newer.json().await["type"], "hello");
    assert_eq!(older.closed().await.0, 4012);

    let wrong = format!("DELETE /register/{id} HTTP/1.1\r\nAuthorization: Bearer wrong\r\n");
    assert_eq!(rig.call(&wrong, "").await.status, 401, "a wrong credential is never anonymous");
    let delete = format!("DELETE /register/{id} HTTP/1.1\r\n");
    let deleted = rig.call(&delete, "").await;
    assert_eq!((deleted.status, deleted.body.len()), (204, 0));
    assert_eq!(newer.closed().await.0, 4011);
    assert_eq!(rig.call(&delete, "").await.problem().1, "not-found");
    for gone in [registered.as_str(), &format!("ws://{}/ws/nonsense", rig.public)] {
        let mut socket = Subscriber::connect(gone, &[]).await;
        assert_eq!(socket.closed().await.0, 4001, "upgraded, then told");
    }
}

#[tokio::test]
async fn registrations_over_the_limit_are_refused_with_retry_after() {
    let rig = Rig::start(|config| {
        config.limits.registrations = 1;
        config.anonymous = grants(&[], &["cats"], &["*"]);
    })
    .await;
    url(&rig, "", json!({"user_id": 1})).await;
    let full = register(&rig, "", json!({"user_id": 1})).await;
    assert_eq!((full.problem().1, full.header("retry-after")), ("overloaded".into(), "60"));
}

#[tokio::test]
async fn a_stream_that_is_refused_sends_nobody_away() {
    let rig = Rig::start(|_| {}).await;
    let url = url(&rig, "secret-all", json!({"user_id": 1, "topics": ["cats"]})).await;
    let mut socket = Subscriber::connect(&url, &[]).await;
    assert_eq!(socket.json().await["type"], "hello");
    assert_eq!(socket.json().await["type"], "synced");
    let id = url.rsplit('/').next().expect("an id");
    assert_eq!(rig.get(&format!("/events/{id}?topic=orders.eu"), "").await.status, 403);
    publish(&rig, json!({"topic": "cats", "data": 7})).await;
    assert_eq!(socket.payload().await, 7, "it goes on");
    rig.end().await;
}

/// Regression: the older connection was told that a newer one had taken its place, after which an event stream stays
/// away for a day; but there was no newer one.
#[tokio::test]
async fn a_websocket_that_is_refused_sends_nobody_away() {
    let rig = Rig::start(|_| {}).await;
    let url = url(&rig, "secret-all", json!({"user_id": 1, "topics": ["cats"]})).await;
    let mut older = Subscriber::connect(&url, &[]).await;
    assert_eq!(older.json().await["type"], "hello");
    assert_eq!(older.json().await["type"], "synced");
    // The older connection has not yet reached the point in the log where this took effect.
    rig.commit(2, |config| config.tokens[0].grants.register.clear());
    let mut newer = Subscriber::connect(&url, &[]).await;
    assert_eq!(newer.closed().await.0, 4011);
    publish(&rig, json!({"topic": "cats", "data": 7})).await;
    assert_eq!(older.payload().await, 7, "it goes on");
    rig.end().await;
}

/// A connection lasts no longer than the token that registered it, and one that comes later is told why.
#[tokio::test]
async fn a_stream_of_a_token_that_has_ended_is_told_so() {
    let ends = Time(Time::now().0 + 2_000);
    let soon = TokenConfig { not_after: Some(ends), ..token("soon", &[], &["cats"], &["*"]) };
    let rig = Rig::start(|config| config.tokens.push(soon)).await;
    let url = url(&rig, "secret-soon", json!({"user_id": 1, "topics": ["cats"]})).await;
    while Time::now() <= ends {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let path = format!("/events/{}", url.rsplit('/').next().expect("an id"));
    assert_eq!(rig.get(&path, "").await.problem().1, "token-expired");
}
