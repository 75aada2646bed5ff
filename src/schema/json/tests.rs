use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::{any, prop, proptest};
use proptest::prop_assert_eq;
use proptest::strategy::{Just, Strategy};
use serde_json::{Value, json};

use crate::problem::Refusal;
use crate::schema::json::{Fault, MAX_DEPTH, Tree, locate, locate_all, parse};
use crate::stopwatch::Stopwatch;

fn read(text: &str) -> Result<(Value, String), Fault> {
    read_bytes(text.as_bytes())
}

fn read_bytes(text: &[u8]) -> Result<(Value, String), Fault> {
    let text = Bytes::copy_from_slice(text);
    let json = parse(&text, 64)?;
    Ok((json.tree.to_value(), String::from_utf8(json.text.to_vec()).expect("UTF-8")))
}

/// `line:column: detail`
fn refusal(text: &[u8]) -> String {
    match read_bytes(text).map_err(Refusal::from) {
        Err(Refusal::MalformedJson { line, column, detail }) => format!("{line}:{column}: {detail}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn number_text_and_member_order_survive_and_white_space_does_not() {
    let (value, text) =
        read(" {\"b\" : 1.50 ,\r\n\t\"a\":[ 1E2, -0 , 10000000000000000000000 ], \"\\u0041 b\": \" x \"}\n").unwrap();
    assert_eq!(text, r#"{"b":1.50,"a":[1E2,-0,10000000000000000000000],"\u0041 b":" x "}"#);
    assert_eq!(value, json!({"b": 1.5, "a": [100.0, -0.0, 1e22], "A b": " x "}));
}

#[test]
fn a_compact_text_is_forwarded_without_a_copy() {
    let text = Bytes::from_static(br#"{"a":["x y","\" \\",1]}"#);
    let json = parse(&text, 64).unwrap();
    assert_eq!(json.text.as_ptr(), text.as_ptr());
    assert_eq!(json.text, text);
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "1:1: the text ends where a value is expected"),
        (b"[1,\n 2", "2:2: the text ends inside an array"),
        (b"{\"a\":1", "1:6: the text ends inside an object"),
        (b"\"abc", "1:4: the text ends inside a string"),
        (b"{\"a\" 1}", "1:6: `:` is expected after a key"),
        (b"[1 2]", "1:4: `,` or `]` is expected after an item"),
        (b"{\"a\":1 \"b\":2}", "1:8: `,` or `}` is expected after a member"),
        (b"{a:1}", "1:2: a key in double quotes is expected here"),
        (b"[1,]", "1:4: a comma with nothing after it"),
        (b"{\"a\":1,}", "1:8: a comma with nothing after it"),
        (b"{\"a\":\n x}", "2:2: a value is expected here"),
        (b"1 2", "1:3: something follows the end of the value"),
        (b"tru", "1:3: the text ends where a value is expected"),
        (b"nul!", "1:4: only `true`, `false` and `null` are written without quotes"),
        (b"01", "1:2: not a number as JSON writes them"),
        (b"[1e400]", "1:6: a number beyond the range of a double"),
        (b"\"\\x\"", "1:3: an unknown escape in a string"),
        (b"\"a\nb\"", "2:1: a raw control character in a string: write it as an escape such as `\\n`"),
        (b"\"\\ud800\"", "1:8: a lone surrogate: `\\ud800` to `\\udfff` come in pairs"),
        (b"[\"\\udc00\"]", "1:8: a lone surrogate: `\\ud800` to `\\udfff` come in pairs"),
        (b"\"\\ud800\\u0041\"", "1:13: a lone surrogate: `\\ud800` to `\\udfff` come in pairs"),
        (b"\xef\xbb\xbf{}", "1:1: a byte order mark: send UTF-8 without one"),
        (b"[\n\"\xff\"]", "2:2: the byte 0xff is not UTF-8 here"),
        (b"\"\xed\xa0\x80\"", "1:2: the byte 0xed is not UTF-8 here"),
    ];
    for (text, expected) in cases {
        assert_eq!(refusal(text), *expected, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn a_key_that_stands_twice_is_named() {
    let cases = [
        (r#"{"a":1,"a":1}"#, "/a"),
        (r#"{"x":[0,{"k/~":{"":1,"b":2,"":3}}]}"#, "/x/1/k~1~0/"),
        (r#"{"a":1,"\u0061":2}"#, "/a"),
        (r#"[{"a":{}},{"b":[],"b":[[[[["#, "/1/b"),
    ];
    for (text, pointer) in &cases[..3] {
        assert_eq!(read(text).unwrap_err(), Fault::DuplicateKey { pointer: (*pointer).to_owned() }, "{text}");
    }
    assert_eq!(refusal(cases[3].0.as_bytes()), "1:27: the text ends inside an array");
    assert!(read(r#"{"a":{"a":1},"b":{"a":1}}"#).is_ok());
}

#[test]
fn depth_is_bounded_by_the_limit_and_by_the_stack() {
    let nested = |n: usize| "[".repeat(n) + &"]".repeat(n);
    assert!(read(&nested(64)).is_ok());
    assert_eq!(refusal(nested(65).as_bytes()), "1:65: nested deeper than `limits.json_depth` allows (64)");
    assert_eq!(
        refusal((r#"{"a":"#.repeat(65) + "1").as_bytes()),
        "1:321: nested deeper than `limits.json_depth` allows (64)"
    );
    assert!(parse(&nested(MAX_DEPTH).into(), 1_000_000).is_ok());
    let deeper = parse(&nested(MAX_DEPTH + 1).into(), 1_000_000).map(|_| ());
    assert_eq!(deeper, Err(Fault::TooDeep { line: 1, column: 128, limit: MAX_DEPTH }));
    assert!(parse(&"[".repeat(1 << 20).into(), 64).is_err());
    assert!(parse(&"1".into(), 0).is_ok());
    assert!(parse(&"[]".into(), 0).is_err());
}

#[test]
fn a_pointer_is_found_in_the_text() {
    let text = r#" { "a/b" : [ 1, {"~": "x]\"}"}, [2 ] ], "\u0061": null, "dup": 1, "dup": {"n": -1.5} } "#;
    let at = |pointer: &str| locate(text, pointer).map(|l| (l.key.map(|k| &text[k]), &text[l.value]));
    assert_eq!(at(""), Some((None, text.trim())));
    assert_eq!(at("/a~1b/0"), Some((None, "1")));
    assert_eq!(at("/a~1b/1/~0"), Some((Some(r#""~""#), r#""x]\"}""#)));
    assert_eq!(at("/a~1b/2"), Some((None, "[2 ]")));
    assert_eq!(at("/a~1b/2/0"), Some((None, "2")));
    assert_eq!(at("/a"), Some((Some(r#""\u0061""#), "null")));
    assert_eq!(at("/dup"), Some((Some(r#""dup""#), r#"{"n": -1.5}"#)));
    assert_eq!(at("/dup/n"), Some((Some(r#""n""#), "-1.5")));
    for nowhere in ["/x", "/a/b", "/a~1b/3", "/a~1b/x", "/dup/n/0"] {
        assert_eq!(at(nowhere), None, "{nowhere}");
    }
    assert_eq!(locate("\"s\"", "").unwrap().value, 0..3);
    for broken in ["", "{", "{\"a", "{\"a\"", "{\"a\":", "[", "[,", "{,}", "{]", "\"", "{\"a\":\"", "}", "[1,", "{1:2}"]
    {
        let _ = (locate(broken, ""), locate(broken, "/a"), locate(broken, "/0"), locate(broken, "/1"));
    }
}

/// Objects with more than sixteen members have an index, which must not change anything else.
#[test]
fn members_are_found_whether_there_are_few_or_many() {
    for count in [0, 1, 15, 16, 17, 18, 40] {
        let named = |names: &mut dyn Iterator<Item = usize>| {
            names.map(|i| format!(r#""k\u0030{i}":{i}"#)).collect::<Vec<_>>().join(",")
        };
        let (text, json) = (format!("{{{}}}", named(&mut (0..count))), "an object");
        let text = Bytes::from(text);
        let Tree::Object(members) = parse(&text, 64).expect(json).tree else { panic!("{json}") };
        assert_eq!((members.len(), members.is_empty()), (count, count == 0));
        assert!(members.iter().map(|(name, _)| name.to_owned()).eq((0..count).map(|i| format!("k0{i}"))));
        for i in 0..count {
            assert_eq!(members.get(&format!("k0{i}")).map(Tree::to_value), Some(json!(i)));
            let twice = format!("{{{},\"k0{i}\":[]}}", named(&mut (0..count)));
            assert_eq!(read(&twice).unwrap_err(), Fault::DuplicateKey { pointer: format!("/k0{i}") });
        }
        assert!(["k", "k0", "k01x", "", "K00"].iter().all(|name| members.get(name).is_none()));
    }
}

#[test]
fn what_has_no_escape_is_not_copied() {
    let text = Bytes::from_static(br#"{"name":"plain","n\u0061me2":"\u0070lain"}"#);
    let Tree::Object(members) = parse(&text, 64).expect("JSON").tree else { panic!("an object") };
    let within = |piece: &str| text.as_ptr_range().contains(&piece.as_ptr());
    let seen: Vec<_> = members
        .iter()
        .map(|(name, value)| match value {
            Tree::String(value) => (name, within(name), value.as_ref(), within(value)),
            _ => panic!("a string"),
        })
        .collect();
    assert_eq!(seen, [("name", true, "plain", true), ("name2", false, "plain", false)]);
}

/// A body may hold a hundred thousand members, so the work must be linear in their number.
#[test]
fn many_members_are_read_in_time() {
    let members: Vec<String> = (0..100_000).map(|i| format!("\"{i}\":{i}")).collect();
    let start = Stopwatch::start();
    let (value, _) = read(&format!("{{{}}}", members.join(","))).unwrap();
    assert_eq!(value["99999"], 99_999);
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = proptest::prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC*[ \"\\\\\n\t]?".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        proptest::prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec(("\\PC{0,3}", inner.clone()), 0..6).prop_map(|m| m.into_iter().collect::<Value>()),
            prop::collection::vec(("[a-z\"\\\\é]{1,2}", inner), 14..24).prop_map(|m| m.into_iter().collect::<Value>()),
        ]
    })
}

/// The JSON text of a value with every character of its strings and keys escaped.
pub(in crate::schema) fn escaped(value: &Value) -> String {
    let string = |text: &str| {
        let units: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
        format!("\"{units}\"")
    };
    match value {
        Value::String(text) => string(text),
        Value::Array(items) => format!("[{}]", items.iter().map(escaped).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{}:{}", string(name), escaped(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        scalar => scalar.to_string(),
    }
}

proptest! {
    #[test]
    fn any_value_is_read_back_and_compacted(value in value()) {
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        let (read, text) = read(&pretty).unwrap();
        prop_assert_eq!(&read, &value);
        prop_assert_eq!(text, serde_json::to_string(&value).unwrap());
    }

    #[test]
    fn a_value_and_its_tree_are_the_same(value in value()) {
        prop_assert_eq!(Tree::from(&value).to_value(), value.clone());
        let text = serde_json::to_string(&value).unwrap();
        let read_back = read(&text).unwrap().0;
        prop_assert_eq!(read_back.to_string(), serde_json::from_str::<Value>(&text).unwrap().to_string());
        prop_assert_eq!(read(&escaped(&value)).unwrap().0.to_string(), read_back.to_string());
    }

    #[test]
    fn any_bytes_are_answered_as_serde_json_answers(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let strict = read_bytes(&bytes);
        if let Ok((value, text)) = strict {
            prop_assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), value.clone());
            prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }

    #[test]
    fn every_place_of_a_value_is_found(value in value()) {
        let text = serde_json::to_string_pretty(&value).unwrap();
        let mut places = vec![(String::new(), &value)];
        let mut all = HashMap::new();
        while let Some((pointer, value)) = places.pop() {
            let found = locate(&text, &pointer).unwrap();
            all.insert(pointer.clone(), found.clone());
            prop_assert_eq!(&serde_json::from_str::<Value>(&text[found.value]).unwrap(), value);
            match value {
                Value::Object(members) => places.extend(members.iter().map(|(k, v)| (format!("{pointer}/{}", super::escape(k)), v))),
                Value::Array(items) => places.extend(items.iter().enumerate().map(|(i, v)| (format!("{pointer}/{i}"), v))),
                _ => {}
            }
        }
        prop_assert_eq!(locate_all(&text, &all.keys().cloned().collect()), all);
    }
}
