//! Queries of calls that take no parameters: credentials in a URL, and misspelled names.

use serde_json::json;

use crate::rig::{Rig, grants};
use crate::subscriber::Subscriber;

const CREDENTIAL: &str = "a credential in a URL ends up in logs: send `Authorization: Bearer <token>`, or let a server \
                          call `/register` for a URL that a browser can use";

/// Regression: they were ignored, so a caller that sent a token was anonymous without knowing it.
#[tokio::test]
async fn parameters_are_refused_where_there_are_none() {
    let rig = Rig::start(|config| config.anonymous = grants(&["cats"], &["cats"], &["*"])).await;
    let envelope = r#"{"topic":"cats","data":1}"#;
    for (method, path, body) in [
        ("POST", "/publish/cats", "1"),
        ("POST", "/publish", envelope),
        ("POST", "/validate/cats", "1"),
        ("POST", "/register", r#"{"user_id":1}"#),
        ("DELETE", "/register/00000000-0000-4000-8000-000000000000", ""),
        ("GET", "/topics", ""),
        ("GET", "/topics/cats", ""),
        ("GET", "/topics/sightings/schema", ""),
    ] {
        for (query, detail) in [
            ("token=x", CREDENTIAL),
            ("access_token=x", CREDENTIAL),
            ("afer=1", "unknown parameter `afer`: this call takes no parameters"),
        ] {
            let head = format!("{method} {path}?{query} HTTP/1.1\r\nContent-Type: application/json\r\n");
            let answer = rig.call(&head, body).await;
            assert_eq!(answer.problem(), (400, "bad-request".into(), detail.into()), "{method} {path}?{query}");
        }
    }
    assert!(rig.payloads().await.is_empty() && rig.live.registrations.count() == 0);
    assert_eq!(rig.post("/publish/cats?", "", "1").await.json()["topic"], json!("cats"), "an empty query says nothing");
}

#[tokio::test]
async fn a_websocket_is_told_of_its_query_by_the_close() {
    let rig = Rig::start(|config| config.anonymous = grants(&[], &["cats"], &["*"])).await;
    let registered = rig.post("/register", "", r#"{"user_id":1,"topics":["cats"]}"#).await.json();
    let registered = registered["id"].as_str().expect("an id");
    for path in ["/ws".to_owned(), format!("/ws/{registered}")] {
        for (query, reason) in [
            ("token=x", "a credential in a URL ends up in logs: send `auth` as the first message, or use `/register`"),
            ("topic=cats", "unknown parameter: the URL of a WebSocket takes none, send `subscribe`"),
        ] {
            let url = format!("ws://{}{path}?{query}", rig.public);
            let mut socket = Subscriber::connect(&url, &[("authorization", "Bearer secret-all")]).await;
            assert_eq!(socket.closed().await, (4000, reason.to_owned()), "{url}");
        }
    }
}
