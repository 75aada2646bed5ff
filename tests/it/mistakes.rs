//! What a mistake is told: the place where it is, and what helps against it.

use relay::assemble::{Loaded, load};
use relay::config::files::{Files, Memory};
use relay::diagnostic::render;
use relay::message::Time;
use relay::schema::compile::SchemaCache;

const CATS: &str = "[topics.cats]\nschema = \"any\"\n[anonymous]\npublish = [\"**\"]\n";

fn check(files: &dyn Files) -> Loaded {
    load(files, &SchemaCache::default(), Time::now())
}

/// Each problem as `code at file:line:column: message; help`.
fn told(loaded: &Loaded) -> Vec<String> {
    let all = render::json(&loaded.diagnostics, &loaded.sources);
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let one = |d: &serde_json::Value| {
        let place = format!("{}:{}:{}", text(&d["file"]), d["line"], d["column"]);
        format!("{} at {place}: {}; {}", text(&d["code"]), text(&d["message"]), text(&d["help"]))
    };
    all.as_array().expect("a list").iter().map(one).collect()
}

fn said_of(relay_toml: &str) -> Vec<String> {
    told(&check(&Memory::new(relay_toml)))
}

#[test]
fn a_value_of_the_wrong_type_is_one_mistake() {
    let told = said_of(&format!("version = 1\n[server]\ntls = true\n{CATS}"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("wrong-type at relay.toml:3:7: `server.tls` is true or false"), "{told:?}");
}

#[test]
fn of_versions_the_one_that_can_be_read_is_named() {
    for version in ["-1", "7", "99999999999999999999999"] {
        let told = said_of(&format!("version = {version}\n{CATS}"));
        assert!(told.len() == 1 && told[0].ends_with("; this relay reads `version = 1`"), "{told:?}");
    }
}

#[test]
fn a_character_is_written_in_one_way() {
    let told = said_of(&format!("version = 1\n[topics.\"\u{e4}\"]\nschema = \"any\"\n{CATS}"));
    let message = "`\u{e4}` is not a name of a topic: `\u{e4}` is not allowed in a name; ";
    assert!(told.len() == 1 && told[0].contains(message), "{told:?}");
    let told = said_of(&format!("version = 1\n[topics.\"a\\u0007\"]\nschema = \"any\"\n{CATS}"));
    let message = "`a\\u{7}` is not a name of a topic: `\\u{7}` is not allowed in a name; ";
    assert!(told.len() == 1 && told[0].contains(message), "{told:?}");
}

#[test]
fn two_listeners_on_one_socket_need_another_path() {
    let listeners = "[server]\nlisten = \"unix:/run/relay.sock\"\nadmin = \"unix:/run/relay.sock\"\n";
    let told = said_of(&format!("version = 1\n{listeners}{CATS}"));
    assert!(told.len() == 1 && told[0].ends_with("; give `server.admin` a port or path of its own"), "{told:?}");
}
