//! One value to show: made from a schema, and believed only when the real validators agree.
//!
//! Nothing here has to be complete: a guess that does not hold is dropped.

mod text;

use std::cell::Cell;
use std::ops::ControlFlow::{self, Break, Continue};

use serde_json::{Map, Number, Value, json};

use crate::schema::example::text::{matching, strings};
use crate::schema::json;

/// The most guesses that are taken of one schema.
const GUESSES: usize = 64;

/// How many schemas are looked at for one example.
const STEPS: usize = 5_000;

/// How many values are copied for one example, those inside of others counted.
const COPIES: usize = 1 << 16;

/// How deep schemas are followed.
const DEPTH: usize = 6;

/// The longest array that is made.
const LONGEST: u64 = 1_024;

/// How many arrays are made of each length.
const CHOICES: usize = 4;

/// The most bytes of an example.
const SIZE: usize = 4_096;

/// A value that one of these schemas describes and that is `wanted`.
pub(super) fn find<'s>(schemas: impl IntoIterator<Item = &'s Value>, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let is_it = |guess: &Value| wanted(guess) && guess.to_string().len() <= SIZE;
    for schema in schemas {
        let guess = Guess { root: schema, schemas: Cell::new(STEPS), copies: Cell::new(COPIES) };
        let mut found = None;
        let _ = guess.of(schema, DEPTH, &mut |value| {
            if is_it(&value) {
                found = Some(value);
                return Break(());
            }
            Continue(())
        });
        if found.is_some() {
            return found;
        }
    }
    anything().into_iter().find(is_it)
}

/// One or two of everything.
fn anything() -> Vec<Value> {
    vec![
        json!({}),
        json!(""),
        json!("a"),
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(1e9),
        json!([]),
        json!([0]),
        json!(true),
        json!(false),
        json!(null),
    ]
}

/// Takes guesses as they are made, until it breaks.
type Offer<'o> = &'o mut dyn FnMut(Value) -> ControlFlow<()>;

/// Makes values that a schema may accept.
struct Guess<'s> {
    root: &'s Value,
    /// Schemas that may still be looked at.
    schemas: Cell<usize>,
    /// Values that may still be copied: what a schema asks for can be as large as a number that stands in it.
    copies: Cell<usize>,
}

impl Guess<'_> {
    fn of(&self, schema: &Value, depth: usize, offer: Offer<'_>) -> ControlFlow<()> {
        match schema {
            Value::Object(schema) => at_most(GUESSES, offer, |offer| self.of_object(schema, depth, offer)),
            Value::Bool(false) => Continue(()),
            _ => anything().into_iter().try_for_each(offer),
        }
    }

    fn of_object(&self, schema: &Map<String, Value>, depth: usize, offer: Offer<'_>) -> ControlFlow<()> {
        let (Some(deeper), Some(left)) = (depth.checked_sub(1), self.schemas.get().checked_sub(1)) else {
            return Continue(());
        };
        self.schemas.set(left);
        let mut has_offered = false;
        let noted: Offer<'_> = &mut |guess| {
            has_offered = true;
            offer(guess)
        };
        for value in schema.get("const").into_iter().chain(list(schema, "enum")).take(GUESSES) {
            self.copy(value).map_or(Continue(()), &mut *noted)?;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|text| json::target(self.root, text))
        {
            self.of(target, deeper, noted)?;
        }
        for keyword in ["anyOf", "oneOf"] {
            for branch in list(schema, keyword).iter().take(GUESSES) {
                // The rest of the schema holds in each branch.
                let Some(whole) = self.without(schema, keyword).and_then(|rest| self.with(rest, branch)) else { break };
                at_most(8, noted, |offer| self.of(&Value::Object(whole), deeper, offer))?;
            }
        }
        let parts = list(schema, "allOf");
        if !parts.is_empty() {
            let rest = self.without(schema, "allOf");
            let whole = parts.iter().try_fold(rest, |whole, part| Some(self.with(whole?, self.followed(part))));
            if let Some(whole) = whole.flatten() {
                self.of(&Value::Object(whole), deeper, noted)?;
            }
        }
        if has_offered {
            return Continue(());
        }
        types(schema).into_iter().try_for_each(|name| self.of_type(schema, name, deeper, offer))
    }

    /// The first guesses.
    fn first(&self, count: usize, schema: &Value, depth: usize) -> Vec<Value> {
        let mut first = Vec::new();
        let keep: Offer<'_> = &mut |guess| {
            first.push(guess);
            Continue(())
        };
        let _ = at_most(count, keep, |offer| self.of(schema, depth, offer));
        first
    }

    /// `None`: enough was copied.
    fn copy(&self, value: &Value) -> Option<Value> {
        self.pay(value).then(|| value.clone())
    }

    fn copy_object(&self, object: &Map<String, Value>) -> Option<Map<String, Value>> {
        object.values().all(|value| self.pay(value)).then(|| object.clone())
    }

    fn pay(&self, value: &Value) -> bool {
        let Some(left) = self.copies.get().checked_sub(1) else { return false };
        self.copies.set(left);
        match value {
            Value::Array(items) => items.iter().all(|item| self.pay(item)),
            Value::Object(members) => members.values().all(|member| self.pay(member)),
            _ => true,
        }
    }

    /// A schema without the keyword that holds its branches.
    fn without(&self, schema: &Map<String, Value>, keyword: &str) -> Option<Map<String, Value>> {
        let rest = schema.iter().filter(|(name, _)| *name != keyword);
        rest.map(|(name, value)| Some((name.clone(), self.copy(value)?))).collect()
    }

    /// A schema that says what a branch says, too.
    fn with(&self, mut whole: Map<String, Value>, branch: &Value) -> Option<Map<String, Value>> {
        for (name, value) in branch.as_object().into_iter().flatten() {
            match (whole.get_mut(name), self.copy(value)?) {
                (Some(Value::Object(there)), Value::Object(more)) => there.extend(more),
                (Some(Value::Array(there)), Value::Array(more)) if name == "required" => there.extend(more),
                (_, value) => {
                    whole.insert(name.clone(), value);
                }
            }
        }
        Some(whole)
    }

    fn followed<'v>(&'v self, schema: &'v Value) -> &'v Value {
        schema.get("$ref").and_then(Value::as_str).and_then(|text| json::target(self.root, text)).unwrap_or(schema)
    }

    fn of_type(&self, schema: &Map<String, Value>, name: &str, depth: usize, offer: Offer<'_>) -> ControlFlow<()> {
        match name {
            "null" => offer(Value::Null),
            "boolean" => [true, false].into_iter().try_for_each(|value| offer(value.into())),
            "integer" | "number" => numbers(schema, name == "integer").into_iter().try_for_each(offer),
            "string" => strings(schema).into_iter().map(Value::String).try_for_each(offer),
            "array" => self.arrays(schema, depth, offer),
            _ => self.objects(schema, depth, offer),
        }
    }

    fn arrays(&self, schema: &Map<String, Value>, depth: usize, offer: Offer<'_>) -> ControlFlow<()> {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(LONGEST);
        let prefix = list(schema, "prefixItems");
        let distinct = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let wanted = if distinct { GUESSES } else { CHOICES };
        let items = schema.get("items").map(|items| self.first(wanted, items, depth)).unwrap_or_else(anything);
        let demanded = schema.get("contains").map(|part| self.first(CHOICES, part, depth)).unwrap_or_default();
        let array = |length: usize, choice: usize| -> Option<Value> {
            let item = |index: usize| match prefix.get(index) {
                Some(schema) => Some(self.first(choice + 1, schema, depth).into_iter().nth(choice).unwrap_or_default()),
                None if index == 0 && !demanded.is_empty() => self.copy(&demanded[choice % demanded.len()]),
                None if items.is_empty() => Some(Value::Null),
                None if distinct => self.copy(items.get(index + choice).unwrap_or(&json!(index))),
                None => self.copy(&items[choice % items.len()]),
            };
            (0..length).map(item).collect()
        };
        let least = usize::try_from(least).unwrap_or_default();
        let most = schema.get("maxItems").and_then(Value::as_u64).filter(|most| *most < LONGEST).unwrap_or(0);
        let beyond = usize::try_from(most).unwrap_or_default() + 1;
        let lengths = [least, least.max(1), least.max(prefix.len()), least + 1, prefix.len() + 1, beyond];
        let each = lengths.iter().flat_map(|length| (0..CHOICES).map(|choice| (*length, choice)));
        each.filter_map(|(length, choice)| array(length, choice)).try_for_each(offer)
    }

    fn objects(&self, schema: &Map<String, Value>, depth: usize, offer: Offer<'_>) -> ControlFlow<()> {
        let nothing = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let others = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let values = |name: &str, count: usize| self.first(count, properties.get(name).unwrap_or(others), depth);
        let value = |name: &str| values(name, 1).pop().unwrap_or_default();
        let mut required = Map::new();
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            required.insert(name.to_owned(), value(name));
        }
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).filter(|bound| *bound < LONGEST);
        let filled = |size: u64| self.copy_object(&required).map(|least| fill(least, size, properties, &value));
        let Some(least) = filled(bound("minProperties").unwrap_or(0)) else { return Continue(()) };
        let sizes = bound("maxProperties").into_iter().flat_map(|most| [most, most + 1]);
        let larger = sizes.filter_map(filled);
        self.copy_object(&least).into_iter().chain(larger).map(Value::Object).try_for_each(&mut *offer)?;
        let patterns = schema.get("patternProperties").and_then(Value::as_object).unwrap_or(&nothing);
        let matching = patterns.keys().flat_map(|pattern| matching(pattern));
        let names = properties.keys().cloned().chain(["x".to_owned(), "x".repeat(64)]).chain(matching);
        for name in names {
            for value in values(&name, 6) {
                let Some(mut object) = self.copy_object(&least) else { return Continue(()) };
                object.insert(name.clone(), value);
                offer(Value::Object(object))?;
            }
        }
        Continue(())
    }
}

/// Hands on so many guesses of those that are made, and then has no more made.
fn at_most(most: usize, offer: Offer<'_>, make: impl FnOnce(Offer<'_>) -> ControlFlow<()>) -> ControlFlow<()> {
    let (mut made, mut wants) = (0, Continue(()));
    let _ = make(&mut |guess| {
        made += 1;
        wants = offer(guess);
        if made < most { wants } else { Break(()) }
    });
    wants
}

/// An object with so many members.
fn fill(
    mut object: Map<String, Value>,
    size: u64,
    properties: &Map<String, Value>,
    value: &dyn Fn(&str) -> Value,
) -> Map<String, Value> {
    let names = properties.keys().cloned().chain((0..size).map(|index| format!("p{index}")));
    for name in names {
        if object.len() as u64 >= size {
            break;
        }
        let value = value(&name);
        object.entry(name).or_insert(value);
    }
    object
}

fn list<'s>(schema: &'s Map<String, Value>, keyword: &str) -> &'s [Value] {
    schema.get(keyword).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec!["object", "string", "number", "integer", "array", "boolean", "null"],
    }
}

fn numbers(schema: &Map<String, Value>, integer: bool) -> Vec<Value> {
    let number = |keyword: &str| schema.get(keyword).and_then(Value::as_f64);
    let step = number("multipleOf").unwrap_or(1.0);
    let mut guesses = vec![0.0];
    for bound in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"].iter().filter_map(|k| number(k)) {
        let near = (bound / step).round() * step;
        guesses.extend([bound, near, near + step, near - step, bound + 0.5, bound - 0.5]);
    }
    guesses.extend([step, -step, 0.5, 1e9, -1e9]);
    if integer {
        guesses.retain(|guess| guess.fract() == 0.0);
    }
    guesses.into_iter().filter_map(written).collect()
}

/// A number as one would write it: without a fraction where it has none.
fn written(number: f64) -> Option<Value> {
    if number.fract() == 0.0 && number.abs() < 9e15 {
        return Some((number as i64).into());
    }
    Number::from_f64(number).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::{Map, Value, json};

    use super::find;

    #[test]
    fn only_what_is_wanted_is_found() {
        let string = json!({"type": "string", "minLength": 4});
        assert_eq!(find([&string], |guess| guess.as_str().is_some_and(|text| text.len() == 5)), Some(json!("aaaaa")));
        assert_eq!(find([&string], |_| false), None);
    }

    /// All guesses were made before one was tried, each a copy of the whole: a record of 2,400 columns took gigabytes, and so
    /// did a matrix of a thousand rows, in a running server that was given them by a reload.
    #[test]
    fn no_schema_takes_long_to_be_guessed_at() {
        let columns: Map<String, Value> =
            (0..2_000).map(|n| (format!("column{n}"), json!({"type": "string"}))).collect();
        let record = json!({"type": "object", "required": columns.keys().collect::<Vec<_>>(), "properties": columns});
        let list = |items: Value| json!({"type": "array", "minItems": 80, "items": items});
        let space = list(list(list(json!({"type": "number"}))));
        let branches: Vec<Value> = (0..4_000).map(|n| json!({"maxLength": n})).collect();
        for (name, schema) in [("record", record), ("space", space), ("branches", json!({"anyOf": branches}))] {
            let began = Instant::now();
            assert_eq!(find([&schema], |_| false), None);
            assert!(began.elapsed() < Duration::from_secs(2), "{name}: {:?}", began.elapsed());
        }
    }
}
