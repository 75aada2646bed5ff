//! Judging a tree gives the same verdict as the plain validator on the value.

use std::time::Duration;

use bytes::Bytes;
use jsonschema::json::{Array, Node, SerdeJson};
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, proptest};
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use proptest::{prop_assert_eq, prop_oneof, sample};
use serde_json::{Value, json};

use crate::schema::borrowed::{Borrowed, equal};
use crate::schema::compat::properties::{document, value};
use crate::schema::json::tests::escaped;
use crate::schema::json::{MAX_DEPTH, Tree, parse};
use crate::schema::judge::options;
use crate::schema::tests::schema;
use crate::stopwatch::Stopwatch;

/// Cases that the generator does not make: containers in `const` and `enum`, names that depend on each other,
/// recursion.
fn schemas() -> Vec<Value> {
    vec![
        json!({"const": {"a": [1, {"b": 2.0}], "k": null}}),
        json!({"enum": [[1, 2], {"a": 1, "b": "x"}, {"b": "x", "a": 1, "k": 0}, "é", 0, false, null]}),
        json!({"not": {"enum": [{"a": 0}, [], {}, "", 1e2]}}),
        json!({"uniqueItems": true, "items": {"uniqueItems": true}}),
        json!({"type": "array", "uniqueItems": true, "contains": {"const": "a"}}),
        json!({"anyOf": [{"multipleOf": 2}, {"multipleOf": 1.5}, {"type": "integer", "exclusiveMaximum": 2}]}),
        json!({"type": ["integer", "string", "object", "array"], "minLength": 2, "maxLength": 3}),
        json!({"minLength": 1, "maxLength": 1}),
        json!({"required": ["a", "b", "k"], "properties": {"a": {"type": "integer"}, "k": {"minimum": 1}}}),
        json!({"required": ["a", "b"], "minProperties": 3, "additionalProperties": {"type": "number"}}),
        json!({"properties": {"a": true}, "patternProperties": {"^é|k": {"type": "string"}}, "additionalProperties": false}),
        json!({"propertyNames": {"maxLength": 1, "pattern": "^[abké]"}}),
        json!({"dependentRequired": {"a": ["b"], "k": ["a", "é"]}, "dependentSchemas": {"b": {"maxProperties": 2}}}),
        json!({"allOf": [{"properties": {"a": true}}, {"patternProperties": {"k": true}}], "unevaluatedProperties": false}),
        json!({"prefixItems": [{"type": "integer"}], "anyOf": [{"contains": {"type": "string"}}, true], "unevaluatedItems": false}),
        json!({"anyOf": [{"type": ["integer", "null", "string"]}, {"type": "array", "items": {"$ref": "#"}},
            {"type": "object", "additionalProperties": {"$ref": "#"}, "required": ["a"]}]}),
        json!({"$defs": {"n": {"properties": {"a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}},
            "oneOf": [{"required": ["a"]}, {"type": "number"}]}}, "$ref": "#/$defs/n"}),
        wide(),
    ]
}

/// A schema that names more members than an object may have without an index.
fn wide() -> Value {
    let names: Vec<String> = (0..30).map(|i| format!("m{i}")).collect();
    let properties: Value = names.iter().map(|name| (name.clone(), json!({"type": "integer"}))).collect();
    json!({"properties": properties, "required": &names[..17], "additionalProperties": {"type": "string"}})
}

/// Values that match those schemas now and then.
fn fitting() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        sample::select(vec![json!(null), json!(true), json!(false), json!({}), json!([]), json!(100), json!(-0.0)]),
        (-2_i64..4).prop_map(Value::from),
        (-4_i64..8).prop_map(|n| json!(n as f64 / 2.0)),
        sample::select(vec!["", "a", "x", "é", "aé", "🦀🦀", "🦀🦀🦀🦀"]).prop_map(Value::from),
        Just(json!({"k": null, "a": [1.0, {"b": 2}]})),
        Just(json!({"b": "x", "a": 1.0})),
        Just(json!([1.0, 2])),
    ];
    leaf.prop_recursive(3, 32, 8, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(inner.clone(), 14..20).prop_map(Value::from),
            sample::subsequence(many(), 0..24).prop_map(Value::from),
            vec((sample::select(vec!["a", "b", "k", "é", "long"]), inner), 0..4).prop_map(|members| members
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect::<Value>()),
            (14_usize..32, sample::select(vec![json!(1), json!(1.5), json!("x")])).prop_map(|(count, last)| (0..count)
                .map(|i| (format!("m{i}"), json!(i)))
                .chain([("z".to_owned(), last)])
                .collect::<Value>()),
        ]
    })
}

fn many() -> Vec<String> {
    (0..40).map(|i| format!("n{}", i % 36)).collect()
}

#[test]
fn what_is_published_is_judged_as_the_plain_validator_judges_it() {
    let mut runner = TestRunner::deterministic();
    let values: Vec<Value> = (0..1_200).map(|_| fitting().new_tree(&mut runner).expect("a value").current()).collect();
    for document in schemas() {
        let plain = options::<SerdeJson>(1 << 20).build(&document).expect("a schema");
        let ours = schema(&document);
        let mut verdicts = [0; 2];
        for value in &values {
            let expected = plain.is_valid(value);
            verdicts[usize::from(expected)] += 1;
            // Once as usually written, and once with every string escaped, which makes each a copy in the tree.
            for text in [value.to_string(), escaped(value)] {
                let text = Bytes::from(text);
                let Ok(json) = parse(&text, MAX_DEPTH) else { panic!("{text:?} is JSON") };
                assert_eq!(ours.accept(json).is_ok(), expected, "{document}\n{value}");
            }
        }
        assert!(verdicts.iter().all(|count| *count > 2), "{document}: {verdicts:?}");
    }
}

proptest! {
    #[test]
    fn any_value_is_judged_as_the_plain_validator_judges_it(document in document(), values in vec(value(), 24)) {
        let plain = options::<SerdeJson>(1 << 20).build(&document).expect("a schema");
        let ours = options::<Borrowed>(1 << 20).build(&document).expect("a schema");
        for value in &values {
            prop_assert_eq!(ours.is_valid(&Tree::from(value)), plain.is_valid(value), "{}\n{}", document, value);
        }
    }

    #[test]
    fn equality_and_length_are_those_of_the_validator(one in fitting(), other in fitting(), min in 0_u64..5, max in 0_u64..5) {
        let tree = Tree::from(&one);
        prop_assert_eq!(equal(&tree, &other), jsonschema::json::cmp::equal(&one, &other));
        prop_assert_eq!(equal(&tree, &one), true);
        prop_assert_eq!((&tree).string_length_within(min, max), Node::<SerdeJson>::string_length_within(&&one, min, max));
        prop_assert_eq!((&tree).string_length(), Node::<SerdeJson>::string_length(&&one));
    }

    #[test]
    fn uniqueness_is_that_of_the_validator(items in vec(prop_oneof![fitting(), number()], 0..24)) {
        let trees: Vec<Tree<'_>> = items.iter().map(Tree::from).collect();
        prop_assert_eq!((&*trees).is_unique(), jsonschema::json::unique::is_unique(&items), "{:?}", items);
    }
}

/// Numbers that differ as integers but are equal as doubles, or the other way round.
fn number() -> impl Strategy<Value = Value> {
    let texts = [
        "0",
        "-0.0",
        "1",
        "1.0",
        "-1",
        "-1e0",
        "9007199254740992",
        "9007199254740993",
        "9007199254740992.0",
        "18446744073709551615",
        "18446744073709551614",
        "18446744073709551616",
        "1.8446744073709552e19",
        "-9223372036854775808",
        "-9223372036854775808.0",
        "-9223372036854775809",
        "0.5",
        "5e-1",
        "1e300",
        "1e301",
    ];
    sample::select(texts.to_vec()).prop_map(|text| text.parse().expect("a number"))
}

/// Regression: the library hashes an array by its items in a row, so all trees of brackets collided and were compared
/// pair by pair. 256 KiB took seconds of a worker's time, and blew the topic's fuse for everybody.
#[test]
fn many_different_items_are_told_apart_in_time() {
    let mut trees = vec![Vec::new(), vec!["[]".to_owned()]];
    for pairs in 2.. {
        let lists = |most: usize| lists_of(&trees, most);
        trees.push(lists(pairs - 1).into_iter().map(|inner| format!("[{inner}]")).collect());
        if trees.iter().map(Vec::len).sum::<usize>() > 10_000 {
            break;
        }
    }
    let all: Vec<String> = trees.concat().into_iter().take(10_000).collect();
    let body = Bytes::from(format!("[{}]", all.join(",")));
    let twice = Bytes::from(format!("[{},{}]", all.join(","), all[9_999]));
    for (document, expected) in [
        (json!({"uniqueItems": true}), true),
        (json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}), false),
    ] {
        let schema = schema(&document);
        let began = Stopwatch::start();
        let accepts =
            |text: &Bytes| schema.accept(parse(text, MAX_DEPTH).unwrap_or_else(|why| panic!("{why:?}"))).is_ok();
        assert_eq!([accepts(&body), accepts(&twice)], [expected, false]);
        assert!(began.elapsed() < Duration::from_secs(5), "{document} took {:?}", began.elapsed());
    }
}

/// All contents of one pair of brackets that have `pairs` pairs in them: smaller trees, one after the other.
fn lists_of(trees: &[Vec<String>], pairs: usize) -> Vec<String> {
    if pairs == 0 {
        return vec![String::new()];
    }
    let starting = |first: usize| {
        let rest = lists_of(trees, pairs - first);
        trees[first].iter().flat_map(move |tree| {
            rest.clone()
                .into_iter()
                .map(move |rest| if rest.is_empty() { tree.clone() } else { format!("{tree},{rest}") })
        })
    };
    (1..=pairs).flat_map(starting).collect()
}
