//! What is found, and how long it may take.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::schema::example::{Effort, find};
use crate::schema::tests::schema;
use crate::stopwatch::Stopwatch;

#[test]
fn only_what_is_wanted_is_found() {
    let string = json!({"type": "string", "minLength": 4});
    assert_eq!(
        find([(&string, None)], Effort::Full, |guess| guess.as_str().is_some_and(|text| text.len() == 5)),
        Some(json!("aaaaa"))
    );
    assert_eq!(find([(&string, None)], Effort::Full, |_| false), None);
}

#[test]
fn what_leads_back_makes_no_example_deeper() {
    let tree = json!({
        "type": "object",
        "properties": {"kids": {"type": "array", "items": {"$ref": "#"}}, "v": {"type": "integer"}},
    });
    let below_zero = |guess: &Value| guess.to_string().contains('-');
    assert_eq!(find([(&tree, None)], Effort::Full, below_zero), Some(json!({"v": -1})));
}

/// Without this, a third of the published schemas had no example.
#[test]
fn a_text_is_found_for_several_patterns_and_a_name_for_a_pattern() {
    let identifier = "^[a-z][a-z0-9-]+[a-z0-9]--[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$";
    let of_kind = json!({"type": "string", "allOf": [{"$ref": "#/$defs/identifier"}, {"pattern": "^campaign--"}]});
    let stamp = json!({"type": "string", "format": "date-time", "pattern": r"T\d{2}:\d{2}:\d{2}(\.\d+)?Z$"});
    let named = |size: u64| {
        json!({
            "type": "object", "minProperties": size, "additionalProperties": false,
            "patternProperties": {"^[a-zA-Z0-9_-]{0,250}$": {"type": "string"}},
        })
    };
    for document in [
        json!({"type": "string", "format": "uri", "pattern": r".*/api/journals/\d+$"}),
        json!({"type": "string", "format": "hostname", "pattern": r"\.corp$"}),
        json!({"type": "string", "format": "date-time", "pattern": "^2026"}),
        json!({"type": "string", "allOf": [{"pattern": "^[a-z][a-z-]+--[0-9]{2}$"}, {"pattern": "^campaign--"}]}),
        json!({"type": "string", "pattern": "^x", "allOf": [{"pattern": "[0-9]"}, {"pattern": "y$"}, {"minLength": 3}]}),
        json!({
            "type": "object", "required": ["id", "other", "at"], "$defs": {"identifier": {"pattern": identifier}},
            "properties": {"id": of_kind, "other": of_kind, "at": stamp},
        }),
        named(1),
        named(5),
    ] {
        assert!(schema(&document).example().is_some(), "{document}");
    }
    assert_eq!(schema(&named(1)).example(), Some(json!({"a": ""})));
}

/// Regression: all guesses were made before any was tried, each a copy of the whole. A record of 2,400 columns or a
/// matrix of a thousand rows took gigabytes, in a running server that got them by a reload.
#[test]
fn no_schema_takes_long_to_be_guessed_at() {
    let columns: Map<String, Value> = (0..2_000).map(|n| (format!("column{n}"), json!({"type": "string"}))).collect();
    let record = json!({"type": "object", "required": columns.keys().collect::<Vec<_>>(), "properties": columns});
    let list = |items: Value| json!({"type": "array", "minItems": 80, "items": items});
    let space = list(list(list(json!({"type": "number"}))));
    let branches: Vec<Value> = (0..4_000).map(|n| json!({"maxLength": n})).collect();
    for (name, schema) in [("record", record), ("space", space), ("branches", json!({"anyOf": branches}))] {
        let began = Stopwatch::start();
        assert_eq!(find([(&schema, None)], Effort::Full, |_| false), None);
        assert!(began.elapsed() < Duration::from_secs(2), "{name}: {:?}", began.elapsed());
    }
}
