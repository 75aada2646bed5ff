//! What is found, and how long it may take.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::schema::example::{Effort, find};
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

/// All guesses were made before one was tried, each a copy of the whole: a record of 2,400 columns took gigabytes, and so
/// did a matrix of a thousand rows, in a running server that was given them by a reload.
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
