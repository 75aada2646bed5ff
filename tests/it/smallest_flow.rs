//! The smallest complete flow, over real sockets: register, connect, publish, switch topics, delete.

use serde_json::{Value, json};

use crate::rig::{Rig, grants};
use crate::subscriber::Subscriber;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn register_connect_publish_switch_and_delete() {
    let rig = Rig::start(|config| {
        config.topics[1].name = relay::name::Pattern::parse("dogs").expect("a name");
        config.anonymous = grants(&["cats", "dogs"], &["cats", "dogs"], &["*"]);
    })
    .await;
    let registered = rig.post("/register", "", r#"{"user_id":1,"topics":["cats"]}"#).await;
    assert_eq!(registered.status, 200, "{}", registered.json());
    let registered = registered.json();
    let (id, url) = (registered["id"].as_str().expect("an id"), registered["url"].as_str().expect("a URL"));
    assert_eq!(url, format!("ws://{}/ws/{id}", rig.public));
    uuid::Uuid::try_parse(id).expect("a UUID");

    let mut socket = Subscriber::connect(url, &[]).await;
    assert_eq!(socket.json().await["type"], "hello");
    assert_eq!(socket.json().await["type"], "synced");
    let publish = async |body: Value| {
        let answer = rig.post("/publish", "", &body.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    };
    publish(json!({"topic": "cats", "message": {"name": "everybody"}})).await;
    assert_eq!(socket.payload().await, json!({"name": "everybody"}));
    publish(json!({"topic": "cats", "user_id": 2, "message": {"name": "two"}})).await;
    publish(json!({"topic": "cats", "user_id": 1, "message": {"name": "one"}})).await;
    assert_eq!(socket.payload().await, json!({"name": "one"}), "what is addressed to user 2 does not arrive");

    socket.send(r#"{"topics":["dogs"]}"#).await;
    assert_eq!(socket.json().await, json!({"type": "ok"}));
    publish(json!({"topic": "cats", "message": {"name": "no longer"}})).await;
    publish(json!({"topic": "dogs", "message": {"name": "Rex"}})).await;
    assert_eq!(socket.payload().await, json!({"name": "Rex"}));

    socket.send("ping").await;
    assert_eq!(socket.text().await, "pong");
    let deleted = rig.call(&format!("DELETE /register/{id} HTTP/1.1\r\n"), "").await;
    assert_eq!(deleted.status, 204);
    assert_eq!(socket.closed().await.0, 4011);
    assert_eq!(rig.get("/health", "").await.status, 200);
    drop(socket);
    rig.end().await;
}
