//! What the admin listener reports about a reload that was requested.

use relay::reloads::Trigger;
use serde_json::json;

use super::site::{Site, with_topics};
use crate::rig::call;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_warning_is_told_with_the_plan() {
    let site = Site::start(&[("relay.toml", &with_topics(&["cats"]))]).await;
    let report = site.change(&with_topics(&["cats", "dogs"]).replace("[\"**\"]", "[\"cats\"]")).await;
    let diagnostic = &report["diagnostics"][0];
    assert_eq!(
        (&report["result"], &diagnostic["code"]),
        (&json!("committed"), &json!("unreachable-topic")),
        "{report:#}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dry_run_answers_with_the_plan_and_does_nothing() {
    let site = Site::start(&[("relay.toml", &with_topics(&["cats"]))]).await;
    site.place.write("relay.toml", &format!("{}[limits]\nbatch = 7\n", with_topics(&["cats", "dogs"])));
    let dry = call(site.admin, "POST /reload?dry_run=1 HTTP/1.1\r\n", "").await;
    let plan = json!({"topics_added": ["dogs"], "keys_changed": ["limits.batch"]});
    assert_eq!((dry.status, &dry.json()["result"], &dry.json()["plan"]), (200, &json!("planned"), &plan));
    assert!(!site.has("dogs"));
    let done = call(site.admin, "POST /reload?dry_run=0 HTTP/1.1\r\n", "").await.json();
    assert_eq!((&done["plan"], &done["generation"]), (&plan, &json!(2)));
    assert!(site.has("dogs"));
    let again = call(site.admin, "POST /reload?dry_run=1 HTTP/1.1\r\n", "").await.json();
    assert_eq!((&again["result"], &again["plan"]), (&json!("unchanged"), &json!({})));
    for (query, expected) in [
        ("POST /reload?dry=1", "unknown parameter `dry`: this call takes `dry_run`"),
        ("GET /config?schemas=2", "the parameter `schemas` must be a whole number from 0 to 1"),
    ] {
        let (status, slug, detail) = call(site.admin, &format!("{query} HTTP/1.1\r\n"), "").await.problem();
        assert_eq!((status, slug.as_str()), (400, "bad-request"));
        assert_eq!(detail, expected);
    }
}

/// Regression: a drain waited for all requested reloads in the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_reloaded_once_the_server_ends() {
    let site = Site::start(&[("relay.toml", &with_topics(&["cats"]))]).await;
    site.place.write("relay.toml", &with_topics(&["cats", "dogs"]));
    site.live.drain.begin();
    assert!(site.reloader.reload(Trigger::Request, false).await.is_none());
    assert!(!site.has("dogs"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changes_beside_a_schema_stands_in_the_plan_too() {
    let text = |schema: &str, rest: &str| with_topics(&["cats"]).replace("\"any\"\n", &format!("\"{schema}\"\n{rest}"));
    let site = Site::start(&[("cats.json", "{}"), ("relay.toml", &text("cats.json", ""))]).await;
    site.place.write("cats.json", r#"{"type": "object"}"#);
    let plan = json!({"schemas_changed": ["cats"], "topics_changed": ["cats"]});
    assert_eq!(site.change(&text("cats.json", "description = \"Cats\"\n")).await["plan"], plan);
}
