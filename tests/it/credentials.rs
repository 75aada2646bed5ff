//! Credentials that are wrong, malformed or missing, and those sent along with a registration.

use relay::identify::{Failures, identify};
use relay::problem::Refusal;
use serde_json::json;
use tokio::net::TcpStream;

use crate::event_stream::EventStream;
use crate::rig::Rig;
use crate::subscriber::Subscriber;

/// Regression: it was ignored, because the registration alone decided.
#[tokio::test]
async fn a_wrong_credential_beside_a_registration_is_refused() {
    let rig = Rig::start(|_| {}).await;
    let registered = rig.post("/register", "secret-all", r#"{"user_id":1,"topics":["cats"]}"#).await.json();
    let id = registered["id"].as_str().expect("an id");
    let url = format!("ws://{}/ws/{id}", rig.public);
    let mut seated = Subscriber::connect(&url, &[]).await;
    assert_eq!(seated.json().await["type"], "hello");

    let wrong = Subscriber::try_connect(&url, &[("authorization", "Bearer wrong")]).await;
    assert_eq!(wrong.err(), Some(401));
    assert_eq!(rig.get(&format!("/events/{id}"), "wrong").await.problem().0, 401);
    assert_eq!(seated.json().await["type"], "synced");
    seated.send("ping").await;
    assert_eq!(seated.text().await, "pong", "whoever has the seat keeps it");

    let mut known = Subscriber::connect(&url, &[("authorization", "Bearer secret-all")]).await;
    assert_eq!(known.json().await["type"], "hello");
    let socket = TcpStream::connect(rig.public).await.expect("the server listens");
    let header = "Authorization: Bearer secret-all\r\n";
    EventStream::open(socket, &format!("/events/{id}"), header).await.expect("synced").await;
}

#[tokio::test]
async fn what_is_no_bearer_is_told_that_only_those_are_taken() {
    let rig = Rig::start(|_| {}).await;
    for value in ["Basic dXNlcjpwYXNz", "secret-all", "Bearer"] {
        let answer = rig.call(&format!("GET /topics HTTP/1.1\r\nAuthorization: {value}\r\n"), "").await;
        let detail = "only bearer tokens are accepted: send `Authorization: Bearer <token>`";
        assert_eq!(answer.problem(), (401, "unauthenticated".into(), detail.into()), "{value}");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"relay\"");
    }
    let reasons: Vec<_> = rig.live.failures.by_reason().collect();
    assert_eq!(reasons, [("unknown", 0), ("expired", 0), ("no-bearer", 3)], "wrong credentials all the same");
}

#[tokio::test]
async fn a_registration_that_is_not_there_is_not_called_a_path() {
    let rig = Rig::start(|_| {}).await;
    for id in ["00000000-0000-4000-8000-000000000000", "nonsense"] {
        let answer = rig.call(&format!("DELETE /register/{id} HTTP/1.1\r\n"), "").await;
        let detail = "unknown registration: it was deleted or has expired, or the server was restarted";
        assert_eq!(answer.problem(), (404, "not-found".into(), detail.into()));
    }
}

/// An open WebSocket has no header left in which to send a token.
#[tokio::test]
async fn an_anonymous_websocket_is_told_how_to_show_a_token() {
    let rig = Rig::start(|config| config.anonymous = crate::rig::grants(&[], &["cats"], &[])).await;
    let mut socket = Subscriber::open(rig.public).await;
    for (topic, command) in [
        ("sightings", json!({"type": "subscribe", "topics": ["cats", "sightings"]})),
        ("cats", json!({"type": "publish", "topic": "cats", "data": 1})),
    ] {
        socket.send(command.to_string()).await;
        let problem = socket.json().await["problem"].clone();
        assert_eq!((&problem["status"], &problem["type"]), (&json!(401), &json!("urn:relay:problem:unauthenticated")));
        assert_eq!(problem["topic"], topic);
        assert_eq!(
            problem["detail"],
            format!(
                "anonymous callers have no grant for `{topic}`: check the name, or reconnect and send `auth` as the first \
                 message or a bearer token with the upgrade request"
            )
        );
    }
}

#[tokio::test]
async fn a_list_that_needs_a_token_says_so_in_its_header() {
    let rig = Rig::start(|config| config.anonymous = crate::rig::grants(&["cats"], &[], &[])).await;
    let list = json!([{"topic": "cats", "data": 1}, {"topic": "sightings", "data": {"name": "Tom"}}]);
    let answer = rig.post("/publish", "", &list.to_string()).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer realm=\"relay\""));
}

/// One more guess may be right, so its answer must not differ from that of a wrong one.
#[tokio::test]
async fn after_as_many_wrong_credentials_as_are_allowed_a_right_one_is_refused() {
    let snapshot = crate::rig::snapshot(|config| config.limits.auth_failures = 3);
    let (failures, peer) = (Failures::default(), "192.0.2.1".parse().expect("an address"));
    for _ in 0..3 {
        let wrong = identify(&snapshot, &failures, Some("wrong"), peer).await;
        assert_eq!(wrong.err(), Some(Refusal::Unauthenticated { wrong: true }));
    }
    let right = identify(&snapshot, &failures, Some("secret-all"), peer).await;
    assert!(matches!(right.err(), Some(Refusal::RateLimited(_))));
}
