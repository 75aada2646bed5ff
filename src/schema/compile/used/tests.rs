//! Which parts of shared files a schema is made of.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::schema::Schema;
use crate::schema::compat::{Side, publishers, subscribers};
use crate::schema::tests::{Files, schema};

/// The schema `a.json`, with another file beside it.
fn with(root: Value, shared: Value) -> Arc<Schema> {
    let compiled = Files::of(&[("a.json", root), ("lib.json", shared)]).compile(&["a.json"]);
    assert_eq!(compiled.faults, []);
    compiled.schemas["a.json"].clone()
}

/// Regression: adding a definition to a shared file changed all schemas that refer to any part of it.
#[test]
fn what_a_schema_does_not_come_to_changes_nothing() {
    let draft_7 = json!("http://json-schema.org/draft-07/schema#");
    let shared = json!({
        "$defs": {
            "a": {"$anchor": "name", "type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "$defs": {"idle": true}},
            "n": {"type": "integer", "minimum": 1},
        },
    });
    let roots = ["lib.json#/$defs/a", "lib.json#name"].map(|target| json!({"properties": {"p": {"$ref": target}}}));
    for root in roots {
        let schema = with(root.clone(), shared.clone());
        for (pointer, other, is_same) in [
            ("/$defs/idle", json!({"type": "null"}), true),
            ("/$defs/a/$defs/idle", json!({"type": "null"}), true),
            ("/properties", json!({"x": {"type": "null"}}), true),
            ("/$defs/late", json!({"$dynamicAnchor": "l", "items": {"$dynamicRef": "#l"}}), true),
            ("/$defs/old", json!({"$schema": draft_7, "$id": "old", "type": "null"}), true),
            ("/$defs/n/minimum", json!(2), false),
            ("/$defs/a/properties/m", json!(false), false),
            ("/$defs/a/required", json!(["n"]), false),
        ] {
            let mut changed = shared.clone();
            let (above, name) = pointer.rsplit_once('/').expect("a pointer");
            changed.pointer_mut(above).expect(pointer)[name] = other;
            assert_eq!(schema.is_same(&with(root.clone(), changed)), is_same, "{root} {pointer}");
        }
    }
}

#[test]
fn what_it_comes_to_only_by_a_definition_counts() {
    let root = |n: &str| {
        json!({
            "$ref": "#/$defs/list/items/1",
            "$defs": {"list": {"items": [true, {"$ref": "#/$defs/n"}], "maxItems": 2}, "n": {"type": n}},
            "$schema": "https://json-schema.org/draft/2019-09/schema",
        })
    };
    let (integer, string) = (schema(&root("integer")), schema(&root("string")));
    assert!(!integer.is_same(&string));
    assert!(matches!(publishers(&integer, &string), Side::No { .. }));
    let given = schema(integer.document());
    assert!(given.check_value(&json!(1)).is_ok() && given.check_value(&json!("x")).is_err(), "{}", integer.document());
}

/// A member of a payload may have the name of a keyword for definitions.
#[test]
fn a_property_that_is_called_definitions_is_none() {
    let document =
        json!({"properties": {"definitions": {"type": "object", "properties": {"$defs": {"type": "null"}}}}});
    assert_eq!(schema(&document).document(), &document);
}

/// Regression: one definition that cannot be compared spoilt the comparison of every schema that refers to its file.
#[test]
fn a_definition_that_cannot_be_compared_spoils_only_what_uses_it() {
    let shared = |minimum: i32| {
        json!({"$defs": {
            "n": {"type": "integer", "minimum": minimum},
            "exotic": {
                "if": {"anyOf": [{"required": ["a"]}, {"required": ["b"]}]}, "then": {}, "unevaluatedProperties": false,
            },
            "meta": {"$ref": "https://json-schema.org/draft/2020-12/schema"},
        }})
    };
    let root = json!({"$ref": "lib.json#/$defs/n"});
    let (one, other) = (with(root.clone(), shared(1)), with(root, shared(0)));
    assert_eq!(publishers(&one, &other), Side::Yes);
    assert!(matches!(subscribers(&one, &other), Side::No { .. }));
}
