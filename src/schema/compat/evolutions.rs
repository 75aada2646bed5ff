//! Ordinary changes of a schema, made at every place where they may occur: the verdict must not depend on the place.

use serde_json::{Map, Value, json};

use crate::schema::compat::Side::{self, No, Yes};
use crate::schema::compat::evolutions::Breaks::{Both, Nobody, Publishers, Subscribers};
use crate::schema::compat::{publishers, subscribers};
use crate::schema::tests::schema;

/// Whom a change breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Breaks {
    Publishers,
    Subscribers,
    Both,
    Nobody,
}

/// The old and the new schema of a member, and whom the change breaks.
fn of_members() -> Vec<(Value, Value, Breaks)> {
    let branch = |kind: &str, of: Value| json!({"type": "object", "required": ["kind", "v"], "properties": {"kind": {"const": kind}, "v": of}});
    let (card, cash) = (branch("card", json!({"type": "string"})), branch("cash", json!({"type": "integer"})));
    let gift = branch("gift", json!({"type": "string", "minLength": 1}));
    let one_of = |branches: &[&Value]| json!({"type": "object", "oneOf": branches});
    let string = |keyword: &str, value: Value| json!({"type": "string", keyword: value});
    let integer = |keyword: &str, value: i64| json!({"type": "integer", keyword: value});
    let list = |keyword: &str, value: u64| json!({"type": "array", "items": {"type": "string"}, keyword: value});
    let either = |names: &[&str]| json!({"enum": names});
    let (text, number, whole) = (json!({"type": "string"}), json!({"type": "number"}), json!({"type": "integer"}));
    let when = |kind: &str, then: Value| json!({"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": then});
    let depending = |of: Value| {
        let then = json!({"required": ["v"], "properties": {"v": of}});
        let kinds = json!({"kind": {"enum": ["card", "cash"]}});
        json!({"type": "object", "required": ["kind"], "properties": kinds, "allOf": [when("card", then), when("cash", json!({}))]})
    };
    let map = |of: &Value| json!({"type": "object", "additionalProperties": of});
    let tags = json!({"type": "array", "items": {"type": "string"}});
    let pair = |second: &Value| json!({"type": "array", "prefixItems": [{"type": "string"}, second], "items": false});
    let longest = "x".repeat(3);
    vec![
        (either(&["a", "b"]), either(&["a", "b", "c"]), Subscribers),
        (either(&["a", "b", "c"]), either(&["a", "b"]), Publishers),
        (either(&["a", "b", "c"]), either(&["b", "c", &longest]), Both),
        (json!({"const": "a"}), json!({"const": "b"}), Both),
        (json!({"const": "a"}), either(&["b", "a"]), Subscribers),
        (string("maxLength", json!(100)), string("maxLength", json!(80)), Publishers),
        (string("maxLength", json!(80)), string("maxLength", json!(100)), Subscribers),
        (text.clone(), string("maxLength", json!(300)), Publishers),
        (string("maxLength", json!(5_000)), string("maxLength", json!(2_000)), Publishers),
        (string("maxLength", json!(2_000)), string("maxLength", json!(5_000)), Subscribers),
        (string("minLength", json!(1)), text.clone(), Subscribers),
        (text.clone(), string("pattern", json!("^[a-z]+$")), Publishers),
        (text.clone(), string("pattern", json!(r"^[^<>\n]*$")), Publishers),
        (string("pattern", json!("^(eu|us|ap)-[0-9]+$")), string("pattern", json!("^(eu|us)-[0-9]+$")), Publishers),
        (string("pattern", json!("^[1-5]$")), string("pattern", json!("^[1-3]$")), Publishers),
        (string("pattern", json!("^[a-z]+$")), string("pattern", json!("^[a-y]+$")), Publishers),
        (string("pattern", json!("^[A-Z]{2}$")), string("pattern", json!("^[A-Z]{2,3}$")), Subscribers),
        (text.clone(), string("format", json!("date-time")), Publishers),
        (string("format", json!("uuid")), text.clone(), Subscribers),
        (whole.clone(), number.clone(), Subscribers),
        (number.clone(), whole.clone(), Publishers),
        (text.clone(), json!({"type": ["string", "null"]}), Subscribers),
        (json!({"type": ["string", "null"]}), text.clone(), Publishers),
        (text.clone(), whole.clone(), Both),
        (json!({}), text.clone(), Publishers),
        (integer("minimum", 0), integer("minimum", 1), Publishers),
        (integer("minimum", 1), integer("minimum", 0), Subscribers),
        (integer("minimum", 1), integer("exclusiveMinimum", 0), Nobody),
        (number.clone(), json!({"type": "number", "maximum": 1_000_000}), Publishers),
        (whole.clone(), integer("multipleOf", 5), Publishers),
        (list("maxItems", 20), list("maxItems", 10), Publishers),
        (list("minItems", 1), tags.clone(), Subscribers),
        (tags.clone(), json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true}), Publishers),
        (tags.clone(), json!({"type": "array", "items": {"type": "string", "minLength": 1}}), Publishers),
        (pair(&whole), pair(&number), Subscribers),
        (one_of(&[&card, &cash]), one_of(&[&card, &cash, &gift]), Subscribers),
        (one_of(&[&card, &cash, &gift]), one_of(&[&card, &cash]), Publishers),
        (depending(integer("minimum", 0)), depending(integer("minimum", 1)), Publishers),
        (map(&text), map(&string("maxLength", json!(9))), Publishers),
        (map(&whole), map(&number), Subscribers),
        (
            json!({"type": "object", "patternProperties": {"^x-[a-z]{3}$": whole}}),
            json!({"type": "object", "patternProperties": {"^x-[a-z]{3}$": number}}),
            Subscribers,
        ),
        (json!({"type": "object"}), json!({"type": "object", "propertyNames": {"pattern": "^[a-z]+$"}}), Publishers),
        (json!({"type": "string", "title": "a"}), json!({"type": "string", "title": "b"}), Nobody),
    ]
}

/// Members as real schemas have them: some are required, and their smallest values are not the obvious ones.
fn siblings(count: usize) -> Vec<(String, Value)> {
    let kinds = [
        json!({"type": "string", "minLength": 5, "maxLength": 40}),
        json!({"type": "integer", "minimum": 1, "maximum": 99}),
        json!({"enum": ["new", "paid", "sent"]}),
        json!({"type": "string", "format": "date-time"}),
        json!({"type": "number", "exclusiveMinimum": 0}),
        json!({"type": "array", "items": {"$ref": "#/$defs/tag"}, "minItems": 1}),
        json!({"type": "string", "pattern": "^[a-z]+$", "minLength": 12}),
        json!({"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}, "b": {"type": "boolean"}}}),
    ];
    (0..count).map(|n| (format!("m{n}"), kinds[n % kinds.len()].clone())).collect()
}

/// Where the object with the member stands in the schema.
#[derive(Debug, Clone, Copy)]
enum Holder {
    Whole,
    Member,
    Items,
    Reference,
    Deep,
}

const HOLDERS: [Holder; 5] = [Holder::Whole, Holder::Member, Holder::Items, Holder::Reference, Holder::Deep];

fn held(object: Value, holder: Holder) -> Value {
    let one = |name: &str, of: Value| json!({"type": "object", "properties": {"id": {"type": "string", "minLength": 1}, name: of}, "required": ["id"]});
    let list = |of: Value| json!({"type": "array", "items": of});
    let mut whole = match holder {
        Holder::Whole => object,
        Holder::Member => one("part", object),
        Holder::Items => one("lines", list(object)),
        Holder::Reference => json!({"$ref": "#/$defs/of", "$defs": {"of": object}}),
        Holder::Deep => {
            let inner = one("lines", list(json!({"$ref": "#/$defs/of"})));
            let mut deep = one("orders", list(one("cart", inner)));
            deep["$defs"] = json!({"of": object});
            deep
        }
    };
    whole["$defs"]["tag"] = json!({"type": "string", "minLength": 1});
    whole
}

/// An object with a member among others.
fn object(member: Option<&Value>, place: usize, count: usize, is_closed: bool) -> Value {
    let mut members = siblings(count);
    if let Some(member) = member {
        members.insert(place, ("member".to_owned(), member.clone()));
    }
    let required: Vec<_> = siblings(count).into_iter().map(|(name, _)| name).step_by(2).collect();
    let members: Map<String, Value> = members.into_iter().collect();
    let mut object = json!({"type": "object", "properties": members, "required": required});
    if is_closed {
        object["additionalProperties"] = json!(false);
    }
    object
}

fn broken(old: &Value, new: &Value) -> Result<Breaks, String> {
    let (old, new) = (schema(old), schema(new));
    match (publishers(&old, &new), subscribers(&old, &new)) {
        (Yes, Yes) => Ok(Nobody),
        (No { example: Some(_), .. }, No { example: Some(_), .. }) => Ok(Both),
        // It is never proved that one pattern matches everything another does.
        (No { example: Some(_), .. }, Yes | Side::Unknown { .. }) => Ok(Publishers),
        (Yes | Side::Unknown { .. }, No { example: Some(_), .. }) => Ok(Subscribers),
        other => Err(format!("{other:?}")),
    }
}

/// Describes a wrong verdict, with its change and place.
fn wrong(old: &Value, new: &Value, expected: Breaks, place: &str) -> Option<String> {
    let breaks = broken(old, new);
    (breaks.as_ref() != Ok(&expected)).then(|| format!("{place}: {expected:?} expected: {breaks:?}\n{old}\n{new}"))
}

fn none_of(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} are judged wrong:\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn a_change_of_a_member_is_judged_right_wherever_it_stands() {
    let mut found = Vec::new();
    for (index, (old, new, expected)) in of_members().into_iter().enumerate() {
        for number in [index, index + 2] {
            let (count, holder) = (4, HOLDERS[number % HOLDERS.len()]);
            let place = number % (count + 1);
            let of = |member: &Value| held(object(Some(member), place, count, index % 2 == 0), holder);
            found.extend(wrong(&of(&old), &of(&new), expected, &format!("{place} {holder:?}")));
        }
    }
    none_of(&found);
}

#[test]
fn a_change_of_an_object_is_judged_right_wherever_it_stands() {
    let mut found = Vec::new();
    let text = json!({"type": "string"});
    let count = 4;
    for (place, holder) in HOLDERS.into_iter().enumerate() {
        let of = |member: Option<&Value>, is_closed| object(member, place, count, is_closed);
        let demanded = |is_closed| {
            let mut demanded = of(Some(&text), is_closed);
            demanded["required"].as_array_mut().expect("a list").push(json!("member"));
            demanded
        };
        for (old, new, expected) in [
            (of(None, false), of(Some(&text), false), Publishers),
            (of(None, true), of(Some(&text), true), Subscribers),
            (of(Some(&text), false), of(None, false), Subscribers),
            (of(Some(&text), true), of(None, true), Publishers),
            (of(Some(&text), false), demanded(false), Publishers),
            (demanded(true), of(Some(&text), true), Subscribers),
            (of(Some(&text), false), of(Some(&text), true), Publishers),
            (of(Some(&text), true), of(Some(&text), false), Subscribers),
        ] {
            found.extend(wrong(&held(old, holder), &held(new, holder), expected, &format!("{place} {holder:?}")));
        }
    }
    none_of(&found);
}

/// Regression: of an order's lines only the first optional member was looked at, so nobody was told that a new
/// `minimum` on any other refuses what was published. In a closed object of more than ten members, a member added at
/// the end went unnoticed.
#[test]
fn neither_the_place_of_a_member_nor_how_many_there_are_decides() {
    let (low, high) = (json!({"type": "integer", "minimum": 0}), json!({"type": "integer", "minimum": 1}));
    let mut found = Vec::new();
    let places = (0..=12).map(|place| (place, 12)).chain([(60, 60)]);
    for (place, count) in places {
        let of = |member: Option<&Value>, is_closed| object(member, place, count, is_closed);
        // Comparing takes its time, so not every form is tried at every place.
        let forms = if place % 6 == 0 { 3 } else { 1 };
        let all = [
            (of(Some(&low), false), of(Some(&high), false), Holder::Items, Publishers),
            (of(None, false), of(Some(&low), false), Holder::Items, Publishers),
            (of(None, true), of(Some(&low), true), Holder::Whole, Subscribers),
        ];
        for (old, new, holder, expected) in all.into_iter().take(forms) {
            found.extend(wrong(&held(old, holder), &held(new, holder), expected, &format!("{place} of {count}")));
        }
    }
    none_of(&found);
}
