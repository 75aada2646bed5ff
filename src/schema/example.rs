//! Finds one value to show. Guesses are made from a schema and believed only when the real validators agree.
//!
//! The search need not be complete: a guess that fails is simply dropped. Each guess differs from the simplest value in
//! one place. Every place is tried once before any is tried again, so the position of a member does not matter. Places
//! that differ from another schema come first, so the number of members hardly matters.

mod number;
mod parts;
#[cfg(test)]
mod tests;
mod text;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::LazyLock;

use serde_json::{Map, Value, json};

use crate::schema::example::number::numbers;
use crate::schema::example::text::{matching, strings, texts};
use crate::schema::json;

/// How many rounds to try. The first round tries one value in each place, and each further one twice as many as the
/// last.
#[derive(Clone, Copy)]
pub(super) enum Effort {
    /// Finds nearly everything there is to find.
    Full = 10,
    /// For when almost certainly there is nothing to find.
    Little = 2,
}

/// The schemas that one round may look at.
const STEPS: usize = 500;

/// The values that one round may copy, nested ones included. Needed because a schema can demand a value as large as any
/// number it contains.
const COPIES: usize = 1 << 13;

/// How deep schemas are followed.
const DEPTH: usize = 40;

/// How much of that depth a step into a part of the value takes. A step to another schema of the same value takes one.
const PART: usize = 4;

/// The longest array that a guess may have, in items.
const LONGEST: u64 = 1_024;

/// Keywords that judge nothing by themselves.
const SILENT: [&str; 8] = ["$comment", "$defs", "$id", "$schema", "default", "definitions", "description", "title"];

static ANYTHING: Value = Value::Bool(true);

/// Looks for a value that one of these schemas describes and that is `wanted`. Each schema may come with another one to
/// compare it with.
pub(super) fn find<'s>(
    schemas: impl IntoIterator<Item = (&'s Value, Option<&'s Value>)>,
    effort: Effort,
    wanted: impl Fn(&Value) -> bool,
) -> Option<Value> {
    for (schema, other) in schemas {
        let guess = Guess::of_root(schema, other);
        for round in 0..effort as u32 {
            guess.schemas.set(guess.schemas.get() + STEPS);
            guess.copies.set(guess.copies.get() + COPIES);
            let (mut found, mut is_made) = (None, false);
            let _ = guess.of(schema, At { depth: DEPTH, round }, &mut |value| {
                is_made = true;
                if wanted(&value) {
                    found = Some(value);
                    return Break(());
                }
                Continue(())
            });
            if found.is_some() {
                return found;
            }
            if !is_made {
                break;
            }
        }
    }
    EVERYTHING.iter().find(|value| wanted(value)).cloned()
}

/// Sample values of every type.
static EVERYTHING: LazyLock<Vec<Value>> = LazyLock::new(|| {
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
});

/// Receives each guess; breaks to stop the search.
type Offer<'o> = &'o mut dyn FnMut(Value) -> ControlFlow<()>;

/// How deep the search may still go, and which round it is in.
#[derive(Clone, Copy)]
struct At {
    depth: usize,
    round: u32,
}

impl At {
    /// The position one level further into the value.
    fn below(self) -> Self {
        Self { depth: self.depth.saturating_sub(PART - 1), ..self }
    }

    /// The values that this round tries of all those for one place.
    fn share<T>(self, values: impl IntoIterator<Item = T>) -> impl Iterator<Item = T> {
        let count = 1 << self.round;
        values.into_iter().skip(count - 1).take(count)
    }
}

/// Makes guesses: values that a schema may accept.
struct Guess<'s> {
    root: &'s Value,
    other: Option<&'s Value>,
    /// Every named entry of the other schema.
    known: HashSet<(&'s str, &'s Value)>,
    /// For each reference, whether it leads to the same in both schemas.
    alike: RefCell<HashMap<String, bool>>,
    /// Schemas that may still be looked at.
    schemas: Cell<usize>,
    /// Values that may still be copied.
    copies: Cell<usize>,
    /// Texts that match each pattern. To parse one pattern can take longer than all the rest.
    matching: RefCell<HashMap<String, Vec<String>>>,
    /// Texts that fit several patterns and formats together.
    texts: RefCell<HashMap<String, Vec<String>>>,
}

impl<'s> Guess<'s> {
    fn of_root(root: &'s Value, other: Option<&'s Value>) -> Self {
        let mut known = HashSet::new();
        let mut waiting: Vec<&Value> = other.into_iter().collect();
        while let Some(next) = waiting.pop() {
            known.extend(next.as_object().into_iter().flatten().map(|(name, value)| (name.as_str(), value)));
            waiting.extend(next.as_object().into_iter().flat_map(Map::values));
            waiting.extend(next.as_array().into_iter().flatten());
        }
        let (schemas, copies) = (Cell::new(0), Cell::new(0));
        let (alike, matching, texts) = Default::default();
        Self { root, other, known, alike, schemas, copies, matching, texts }
    }

    /// Whether the other schema says the same under this name, even in another place.
    fn is_known(&self, name: &str, schema: &Value) -> bool {
        self.known.contains(&(name, schema)) && self.leads_alike(schema)
    }

    fn leads_alike(&self, schema: &Value) -> bool {
        match schema {
            Value::Object(members) => members.iter().all(|(name, value)| match value {
                Value::String(text) if name == "$ref" => self.is_alike(text),
                value => self.leads_alike(value),
            }),
            Value::Array(items) => items.iter().all(|item| self.leads_alike(item)),
            _ => true,
        }
    }

    fn is_alike(&self, reference: &str) -> bool {
        if let Some(known) = self.alike.borrow().get(reference) {
            return *known;
        }
        let target = json::target(self.root, reference);
        let is_same = target == self.other.and_then(|other| json::target(other, reference));
        // Noted before the target is followed, which may lead back here.
        self.alike.borrow_mut().insert(reference.to_owned(), is_same);
        let is_alike = is_same && target.is_none_or(|target| self.leads_alike(target));
        self.alike.borrow_mut().insert(reference.to_owned(), is_alike);
        is_alike
    }

    fn of(&self, schema: &Value, at: At, offer: Offer<'_>) -> ControlFlow<()> {
        match schema {
            Value::Object(schema) => self.of_object(schema, at, offer),
            Value::Bool(false) => Continue(()),
            _ => at.share(&*EVERYTHING).cloned().try_for_each(offer),
        }
    }

    fn of_object(&self, schema: &Map<String, Value>, at: At, offer: Offer<'_>) -> ControlFlow<()> {
        let (Some(depth), Some(left)) = (at.depth.checked_sub(1), self.schemas.get().checked_sub(1)) else {
            return Continue(());
        };
        self.schemas.set(left);
        let at = At { depth, ..at };
        if schema.contains_key("const") || schema.contains_key("enum") {
            let values = schema.get("const").into_iter().chain(list(schema, "enum"));
            return at.share(values).try_for_each(|value| self.copy(value).map_or(Break(()), &mut *offer));
        }
        if let Some(target) = self.target(schema) {
            let rest = self.without(schema, &["$ref"]);
            // Most references stand alone, and then the target need not be copied.
            if rest.as_ref().is_none_or(Map::is_empty) {
                return self.of(target, at, offer);
            }
            return self.of_whole(rest.and_then(|rest| self.with(rest, target)), at, offer);
        }
        for keyword in ["anyOf", "oneOf"] {
            let branches = list(schema, keyword);
            if !branches.is_empty() {
                // The rest of the schema applies to each branch.
                let whole = |branch: &_| self.with(self.without(schema, &[keyword])?, self.followed(branch));
                return self.fairly(branches, |branch| self.of_whole(whole(branch), at, offer));
            }
        }
        if !list(schema, "allOf").is_empty() {
            return self.of_all(schema, at, offer);
        }
        if let Some(condition) = schema.get("if") {
            let [then, otherwise] = ["then", "else"].map(|branch| schema.get(branch).unwrap_or(&ANYTHING));
            let rest = || self.without(schema, &["if", "then", "else"]);
            let holds = rest().and_then(|rest| self.with(self.with(rest, condition)?, then));
            self.of_whole(holds, at, offer)?;
            return self.of_whole(rest().and_then(|rest| self.with(rest, otherwise)), at, offer);
        }
        types(schema).into_iter().try_for_each(|name| self.of_type(schema, name, at, offer))
    }

    /// Combines all parts of an `allOf`, with one of the conditional parts at a time.
    fn of_all(&self, schema: &Map<String, Value>, at: At, offer: Offer<'_>) -> ControlFlow<()> {
        let parts = list(schema, "allOf").iter().map(|part| self.followed(part));
        let (conditions, plain): (Vec<_>, Vec<_>) = parts.partition(|part| part.get("if").is_some());
        let whole = || plain.iter().try_fold(self.without(schema, &["allOf"])?, |whole, part| self.with(whole, part));
        if conditions.is_empty() {
            return self.of_whole(whole(), at, offer);
        }
        self.fairly(&conditions, |condition| {
            self.of_whole(whole().and_then(|whole| self.with(whole, condition)), at, offer)
        })
    }

    /// Offers the values of a combined schema; `None` means that the copies are used up.
    fn of_whole(&self, whole: Option<Map<String, Value>>, at: At, offer: Offer<'_>) -> ControlFlow<()> {
        whole.map_or(Break(()), |whole| self.of_object(&whole, at, offer))
    }

    /// Gives each branch an equal share of the schemas left to look at, but never too few to be useful.
    fn fairly<T>(&self, all: &[T], mut each: impl FnMut(&T) -> ControlFlow<()>) -> ControlFlow<()> {
        for (index, one) in all.iter().enumerate() {
            let left = self.schemas.get();
            if left == 0 {
                break;
            }
            let share = left.div_ceil(all.len() - index).max(PART).min(left);
            self.schemas.set(share);
            let wants = each(one);
            self.schemas.set(self.schemas.get() + left - share);
            wants?;
        }
        Continue(())
    }

    /// The first `count` different guesses.
    fn first(&self, count: usize, schema: &Value, at: At) -> Vec<Value> {
        let mut first = Vec::new();
        for round in 0..Effort::Full as u32 {
            let before = first.len();
            let _ = self.of(schema, At { round, ..at }, &mut |guess| {
                if !first.contains(&guess) {
                    first.push(guess);
                }
                if first.len() < count { Continue(()) } else { Break(()) }
            });
            if first.len() >= count || first.len() == before {
                break;
            }
        }
        first
    }

    fn least(&self, schema: &Value, at: At) -> Value {
        self.first(1, schema, at).pop().unwrap_or_default()
    }

    /// A copy; `None` when the copies are used up.
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

    /// The schema without these keywords and without silent ones.
    fn without(&self, schema: &Map<String, Value>, keywords: &[&str]) -> Option<Map<String, Value>> {
        let is_left = |name: &str| !keywords.contains(&name) && !SILENT.contains(&name);
        let rest = schema.iter().filter(|(name, _)| is_left(name));
        rest.map(|(name, value)| Some((name.clone(), self.copy(value)?))).collect()
    }

    /// The schema, with what a branch says merged in.
    fn with(&self, mut whole: Map<String, Value>, branch: &Value) -> Option<Map<String, Value>> {
        if let Some(branch) = branch.as_object() {
            merge(&mut whole, self.copy_object(branch)?);
        }
        Some(whole)
    }

    fn target(&self, schema: &Map<String, Value>) -> Option<&Value> {
        json::target(self.root, schema.get("$ref")?.as_str()?)
    }

    fn followed<'v>(&'v self, schema: &'v Value) -> &'v Value {
        schema.as_object().and_then(|schema| self.target(schema)).unwrap_or(schema)
    }

    fn matching(&self, pattern: &str) -> Vec<String> {
        self.matching.borrow_mut().entry(pattern.to_owned()).or_insert_with(|| matching(pattern)).clone()
    }

    /// The texts made for the patterns and the format of a schema.
    fn texts(&self, schema: &Map<String, Value>) -> Vec<String> {
        let Some(pattern) = schema.get("pattern") else { return Vec::new() };
        let key = json!([pattern, schema.get("format")]).to_string();
        let make = || texts(schema, |pattern| self.matching(pattern));
        self.texts.borrow_mut().entry(key).or_insert_with(make).clone()
    }

    fn of_type(&self, schema: &Map<String, Value>, name: &str, at: At, offer: Offer<'_>) -> ControlFlow<()> {
        match name {
            "null" => at.share([Value::Null]).try_for_each(offer),
            "boolean" => at.share([true, false]).map(Value::from).try_for_each(offer),
            "integer" | "number" => at.share(numbers(schema, name == "integer")).try_for_each(offer),
            "string" => at.share(strings(schema, self.texts(schema))).map(Value::from).try_for_each(offer),
            "array" => self.arrays(schema, at, offer),
            _ => self.objects(schema, at, offer),
        }
    }
}

/// Merges what another schema says into this one.
fn merge(schema: &mut Map<String, Value>, other: Map<String, Value>) {
    for (name, value) in other {
        match (schema.get_mut(&name), value) {
            (Some(Value::Object(there)), Value::Object(more)) => merge(there, more),
            (Some(Value::Array(there)), Value::Array(more)) if name == "required" || name == "allOf" => {
                there.extend(more)
            }
            // Both patterns apply: keep the list, from which texts are made that match all of them.
            (Some(there @ (Value::String(_) | Value::Array(_))), Value::String(more)) if name == "pattern" => {
                let mut all = match there.take() {
                    Value::Array(all) => all,
                    one => vec![one],
                };
                if !all.contains(&Value::from(more.as_str())) {
                    all.push(more.into());
                }
                *there = all.into();
            }
            (_, value) => {
                schema.insert(name, value);
            }
        }
    }
}

fn list<'s>(schema: &'s Map<String, Value>, keyword: &str) -> &'s [Value] {
    schema.get(keyword).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn types(schema: &Map<String, Value>) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec!["object", "string", "number", "array", "boolean", "null"],
    }
}
