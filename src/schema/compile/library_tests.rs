//! Thousands of faults, cycles that meet, documents known to be good, ambiguous names, and built-in schemas.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::schema::compile::{Compiled, SchemaCache, compile_all};
use crate::schema::tests::{Files, LIMITS};
use crate::stopwatch::Stopwatch;

/// `code pointer` for each fault.
fn codes(compiled: &Compiled) -> Vec<String> {
    compiled.faults.iter().map(|fault| format!("{} {}", fault.kind.code(), fault.pointer)).collect()
}

/// Regression: each fault searched the text from its beginning; 4,000 of them took a quarter of a minute at each
/// reload.
#[test]
fn thousands_of_faults_are_placed_in_time() {
    let property = |i: usize| (format!("p{i}"), json!({"type": "integer", "format": "datetime", "maxlenght": i}));
    let properties: serde_json::Map<_, _> = (0..8_000).map(property).collect();
    let files = Files::of(&[("a.json", json!({ "properties": properties }))]);
    let start = Stopwatch::start();
    let compiled = files.compile(&["a.json"]);
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert_eq!(compiled.faults.len(), 8_001);
    let text = &files.0["a.json"];
    for fault in &compiled.faults {
        assert!(["\"datetime\"", "\"maxlenght\""].contains(&&text[fault.bytes.clone()]), "{}", fault.pointer);
    }
}

/// Regression: of two cycles that meet in one schema, the second was reported only once the first was mended.
#[test]
fn cycles_that_meet_are_told_each_and_those_that_share_a_way_are_not() {
    let cycles = |of: &[(&str, &[&str])]| {
        let to = |name: &&str| json!({"$ref": format!("#/$defs/{name}")});
        let schema = |(name, to_all): &(&str, &[&str])| {
            ((*name).to_owned(), json!({"allOf": to_all.iter().map(to).collect::<Vec<_>>()}))
        };
        let defs: serde_json::Map<String, Value> = of.iter().map(schema).collect();
        codes(&Files::of(&[("a.json", json!({"$defs": defs, "$ref": "#/$defs/a"}))]).compile(&["a.json"]))
    };
    let hub = cycles(&[("a", &["b", "c"]), ("b", &["a"]), ("c", &["a"])]);
    assert_eq!(hub, ["schema-ref-cycle /$defs/b/allOf/0/$ref", "schema-ref-cycle /$defs/c/allOf/0/$ref"]);
    let way = cycles(&[("a", &["b"]), ("b", &["a", "c"]), ("c", &["a", "d"]), ("d", &["a"])]);
    assert_eq!(way, ["schema-ref-cycle /$defs/b/allOf/0/$ref"]);
}

/// Regression: a file once known to be good stayed so. If a later reference led into an unchecked part, a reload found
/// other faults than `relay check`, or none.
#[test]
fn a_good_file_is_looked_at_where_a_new_reference_leads() {
    let library = json!({"x-u": {"pattern": "(", "format": "bogus"}, "x-w": {"maxlenght": 3}, "type": "object"});
    let with = |root: Value| Files::of(&[("a.json", root), ("lib.json", library.clone())]);
    let roots: [Arc<str>; 1] = ["a.json".into()];
    let first = compile_all(&with(json!({"$ref": "lib.json"})), &roots, &LIMITS, &SchemaCache::default());
    assert_eq!(first.faults, []);
    for target in ["lib.json#/x-u", "lib.json#/x-w"] {
        let files = with(json!({"anyOf": [{"$ref": "lib.json"}, {"$ref": target}]}));
        let anew = compile_all(&files, &roots, &LIMITS, &SchemaCache::default());
        assert!(!anew.faults.is_empty());
        assert_eq!(codes(&compile_all(&files, &roots, &LIMITS, &first.cache)), codes(&anew), "{target}");
    }
}

/// Regression: the compiler took the last of them, comparisons the first, so a breaking change passed every promise.
#[test]
fn a_name_stands_for_one_schema_of_a_file() {
    let draft_7 = "http://json-schema.org/draft-07/schema#";
    for (document, expected) in [
        (json!({"$ref": "#x", "$defs": {"a": {"$anchor": "x"}, "b": {"$anchor": "x"}}}), "/$defs/b/$anchor"),
        (json!({"$defs": {"a": {"$dynamicAnchor": "x"}, "b": {"$anchor": "x"}}}), "/$defs/b/$anchor"),
        (json!({"$defs": {"a": {"$id": "x"}, "b": {"$id": "x"}}}), "/$defs/b/$id"),
        (json!({"$schema": draft_7, "definitions": {"a": {"$id": "#x"}, "b": {"$id": "#x"}}}), "/definitions/b/$id"),
    ] {
        let compiled = Files::of(&[("a.json", document)]).compile(&["a.json"]);
        assert_eq!(codes(&compiled), [format!("schema-duplicate-id {expected}")]);
    }
    let apart = json!({"$defs": {"a": {"$anchor": "x", "$dynamicAnchor": "x"}, "b": {"$id": "b", "$anchor": "x"}}});
    assert_eq!(codes(&Files::of(&[("a.json", apart)]).compile(&["a.json"])), [""; 0]);
}

/// Regression: the one of another dialect was refused in the library's words, at the beginning of the file.
#[test]
fn the_meta_schema_of_its_own_dialect_is_built_in() {
    let schemas = [
        "http://json-schema.org/draft-04/schema#",
        "http://json-schema.org/draft-06/schema#",
        "http://json-schema.org/draft-07/schema#",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    ];
    for dialect in schemas {
        for target in schemas {
            let document = json!({"$schema": dialect, "properties": {"a": {"$ref": target}}});
            let compiled = Files::of(&[("a.json", document)]).compile(&["a.json"]);
            let expected: &[&str] = if dialect == target { &[] } else { &["schema-ref-remote /properties/a/$ref"] };
            assert_eq!(codes(&compiled), expected, "{dialect} {target}");
        }
    }
}

/// The faults of a document, with their places.
fn faults(document: Value) -> Vec<String> {
    let compiled = Files::of(&[("a.json", document)]).compile(&["a.json"]);
    compiled.faults.iter().map(|fault| format!("{} {}", fault.pointer, fault.kind)).collect()
}

/// In old dialects everything beside a `$ref` is void, even its `$schema`.
#[test]
fn a_dialect_that_is_void_is_not_asked_for() {
    let with = |dialect: &str| {
        json!({
            "$schema": dialect,
            "properties": {"a": {"$ref": "#/definitions/n", "$schema": "https://example.org/unknown"}},
            "definitions": {"n": {"type": "integer"}},
        })
    };
    assert_eq!(faults(with("http://json-schema.org/draft-07/schema#")), [""; 0]);
    let counts = faults(with("https://json-schema.org/draft/2020-12/schema"));
    assert!(counts.len() == 1 && counts[0].starts_with("/properties/a/$schema "), "{counts:?}");
}

/// Regression: each pair was reported. Sixty definitions that refer to each other gave 1,770 errors, each with its
/// whole path.
#[test]
fn what_goes_round_in_circles_is_not_told_for_each_pair() {
    let definitions = |prefix: &str, count: usize| -> serde_json::Map<_, _> {
        let any: Value = (0..count).map(|n| json!({"$ref": format!("#/$defs/{prefix}{n}")})).collect();
        (0..count).map(|n| (format!("{prefix}{n}"), json!({"anyOf": any.clone()}))).collect()
    };
    let mut both = definitions("a", 20);
    both.extend(definitions("b", 20));
    let told = faults(json!({ "$defs": both }));
    assert_eq!(told.len(), 2 * (20 + 19), "each with itself, and with the one before");
    assert!(told.iter().all(|told| told.matches("#/$defs/").count() <= 2), "{told:?}");
    let chain: serde_json::Map<_, _> =
        (0..20).map(|n| (format!("a{n}"), json!({"$ref": format!("#/$defs/a{}", (n + 1) % 20)}))).collect();
    let told = faults(json!({ "$defs": chain }));
    assert!(told.len() == 1 && told[0].ends_with("`#/$defs/a8` and 12 more"), "{told:?}");
}

/// Regression: the message did not say which reference leads nowhere.
#[test]
fn a_reference_that_only_the_compiler_follows_is_named() {
    let told = faults(json!({"$ref": "https://json-schema.org/draft/2020-12/schema#/nope"}));
    assert!(told.len() == 1 && told[0].contains("/nope"), "{told:?}");
}

/// (what it is, what is told of it)
#[test]
fn what_is_read_beside_the_usual_is_told_too() {
    let (draft_7, draft_2019) =
        ("http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2019-09/schema");
    let beside = json!({"$schema": draft_7, "properties": {"a": {"$ref": "#", "not": {"type": "null"}}}});
    let within = json!({"$id": "https://ex.com/", "$ref": "#/definitions/n"});
    let named = json!({"$schema": draft_7, "properties": {"a": within}, "definitions": {"n": {}}});
    for (document, expected) in [
        (json!({"type": ["string", "strnig"]}), &["/type `strnig` is not a type"][..]),
        (json!({"x-pattern": "^a", "x-type": "b"}), &[]),
        (beside, &["/properties/a/not "]),
        (json!({"anyoff": [true]}), &["/anyoff "]),
        (named, &[]),
        (json!({"$schema": draft_2019, "allOf": [{"$recursiveRef": "#"}]}), &["/allOf/0/$recursiveRef "]),
    ] {
        let told = faults(document);
        let is_as_expected = |(told, start): (&String, &&str)| told.starts_with(start);
        assert!(told.len() == expected.len() && told.iter().zip(expected).all(is_as_expected), "{told:?}");
    }
    let list = |more: Value| {
        let mut document = json!({"items": [{}]});
        document.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let compiled = Files::of(&[("a.json", document)]).compile(&["a.json"]);
        compiled.faults[0].kind.help().contains("without `$schema`")
    };
    assert!(list(json!({})) && !list(json!({"$schema": "https://json-schema.org/draft/2020-12/schema"})));
}

#[test]
fn what_is_wrong_in_a_file_of_two_roots_is_told_once() {
    let root = json!({"$ref": "lib.json"});
    let of_both = |library: &[(&str, Value)]| {
        let files = [&[("a.json", root.clone()), ("b.json", root.clone())], library].concat();
        codes(&Files::of(&files).compile(&["a.json", "b.json"]))
    };
    let leads_nowhere = of_both(&[("lib.json", json!({"properties": {"x": {"$ref": "https://ids.org/none"}}}))]);
    assert_eq!(leads_nowhere, ["schema-ref-remote /properties/x/$ref"]);
    let draft_4 = "http://json-schema.org/draft-04/schema#";
    let named = |kind: &str| json!({"$schema": draft_4, "id": "https://ids.org/one", "type": kind});
    let lib = json!({"anyOf": [{"$ref": "p.json"}, {"$ref": "q.json"}]});
    let twice = of_both(&[("lib.json", lib), ("p.json", named("string")), ("q.json", named("null"))]);
    assert_eq!(twice, ["schema-duplicate-id /id"]);
}

#[test]
fn what_is_no_part_of_a_path_is_not_looked_for_and_what_is_no_uri_is_encoded() {
    let with = |target: &str| {
        let root =
            json!({"$id": "https://ex.com/a.json", "$defs": {"a[b]": {}}, "properties": {"x": {"$ref": target}}});
        Files::of(&[("a.json", root), ("b.json", json!({"type": "null"}))]).compile(&["a.json"])
    };
    assert_eq!(codes(&with("b.json?v=2")), [""; 0]);
    let without_id = json!({"properties": {"x": {"$ref": "b.json?v=2"}}});
    let files = Files::of(&[("a.json", without_id), ("b.json", json!({"type": "null"}))]);
    assert_eq!(codes(&files.compile(&["a.json"])), [""; 0]);
    let bracket = with("#/$defs/a[b]").faults.remove(0).kind.help().into_owned();
    assert_eq!(bracket, "encode it (RFC 3986): `#/$defs/a%5Bb%5D`");
}
