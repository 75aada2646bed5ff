//! What changes of a schema do, case by case.

use serde_json::{Value, json};

use crate::schema::compat::{Side, Verdict, compare};
use crate::schema::tests::schema;

fn letter(side: &Side) -> char {
    match side {
        Side::Yes => 'Y',
        Side::No { .. } => 'N',
        Side::Unknown { .. } => '?',
    }
}

fn verdict(old: &Value, new: &Value) -> Verdict {
    compare(&schema(old), &schema(new))
}

fn object(properties: Value, required: Value) -> Value {
    json!({"type": "object", "properties": properties, "required": required})
}

/// Old, new, and what it means for publishers and subscribers: yes, no or unknown.
fn table() -> Vec<(Value, Value, &'static str)> {
    let id = json!({"type": "string"});
    vec![
        (json!(true), json!({"type": "object"}), "NY"),
        (json!({"type": "object"}), json!({"type": "object"}), "YY"),
        (json!({"type": "object", "title": "a"}), json!({"type": "object", "title": "b", "description": "c"}), "YY"),
        (json!({"type": "integer"}), json!({"type": "number"}), "YN"),
        (json!({"type": "number"}), json!({"type": "integer"}), "NY"),
        (json!({"type": "string"}), json!({"type": ["string", "null"]}), "YN"),
        (json!({"type": "string"}), json!({"type": "number"}), "NN"),
        (json!({"enum": ["a", "b"]}), json!({"enum": ["a", "b", "c"]}), "YN"),
        (json!({"enum": ["a", "b"]}), json!({"enum": ["b"]}), "NY"),
        (json!({"enum": ["a"]}), json!({"const": "a"}), "YY"),
        (json!({"enum": ["a", "b"]}), json!({"type": "string"}), "YN"),
        (json!({"type": "integer", "minimum": 0}), json!({"type": "integer", "minimum": 1}), "NY"),
        (json!({"type": "integer", "minimum": 1}), json!({"type": "integer", "exclusiveMinimum": 0}), "YY"),
        (json!({"type": "number", "maximum": 10}), json!({"type": "number", "maximum": 20}), "YN"),
        (json!({"type": "integer", "multipleOf": 2}), json!({"type": "integer", "multipleOf": 4}), "NY"),
        (json!({"type": "string", "maxLength": 10}), json!({"type": "string", "maxLength": 5}), "NY"),
        (json!({"type": "string", "minLength": 2}), json!({"type": "string"}), "YN"),
        (json!({"type": "string"}), json!({"type": "string", "pattern": "^a"}), "NY"),
        (json!({"type": "string", "format": "uuid"}), json!({"type": "string"}), "YN"),
        (json!({"type": "string"}), json!({"type": "string", "format": "date-time"}), "NY"),
        (object(json!({}), json!([])), object(json!({}), json!(["id"])), "NY"),
        (object(json!({"id": id}), json!(["id"])), object(json!({"id": id}), json!([])), "YN"),
        (object(json!({"id": id}), json!([])), object(json!({"id": id, "n": {"type": "number"}}), json!([])), "NY"),
        (
            json!({"type": "object", "properties": {"id": id}, "additionalProperties": false}),
            json!({"type": "object", "properties": {"id": id, "n": {"type": "number"}}, "additionalProperties": false}),
            "YN",
        ),
        (
            json!({"type": "object", "properties": {"id": id}}),
            json!({"type": "object", "properties": {"id": id}, "additionalProperties": false}),
            "NY",
        ),
        (object(json!({"id": id}), json!([])), object(json!({"id": {"type": "integer"}}), json!([])), "NN"),
        (object(json!({"id": id}), json!([])), object(json!({"identifier": id}), json!([])), "NN"),
        (json!({"type": "object"}), json!({"type": "object", "minProperties": 1}), "NY"),
        (json!({"type": "object", "maxProperties": 2}), json!({"type": "object", "maxProperties": 3}), "YN"),
        (json!({"type": "object"}), json!({"type": "object", "propertyNames": {"maxLength": 8}}), "NY"),
        (
            json!({"type": "object", "patternProperties": {"^x-": {"type": "string"}}}),
            json!({"type": "object", "patternProperties": {"^x-": true}}),
            "YN",
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}}),
            json!({"type": "array", "items": {"type": "number"}}),
            "YN",
        ),
        (json!({"type": "array"}), json!({"type": "array", "maxItems": 3}), "NY"),
        (json!({"type": "array", "minItems": 1}), json!({"type": "array"}), "YN"),
        (json!({"type": "array"}), json!({"type": "array", "uniqueItems": true}), "NY"),
        (
            json!({"type": "array", "prefixItems": [{"type": "string"}]}),
            json!({"type": "array", "prefixItems": [{"type": "string"}], "items": false}),
            "NY",
        ),
        (json!({"anyOf": [{"type": "string"}, {"type": "null"}]}), json!({"type": ["null", "string"]}), "YY"),
        (json!({"anyOf": [{"type": "string"}]}), json!({"anyOf": [{"type": "string"}, {"type": "integer"}]}), "YN"),
        (json!({"type": "number"}), json!({"allOf": [{"type": "number"}, {"minimum": 0}]}), "NY"),
        (json!({"type": "number"}), json!({"type": "number", "not": {"const": 0}}), "NY"),
        (
            json!({"oneOf": [object(json!({"k": {"const": "a"}}), json!(["k"])), object(json!({"k": {"const": "b"}}), json!(["k"]))]}),
            json!({"oneOf": [object(json!({"k": {"const": "a"}}), json!(["k"])), object(json!({"k": {"const": "b"}}), json!(["k"])),
                object(json!({"k": {"const": "c"}}), json!(["k"]))]}),
            "YN",
        ),
        (
            json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}),
            json!({"$ref": "#/$defs/m", "$defs": {"m": {"type": "integer"}}}),
            "YY",
        ),
        (
            json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "integer"}}}),
            json!({"$ref": "#/$defs/n", "$defs": {"n": {"type": "number"}}}),
            "YN",
        ),
        (
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}}),
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "minProperties": 1}),
            "N?",
        ),
        (
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}}),
            json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "title": "list"}),
            "YY",
        ),
        (
            json!({"if": {"type": "string"}, "then": {"minLength": 1}}),
            json!({"if": {"type": "string"}, "then": {"minLength": 2}}),
            "NY",
        ),
        (
            json!({"type": "object", "unevaluatedProperties": false, "properties": {"a": true}}),
            json!({"type": "object", "unevaluatedProperties": false, "properties": {"a": true, "b": true}}),
            "YN",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}),
            json!({"type": "object"}),
            "??",
        ),
        (
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}),
            json!({"type": "integer"}),
            "NN",
        ),
    ]
}

#[test]
fn each_change_has_its_verdict() {
    let table = table();
    assert!(table.len() >= 40);
    let mut wrong = Vec::new();
    for (old, new, expected) in &table {
        let verdict = verdict(old, new);
        let letters: String = [letter(&verdict.publishers), letter(&verdict.subscribers)].iter().collect();
        if letters != *expected {
            wrong.push(format!("{old}\n    {new}\n    {expected} {verdict:?}"));
        }
        for (side, accepts, refuses) in [(&verdict.publishers, old, new), (&verdict.subscribers, new, old)] {
            if let Side::No { example: Some(example), .. } = side {
                assert!(schema(accepts).check_value(example).is_ok() && schema(refuses).check_value(example).is_err());
            }
            if let Side::No { example: None, .. } = side {
                wrong.push(format!("no example: {old}\n    {new}\n    {side:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
