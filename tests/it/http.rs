//! The public listener's calls.

use crate::rig::Rig;

#[tokio::test]
async fn a_publish_is_answered_with_its_id() {
    let rig = Rig::start(|_| {}).await;
    let answer = rig.post("/publish/cats", "secret-all", r#"{"name":"Tom"}"#).await;
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({"topic": "cats", "id": rig.id(1)})));
    assert_eq!(rig.payloads().await, [r#"{"name":"Tom"}"#]);
}
