//! Generated pairs of schemas: if one accepts a value that the other refuses, the verdict must not be yes.

use std::sync::Arc;

use jsonschema::json::SerdeJson;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, proptest};
use proptest::strategy::{Union, ValueTree as _};
use proptest::test_runner::TestRunner;
use proptest::{option, prop_assert, prop_assert_eq, prop_oneof, sample};
use serde_json::{Map, Value, json};

use crate::schema::Schema;
use crate::schema::compat::Side;
use crate::schema::compat::tests::compare;
use crate::schema::judge::options;
use crate::schema::tests::Files;

const NAMES: [&str; 3] = ["a", "b", "x-c"];

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        (-4_i64..8).prop_map(Value::from),
        (-8_i64..16).prop_map(|n| json!(n as f64 / 2.0)),
        "[ab]{0,4}".prop_map(Value::from),
        Just(json!("2026-01-01")),
    ]
}

pub(in crate::schema) fn value() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((sample::select(&NAMES[..]), inner), 0..4)
                .prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>()),
        ]
    })
}

/// Keywords that go together, or alone.
fn assertion() -> Union<proptest::strategy::BoxedStrategy<Value>> {
    let small = 0_u64..4;
    let number = -4_i64..8;
    let types = sample::subsequence(vec!["null", "boolean", "integer", "number", "string", "array", "object"], 1..4);
    Union::new([
        types.prop_map(|types| json!({"type": types})).boxed(),
        number.clone().prop_map(|n| json!({"minimum": n})).boxed(),
        number.clone().prop_map(|n| json!({"maximum": n})).boxed(),
        number.prop_map(|n| json!({"type": "number", "exclusiveMinimum": n as f64 / 2.0})).boxed(),
        (1_u64..4).prop_map(|n| json!({"multipleOf": n})).boxed(),
        small.clone().prop_map(|n| json!({"minLength": n})).boxed(),
        small.clone().prop_map(|n| json!({"maxLength": n})).boxed(),
        sample::select(vec!["^a", "b$", "^[ab]*$", "aa"]).prop_map(|p| json!({"pattern": p})).boxed(),
        Just(json!({"format": "date"})).boxed(),
        small.clone().prop_map(|n| json!({"minItems": n})).boxed(),
        small.clone().prop_map(|n| json!({"maxItems": n})).boxed(),
        Just(json!({"uniqueItems": true})).boxed(),
        small.clone().prop_map(|n| json!({"minProperties": n})).boxed(),
        small.prop_map(|n| json!({"maxProperties": n})).boxed(),
        sample::subsequence(NAMES.to_vec(), 0..3).prop_map(|names| json!({"required": names})).boxed(),
        vec(scalar(), 1..4).prop_map(|values| json!({"enum": values})).boxed(),
        scalar().prop_map(|value| json!({"const": value})).boxed(),
        any::<bool>().prop_map(|any| if any { json!({}) } else { json!({"type": "object"}) }).boxed(),
    ])
}

/// A schema, sometimes with a definition.
pub(in crate::schema) fn document() -> impl Strategy<Value = Value> {
    let defined = (nested(), nested())
        .prop_map(|(target, inner)| json!({"$ref": "#/$defs/t", "$defs": {"t": target}, "properties": {"a": inner}}));
    prop_oneof![4 => nested(), 1 => defined]
}

fn nested() -> impl Strategy<Value = Value> {
    let several = vec(assertion(), 1..3).prop_map(|parts| {
        let members = parts.iter().filter_map(Value::as_object).flatten();
        Value::Object(members.map(|(keyword, value)| (keyword.clone(), value.clone())).collect::<Map<_, _>>())
    });
    several.boxed().prop_recursive(3, 12, 3, |inner| {
        let named = vec((sample::select(&NAMES[..]), inner.clone()), 1..3)
            .prop_map(|m| m.into_iter().map(|(k, v)| (k.to_owned(), v)).collect::<Value>());
        prop_oneof![
            (named.clone(), option::of(inner.clone()), sample::subsequence(NAMES.to_vec(), 0..2)).prop_map(
                |(properties, others, required)| {
                    let mut schema = json!({"type": "object", "properties": properties, "required": required});
                    if let Some(others) = others {
                        schema["additionalProperties"] = others;
                    }
                    schema
                }
            ),
            named.prop_map(|properties| json!({"properties": properties, "additionalProperties": false})),
            inner.clone().prop_map(|schema| json!({"patternProperties": {"^x-": schema}})),
            inner.clone().prop_map(|schema| json!({"propertyNames": schema})),
            inner.clone().prop_map(|items| json!({"items": items})),
            inner.clone().prop_map(|items| json!({"contains": items, "maxContains": 2})),
            vec(inner.clone(), 1..3).prop_map(|items| json!({"prefixItems": items})),
            vec(inner.clone(), 1..3).prop_map(|branches| json!({"anyOf": branches})),
            vec(inner.clone(), 1..3).prop_map(|branches| json!({"oneOf": branches})),
            vec(inner.clone(), 1..3).prop_map(|branches| json!({"allOf": branches})),
            inner.clone().prop_map(|schema| json!({"not": schema})),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| json!({"if": a, "then": b})),
            inner
                .prop_map(|schema| json!({"anyOf": [schema, {"properties": {"a": {"$ref": "#"}}, "required": ["a"]}]})),
        ]
    })
}

/// Often the second of a pair is the first with one part replaced, which is how people change schemas.
fn pair() -> impl Strategy<Value = (Value, Value)> {
    let edited = (document(), assertion()).prop_map(|(old, edit)| {
        let mut new = old.clone();
        if let (Value::Object(new), Value::Object(edit)) = (&mut new, edit) {
            new.extend(edit);
        }
        (old, new)
    });
    prop_oneof![edited, (document(), document())]
}

/// `None` if nothing can match, because such a schema is refused.
fn compiled(document: &Value) -> Option<Arc<Schema>> {
    Files::of(&[("a.json", document.clone())]).compile(&["a.json"]).schemas.remove("a.json")
}

proptest! {
    #[test]
    fn a_yes_is_never_refuted((old, new) in pair(), values in vec(value(), 24)) {
        let (Some(one), Some(other)) = (compiled(&old), compiled(&new)) else { return Ok(()) };
        let verdict = compare(&one, &other);
        let mirrored = compare(&other, &one);
        prop_assert!((verdict.publishers == Side::Yes) == (mirrored.subscribers == Side::Yes));
        for (side, accepts, refuses) in [(&verdict.publishers, &one, &other), (&verdict.subscribers, &other, &one)] {
            let refuted = values.iter().find(|v| accepts.check_value(v).is_ok() && refuses.check_value(v).is_err());
            prop_assert!(*side != Side::Yes || refuted.is_none(), "{old}\n{new}\n{refuted:?}");
            if let Side::No { example: Some(example), .. } = side {
                prop_assert!(accepts.check_value(example).is_ok() && refuses.check_value(example).is_err());
            }
        }
    }
}

proptest! {
    #[test]
    fn a_schema_that_is_refused_as_empty_is_empty(document in document(), values in vec(value(), 24)) {
        let compiled = Files::of(&[("a.json", document.clone())]).compile(&["a.json"]);
        for fault in compiled.faults.iter().filter(|fault| !fault.kind.is_warning()) {
            prop_assert_eq!(fault.kind.code(), "schema-unsatisfiable");
            let validator = options::<SerdeJson>(1 << 20).build(&document).expect("a schema");
            let matching = values.iter().find(|value| validator.is_valid(value));
            prop_assert!(matching.is_none(), "{} {:?}", document, matching);
        }
    }
}

/// Guards the property above, which would also hold if the answer were never yes.
#[test]
fn every_answer_is_given() {
    let mut runner = TestRunner::deterministic();
    let mut answers = [0; 3];
    for _ in 0..200 {
        let (old, new) = pair().new_tree(&mut runner).expect("a pair").current();
        let (Some(old), Some(new)) = (compiled(&old), compiled(&new)) else { continue };
        let verdict = compare(&old, &new);
        for side in [verdict.publishers, verdict.subscribers] {
            answers[match side {
                Side::Yes => 0,
                Side::No { .. } => 1,
                Side::Unknown { .. } => 2,
            }] += 1;
        }
    }
    assert!(answers[0] > 40 && answers[1] > 40 && answers[2] > 0, "{answers:?}");
}
