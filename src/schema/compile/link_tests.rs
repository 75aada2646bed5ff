//! Which file a reference leads to: never one of another root, never one outside, and the same in any order of roots.

use std::cell::RefCell;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::schema::Schema;
use crate::schema::compile::{Compiled, SchemaCache, Texts, compile_all};
use crate::schema::tests::{Files, LIMITS};

const DRAFT_7: &str = "http://json-schema.org/draft-07/schema#";

/// `file pointer: sentence; help` for each fault.
fn told(compiled: &Compiled) -> Vec<String> {
    let told = compiled.faults.iter().map(|f| format!("{} {}: {}; {}", f.file, f.pointer, f.kind, f.kind.help()));
    told.collect()
}

/// The faults of a root.
fn told_of(files: &[(&str, Value)], root: &str) -> Vec<String> {
    told(&Files::of(files).compile(&[root]))
}

fn accepts(schema: &Schema, value: &Value) -> bool {
    schema.check_value(value).is_ok()
}

/// Checks that each root compiles the same alone and among the others, in any order.
fn check_alone(files: &Files, roots: &[&str]) {
    let mut backwards = roots.to_vec();
    backwards.reverse();
    for order in [roots, &backwards] {
        let together = files.compile(order);
        assert_eq!(told(&together), [""; 0]);
        for root in roots {
            let alone = files.compile(&[root]).schemas.remove(*root).expect("a schema");
            let among = &together.schemas[*root];
            assert!(alone == *among, "{root} among {order:?} is made of something else");
            assert_eq!(alone.document(), among.document(), "{root} among {order:?}");
        }
    }
}

/// Regression: the second was judged by the file beside the first, and a trial of it refused nothing.
#[test]
fn two_versions_with_the_same_ids_do_not_meet() {
    let order = json!({"$id": "https://ex.com/order.json", "properties": {"to": {"$ref": "address.json"}}});
    for id in [json!({"$id": "https://ex.com/address.json"}), json!({})] {
        let address = |required: Value| {
            let mut address = id.clone();
            address["required"] = required;
            address
        };
        let files = Files::of(&[
            ("v1/order.json", order.clone()),
            ("v1/address.json", address(json!(["zip"]))),
            ("v2/order.json", order.clone()),
            ("v2/address.json", address(json!(["zip", "country"]))),
        ]);
        check_alone(&files, &["v1/order.json", "v2/order.json", "v1/address.json", "v2/address.json"]);
        for order in [["v1/order.json", "v2/order.json"], ["v2/order.json", "v1/order.json"]] {
            let compiled = files.compile(&order);
            let payload = json!({"to": {"zip": "1"}});
            assert!(accepts(&compiled.schemas["v1/order.json"], &payload), "{order:?}");
            assert!(!accepts(&compiled.schemas["v2/order.json"], &payload), "{order:?}");
        }
    }
}

/// Regression: another topic's copy of a meta-schema changed or broke schemas that refer to the built-in one.
#[test]
fn a_copy_of_a_meta_schema_counts_in_its_own_file_alone() {
    let refers = json!({"$schema": DRAFT_7, "properties": {"x": {"$ref": DRAFT_7}}});
    let with_copy = |copy: Value| {
        let mut document = refers.clone();
        document["definitions"] = json!({"m": copy});
        document
    };
    let id = "http://json-schema.org/draft-07/schema";
    let files = Files::of(&[
        ("a.json", refers.clone()),
        ("b.json", with_copy(json!({"$id": id, "type": "integer"}))),
        ("d.json", with_copy(json!({"$id": id, "items": {"$ref": "#"}, "type": ["array", "string"]}))),
    ]);
    check_alone(&files, &["a.json", "b.json", "d.json"]);
    let compiled = files.compile(&["a.json", "b.json", "d.json"]);
    for (root, value, fits) in [
        ("a.json", json!({"type": "string"}), true),
        ("a.json", json!(1), false),
        ("b.json", json!(1), true),
        ("b.json", json!({}), false),
        ("d.json", json!([["x"]]), true),
        ("d.json", json!([[1]]), false),
        ("d.json", json!({}), false),
    ] {
        assert_eq!(accepts(&compiled.schemas[root], &json!({"x": value})), fits, "{root} {value}");
    }
    let both = json!({"$schema": DRAFT_7, "allOf": [{"$ref": "a.json"}, {"$ref": "b.json"}]});
    let files =
        Files::of(&[("a.json", refers.clone()), ("b.json", with_copy(json!({"$id": id}))), ("both.json", both)]);
    assert_eq!(
        told(&files.compile(&["both.json"])),
        ["a.json /properties/x/$ref: `http://json-schema.org/draft-07/schema` is built in, but is also the \
          `$id` of `b.json`; give that file an `$id` of its own: within one topic a URI must mean one schema"]
    );
}

/// In a shared file, names and references that only another root reaches must not matter.
#[test]
fn what_others_look_at_in_a_shared_file_changes_nothing() {
    let lib = json!({
        "$defs": {"n": {"type": "integer"}},
        "x-own": {"type": "object", "properties": {"o": {"$ref": "other.json"}}},
    });
    let late = json!({"$dynamicAnchor": "late", "items": {"$dynamicRef": "#late"}});
    let files = Files::of(&[
        ("a.json", json!({"$ref": "lib.json#/x-own"})),
        ("b.json", json!({"$ref": "lib.json#/$defs/n"})),
        ("c.json", late.clone()),
        ("d.json", late),
        ("lib.json", lib),
        ("other.json", json!({"type": "null"})),
    ]);
    check_alone(&files, &["a.json", "b.json", "c.json", "d.json"]);
}

/// A shared file may refer to a name that each of its users defines differently.
#[test]
fn a_name_is_looked_for_in_the_files_of_its_root() {
    let lib = json!({"properties": {"x": {"$ref": "https://ex.com/x"}}});
    let root = |own: &str| json!({"$ref": "lib.json", "$defs": {"x": {"$ref": own}}});
    let files = Files::of(&[
        ("a.json", root("x1.json")),
        ("b.json", root("x2.json")),
        ("lib.json", lib.clone()),
        ("x1.json", json!({"$id": "https://ex.com/x", "type": "string"})),
        ("x2.json", json!({"$id": "https://ex.com/x", "type": "integer"})),
    ]);
    check_alone(&files, &["a.json", "b.json"]);
    let compiled = files.compile(&["a.json", "b.json"]);
    for (root, value, fits) in [("a.json", json!("x"), true), ("b.json", json!("x"), false), ("b.json", json!(1), true)]
    {
        assert_eq!(accepts(&compiled.schemas[root], &json!({"x": value})), fits, "{root} {value}");
    }
    // A root that reaches no file of that name has none, even if another root does.
    let alone = Files::of(&[("a.json", root("x1.json")), ("lib.json", lib), ("x1.json", files_id())]);
    assert_eq!(told(&alone.compile(&["a.json"])), [""; 0]);
    assert!(told(&alone.compile(&["a.json", "lib.json"]))[0].starts_with("lib.json /properties/x/$ref: "));
    // A cycle that only one of the roots has is reported.
    let round = Files::of(&[
        ("a.json", json!({"anyOf": [{"$ref": "lib.json"}, {"$ref": "x1.json"}]})),
        ("b.json", json!({"anyOf": [{"$ref": "lib.json"}, {"$ref": "x2.json"}]})),
        ("lib.json", json!({"not": {"$ref": "https://ex.com/x"}})),
        ("x1.json", json!({"$id": "https://ex.com/x", "type": "string"})),
        ("x2.json", json!({"$id": "https://ex.com/x", "not": {"$ref": "/lib.json"}})),
    ]);
    assert_eq!(told(&round.compile(&["a.json"])), [""; 0]);
    let of_both = told(&round.compile(&["a.json", "b.json"]));
    assert!(of_both.len() == 1 && of_both[0].contains("leads back to itself"), "{of_both:?}");
}

fn files_id() -> Value {
    json!({"$id": "https://ex.com/x", "type": "string"})
}

#[test]
fn two_copies_of_one_schema_are_one() {
    let copy = json!({"$id": "https://ex.com/u", "$ref": "#x", "$defs": {"x": {"$anchor": "x", "$ref": "y.json"}}});
    let root = json!({"properties": {"a": {"$ref": "one/a.json"}, "b": {"$ref": "two/a.json"}}});
    let with = |other: Value| {
        Files::of(&[
            ("c.json", root.clone()),
            ("one/a.json", copy.clone()),
            ("one/y.json", json!({"type": "string"})),
            ("two/a.json", copy.clone()),
            ("two/y.json", other),
        ])
    };
    let compiled = with(json!({"type": "string"})).compile(&["c.json"]);
    assert_eq!(told(&compiled), [""; 0]);
    for (payload, fits) in [(json!({"a": "x", "b": "x"}), true), (json!({"b": 1}), false)] {
        assert_eq!(accepts(&compiled.schemas["c.json"], &payload), fits, "{payload}");
    }
    let told = told(&with(json!({"type": "null"})).compile(&["c.json"]));
    assert_eq!(
        told,
        ["two/a.json /$defs/x/$ref: both `one/y.json` and `two/y.json` have the `$id` `https://ex.com/y.json`; give \
          each file an `$id` of its own, or none"]
    );
}

/// Regression: with files as they are published, the relative form was found and the absolute one was not.
#[test]
fn an_absolute_reference_leads_to_the_file_beside() {
    let address = json!({"$id": "https://ex.com/s/address.json", "type": "string"});
    for (id, target) in [
        ("https://ex.com/s/order.json", "https://ex.com/s/address.json"),
        ("https://ex.com/s/order.json", "/s/address.json"),
        ("https://ex.com/s/order.json", "//ex.com/s/address.json#"),
        ("https://ex.com/s/", "https://ex.com/s/address.json"),
        ("https://ex.com/order.json", "https://ex.com/s/address.json"),
    ] {
        let order = json!({"$id": id, "properties": {"a": {"$ref": target}}});
        let place = if id.contains("/s/") { "schemas/address.json" } else { "schemas/s/address.json" };
        for address in [address.clone(), json!({"type": "string"})] {
            let files = Files::of(&[("schemas/order.json", order.clone()), (place, address)]);
            let compiled = files.compile(&["schemas/order.json"]);
            assert_eq!(told(&compiled), [""; 0], "{id} {target}");
            let schema = &compiled.schemas["schemas/order.json"];
            assert!(accepts(schema, &json!({"a": "x"})) && !accepts(schema, &json!({"a": 1})), "{id} {target}");
        }
    }
    let order = json!({"$id": "https://ex.com/s/order.json", "$ref": "https://ex.com/s/address.json"});
    let other = json!({"$id": "https://ex.com/s/other.json"});
    assert_eq!(
        told_of(&[("s/order.json", order), ("s/address.json", other)], "s/order.json"),
        [
            "s/order.json /$ref: `https://ex.com/s/address.json` would be the file `s/address.json`, which has the `$id` \
          `https://ex.com/s/other.json`; correct the reference or the `$id`: they must be the same"
        ]
    );
}

/// Regression: the compiler resolved these from the URI by which the file was reached, the bundle from its path.
#[test]
fn what_a_file_without_an_id_refers_to_is_found_from_its_own_place() {
    let address = json!({"properties": {"zip": {"$ref": "zip.json"}}});
    let other = json!({"$id": "https://ex.com/s/zip.json", "type": "string"});
    for target in ["address.json", "https://ex.com/s/address.json"] {
        for beside in [json!(true), json!({"$ref": "other/zip.json"})] {
            let order = json!({
                "$id": "https://ex.com/s/order.json",
                "properties": {"to": {"$ref": target}, "beside": beside},
            });
            let files = Files::of(&[
                ("v1/order.json", order),
                ("v1/address.json", address.clone()),
                ("v1/zip.json", json!({"type": "integer"})),
                ("v1/other/zip.json", other.clone()),
            ]);
            let compiled = files.compile(&["v1/order.json"]);
            assert_eq!(told(&compiled), [""; 0], "{target}");
            let schema = &compiled.schemas["v1/order.json"];
            assert!(accepts(schema, &json!({"to": {"zip": 1}})) && !accepts(schema, &json!({"to": {"zip": "1"}})));
        }
    }
}

/// Regression: which of the two decided, and which explained, was left to chance.
#[test]
fn one_schema_in_two_dialects_is_two() {
    let inner = json!({
        "$id": "https://ex.com/i",
        "allOf": [{"$ref": "#/definitions/n", "maxLength": 1}],
        "definitions": {"n": {"minLength": 1}},
    });
    let with = |dialect: &str| json!({"$schema": dialect, "properties": {"v": inner}});
    let root = json!({"properties": {"a": {"$ref": "a.json"}, "b": {"$ref": "b.json"}}});
    let told = told_of(
        &[
            ("r.json", root),
            ("a.json", with(DRAFT_7)),
            ("b.json", with("https://json-schema.org/draft/2020-12/schema")),
        ],
        "r.json",
    );
    let both = "both `a.json` and `b.json` have the `$id` `https://ex.com/i`";
    assert!(told.iter().any(|told| told.contains(both)), "{told:?}");
}

/// Records which files were read.
struct Watched(Files, RefCell<Vec<String>>);

impl Texts for Watched {
    fn read(&self, path: &str) -> Result<Arc<str>, String> {
        self.1.borrow_mut().push(path.to_owned());
        self.0.read(path)
    }
}

#[test]
fn nothing_outside_is_asked_for() {
    for id in
        ["https://ex.com/s/order.json", "https://ex.com", "urn:ex:order", "schemas/sub/", "file:///etc/order.json"]
    {
        let targets = [
            "https://ex.com/s/../../../etc/passwd",
            "https://ex.com/s/%2e%2e/%2e%2e/etc/passwd",
            "https://ex.com/s/..%2F..%2Fetc/passwd",
            "https://ex.com/s//../../etc/passwd",
            "https://other.com/s/x.json",
            "file:///etc/passwd",
            "../../../etc/passwd",
            "%2e%2e/%2e%2e/etc/passwd",
            "..%2F..%2F..%2Fetc/passwd",
            "relay:///..%2Fetc/passwd",
            "..%5C..%5Cetc/passwd",
            "/../etc/passwd",
            "//etc/passwd",
        ];
        let any: Vec<Value> = targets.iter().map(|target| json!({"$ref": target})).collect();
        let files = Files::of(&[("schemas/order.json", json!({"$id": id, "anyOf": any}))]);
        let watched = Watched(files, RefCell::default());
        let compiled = compile_all(&watched, &["schemas/order.json".into()], &LIMITS, &SchemaCache::default());
        assert_eq!(compiled.faults.len(), targets.len(), "{:#?}", told(&compiled));
        for path in watched.1.borrow().iter() {
            let is_inside =
                !path.starts_with('/') && !path.contains(':') && !path.split(['/', '\\']).any(|p| p == "..");
            assert!(is_inside, "{id}: {path}");
        }
    }
}

/// Regression: what climbed within an embedded `$id` was taken to leave the directory of relay.toml.
#[test]
fn a_reference_climbs_from_the_id_around_it() {
    let inner = |target: &str| json!({"$defs": {"q": {"$id": "sub/q.json", "$ref": target}}, "$ref": "#/$defs/q"});
    let files = Files::of(&[("a.json", inner("../d.json")), ("d.json", json!({"type": "integer"}))]);
    let compiled = files.compile(&["a.json"]);
    assert_eq!(told(&compiled), [""; 0]);
    let schema = &compiled.schemas["a.json"];
    assert!(accepts(schema, &json!(1)) && !accepts(schema, &json!("x")));
    let above = told_of(&[("a.json", inner("../../d.json"))], "a.json");
    assert!(above.len() == 1 && above[0].contains("leaves the directory of relay.toml"), "{above:?}");
}

#[test]
fn a_reference_that_names_nothing_says_where_it_was_looked_for() {
    let inner = |target: &str| {
        json!({"$schema": DRAFT_7, "$ref": "#/definitions/info", "definitions": {
            "ext": {"type": "string"},
            "info": {"$id": "http://a.com/info.json", "properties": {"x": {"$ref": target}}},
        }})
    };
    assert_eq!(
        told_of(&[("s/a.json", inner("#/definitions/ext"))], "s/a.json"),
        ["s/a.json /definitions/info/properties/x/$ref: `#/definitions/ext` names nothing in the enclosing schema of \
          `s/a.json`, whose `$id` is `http://a.com/info.json`; `#` begins at the `$id` around it: write \
          `a.json#/definitions/ext`"]
    );
    let mended = Files::of(&[("s/a.json", inner("a.json#/definitions/ext"))]).compile(&["s/a.json"]);
    assert_eq!(told(&mended), [""; 0]);
    assert!(!accepts(&mended.schemas["s/a.json"], &json!({"x": 1})));
    let relative = |target: &str| json!({"$defs": {"ext": {"type": "string"}, "info": {"$id": "sub/info", "items": {"$ref": target}}}});
    let told = told_of(&[("s/a.json", relative("#/$defs/ext"))], "s/a.json");
    assert!(told.len() == 1 && told[0].ends_with("write `/s/a.json#/$defs/ext`"), "{told:?}");
    assert_eq!(told_of(&[("s/a.json", relative("/s/a.json#/$defs/ext"))], "s/a.json"), [""; 0]);
    let one = |document: Value| told_of(&[("a.json", document)], "a.json");
    assert_eq!(
        one(json!({"items": {"$ref": "#/"}})),
        ["a.json /items/$ref: `#/` names nothing in `a.json`; write `#` for the whole schema"]
    );
    assert_eq!(
        one(json!({"$defs": {"V<number>": {}}, "$ref": "#/$defs/V<number>"})),
        ["a.json /$ref: `$ref` is not a URI reference: `#/$defs/V<number>`; encode it (RFC 3986): \
          `#/$defs/V%3Cnumber%3E`"]
    );
    assert_eq!(one(json!({"$defs": {"V<number>": {}}, "$ref": "#/$defs/V%3Cnumber%3E"})), [""; 0]);
    let twice = json!({"$schema": DRAFT_7, "properties": {
        "a": {"$id": "#/properties/a"}, "b": {"properties": {"a": {"$id": "#/properties/a"}}},
    }});
    assert_eq!(
        one(twice),
        ["a.json /properties/b/properties/a/$id: another schema of this file also has the `$id` `#/properties/a`; \
          remove it: a reference to the place works without it"]
    );
}

/// What is found by its `$id` is looked at as what is found by its path.
#[test]
fn a_part_that_is_found_by_its_id_brings_what_it_refers_to() {
    let lib = json!({"$id": "https://ids.org/lib", "x-own": {"properties": {"o": {"$ref": "other.json"}}}});
    let with = |target: &str| {
        let root = json!({"allOf": [{"$ref": "lib.json"}], "properties": {"x": {"$ref": target}}});
        Files::of(&[("a.json", root), ("lib.json", lib.clone()), ("other.json", json!({"type": "null"}))])
    };
    let compiled = with("https://ids.org/lib#/x-own").compile(&["a.json"]);
    assert_eq!(told(&compiled), [""; 0]);
    let schema = &compiled.schemas["a.json"];
    assert!(accepts(schema, &json!({"x": {"o": null}})) && !accepts(schema, &json!({"x": {"o": 1}})));
    assert_eq!(
        told(&with("https://ids.org/lib#/nope").compile(&["a.json"])),
        [
            "a.json /properties/x/$ref: `https://ids.org/lib#/nope` names nothing in `lib.json`; check the part after `#`"
        ]
    );
}

/// Regression: with an `$id`, the person was told that nothing is fetched, and not that the file is not there.
#[test]
fn a_mistyped_path_is_a_file_that_is_not_there_whether_or_not_there_is_an_id() {
    let told = |id: Option<&str>, target: &str| {
        let mut root = json!({"properties": {"x": {"$ref": target}}});
        id.inspect(|id| root["$id"] = (*id).into());
        told_of(&[("d/a.json", root), ("d/b.json", json!(true))], "d/a.json").remove(0)
    };
    let id = Some("https://ex.com/s/a.json");
    let unreadable = told(None, "bb.json");
    assert!(unreadable.contains("`bb.json` cannot be read: no such file; check the path"), "{unreadable}");
    assert_eq!(told(id, "bb.json"), unreadable);
    let remote = told(id, "https://ex.com/s/bb.json");
    assert!(
        remote.contains("`https://ex.com/s/bb.json` is not one of the schema files; nothing is fetched"),
        "{remote}"
    );
}
