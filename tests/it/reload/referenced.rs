//! A change in a file that a schema refers to is a change of the schema, in whatever form schemas are compared.

use serde_json::{Value, json};

use super::site::{HEAD, Site, token};

const ALL: &str = "publish = [\"**\"]\nsubscribe = [\"**\"]";
const DRAFT_7: &str = r#""$schema": "http://json-schema.org/draft-07/schema#""#;

/// Schemas that cannot be compared as one document. The `p` of each refers to `lib.json`, whose `{}` stands for a
/// change.
fn forms() -> [(&'static str, String, String); 3] {
    let bound_late =
        r##"{"$dynamicAnchor": "node", "properties": {"p": {"$ref": "lib.json"}, "x": {"$dynamicRef": "#node"}}}"##;
    [
        (
            "dialects are mixed",
            r#"{"properties": {"p": {"$ref": "lib.json"}}}"#.into(),
            format!("{{{DRAFT_7}, \"title\": \"lib\"{{}}}}"),
        ),
        (
            "a schema is described by its meta-schema",
            r#"{"properties": {"p": {"$ref": "lib.json"}, "q": {"$ref": "https://json-schema.org/draft/2020-12/schema"}}}"#.into(),
            "{\"title\": \"lib\"{}}".into(),
        ),
        ("a reference is bound late", bound_late.into(), "{\"$dynamicAnchor\": \"node\"{}}".into()),
    ]
}

const NUMBERS: &str = ", \"type\": \"integer\"";

fn config(topic: &str) -> String {
    format!("{HEAD}{}[topics.cats]\n{topic}\n", token("all", ALL))
}

async fn publish(site: &Site) -> u16 {
    site.post("/publish/cats", "all", r#"{"p":"x"}"#).await.status
}

/// Regression: where no single document says all of a schema, only the root file was compared. A new `lib.json` came
/// into force with an empty plan and past `compatibility`, and no subscriber was told of the new shape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_in_a_file_that_is_referred_to_is_told_and_passes_no_promise() {
    for (form, root, lib) in forms() {
        let promised = config("schema = \"root.json\"\ncompatibility = \"full\"");
        let files = [("relay.toml", promised.as_str()), ("root.json", &root), ("lib.json", &lib.replace("{}", ""))];
        let site = Site::start(&files).await;
        let mut reader = site.subscriber("all").await;
        reader.subscribe("cats").await;

        // With another layout, the file says the same.
        site.place.write("lib.json", &format!("\n{}\n", lib.replace("{}", "")));
        let report = site.reload().await;
        assert_eq!((report.status, &report.json()["plan"]), (200, &json!({})), "{form}: {}", report.json());

        site.place.write("lib.json", &lib.replace("{}", NUMBERS));
        let report = site.reload().await;
        let codes = report.json()["diagnostics"].as_array().map(|all| all.iter().map(|d| d["code"].clone()).collect());
        let unknown: Option<Vec<Value>> = Some(vec!["compatibility-unknown".into(); 2]);
        assert_eq!((report.status, codes), (422, unknown), "{form}: {}", report.json());
        assert_eq!(publish(&site).await, 200, "{form}");
        assert_eq!(reader.json().await["type"], "message", "{form}");

        site.place.write("lib.json", &lib.replace("{}", ""));
        site.change(&config("schema = \"root.json\"")).await;
        site.place.write("lib.json", &lib.replace("{}", NUMBERS));
        let report = site.reload().await.json();
        assert_eq!(report["plan"], json!({"schemas_changed": ["cats"]}), "{form}");
        assert_eq!(publish(&site).await, 422, "{form}");
        let told = reader.json().await;
        assert_eq!((&told["type"], &told["topic"]), (&json!("topic_changed"), &json!("cats")), "{form}: {told}");
    }
}

/// Regression: a definition that was added to a shared file counted as a change of all topics whose schemas refer to
/// other definitions in it, and their promises refused it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_of_a_shared_file_changes_only_the_topics_that_use_it() {
    let config = config(
        "schema = \"cats.json\"\ncompatibility = \"full\"\n[topics.dogs]\nschema = \"dogs.json\"\n[topics.birds]\nschema = \"any\"",
    );
    let shared = |more: Value| json!({"$defs": {"cat": {"type": "object"}, "dog": more}}).to_string();
    let late = json!({"if": {"anyOf": [{"required": ["a"]}, true]}, "then": true, "unevaluatedProperties": false});
    let (before, after) = (shared(json!({"type": "object"})), shared(late));
    let site = Site::start(&[
        ("relay.toml", config.as_str()),
        ("cats.json", r#"{"properties": {"p": {"$ref": "lib.json#/$defs/cat"}}}"#),
        ("dogs.json", r#"{"$ref": "lib.json#/$defs/dog"}"#),
        ("lib.json", &before),
    ])
    .await;
    let mut reader = site.subscriber("all").await;
    reader.subscribe("cats").await;
    site.place.write("lib.json", &after);
    let report = site.reload().await;
    assert_eq!(
        (report.status, &report.json()["plan"]),
        (200, &json!({"schemas_changed": ["dogs"]})),
        "{}",
        report.json()
    );
    assert_eq!(site.post("/publish/cats", "all", r#"{"p":{}}"#).await.status, 200);
    assert_eq!(reader.json().await["type"], "message", "no `topic_changed` before it");
}

/// Regression: the schema that is tried stayed as it had been compiled, and its old counts went on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_that_is_tried_begins_anew_when_a_file_that_it_refers_to_changes() {
    for (form, root, lib) in forms() {
        let tried = config("schema = \"any\"\nschema_next = \"root.json\"");
        let files = [("relay.toml", tried.as_str()), ("root.json", &root), ("lib.json", &lib.replace("{}", ""))];
        let site = Site::start(&files).await;
        let counts = async || {
            assert_eq!(publish(&site).await, 200, "{form}");
            let told = site.ask("/config").await["shadows"]["cats"].clone();
            (told["judged"].clone(), told["refused"].clone())
        };
        assert_eq!(counts().await, (json!(1), json!(0)), "{form}");
        site.place.write("lib.json", &format!("\n{}\n", lib.replace("{}", "")));
        assert_eq!(site.reload().await.json()["plan"], json!({}), "{form}");
        assert_eq!(counts().await, (json!(2), json!(0)), "{form}");
        site.place.write("lib.json", &lib.replace("{}", NUMBERS));
        assert_eq!(site.reload().await.json()["plan"], json!({"topics_changed": ["cats"]}), "{form}");
        assert_eq!(counts().await, (json!(1), json!(1)), "{form}");
    }
}

/// The schema that was tried on the topic's messages is no longer the one that is to take its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_tried_lets_nothing_pass_that_refers_to_another_file_by_now() {
    for (form, root, lib) in forms() {
        let promised = |topic: &str| config(&format!("{topic}\ncompatibility = \"publishers\""));
        let tried = promised("schema = \"old.json\"\nschema_next = \"root.json\"");
        let old = format!("{{{DRAFT_7}, \"type\": \"object\"}}");
        let files = [
            ("relay.toml", tried.as_str()),
            ("old.json", &old),
            ("root.json", &root),
            ("lib.json", &lib.replace("{}", "")),
        ];
        let site = Site::start(&files).await;
        for _ in 0..100 {
            assert_eq!(publish(&site).await, 200, "{form}");
        }
        site.place.write("relay.toml", &promised("schema = \"root.json\""));
        site.place.write("lib.json", &lib.replace("{}", NUMBERS));
        let report = site.reload().await;
        let code = report.json()["diagnostics"][0]["code"].clone();
        assert_eq!((report.status, &code), (422, &json!("compatibility-unknown")), "{form}: {}", report.json());
        site.place.write("lib.json", &lib.replace("{}", ""));
        let report = site.reload().await;
        assert_eq!(report.status, 200, "{form}: {}", report.json());
    }
}
