//! What a schema answers, word for word, and what a refusal may cost.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::schema::compile::{Compiled, SchemaCache, SchemaLimits, Texts, compile_all};
use crate::schema::json::MAX_DEPTH;
use crate::schema::{MAX_VIOLATIONS, Payload, Schema, json};
use crate::stopwatch::Stopwatch;

pub(super) const LIMITS: SchemaLimits = SchemaLimits { schema_size: 1 << 20, regex_size: 1 << 20, json_depth: 64 };

/// Schema files in memory.
pub(super) struct Files(pub BTreeMap<String, String>);

impl Files {
    pub(super) fn of(files: &[(&str, Value)]) -> Self {
        Self(files.iter().map(|(path, schema)| ((*path).to_owned(), schema.to_string())).collect())
    }

    pub(super) fn compile(&self, roots: &[&str]) -> Compiled {
        let roots: Vec<Arc<str>> = roots.iter().map(|root| (*root).into()).collect();
        compile_all(self, &roots, &LIMITS, &SchemaCache::default())
    }
}

impl Texts for Files {
    fn read(&self, path: &str) -> Result<Arc<str>, String> {
        self.0.get(path).map(|text| text.as_str().into()).ok_or_else(|| "no such file".to_owned())
    }
}

/// A schema of one file, `schemas/a.json`.
pub(super) fn schema(document: &Value) -> Arc<Schema> {
    let compiled = Files::of(&[("schemas/a.json", document.clone())]).compile(&["schemas/a.json"]);
    assert_eq!(compiled.faults, [], "{document}");
    compiled.schemas["schemas/a.json"].clone()
}

/// `pointer keyword schema_pointer: detail`, a line for each violation.
fn refusal(schema: &Schema, payload: &Value) -> String {
    let refused = schema.check_value(payload).expect_err("a refusal");
    let lines =
        refused.violations.iter().map(|v| format!("{:?} {} {}: {}", v.pointer, v.keyword, v.schema_pointer, v.detail));
    lines.collect::<Vec<_>>().join("\n")
}

/// Each paragraph of `refusals.txt` has a schema, a payload and the refusal. `UPDATE_GOLDEN=1 cargo test` rewrites it.
#[test]
fn each_keyword_has_its_sentence() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema/tests/refusals.txt");
    let expected = std::fs::read_to_string(&path).unwrap();
    let mut told = Vec::new();
    for paragraph in expected.split_terminator("\n\n") {
        let mut lines = paragraph.lines();
        let (document, payload) = (lines.next().unwrap(), lines.next().unwrap());
        let schema = schema(&serde_json::from_str(document).unwrap());
        told.push(format!("{document}\n{payload}\n{}\n", refusal(&schema, &serde_json::from_str(payload).unwrap())));
    }
    assert!(told.len() > 40);
    let told = told.join("\n");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &told).unwrap();
    } else {
        assert_eq!(told, expected);
    }
}

#[test]
fn long_values_and_names_are_cut_short() {
    let long = schema(&json!({"maxLength": 3, "additionalProperties": false, "type": ["string", "object"]}));
    let xs = "x".repeat(57);
    assert_eq!(
        refusal(&long, &json!("x".repeat(1_000))),
        format!("\"\" maxLength /maxLength: \"{xs}xx…\" is longer than 3 characters")
    );
    assert_eq!(
        refusal(&long, &json!({"x".repeat(300): 1, "m": 1})),
        format!("\"\" additionalProperties /additionalProperties: the members `{xs}xx…`, `m` are not allowed")
    );
}

#[test]
fn a_violation_of_another_file_names_it() {
    let files = Files::of(&[
        (
            "schemas/a.json",
            json!({"properties": {"at": {"$ref": "lib/common.json#/$defs/place"}, "by": {"$ref": "#/$defs/by"}},
            "$defs": {"by": {"minLength": 1}, "angle": {"$ref": "angle.json"}}}),
        ),
        (
            "schemas/lib/common.json",
            json!({"$defs": {"place": {"required": ["lat"], "properties": {
            "lat": {"$ref": "https://example.org/angle#/$defs/deg"}, "n": {"$ref": "#small"}}},
            "s": {"$anchor": "small", "maximum": 9}}}),
        ),
        ("schemas/angle.json", json!({"$id": "https://example.org/angle", "$defs": {"deg": {"type": "number"}}})),
    ]);
    let compiled = files.compile(&["schemas/a.json"]);
    assert_eq!(compiled.faults, []);
    let schema = &compiled.schemas["schemas/a.json"];
    assert_eq!(
        refusal(schema, &json!({"at": {"lat": "x", "n": 10}, "by": ""})),
        r#""/at/lat" type schemas/angle.json#/$defs/deg/type: a number is expected, not a string
"/at/n" maximum schemas/lib/common.json#/$defs/s/maximum: 10 is more than 9
"/by" minLength /$defs/by/minLength: "" is shorter than 1 character"#
    );
    assert_eq!(
        refusal(schema, &json!({"at": {}})),
        r#""/at" required schemas/lib/common.json#/$defs/place/required: the member `lat` is missing"#
    );
}

#[test]
fn at_most_so_many_violations_are_told_in_the_same_order_each_time() {
    let schema = schema(&json!({"items": {"type": "integer", "minimum": 0}, "minItems": 40}));
    let payload: Value = (0..17).map(|i| if i % 2 == 0 { json!("x") } else { json!(-1) }).collect();
    let refused = schema.check_value(&payload).unwrap_err();
    assert_eq!((refused.violations.len(), refused.more), (MAX_VIOLATIONS, true));
    for _ in 0..8 {
        assert_eq!(schema.check_value(&payload).unwrap_err().violations, refused.violations);
    }
    let refused = schema.check_value(&json!(["x", 1])).unwrap_err();
    assert_eq!((refused.violations.len(), refused.more), (2, false));
}

#[test]
fn an_accepted_payload_is_the_compact_text() {
    let schema = schema(&json!({"type": "object", "properties": {"n": {"maximum": 1e2}}}));
    let text = Bytes::from_static(b"{ \"n\": 1.00e2 }");
    let json = json::parse(&text, 64).unwrap();
    assert_eq!(schema.accept(json).unwrap().as_bytes().as_ref(), b"{\"n\":1.00e2}");
    assert!(Schema::any().accept(json::parse(&Bytes::from_static(b"[1]"), 64).unwrap()).is_ok());
}

/// What a log retains is counted by its length, so it must not hold more memory. Regression: one byte within 250 kB of
/// white space cost 250 kB.
#[test]
fn a_payload_holds_no_more_than_its_own_bytes() {
    let mut request = vec![b' '; 8 << 10];
    request.extend_from_slice(b"[1, 2]");
    let request = Bytes::from(request);
    let within = request.slice(request.len() - "[1, 2]".len()..);
    for (text, expected) in [(request.clone(), "[1,2]"), (within.slice(1..2), "1")] {
        let payload = Schema::any().accept(json::parse(&text, 64).unwrap()).unwrap();
        let Payload(bytes) = payload;
        assert_eq!(bytes, expected);
        assert_eq!(bytes.try_into_mut().expect("nobody else has it").capacity(), expected.len());
    }
}

/// Regression: an anonymous publisher could stop the server with one small body, because the explanation of a refusal
/// doubled with every level of the payload for the most usual recursive schemas.
#[test]
fn the_explanation_of_a_refusal_is_bounded_whatever_the_schema() {
    let again = json!({"$ref": "#"});
    let tagged = |tag| json!({"properties": {"next": again, "k": {"const": tag}}, "required": ["k", "next"]});
    let schemas = [
        json!({"anyOf": [tagged("a"), tagged("b"), {"type": "null"}]}),
        json!({"oneOf": [{"properties": {"next": again}, "required": ["x"]}, {"properties": {"next": again}}], "minProperties": 2}),
        json!({"minProperties": 2, "allOf": [{"properties": {"next": again}}, {"properties": {"next": again}}]}),
        json!({"minProperties": 2, "allOf": [{"properties": {"next": again}}, {"properties": {"next": again}}],
            "unevaluatedProperties": false}),
        json!({"minProperties": 2, "if": {"properties": {"next": again}}, "then": {"properties": {"next": again}},
            "else": {"properties": {"next": again}}}),
    ];
    let nested = |depth| (0..depth).fold(json!({"bad": 1}), |inner, _| json!({"k": "z", "next": inner}));
    for document in schemas {
        let schema = schema(&document);
        assert!(!refusal(&schema, &nested(2)).contains("too many parts"), "{document}");
        let start = Stopwatch::start();
        refusal(&schema, &nested(MAX_DEPTH - 1));
        assert!(start.elapsed() < Duration::from_secs(5), "{document}: {:?}", start.elapsed());
    }
    // The most faults there can be, below the most unions there can be.
    let branch = |tag| json!({"properties": {"next": again, "k": {"enum": [tag]}}, "required": ["next"]});
    let all = json!({"properties": {"all": {"items": {"enum": [1]}}, "next": {"not": {}}}});
    let schema = schema(&json!({"anyOf": [branch("a"), branch("b"), all]}));
    let wide = json!({"all": vec![json!("x"); 100_000]});
    for depth in [1, 4, MAX_DEPTH - 2] {
        let payload = (1..depth).fold(wide.clone(), |inner, _| json!({"k": "a", "next": inner}));
        let start = Stopwatch::start();
        refusal(&schema, &payload);
        assert!(start.elapsed() < Duration::from_secs(5), "{depth}: {:?}", start.elapsed());
    }
}

/// Regression: the path to the reason came first and the reason last, so the reason was cut off.
#[test]
fn why_no_branch_fits_is_told_however_much_leads_to_it() {
    let integer = "an integer is expected, not a string";
    let member = |name: &str, of: Value| json!({"type": "object", "properties": {name: of}});
    let either = |of: Value| json!({"anyOf": [{"type": "null"}, of]});
    let deep = (0..20).fold(member("a", json!({"type": "integer"})), |inner, _| either(inner));
    let names = ["n".repeat(70), "m".repeat(70)];
    let long = names.iter().fold(json!({"type": "integer"}), |inner, name| either(member(name, inner)));
    let below = |value: Value| names.iter().fold(value, |inner, name| json!({name: inner}));
    let text = either(json!({"type": "string", "pattern": "^[a-z]+$", "maxLength": 4}));
    for (document, payload, end) in [
        (deep.clone(), json!({"a": "x"}), format!("`, but `/a`: {integer}")),
        (either(member(&names[0], deep)), json!({&names[0]: {"a": "x"}}), format!("nnn/a`: {integer}")),
        (long.clone(), below(json!("x")), format!("nnn`: {integer}")),
        (text, json!("x".repeat(50)), format!("\"{}\" is longer than 4 characters", "x".repeat(50))),
    ] {
        let told = refusal(&schema(&document), &payload);
        assert!(told.ends_with(&end), "{told}");
        let refused = schema(&document).check_value(&payload).unwrap_err();
        assert!(refused.violations.iter().all(|v| v.detail.chars().count() <= 200), "{told}");
    }
}

/// Regression: of sixty kinds of events only the first few were read before the explanation grew too long, and the
/// nearest of those was named whatever the event was.
#[test]
fn the_branch_of_a_large_union_is_found() {
    let members = |count: usize| (0..count).map(|n| format!("m{n}")).collect::<Vec<_>>();
    let texts = |count| members(count).into_iter().map(|name| (name, json!({"type": "string"}))).collect::<Value>();
    let object = json!({"type": "object", "properties": texts(80), "required": members(80)});
    let action = |kind: usize, name: &str| {
        let own = format!("own{kind}");
        json!({
            "type": "object", "additionalProperties": false, "required": ["action", &own, "place"],
            "properties": {"action": {"const": name}, &own: {"$ref": "#/$defs/object"}, "place": {"$ref": "#/$defs/object"}},
        })
    };
    let kind = |kind| json!({"oneOf": [action(kind, "added"), action(kind, "removed"), action(kind, "edited")]});
    let schema = schema(&json!({"oneOf": (0..60).map(kind).collect::<Value>(), "$defs": {"object": object}}));
    let right: Value = members(80).into_iter().map(|name| (name, json!("x"))).collect();
    let payload = || json!({"action": "removed", "own50": right, "place": right});
    assert!(schema.check_value(&payload()).is_ok());
    let nearest = "nearest is `oneOf/50/oneOf/1`, but";
    for (member, wrong, told) in [
        ("place", json!(7), format!("{nearest} `/place`: an object is expected, not an integer")),
        ("other", json!(7), format!("{nearest} the member `other` is not allowed")),
        (
            "action",
            json!("remove"),
            "; `/action`: \"remove\" is none of the allowed values \"added\", \"removed\", \"edited\"".to_owned(),
        ),
    ] {
        let mut payload = payload();
        payload[member] = wrong;
        assert!(refusal(&schema, &payload).contains(&told), "{}", refusal(&schema, &payload));
    }
    for member in ["own50", "place"] {
        let mut payload = payload();
        payload[member]["m7"] = json!(7);
        let told = refusal(&schema, &payload);
        assert!(told.contains(&format!("{nearest} `/{member}/m7`: a string is expected, not an integer")), "{told}");
    }
}

/// What an explanation found before it grew too long is reported.
#[test]
fn an_explanation_that_is_cut_short_keeps_what_it_has() {
    let schema = schema(&json!({"items": {"anyOf": [{"type": "string"}, {"minimum": 1}]}}));
    let payload: Value = (0..50_000).map(|_| json!(0)).collect();
    let refused = schema.check_value(&payload).unwrap_err();
    assert!(refused.more);
    assert_eq!(refused.violations.len(), MAX_VIOLATIONS);
    assert_eq!(refused.violations[15].pointer, "/15");
}

/// One wrong item at the end of a long array is explained, however long the array is.
#[test]
fn a_large_payload_with_one_fault_is_explained() {
    let schema = schema(
        &json!({"items": {"anyOf": [{"properties": {"a": {"type": "integer"}}, "required": ["a"]}, {"type": "null"}]}}),
    );
    let payload: Value = (0..20_000).map(|i| if i == 19_999 { json!({"a": "x"}) } else { json!({"a": i}) }).collect();
    assert_eq!(
        refusal(&schema, &payload),
        r#""/19999" anyOf /items/anyOf: an object matches none of the schemas of `anyOf`; nearest is `anyOf/0`, but `/a`: an integer is expected, not a string"#
    );
    let long = "k".repeat(100_000);
    let refused = schema.check_value(&json!([{"a": long, "b": long}, {long: 1}])).unwrap_err();
    assert!(
        refused.violations.iter().all(|v| v.pointer.len() <= 2_000 && v.detail.chars().count() <= 200),
        "{refused:?}"
    );
}
