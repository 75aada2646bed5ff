//! What a reload keeps for a topic whose schema is slow.

use serde_json::json;

use super::site::{HEAD, Site, token};
use crate::logs::log_everything;

/// Regression: the counters belonged to the fuse, which was replaced with every edit of the schema's text. They fell to
/// zero, which no counter may, and a topic that rested did so no longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_counted_of_slow_validations_outlasts_every_reload() {
    let page = log_everything();
    let slow = r#"{"pattern": "(x+x+)+y"}"#;
    let all = token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]");
    let topics = "[topics.cats]\nschema = \"slow.json\"\n[limits]\nvalidation_budget = \"1 ms\"\n";
    let config = format!("{HEAD}{all}{topics}");
    let site = Site::start(&[("relay.toml", &config), ("slow.json", slow)]).await;
    let body = format!("\"{}\"", "x".repeat(200_000));
    let publish = async || site.post("/publish/cats", "all", &body).await.status;
    let counted = async |slow: u64| {
        let text = site.metrics().await;
        for line in [
            format!("relay_validations_slow_total{{topic=\"cats\"}} {slow}"),
            "relay_topic_rests_total{topic=\"cats\"} 1".to_owned(),
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    };
    for _ in 0..5 {
        assert_eq!(publish().await, 422);
    }
    assert_eq!(publish().await, 503, "it rests");
    counted(5).await;
    let told =
        "\"validation keeps exceeding its budget; publishes to this topic are refused for a while\",\"topic\":\"cats\"";
    assert_eq!(page.text().matches(told).count(), 1, "once, and not for each that is refused");

    site.place.write("slow.json", &format!("{slow}\n"));
    let report = site.reload().await.json();
    assert_eq!((&report["result"], &report["plan"]), (&json!("committed"), &json!({})));
    counted(5).await;
    assert_eq!(publish().await, 503, "the schema is the same");

    site.place.write("slow.json", &slow.replace('}', ", \"minLength\": 1}"));
    assert_eq!(site.reload().await.json()["plan"], json!({"schemas_changed": ["cats"]}));
    counted(5).await;
    assert_eq!(publish().await, 422, "another schema is judged by itself");
    counted(6).await;
}
