//! What `GET /topics` and the calls below it show of families, and to whom.

use relay::assemble::build;
use relay::config::files::Memory;

use crate::rig::{Rig, snapshot_of};

const FAMILY: &str = r#"
version = 1
[server]
listen = "127.0.0.1:0"
admin = "127.0.0.1:0"
[topics."orders.public"]
schema = "any"
[topics."orders.{region}"]
description = "What only the shop may know"
schema = "schemas/order.json"
[tokens.all]
secret = { env = "ALL" }
publish = ["**"]
[anonymous]
"#;

async fn rig(anonymous: &str) -> Rig {
    serve(&format!("{FAMILY}{anonymous}\n")).await
}

async fn serve(relay_toml: &str) -> Rig {
    let files = Memory::new(relay_toml).with("schemas/order.json", "{\"type\": \"object\"}");
    Rig::serve(build::live(snapshot_of(&files, |_| {}), 2)).await
}

/// Regression: a grant for `orders.public`, which is declared by its own name, overlaps with the family
/// `orders.{region}` but reaches no topic of it; yet it showed the family's description, examples and schema.
#[tokio::test]
async fn a_grant_for_a_topic_beside_a_family_does_not_show_the_family() {
    for grants in [
        "subscribe = [\"orders.public\"]",
        "publish = [\"orders.public\"]",
        "subscribe = [\"*.public\", \"orders.public\"]",
    ] {
        let rig = rig(grants).await;
        let list = rig.get("/topics", "").await.json();
        let names: Vec<_> = list["topics"].as_array().expect("a list").iter().map(|t| t["topic"].clone()).collect();
        assert_eq!(names, ["orders.public"], "{grants}");
        assert_eq!(rig.get("/topics/orders.public", "").await.status, 200);
        let without = serve(&format!("{FAMILY}{grants}\n").replace("orders.{region}", "parcels.{region}")).await;
        for path in ["/topics/orders.%7Bregion%7D", "/topics/orders.%7Bregion%7D/schema"] {
            let (declared, undeclared) = (rig.get(path, "").await.problem(), without.get(path, "").await.problem());
            assert_eq!((declared.0, declared.1.as_str()), (401, "unauthenticated"), "{grants} {path}");
            assert_eq!(declared, undeclared, "{grants} {path}");
        }
    }
}

#[tokio::test]
async fn a_grant_that_reaches_some_topic_of_a_family_shows_it() {
    for grants in ["subscribe = [\"orders.eu\"]", "publish = [\"orders.*\"]", "subscribe = [\"**\"]"] {
        let rig = rig(grants).await;
        let shown = rig.get("/topics/orders.%7Bregion%7D", "").await.json();
        assert_eq!(shown["schema"], "/topics/orders.%7Bregion%7D/schema", "{grants}");
        assert_eq!(rig.get(shown["schema"].as_str().expect("a path"), "").await.status, 200, "{grants}");
    }
}

/// A family is known by the name in its declaration only; another spelling of the same topics is unknown.
#[tokio::test]
async fn a_family_is_shown_by_its_own_name_alone() {
    let rig = rig("subscribe = [\"**\"]").await;
    assert_eq!(rig.get("/topics/orders.%7Bregion%7D", "").await.status, 200);
    for other in ["orders.%7Bzone%7D", "orders.*"] {
        assert_eq!(rig.get(&format!("/topics/{other}"), "").await.problem().1, "unknown-topic", "{other}");
    }
}

/// Readers are to publish messages like the examples, so those that the schema refuses are left out.
#[tokio::test]
async fn only_examples_of_what_is_accepted_are_shown() {
    let examples = "examples = [{ valid = { id = 1 } }, { invalid = 2 }]\n[tokens.all]";
    let rig = serve(&format!("{FAMILY}subscribe = [\"**\"]\n").replace("[tokens.all]", examples)).await;
    let shown = rig.get("/topics/orders.%7Bregion%7D", "").await.json();
    assert_eq!(shown["examples"], serde_json::json!([{"id": 1}]), "{shown}");
}
