//! The verdicts on changes of a schema, case by case.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::schema::Schema;
use crate::schema::compat::{Side, publishers, subscribers};
use crate::schema::tests::{Files, schema};
use crate::stopwatch::Stopwatch;

/// What a change does to each side.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Verdict {
    pub(super) publishers: Side,
    pub(super) subscribers: Side,
}

pub(super) fn compare(old: &Schema, new: &Schema) -> Verdict {
    Verdict { publishers: publishers(old, new), subscribers: subscribers(old, new) }
}

fn word(side: &Side) -> &'static str {
    match side {
        Side::Yes => "yes",
        Side::No { .. } => "no",
        Side::Unknown { .. } => "unknown",
    }
}

fn words(verdict: &Verdict) -> String {
    format!("publishers {}, subscribers {}", word(&verdict.publishers), word(&verdict.subscribers))
}

/// Each paragraph of `verdicts.txt`: the old schema, the new one, and what it means.
#[test]
fn each_change_has_its_verdict() {
    let paragraphs: Vec<&str> = include_str!("tests/verdicts.txt").split_terminator("\n\n").collect();
    assert!(paragraphs.len() >= 40);
    for paragraph in paragraphs {
        let [old, new, expected] = paragraph.lines().collect::<Vec<_>>()[..] else { panic!("{paragraph}") };
        let schema = |text: &str| schema(&serde_json::from_str(text).expect(text));
        let (old, new) = (schema(old), schema(new));
        let verdict = compare(&old, &new);
        assert_eq!(words(&verdict), expected, "{paragraph}\n{verdict:?}");
        for (side, accepts, refuses) in [(&verdict.publishers, &old, &new), (&verdict.subscribers, &new, &old)] {
            let Side::No { example, .. } = side else { continue };
            let example = example.as_ref().expect(paragraph);
            assert!(accepts.check_value(example).is_ok() && refuses.check_value(example).is_err(), "{paragraph}");
        }
    }
}

/// The first column of the table in docs/reload.md, as members that change.
fn usual(change: &str) -> Vec<(Value, Value)> {
    let object = |properties: Value, required: Value| json!({"properties": properties, "required": required});
    let (n, both) = (json!({"n": {"type": "integer"}}), json!({"n": {"type": "integer"}, "m": {"type": "string"}}));
    let one = |old: Value, new: Value| (object(json!({"n": old}), json!([])), object(json!({"n": new}), json!([])));
    let (few, more) = (json!({"enum": [1]}), json!({"enum": [1, 2]}));
    let (near, far) = (json!({"type": "integer", "minimum": 2}), json!({"type": "integer", "minimum": 1}));
    match change {
        "add an optional property" => vec![(object(n, json!(["n"])), object(both, json!(["n"])))],
        "add a required property" => vec![(object(n, json!(["n"])), object(both, json!(["n", "m"])))],
        "remove an optional property" => vec![(object(both, json!(["n"])), object(n, json!(["n"])))],
        "make a property required" => vec![(object(n.clone(), json!([])), object(n, json!(["n"])))],
        "make a property optional" => vec![(object(n.clone(), json!(["n"])), object(n, json!([])))],
        "add a value to an `enum`, widen a bound" => vec![one(few, more), one(near, far)],
        "take a value from an `enum`, narrow a bound" => vec![one(more, few), one(far, near)],
        "change a `description`" => vec![one(json!({"description": "a"}), json!({"description": "b"}))],
        other => panic!("no schema for {other}"),
    }
}

#[test]
fn the_usual_changes_do_what_the_documents_say() {
    let text = include_str!("../../../docs/reload.md");
    let (_, table) = text.split_once("| change | open schema | closed schema |\n|---|---|---|\n").expect("a table");
    let rows: Vec<&str> = table.lines().take_while(|line| line.starts_with('|')).collect();
    assert_eq!(rows.len(), 8);
    for row in rows {
        let [change, open, closed] = row.trim_matches('|').split('|').map(str::trim).collect::<Vec<_>>()[..] else {
            panic!("{row}")
        };
        for ((old, new), (is_closed, expected)) in
            usual(change).into_iter().flat_map(|pair| [(pair.clone(), (false, open)), (pair, (true, closed))])
        {
            let make = |mut value: Value| {
                value["type"] = json!("object");
                if is_closed {
                    value["additionalProperties"] = json!(false);
                }
                schema(&value)
            };
            let said = match words(&compare(&make(old), &make(new))).as_str() {
                "publishers yes, subscribers yes" => "nothing",
                "publishers no, subscribers yes" => "breaks publishers",
                "publishers yes, subscribers no" => "breaks subscribers",
                "publishers no, subscribers no" => "breaks publishers and subscribers",
                _ => "it cannot be told",
            };
            assert_eq!(said, expected, "{change}, closed: {is_closed}");
        }
    }
}

#[test]
fn the_opt_out_is_compared_like_any_other() {
    let (any, object) =
        (Schema::any(), schema(&json!({"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"})));
    assert_eq!(words(&compare(&any, &object)), "publishers no, subscribers yes");
    assert_eq!(words(&compare(&object, &any)), "publishers yes, subscribers no");
    assert_eq!(compare(&any, &any), Verdict { publishers: Side::Yes, subscribers: Side::Yes });
}

/// Both versions refer to a file of the same name, whose content has changed.
#[test]
fn a_change_of_a_referenced_file_counts() {
    let with = |n: Value| {
        let files = Files::of(&[
            ("a.json", json!({"properties": {"n": {"$ref": "lib/n.json"}}, "type": "object"})),
            ("lib/n.json", n),
        ]);
        files.compile(&["a.json"]).schemas.remove("a.json").expect("a schema")
    };
    let verdict = compare(&with(json!({"type": "number"})), &with(json!({"type": "integer"})));
    assert_eq!(verdict.subscribers, Side::Yes);
    let Side::No { lost: Some(_), example: Some(example) } = verdict.publishers else { panic!("{verdict:?}") };
    assert_eq!(example, json!({"n": 0.5}));
}

/// Regression: comparing seven conditions took minutes, and so did the reload.
#[test]
fn what_would_take_long_is_unknown_at_once() {
    let step = |i: usize| json!({"if": {"properties": {"k": {"const": i}}}, "then": {"required": [i.to_string()]}});
    let chain = |length| json!({"type": "object", "allOf": (0..length).map(step).collect::<Value>()});
    let start = Stopwatch::start();
    let verdict =
        compare(&schema(&chain(30)), &schema(&json!({"type": "object", "allOf": [chain(30), {"title": "x"}]})));
    assert!(start.elapsed() < Duration::from_secs(5));
    let why = "it has too many alternatives".to_owned();
    assert_eq!(verdict.publishers, Side::Unknown { why, is_comparable: false });
    let pattern = |pattern: &str| schema(&json!({"type": "string", "minLength": 2, "pattern": pattern}));
    let verdict = compare(&pattern("^[a-z]{2,9}$"), &pattern("^([a-z]{2}|[a-z]{3,9})$"));
    assert!(matches!(verdict.publishers, Side::Unknown { is_comparable: true, .. }), "{verdict:?}");
}

/// Regression: the difference of a thousand members took a gigabyte, and went into the log as a line of forty
/// megabytes.
#[test]
fn what_a_change_of_many_members_loses_is_shown_by_an_example_only() {
    let members = |more: usize| -> Value {
        let member = |i: usize| (format!("m{i}"), json!({"type": "string", "maxLength": i + more}));
        json!({"type": "object", "properties": (0..1_000).map(member).collect::<serde_json::Map<_, _>>()})
    };
    let by_reference = |most: usize| {
        let parts: serde_json::Map<_, _> = (0..40).map(|i| (format!("m{i}"), json!({"$ref": "#/$defs/a"}))).collect();
        let whole: serde_json::Map<_, _> = (0..40).map(|i| (format!("m{i}"), json!({"$ref": "#/$defs/b"}))).collect();
        let a = json!({"type": "string", "maxLength": most});
        json!({"type": "object", "properties": whole, "$defs": {"a": a, "b": {"type": "object", "properties": parts}}})
    };
    for (old, new) in [(members(1), members(0)), (by_reference(2), by_reference(1))] {
        let start = Stopwatch::start();
        let Side::No { lost, example } = publishers(&schema(&old), &schema(&new)) else { panic!("it breaks") };
        assert!(lost.is_none() && example.is_some(), "{lost:?} {example:?}");
        assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    }
}

/// More alternatives than a comparison handles.
fn alternatives() -> Value {
    let either = |i: usize| json!({"anyOf": [{"required": [format!("a{i}")]}, {"required": [format!("b{i}")]}]});
    (0..6).map(either).collect()
}

/// Regression: if a schema was large or had many alternatives, a corrected typo in a description was refused as not
/// comparable.
#[test]
fn what_only_describes_is_never_compared() {
    let alternatives = json!({"type": "object", "allOf": alternatives()});
    let member = |i: usize| (format!("member-{i}"), json!({"type": "string", "description": "x".repeat(100)}));
    let large = json!({"type": "object", "properties": (0..1_500).map(member).collect::<serde_json::Map<_, _>>()});
    let condition = json!({"if": {"anyOf": [{"required": ["a"]}]}, "unevaluatedProperties": false});
    let recursive = json!({"properties": {"l": {"$ref": "#"}}});
    let yes = Verdict { publishers: Side::Yes, subscribers: Side::Yes };
    for plain in [alternatives, large, condition, recursive] {
        let mut described = plain.clone();
        described["description"] = json!("A cat");
        described["$comment"] = json!("and a remark");
        let (plain, described) = (schema(&plain), schema(&described));
        assert_eq!(compare(&plain, &described), yes);
        assert!(!plain.is_same(&described), "subscribers are told of the new words");
    }
    // A property may have the name of such a keyword.
    let named = |of: &str| schema(&json!({"properties": {"description": {"type": of}}}));
    assert_eq!(words(&compare(&named("string"), &named("integer"))), "publishers no, subscribers no");
    // What looks like a keyword within a value is none either.
    let value = |of: &str| schema(&json!({"const": {"title": of}}));
    assert_eq!(words(&compare(&value("a"), &value("b"))), "publishers no, subscribers no");
}

/// Regression: that held only below the dialect's own keyword for definitions.
#[test]
fn what_only_describes_is_never_compared_wherever_it_stands() {
    let of = |words: &str| {
        let member = json!({"type": "string", "description": words});
        json!({"type": "object", "title": words, "allOf": alternatives(), "properties": {"p": member}})
    };
    let draft_7 = "http://json-schema.org/draft-07/schema#";
    let all = |words: &str| {
        [
            (json!({"$ref": "#/components/schemas/n", "components": {"schemas": {"n": of(words)}}}), json!({})),
            (json!({"$schema": draft_7, "not": {"$ref": "#/$defs/n"}, "$defs": {"n": of(words)}}), json!({})),
            (json!({"$ref": "d.json#/n"}), json!({"n": of(words)})),
            (
                json!({"$ref": "d.json#/n/properties/p/x/n"}),
                json!({"n": {"properties": {"p": {"x": {"n": of(words)}}}}}),
            ),
        ]
    };
    for ((root, shared), (new_root, new_shared)) in all("A cat").into_iter().zip(all("A dog")) {
        let with =
            |root: Value, shared: Value| written(&[("s.json", &root.to_string()), ("d.json", &shared.to_string())]);
        let (old, new) = (with(root.clone(), shared), with(new_root, new_shared));
        assert!(!old.is_same(&new), "subscribers are told of the new words");
        assert_eq!(compare(&old, &new), Verdict { publishers: Side::Yes, subscribers: Side::Yes }, "{root}");
    }
}

/// Regression: definitions were named after their files, so a moved schema counted as another one, and a recursive one
/// could not even be compared.
#[test]
fn a_file_that_is_moved_changes_nothing() {
    let tree = || json!({"properties": {"l": {"$ref": "#"}, "n": {"type": "integer"}}});
    let alone = |path: &str| Files::of(&[(path, tree())]).compile(&[path]).schemas.remove(path).expect("a schema");
    let shared = |path: &str| {
        let root = json!({"properties": {"a": {"$ref": path}, "b": {"$ref": "z.json"}}});
        let files = Files::of(&[("s.json", root), (path, tree()), ("z.json", json!({"type": "string"}))]);
        files.compile(&["s.json"]).schemas.remove("s.json").expect("a schema")
    };
    for (old, new) in [(alone("s.json"), alone("t/t.json")), (shared("defs.json"), shared("common.json"))] {
        assert!(old.is_same(&new));
        assert_eq!(compare(&old, &new), Verdict { publishers: Side::Yes, subscribers: Side::Yes });
        assert_ne!(old.document(), new.document(), "subscribers see the paths");
    }
}

/// The schema `s.json`, with other files beside it; keeps the order of members in the texts.
fn written(texts: &[(&str, &str)]) -> Arc<Schema> {
    let files = Files(texts.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect());
    let compiled = files.compile(&["s.json"]);
    assert_eq!(compiled.faults, []);
    compiled.schemas["s.json"].clone()
}

/// Regression: files were numbered in the order of the text. Sorting members, or adding an unused definition in front,
/// counted as a change of the schema, and if that was recursive it could not even be compared.
#[test]
fn neither_the_order_of_members_nor_what_nobody_uses_changes_anything() {
    let tree = r##"{"properties": {"l": {"$ref": "#"}}}"##;
    let (string, number) = (r#"{"type": "string"}"#, r#"{"type": "number"}"#);
    let with = |root: &str, shared: &str| {
        written(&[("s.json", root), ("x.json", tree), ("y.json", string), ("w.json", number), ("defs.json", shared)])
    };
    let both = r#"{"properties": {"a": {"$ref": "x.json"}, "b": {"$ref": "y.json"}}}"#;
    let sorted = r#"{"properties": {"b": {"$ref": "y.json"}, "a": {"$ref": "x.json"}}}"#;
    let used = r##"{"properties": {"a": {"$ref": "defs.json#/$defs/a"}, "b": {"$ref": "y.json"}}}"##;
    let shared = r#"{"$defs": {"a": {"$ref": "x.json"}}}"#;
    let longer = r#"{"$defs": {"unused": {"$ref": "w.json"}, "a": {"$ref": "x.json"}}}"#;
    let yes = Verdict { publishers: Side::Yes, subscribers: Side::Yes };
    for (old, new) in [((both, "{}"), (sorted, "{}")), ((used, shared), (used, longer))] {
        let (old, new) = (with(old.0, old.1), with(new.0, new.1));
        assert!(old.is_same(&new), "{} {}", old.document(), new.document());
        assert_eq!(compare(&old, &new), yes);
    }
    // The same if a file is moved as well.
    let moved = written(&[
        ("s.json", r#"{"properties": {"b": {"$ref": "b.json"}, "a": {"$ref": "z.json"}}}"#),
        ("z.json", tree),
        ("b.json", string),
    ]);
    assert!(with(both, "{}").is_same(&moved));
    let swapped = r#"{"properties": {"a": {"$ref": "y.json"}, "b": {"$ref": "x.json"}}}"#;
    assert!(!with(both, "{}").is_same(&with(swapped, "{}")));
}

/// Regression: a member added in front renumbered the files, and a recursive schema could not be compared any more.
#[test]
fn where_a_member_is_added_does_not_matter() {
    let closed = |members: &str| {
        written(&[
            ("s.json", &format!(r#"{{"properties": {{{members}}}, "additionalProperties": false}}"#)),
            ("x.json", r##"{"properties": {"l": {"$ref": "#"}}}"##),
            ("y.json", r#"{"type": "string"}"#),
        ])
    };
    let (a, b) = (r#""m": {"$ref": "x.json"}"#, r#""b": {"$ref": "y.json"}"#);
    let old = closed(a);
    for new in [closed(&format!("{a}, {b}")), closed(&format!("{b}, {a}"))] {
        assert_eq!(publishers(&old, &new), Side::Yes);
        assert_ne!(subscribers(&old, &new), Side::Yes);
    }
}

/// Regression: parts that only look like descriptions were left out of the comparison, so changes of them went
/// unnoticed.
#[test]
fn what_a_reference_leads_to_is_no_description() {
    let of = |text: &str, kind: &str| schema(&serde_json::from_str(&text.replace("KIND", kind)).expect(text));
    for text in [
        r##"{"properties": {"a": {"$ref": "#/examples/0"}}, "examples": [{"type": "KIND"}]}"##,
        r##"{"properties": {"a": {"$ref": "#/default"}}, "default": {"type": "KIND"}}"##,
        r##"{"properties": {"a": {"$ref": "#/default/x"}}, "default": {"x": {"type": "KIND"}}}"##,
        r##"{"properties": {"self": {"$ref": "#/properties"}, "title": {"type": "KIND"}}}"##,
        r##"{"$ref": "#/$defs", "properties": {"a": {"$ref": "#/$defs/title"}}, "$defs": {"title": {"type": "KIND"}}}"##,
        r##"{"const": {"title": "KIND"}, "allOf": [{"$ref": "#/const"}]}"##,
        r##"{"const": {"properties": {"x": {"title": "KIND"}}}, "allOf": [{"$ref": "#/const"}]}"##,
        r##"{"allOf": [{"$ref": "#/x/const"}, {"$ref": "#/x"}], "x": {"const": {"title": "KIND"}}}"##,
        r##"{"allOf": [{"$ref": "#/x/const"}, {"$ref": "#/x"}], "x": {"const": {"$anchor": "KIND"}}}"##,
        // Keywords that flattening removes or rewrites in every schema.
        r##"{"const": {"definitions": {"x": "KIND"}}, "allOf": [{"$ref": "#/const"}]}"##,
        r##"{"enum": [{"x": {"$anchor": "KIND"}}], "allOf": [{"$ref": "#/enum/0"}]}"##,
        r##"{"const": {"$anchor": "KIND"}, "allOf": [{"$ref": "#/const"}]}"##,
        r##"{"properties": {"self": {"$ref": "#/properties"}, "$anchor": {"type": "KIND"}}}"##,
        // A map of schemas that is read as a schema as well: what one reading takes for a schema is a value in the
        // other.
        r##"{"allOf": [{"$ref": "#/properties"}], "properties": {"properties": {"const": {"$anchor": "KIND"}}}}"##,
        r##"{"allOf": [{"$ref": "#/$defs"}, {"$ref": "#/$defs/const"}], "$defs": {"const": {"title": "KIND"}}}"##,
        r##"{"allOf": [{"$ref": "#/$defs"}, {"$ref": "#/$defs/const/y"}], "$defs": {"const": {"y": {"title": "KIND"}}}}"##,
        r##"{"allOf": [{"$ref": "#/$defs"}, {"$ref": "#/$defs/$id"}], "$defs": {"$id": {"type": "KIND"}}}"##,
    ] {
        let (old, new) = (of(text, "string"), of(text, "integer"));
        assert!(!old.is_same(&new), "{text}");
        let Verdict { publishers, subscribers } = compare(&old, &new);
        assert!(![&publishers, &subscribers].contains(&&Side::Yes), "{text}: {publishers:?} {subscribers:?}");
    }
    // Any other change of such a schema is compared as usual.
    let with = |kind: &str| {
        let document = json!({
            "properties": {"a": {"$ref": "#/examples/0"}, "b": {"type": kind}},
            "examples": [{"type": "string"}],
        });
        schema(&document)
    };
    assert_eq!(words(&compare(&with("integer"), &with("number"))), "publishers yes, subscribers no");
}
