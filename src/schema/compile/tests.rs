//! Every fault of schema files with its place and wording, and what is kept between compilations.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::schema::compile::{Compiled, SchemaCache, SchemaLimits, compile_all};
use crate::schema::tests::{Files, LIMITS, schema};

/// `file:line:column "what the caret points at" code: sentence`, a line for each fault.
fn faults(files: &Files, compiled: &Compiled) -> String {
    let lines = compiled.faults.iter().map(|fault| {
        let text = files.0.get(&*fault.file).map_or("", String::as_str);
        let before = &text[..fault.bytes.start];
        let line = before.matches('\n').count() + 1;
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        let shown: String = text[fault.bytes.clone()].chars().take(40).collect();
        assert!(!fault.kind.help().is_empty());
        format!("{}:{line}:{column} {shown} [{}] {}", fault.file, fault.kind.code(), fault.kind)
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn check(files: &Files, roots: &[&str], expected: &str) {
    let compiled = files.compile(roots);
    assert_eq!(faults(files, &compiled), expected);
    assert!(roots.iter().all(|root| !compiled.schemas.contains_key(*root)), "{expected}");
}

/// Checks a root that consists of one file.
fn check_one(text: &str, expected: &str) {
    check(&Files([("a.json".to_owned(), text.to_owned())].into()), &["a.json"], expected);
}

#[test]
fn a_file_that_is_no_json() {
    check_one("{\n \"type\": }", "a.json:2:10 } [schema-syntax] not JSON: a value is expected here");
    check_one("", "a.json:1:1  [schema-syntax] not JSON: the text ends where a value is expected");
    check_one(
        "{\n  \"type\": \"object\",\n  \"$defs\": {\"a\": 1, \"b\": {},\n \"a\": 2}}",
        "a.json:4:2 \"a\" [schema-duplicate-key] the key `a` appears twice in this object",
    );
    // Regression: the message was the one for callers, "send UTF-8 without one".
    check_one(
        "\u{feff}{}",
        "a.json:1:1 \u{feff} [schema-syntax] not JSON: a byte order mark: save the file as UTF-8 without one",
    );
    let deep = "{\"not\":".repeat(65) + "true" + &"}".repeat(65);
    check_one(&deep, "a.json:1:449 { [schema-too-deep] nested deeper than `limits.json_depth` allows (64)");
    let large = format!("{{\"title\": \"{}\"}}", "x".repeat(1 << 20));
    check_one(&large, "a.json:1:1  [schema-too-large] the file has 1048589 bytes; `limits.schema_size` allows 1048576");
}

#[test]
fn a_file_that_is_no_schema() {
    // Regression: the name of the property was given as if it were a keyword.
    check_one(
        r#"{"$schema": "http://json-schema.org/draft-04/schema#", "properties": {"c": {"exclusiveMinimum": 1}}}"#,
        "a.json:1:76 {\"exclusiveMinimum\": 1} [schema-invalid] not a valid schema: the member `minimum` is missing\n\
         a.json:1:97 1 [schema-invalid] not a valid schema: a boolean is expected, not an integer (`exclusiveMinimum`)",
    );
    check_one(
        r#"{"type": "strnig"}"#,
        "a.json:1:10 \"strnig\" [schema-invalid] `strnig` is not a type of JSON Schema (`type`)",
    );
    check_one(
        r#"{"properties": {"a": 1}, "required": "a", "minLength": -1}"#,
        "a.json:1:22 1 [schema-invalid] not a valid schema: a boolean or an object is expected, not an integer (`properties`)
a.json:1:38 \"a\" [schema-invalid] not a valid schema: an array is expected, not a string (`required`)
a.json:1:56 -1 [schema-invalid] not a valid schema: -1 is less than 0 (`minLength`)",
    );
    check_one(
        r#"{"required": ["a", 1], "dependentRequired": {"a": "b"}}"#,
        "a.json:1:20 1 [schema-invalid] not a valid schema: a string is expected, not an integer (`required`)
a.json:1:51 \"b\" [schema-invalid] not a valid schema: an array is expected, not a string (`dependentRequired`)",
    );
    check_one(
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "exclusiveMinimum": true}"#,
        "a.json:1:76 true [schema-invalid] not a valid schema: a number is expected, not a boolean (`exclusiveMinimum`)",
    );
    check_one(
        r#"{"$schema": "https://example.org/own"}"#,
        "a.json:1:13 \"https://example.org/own\" [schema-unknown-dialect] `$schema` names no known dialect: `https://example.org/own`",
    );
    check_one(
        "[]",
        "a.json:1:1 [] [schema-invalid] not a valid schema: a boolean or an object is expected, not an array",
    );
}

#[test]
fn references_that_lead_nowhere() {
    let files = Files::of(&[
        (
            "schemas/a.json",
            json!({
                "$id": "sub/", "properties": {"x": {"$ref": "#/$defs/none"}},
            }),
        ),
        (
            "schemas/b.json",
            json!({"allOf": [
                {"$ref": "none.json"}, {"$ref": "../../etc/passwd"}, {"$ref": "/etc/passwd"}, {"$ref": "%2e%2e/%2e%2e/up.json"},
                {"$ref": "c.json#/$defs/none"}, {"$ref": "c.json#none"}, {"$ref": "#/allOf/99"}, {"$ref": "#/allOf"}, {"$ref": "http://example.org/x.json"},
                {"$ref": "file:///etc/passwd"}, {"$ref": "http://[bad"}, {"$dynamicRef": "#nowhere"},
                {"$ref": "..%5Cup.json"},
            ]}),
        ),
        ("schemas/c.json", json!(true)),
    ]);
    check(
        &files,
        &["schemas/a.json", "schemas/b.json"],
        r##"schemas/a.json:1:41 "#/$defs/none" [schema-ref-nowhere] `#/$defs/none` names nothing in `schemas/a.json`
schemas/b.json:1:19 "none.json" [schema-ref-unreadable] `none.json` cannot be read: no such file
schemas/b.json:1:40 "../../etc/passwd" [schema-ref-outside] `../../etc/passwd` leaves the directory of relay.toml
schemas/b.json:1:68 "/etc/passwd" [schema-ref-unreadable] `/etc/passwd` cannot be read: no such file
schemas/b.json:1:91 "%2e%2e/%2e%2e/up.json" [schema-ref-outside] `%2e%2e/%2e%2e/up.json` leaves the directory of relay.toml
schemas/b.json:1:124 "c.json#/$defs/none" [schema-ref-nowhere] `c.json#/$defs/none` names nothing in `schemas/c.json`
schemas/b.json:1:154 "c.json#none" [schema-ref-nowhere] `c.json#none` names nothing in `schemas/c.json`
schemas/b.json:1:177 "#/allOf/99" [schema-ref-nowhere] `#/allOf/99` names nothing in `schemas/b.json`
schemas/b.json:1:199 "#/allOf" [schema-ref-not-a-schema] `#/allOf` is in `schemas/b.json` but is not a schema
schemas/b.json:1:218 "http://example.org/x.json" [schema-ref-remote] `http://example.org/x.json` is not one of the schema files
schemas/b.json:1:255 "file:///etc/passwd" [schema-ref-remote] `file:///etc/passwd` is not one of the schema files
schemas/b.json:1:285 "http://[bad" [schema-invalid-uri] `$ref` is not a URI reference: `http://[bad`
schemas/b.json:1:315 "#nowhere" [schema-ref-nowhere] `#nowhere` names nothing in `schemas/b.json`
schemas/b.json:1:335 "..%5Cup.json" [schema-ref-outside] `..%5Cup.json` leaves the directory of relay.toml"##,
    );
}

#[test]
fn a_root_that_is_not_there_and_one_that_needs_a_bad_file() {
    let mut files = Files::of(&[
        ("a.json", json!({"$ref": "b.json"})),
        ("c.json", json!({"$ref": "b.json"})),
        ("d.json", json!(true)),
    ]);
    files.0.insert("b.json".to_owned(), "{".to_owned());
    let compiled = files.compile(&["a.json", "none.json", "c.json", "d.json", "a.json"]);
    assert_eq!(
        faults(&files, &compiled),
        "b.json:1:1 { [schema-syntax] not JSON: the text ends inside an object
none.json:1:1  [schema-unreadable] no such file"
    );
    assert_eq!(compiled.schemas.keys().map(|k| &**k).collect::<Vec<_>>(), ["d.json"]);
}

#[test]
fn references_that_go_round_in_circles() {
    check_one(
        r##"{"$ref": "#"}"##,
        "a.json:1:10 \"#\" [schema-ref-cycle] the reference leads back to itself, through `#`",
    );
    check_one(
        r##"{"anyOf": [{"type": "string"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"not": {"$ref": "#/$defs/b"}}, "b": {"if": {"$ref": "#/$defs/a"}}}}"##,
        "a.json:1:124 \"#/$defs/a\" [schema-ref-cycle] the reference leads back to itself, through `#/$defs/b`, `#/$defs/a`",
    );
    let files = Files::of(&[
        ("a.json", json!({"allOf": [{"$ref": "b.json"}]})),
        ("b.json", json!({"allOf": [{"$ref": "a.json"}]})),
    ]);
    check(
        &files,
        &["a.json", "b.json"],
        "b.json:1:19 \"a.json\" [schema-ref-cycle] the reference leads back to itself, through `b.json`, `a.json`",
    );
    for recursive in [
        json!({"properties": {"next": {"$ref": "#"}}}),
        json!({"items": {"$ref": "#"}, "additionalProperties": {"$ref": "#"}}),
        json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"type": "string"}, {"items": {"$ref": "#/$defs/a"}}]}}}),
    ] {
        assert_eq!(Files::of(&[("a.json", recursive)]).compile(&["a.json"]).faults, []);
    }
}

#[test]
fn definitions_that_double_at_every_level() {
    let doubling = |levels: usize| {
        let level = |n: usize| {
            let next = json!({"$ref": format!("#/$defs/d{}", n + 1)});
            (format!("d{n}"), json!({"anyOf": [next, next]}))
        };
        let mut defs: serde_json::Map<String, Value> = (0..levels).map(level).collect();
        defs.insert(format!("d{levels}"), json!({"type": "null"}));
        json!({"$ref": "#/$defs/d0", "$defs": defs}).to_string()
    };
    assert!(Files([("a.json".to_owned(), doubling(8))].into()).compile(&["a.json"]).faults.is_empty());
    check_one(
        &doubling(30),
        "a.json:1:1161 {\"anyOf\":[{\"$ref\":\"#/$defs/d19\"},{\"$ref\" [schema-exponential] validating one value would take 16381 steps; 10000 are allowed",
    );
    check_one(
        &doubling(100),
        "a.json:1:5641 {\"anyOf\":[{\"$ref\":\"#/$defs/d89\"},{\"$ref\" [schema-exponential] validating one value would take 16381 steps; 10000 are allowed",
    );
}

#[test]
fn regular_expressions_beyond_the_linear_engine() {
    check_one(
        r#"{"properties": {"a": {"pattern": "^(?=.*x)"}, "b": {"pattern": "(a)\\1"}, "c": {"pattern": "(a{2000}){2000}"},
"d": {"pattern": "("}, "e": {"patternProperties": {"(?<!x)y": true, "ok": {"pattern": "[z-a]"}}}, "f": {"pattern": "^\\p{L}+\\d$"}}}"#,
        "a.json:1:34 \"^(?=.*x)\" [schema-regex-look-around] `^(?=.*x)` uses look-ahead or look-behind, which is not supported
a.json:1:64 \"(a)\\\\1\" [schema-regex-back-reference] `(a)\\1` uses a back-reference, which is not supported
a.json:1:92 \"(a{2000}){2000}\" [schema-regex-too-big] `(a{2000}){2000}` needs more memory than `limits.regex_size` allows (1048576 bytes)
a.json:2:18 \"(\" [schema-regex-invalid] `(` is not a regular expression: unclosed group (character 1)
a.json:2:52 \"(?<!x)y\" [schema-regex-look-around] `(?<!x)y` uses look-ahead or look-behind, which is not supported
a.json:2:87 \"[z-a]\" [schema-regex-invalid] `[z-a]` is not a regular expression: invalid character class range, the start must be <= the end (character 2)",
    );
}

#[test]
fn formats_and_contradictions() {
    check_one(
        r#"{"format": "datetime"}"#,
        "a.json:1:12 \"datetime\" [schema-unknown-format] the format `datetime` is unknown",
    );
    let empty = [
        ("false", "it is `false`"),
        (r#"{"type": "integer", "minimum": 5, "maximum": 4}"#, "`minimum` and `maximum` contradict each other"),
        (
            r#"{"type": "string", "minLength": 3, "maxLength": 2}"#,
            "`type`, `minLength` and `maxLength` contradict each other",
        ),
        (r#"{"const": 1, "enum": [2, 3]}"#, "`enum` and `const` contradict each other"),
        (
            r#"{"type": "string", "pattern": "^a$", "const": "b"}"#,
            "`type`, `const` and `pattern` contradict each other",
        ),
        (
            r#"{"required": ["a"], "additionalProperties": false, "type": "object"}"#,
            "`type`, `additionalProperties` and `required` contradict each other",
        ),
        (
            r##"{"allOf": [{"type": "string"}, {"$ref": "#/$defs/n"}], "$defs": {"n": {"type": "number"}}}"##,
            "`/allOf/0/type` and `/$defs/n/type` contradict each other",
        ),
        (
            r##"{"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#"}}}"##,
            "its parts contradict each other",
        ),
    ];
    for (text, why) in empty {
        let files = Files([("a.json".to_owned(), text.to_owned())].into());
        let compiled = files.compile(&["a.json"]);
        assert_eq!(compiled.faults[0].kind.to_string(), format!("no value can match this schema: {why}"));
    }
}

/// Regression: the library "proves" that nothing matches these schemas, which is wrong.
#[test]
fn what_an_if_evaluates_by_one_of_its_alternatives_is_evaluated() {
    let schema = schema(&json!({
        "type": "object",
        "required": ["kind"],
        "if": {"anyOf": [
            {"properties": {"kind": {"const": "card"}, "number": {"type": "string"}}},
            {"properties": {"kind": {"const": "cash"}, "amount": {"type": "integer"}}},
        ]},
        "else": false,
        "unevaluatedProperties": false,
    }));
    for good in [json!({"kind": "card", "number": "4"}), json!({"kind": "cash", "amount": 3})] {
        assert!(schema.check_value(&good).is_ok(), "{good}");
    }
    assert!(schema.check_value(&json!({"kind": "card", "amount": 3})).is_err());
}

#[test]
fn two_files_with_one_id() {
    let files = Files::of(&[
        ("v1.json", json!({"$id": "https://example.org/order", "type": "object"})),
        (
            "v2.json",
            json!({"$id": "https://example.org/order", "type": "object", "properties": {"a": {"type": "null"}}}),
        ),
        ("c.json", json!({"anyOf": [{"$ref": "v1.json"}, {"$ref": "v2.json"}]})),
    ]);
    let compiled = files.compile(&["v1.json", "v2.json"]);
    assert_eq!(faults(&files, &compiled), "");
    check(
        &files,
        &["c.json"],
        "v2.json:1:8 \"https://example.org/order\" [schema-duplicate-id] both `v1.json` and `v2.json` have the `$id` `https://example.org/order`",
    );
}

#[test]
fn an_id_elsewhere_does_not_hide_the_file_beside() {
    let files = Files::of(&[
        (
            "schemas/order.json",
            json!({"$id": "https://example.org/schemas/order.json", "properties": {"who": {"$ref": "who.json#/$defs/w"}}}),
        ),
        ("schemas/who.json", json!({"$defs": {"w": {"type": "string"}}})),
    ]);
    let compiled = files.compile(&["schemas/order.json"]);
    assert_eq!(compiled.faults, []);
    let schema = &compiled.schemas["schemas/order.json"];
    let refused = schema.check_value(&json!({"who": 1})).unwrap_err();
    assert_eq!(refused.violations[0].schema_pointer, "schemas/who.json#/$defs/w/type");
}

#[test]
fn what_is_given_to_subscribers_stands_by_itself() {
    let files = Files::of(&[
        (
            "schemas/a b.json",
            json!({"title": "A", "properties": {"at": {"$ref": "c.json#/$defs/p%25"}, "of": {"$ref": "c.json#/$defs/q"}, "self": {"$ref": "#"}}}),
        ),
        (
            "schemas/c.json",
            json!({"$id": "c", "$defs": {"p%": {"$anchor": "p", "type": "number"}, "q": {"$ref": "#p"}}}),
        ),
    ]);
    let compiled = files.compile(&["schemas/a b.json"]);
    assert_eq!(compiled.faults, []);
    let schema = &compiled.schemas["schemas/a b.json"];
    let document = schema.document();
    assert_eq!(
        document,
        &json!({
            "$ref": "#/$defs/schemas~1a%20b.json",
            "$defs": {
                "schemas/a b.json": {"title": "A", "properties": {"at": {"$ref": "#/$defs/schemas~1c.json/$defs/p%25"}, "of": {"$ref": "#/$defs/schemas~1c.json/$defs/q"}, "self": {"$ref": "#/$defs/schemas~1a%20b.json"}}},
                "schemas/c.json": {"$defs": {"p%": {"type": "number"}, "q": {"$ref": "#/$defs/schemas~1c.json/$defs/p%25"}}},
            },
        })
    );
    let alone = crate::schema::tests::schema(document);
    for payload in
        [json!({"at": 1}), json!({"at": "x"}), json!({"self": {"at": "x"}}), json!({"self": {"self": {"at": 1}}})]
    {
        assert_eq!(schema.check_value(&payload).is_ok(), alone.check_value(&payload).is_ok(), "{payload}");
    }
}

/// Regression: a draft 4 `id` was left in the document for subscribers, where it changed what `#/…` refers to. Nobody
/// could compile that document, and no change of the schema could be compared.
#[test]
fn what_a_draft_4_schema_is_named_by_is_taken_out_too() {
    let draft_4 = "http://json-schema.org/draft-04/schema#";
    let document = json!({
        "$schema": draft_4,
        "id": "http://x/o.json",
        "properties": {"a": {"$ref": "#/definitions/n"}, "id": {"type": "string"}},
        "definitions": {"n": {"type": "number"}},
    });
    let schema = schema(&document);
    let given = schema.document();
    assert_eq!(
        given["definitions"]["schemas/a.json"],
        json!({
            "properties": {"a": {"$ref": "#/definitions/schemas~1a.json/definitions/n"}, "id": {"type": "string"}},
            "definitions": {"n": {"type": "number"}},
        })
    );
    let alone = crate::schema::tests::schema(given);
    for (payload, fits) in [(json!({"a": 1}), true), (json!({"a": "x"}), false)] {
        assert_eq!([&schema, &alone].map(|schema| schema.check_value(&payload).is_ok()), [fits; 2], "{payload}");
    }
    // Later dialects do not know that keyword, so it stays.
    let newer = json!({"id": "x", "properties": {"a": {"$ref": "#"}}});
    let newer = crate::schema::tests::schema(&newer);
    assert_eq!(newer.document()["$defs"]["schemas/a.json"]["id"], "x");
}

#[test]
fn unchanged_schemas_are_the_very_same() {
    let mut files = Files::of(&[
        ("a.json", json!({"$ref": "common.json#/$defs/n"})),
        ("b.json", json!({"type": "object"})),
        ("common.json", json!({"$defs": {"n": {"type": "number"}}})),
    ]);
    let roots: Vec<Arc<str>> = vec!["a.json".into(), "b.json".into()];
    let first = compile_all(&files, &roots, &LIMITS, &SchemaCache::default());
    let again = compile_all(&files, &roots, &LIMITS, &first.cache);
    assert!(roots.iter().all(|root| Arc::ptr_eq(&first.schemas[root], &again.schemas[root])));

    files.0.insert("common.json".to_owned(), json!({"$defs": {"n": {"type": "integer"}}}).to_string());
    let changed = compile_all(&files, &roots, &LIMITS, &again.cache);
    assert!(!Arc::ptr_eq(&first.schemas["a.json"], &changed.schemas["a.json"]));
    assert!(changed.schemas["a.json"].check_value(&json!(1.5)).is_err());
    assert!(Arc::ptr_eq(&first.schemas["b.json"], &changed.schemas["b.json"]));

    let limits = SchemaLimits { regex_size: 1 << 19, ..LIMITS };
    let limited = compile_all(&files, &roots, &limits, &changed.cache);
    assert!(!Arc::ptr_eq(&changed.schemas["b.json"], &limited.schemas["b.json"]));
}

/// Regression: an inner schema that broke its dialect's rules was reported at the start of the file, in the compiler's
/// words.
#[test]
fn a_part_in_another_dialect_is_told_with_its_place() {
    check_one(
        r#"{"properties": {"a": {"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": "x"}}}"#,
        "a.json:1:97 \"x\" [schema-uncompilable] a number is expected, not a string",
    );
    // Regression: it was silently taken for the outer dialect.
    check_one(
        r#"{"properties": {"a": {"$schema": "https://example.com/foo"}}}"#,
        "a.json:1:34 \"https://example.com/foo\" [schema-unknown-dialect] `$schema` names no known dialect: \
         `https://example.com/foo`",
    );
}
