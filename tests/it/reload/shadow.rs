//! `schema_next`: a schema that is tried on published messages before it refuses any.

use std::time::{Duration, Instant};

use relay::fuse::Admitted;
use relay::judging::AT_A_TIME;
use relay::name::TopicName;
use serde_json::json;

use super::site::{HEAD, Site, token};
use crate::logs::log_everything;

const ALL: &str = "publish = [\"**\"]\nsubscribe = [\"**\"]";

fn config(topic: &str) -> String {
    format!("{HEAD}{}[topics.cats]\n{topic}\n", token("all", ALL))
}

const NEXT: &str = r#"{"type": "object", "required": ["name"], "properties": {"age": {"type": "integer"}}}"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_judges_and_refuses_nothing() {
    let tried = config("schema = \"any\"\nschema_next = \"next.json\"");
    let site = Site::start(&[("relay.toml", &tried), ("next.json", NEXT)]).await;
    let secret = r#"{"age":"a secret value"}"#;
    for body in [secret, r#"{"name":"Tom","age":3}"#, "[]"] {
        assert_eq!(site.post("/publish/cats", "all", body).await.status, 200);
    }
    assert_eq!(site.post("/validate/cats", "all", "[]").await.status, 200, "which is no traffic");
    let head = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer all\r\n";
    for _ in 0..2 {
        assert_eq!(site.call(&format!("{head}Idempotency-Key: k\r\n"), "{\"name\":\"Kit\"}").await.status, 200);
    }
    let told = site.ask("/config").await["shadows"]["cats"].clone();
    assert_eq!(
        (&told["schema"], &told["judged"], &told["refused"]),
        (&json!("next.json"), &json!(4), &json!(2)),
        "a repetition is no message"
    );
    assert_eq!(told["keywords"], json!({"required": 1, "type": 2}), "{told}");
    let last = told["last"].as_array().expect("a list");
    assert_eq!(last.len(), 2);
    let places: Vec<_> = last.iter().flat_map(|one| one["violations"].as_array().expect("a list")).collect();
    assert!(places.contains(&&json!({"pointer": "/age", "keyword": "type", "schema_pointer": "/properties/age/type"})));
    assert!(!told.to_string().contains("secret"), "{told}");

    for n in 0..20 {
        assert_eq!(site.post("/publish/cats", "all", &n.to_string()).await.status, 200);
    }
    let told = site.ask("/config").await["shadows"]["cats"].clone();
    assert_eq!(told["last"].as_array().map(Vec::len), Some(16), "only the last are kept");
    let metrics = site.metrics().await;
    for line in [
        "relay_shadow_judged_total{topic=\"cats\"} 24",
        "relay_shadow_refused_total{topic=\"cats\"} 22",
        "relay_shadow_violations_total{topic=\"cats\",keyword=\"required\"} 1",
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line} in\n{metrics}");
    }

    // It lives on across reloads for as long as it is the same schema.
    site.change(&config("schema = \"any\"\ndescription = \"cats\"\nschema_next = \"next.json\"")).await;
    assert_eq!(site.ask("/config").await["shadows"]["cats"]["judged"], 24);
    site.place.write("next.json", "{\"type\": \"object\"}");
    site.reload().await;
    assert_eq!(site.ask("/config").await["shadows"]["cats"]["judged"], 0);
    let promoted = site.change(&config("schema = \"next.json\"\ndescription = \"cats\"")).await;
    assert_eq!(promoted["plan"], json!({"schemas_changed": ["cats"]}));
    assert_eq!(site.ask("/config").await["shadows"], json!({}));
    assert_eq!(site.post("/publish/cats", "all", "[]").await.status, 422);
}

#[tokio::test]
async fn a_bad_shadow_is_refused_like_any_schema() {
    let site = Site::start(&[("relay.toml", &config("schema = \"any\"")), ("next.json", "{\"type\": 7}")]).await;
    site.place.write("relay.toml", &config("schema = \"any\"\nschema_next = \"next.json\""));
    let answer = site.reload().await;
    assert_eq!((answer.status, &answer.json()["diagnostics"][0]["code"]), (422, &json!("schema-invalid")));
}

/// A schema whose compatibility cannot be proved may be tried. Then it may replace the topic's schema, although
/// publishers are protected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shadow_that_has_refused_nothing_is_the_way_out_of_what_cannot_be_proved() {
    let fixture = |side: &str| {
        std::fs::read_to_string(format!("tests/config/change/compatibility-unknown/{side}/schemas/cat.json"))
            .expect("it is there")
    };
    let old = "schema = \"old.json\"\ncompatibility = \"publishers\"";
    let site = Site::start(&[
        ("relay.toml", &config(&format!("{old}\nschema_next = \"new.json\""))),
        ("old.json", &fixture("old")),
        ("new.json", &fixture("new")),
    ])
    .await;
    let promoted = config("schema = \"new.json\"\ncompatibility = \"publishers\"");
    for n in 0..100 {
        if n == 99 {
            site.place.write("relay.toml", &promoted);
            let answer = site.reload().await;
            assert_eq!(
                (answer.status, &answer.json()["diagnostics"][0]["code"]),
                (422, &json!("compatibility-unknown"))
            );
        }
        assert_eq!(site.post("/publish/cats", "all", "\"abc\"").await.status, 200);
    }
    site.change(&promoted).await;
}

/// Regression: it stayed refused forever, because the files were still those that had been refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_refused_for_want_of_a_trial_is_looked_at_again_after_it() {
    let fixture = |side: &str| {
        let path = format!("tests/config/change/compatibility-unknown/{side}/schemas/cat.json");
        std::fs::read_to_string(path).expect("it is there")
    };
    let promised = |schemas: &str| {
        config(&format!("{schemas}\ncompatibility = \"publishers\"")) + "[limits]\nreload_poll = \"1 s\"\n"
    };
    let tried = promised("schema = \"old.json\"\nschema_next = \"new.json\"");
    let files = [("relay.toml", tried.as_str()), ("old.json", &fixture("old")), ("new.json", &fixture("new"))];
    let site = Site::watched(&files).await;
    site.place.write("relay.toml", &promised("schema = \"new.json\""));
    site.until("a refusal", |site| site.live.reloads.stale().is_some()).await;
    for _ in 0..100 {
        assert_eq!(site.post("/publish/cats", "all", "\"abc\"").await.status, 200);
    }
    // The reload is noted a moment after it is in force.
    site.until("a reload", |site| site.live.snapshot().generation == 2 && site.live.reloads.stale().is_none()).await;
}

/// A schema that is only tried is timed as well: publishes are neither refused nor kept waiting for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_too_slow_is_not_tried_for_a_while() {
    let page = log_everything();
    let slow = r#"{"pattern": "(x+x+)+y"}"#;
    let tried = config("schema = \"any\"\nschema_next = \"next.json\"") + "[limits]\nvalidation_budget = \"1 ms\"\n";
    let site = Site::start(&[("relay.toml", &tried), ("next.json", slow)]).await;
    let body = format!("\"{}\"", "x".repeat(200_000));
    for _ in 0..8 {
        assert_eq!(site.post("/publish/cats", "all", &body).await.status, 200);
    }
    let told = site.ask("/config").await["shadows"]["cats"].clone();
    assert_eq!((&told["judged"], &told["refused"]), (&json!(5), &json!(5)), "then it rests: {told}");
    let told = "validating against `schema_next` keeps exceeding its budget; it is paused for a while";
    assert_eq!(page.text().matches(told).count(), 1, "once, and not for each that is not judged");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_has_been_slow_is_tried_in_a_turn() {
    let tried = config("schema = \"any\"\nschema_next = \"next.json\"");
    let site = Site::start(&[("relay.toml", &tried), ("next.json", NEXT)]).await;
    let judged = async || site.ask("/config").await["shadows"]["cats"]["judged"].clone();
    let cats = site.live.snapshot().resolve(&TopicName::parse("cats").expect("a name")).expect("declared").clone();
    let budget = Duration::from_secs(1);
    cats.shadow.as_ref().expect("a shadow").fuse.note(Admitted::Freely, 2 * budget, budget, Instant::now());
    let mut turns = Vec::new();
    for _ in 0..AT_A_TIME {
        turns.push(site.live.judging.aside().await.expect("nobody else has one"));
    }
    assert_eq!(site.post("/publish/cats", "all", "1").await.status, 200, "it is published in any case");
    assert_eq!(judged().await, 0, "no turn came for it");
    drop(turns);
    assert_eq!(site.post("/publish/cats", "all", "1").await.status, 200);
    assert_eq!(judged().await, 1);
}

/// Regression: both were committed with an empty plan, as if nobody could notice the new counts, or the new examples in
/// `GET /topics`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_tried_and_what_is_shown_stand_in_the_plan() {
    let tried = |more: &str| config(&format!("schema = \"any\"\nschema_next = \"next.json\"\n{more}"));
    let site = Site::start(&[("relay.toml", &tried("")), ("next.json", NEXT)]).await;
    let changed = json!({"topics_changed": ["cats"]});
    assert_eq!(site.post("/publish/cats", "all", "1").await.status, 200);
    let judged = async || site.ask("/config").await["shadows"]["cats"]["judged"].clone();

    site.place.write("next.json", &format!("\n{NEXT}\n"));
    let report = site.reload().await.json();
    assert_eq!((&report["plan"], judged().await), (&json!({}), json!(1)), "only its text is another");
    site.place.write("next.json", "{\"type\": \"object\"}");
    let report = site.reload().await.json();
    assert_eq!((&report["plan"], judged().await), (&changed, json!(0)));

    for more in ["examples = [{ valid = 1 }]", "examples = [{ valid = 2 }]", "", "on_lag = \"disconnect\"", ""] {
        assert_eq!(site.change(&tried(more)).await["plan"], changed, "{more}");
    }
}
