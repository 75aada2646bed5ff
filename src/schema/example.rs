//! One value to show: made from a schema, and believed only when the real validators agree.
//!
//! Nothing here has to be complete: a guess that does not hold is dropped.

mod text;

use std::cell::Cell;

use serde_json::{Map, Number, Value, json};

use crate::schema::example::text::{matching, strings};

/// The most guesses that are made of one schema.
const GUESSES: usize = 64;

/// How many schemas are looked at for one example.
const STEPS: usize = 5_000;

/// How deep schemas are followed.
const DEPTH: usize = 6;

/// The longest array that is made.
const LONGEST: u64 = 1_024;

/// The most bytes of an example.
const SIZE: usize = 4_096;

/// A value that one of these schemas describes and that is `wanted`.
pub(super) fn find<'s>(schemas: impl IntoIterator<Item = &'s Value>, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
    let guesses = schemas.into_iter().flat_map(|schema| {
        let guess = Guess { root: schema, left: Cell::new(STEPS) };
        guess.of(schema, DEPTH)
    });
    guesses.chain(anything()).find(|guess| wanted(guess) && guess.to_string().len() <= SIZE)
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

/// Makes values that a schema may accept.
struct Guess<'s> {
    root: &'s Value,
    /// Schemas that may still be looked at.
    left: Cell<usize>,
}

impl Guess<'_> {
    fn of(&self, schema: &Value, depth: usize) -> Vec<Value> {
        let Value::Object(schema) = schema else {
            return if schema == &Value::Bool(false) { Vec::new() } else { anything() };
        };
        let (Some(deeper), Some(left)) = (depth.checked_sub(1), self.left.get().checked_sub(1)) else {
            return Vec::new();
        };
        self.left.set(left);
        let mut guesses = Vec::new();
        guesses.extend(schema.get("const").cloned());
        guesses.extend(list(schema, "enum").iter().cloned());
        if let Some(target) = schema.get("$ref").and_then(Value::as_str).and_then(|text| self.target(text)) {
            guesses.extend(self.of(target, deeper));
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches = list(schema, keyword);
            // The rest of the schema holds in each branch.
            let whole = |branch: &Value| merge(schema, branch, keyword);
            guesses.extend(branches.iter().flat_map(|branch| self.of(&whole(branch), deeper).into_iter().take(8)));
        }
        if !list(schema, "allOf").is_empty() {
            let whole = list(schema, "allOf").iter().fold(Value::Object(schema.clone()), |whole, part| {
                merge(whole.as_object().unwrap_or(schema), self.followed(part), "allOf")
            });
            guesses.extend(self.of(&whole, deeper));
        }
        if guesses.is_empty() {
            guesses.extend(types(schema).into_iter().flat_map(|name| self.of_type(schema, name, deeper)));
        }
        guesses.truncate(GUESSES);
        guesses
    }

    fn target(&self, reference: &str) -> Option<&Value> {
        let pointer = percent_encoding::percent_decode_str(reference.strip_prefix('#')?).decode_utf8().ok()?;
        self.root.pointer(&pointer)
    }

    fn followed<'v>(&'v self, schema: &'v Value) -> &'v Value {
        schema.get("$ref").and_then(Value::as_str).and_then(|text| self.target(text)).unwrap_or(schema)
    }

    fn of_type(&self, schema: &Map<String, Value>, name: &str, depth: usize) -> Vec<Value> {
        match name {
            "null" => vec![Value::Null],
            "boolean" => vec![true.into(), false.into()],
            "integer" | "number" => numbers(schema, name == "integer"),
            "string" => strings(schema).into_iter().map(Value::String).collect(),
            "array" => self.arrays(schema, depth),
            _ => self.objects(schema, depth),
        }
    }

    fn arrays(&self, schema: &Map<String, Value>, depth: usize) -> Vec<Value> {
        let least = schema.get("minItems").and_then(Value::as_u64).unwrap_or(0).min(LONGEST);
        let prefix = list(schema, "prefixItems");
        let distinct = schema.get("uniqueItems") == Some(&Value::Bool(true));
        let items = schema.get("items").map(|items| self.of(items, depth)).unwrap_or_else(anything);
        let demanded = schema.get("contains").map(|demanded| self.of(demanded, depth)).unwrap_or_default();
        let array = |length: usize, choice: usize| -> Value {
            let item = |index: usize| match prefix.get(index) {
                Some(schema) => self.of(schema, depth).into_iter().nth(choice).unwrap_or_default(),
                None if index == 0 && !demanded.is_empty() => demanded[choice % demanded.len()].clone(),
                None if items.is_empty() => Value::Null,
                None if distinct => items.get(index + choice).cloned().unwrap_or_else(|| json!(index)),
                None => items[choice % items.len()].clone(),
            };
            (0..length).map(item).collect()
        };
        let least = usize::try_from(least).unwrap_or_default();
        let most = schema.get("maxItems").and_then(Value::as_u64).filter(|most| *most < LONGEST).unwrap_or(0);
        let beyond = usize::try_from(most).unwrap_or_default() + 1;
        let lengths = [least, least.max(1), least.max(prefix.len()), least + 1, prefix.len() + 1, beyond];
        lengths.iter().flat_map(|length| (0..4).map(|choice| array(*length, choice)).collect::<Vec<_>>()).collect()
    }

    fn objects(&self, schema: &Map<String, Value>, depth: usize) -> Vec<Value> {
        let nothing = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&nothing);
        let others = schema.get("additionalProperties").unwrap_or(&Value::Bool(true));
        let values = |name: &str| self.of(properties.get(name).unwrap_or(others), depth);
        let mut least = Map::new();
        for name in list(schema, "required").iter().filter_map(Value::as_str) {
            least.insert(name.to_owned(), values(name).into_iter().next().unwrap_or_default());
        }
        let bound = |keyword: &str| schema.get(keyword).and_then(Value::as_u64).filter(|bound| *bound < LONGEST);
        let mut filled = vec![fill(&least, bound("minProperties").unwrap_or(0), properties, &values)];
        if let Some(most) = bound("maxProperties") {
            filled.extend([most, most + 1].map(|size| fill(&least, size, properties, &values)));
        }
        let least = filled[0].clone();
        let with = |name: &str, value: Value| {
            let mut object = least.clone();
            object.insert(name.to_owned(), value);
            Value::Object(object)
        };
        let mut objects: Vec<Value> = filled.into_iter().map(Value::Object).collect();
        let patterns = schema.get("patternProperties").and_then(Value::as_object).unwrap_or(&nothing);
        let matching = patterns.keys().flat_map(|pattern| matching(pattern));
        let names: Vec<String> =
            properties.keys().cloned().chain(["x".to_owned(), "x".repeat(64)]).chain(matching).collect();
        for name in &names {
            objects.extend(values(name).into_iter().take(6).map(|value| with(name, value)));
        }
        objects
    }
}

/// An object with so many members.
fn fill(
    least: &Map<String, Value>,
    size: u64,
    properties: &Map<String, Value>,
    values: &dyn Fn(&str) -> Vec<Value>,
) -> Map<String, Value> {
    let mut object = least.clone();
    let names = properties.keys().cloned().chain((0..size).map(|index| format!("p{index}")));
    for name in names {
        if object.len() as u64 >= size {
            break;
        }
        let value = values(&name).into_iter().next().unwrap_or_default();
        object.entry(name).or_insert(value);
    }
    object
}

fn list<'s>(schema: &'s Map<String, Value>, keyword: &str) -> &'s [Value] {
    schema.get(keyword).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// A schema with one of its branches in place of the keyword that holds them.
fn merge(schema: &Map<String, Value>, branch: &Value, keyword: &str) -> Value {
    let mut whole = schema.clone();
    whole.shift_remove(keyword);
    for (name, value) in branch.as_object().into_iter().flatten() {
        match (whole.get_mut(name), value) {
            (Some(Value::Object(there)), Value::Object(more)) => there.extend(more.clone()),
            (Some(Value::Array(there)), Value::Array(more)) if name == "required" => there.extend(more.iter().cloned()),
            _ => {
                whole.insert(name.clone(), value.clone());
            }
        }
    }
    Value::Object(whole)
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
    use serde_json::json;

    use super::find;

    #[test]
    fn only_what_is_wanted_is_found() {
        let string = json!({"type": "string", "minLength": 4});
        assert_eq!(find([&string], |guess| guess.as_str().is_some_and(|text| text.len() == 5)), Some(json!("aaaaa")));
        assert_eq!(find([&string], |_| false), None);
    }
}
