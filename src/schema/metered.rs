//! A payload as the validator sees it while it explains a refusal: read through a meter.
//!
//! Deciding whether a payload is valid takes no repetition, but collecting *what* is wrong does. Each branch of each
//! `anyOf` reports its own errors, with copies of the values they complain of, and a recursive schema multiplies these
//! at every level of the payload. So here values cost next to nothing to copy. Once the meter has run out everything
//! looks empty, so the explanation ends quickly, and errors found from then on are marked as worthless.

use std::borrow::Cow;
use std::cell::Cell;

use jsonschema::JsonType;
use jsonschema::json::{Array, Json, Node, NodeIdentity, Object, cmp};
use serde_json::{Map, Number, Value};

use crate::schema::json::Tree;
use crate::schema::unique::is_unique;

/// The most characters that an explanation shows of a string.
const SHOWN: usize = 256;

/// How many bytes of a string cost one step.
const STEP: usize = 256;

/// How many steps an error costs.
const ERROR: usize = 16;

/// How many bytes of names cost one step. An error keeps the names that lead to it and those it complains of.
const PATH: usize = 32;

/// The mark of an error found after the meter ran out. No other error keeps an array with anything in it.
pub(super) fn worthless() -> Value {
    Value::Array(vec![Value::Null])
}

/// The steps that an explanation may still take.
pub(super) struct Meter(Cell<usize>);

impl Meter {
    /// A meter with this many steps.
    pub(super) fn new(steps: usize) -> Self {
        Self(Cell::new(steps))
    }

    /// Whether the meter has run out.
    pub(super) fn is_empty(&self) -> bool {
        self.0.get() == 0
    }

    fn spend(&self, steps: usize) -> bool {
        let left = self.0.get().saturating_sub(steps);
        self.0.set(left);
        left > 0
    }
}

/// The representation of JSON as [`Seen`].
pub(super) struct Metered;

/// A value behind a meter. The name of a member is a value too, but has no meter.
#[derive(Clone, Copy)]
pub(super) struct Seen<'a> {
    value: &'a Value,
    meter: Option<&'a Meter>,
    /// The total length of the names that lead to it, in bytes.
    path: usize,
}

impl<'a> Seen<'a> {
    /// The whole payload.
    pub(super) fn new(value: &'a Value, meter: &'a Meter) -> Self {
        Self { value, meter: Some(meter), path: 0 }
    }

    fn at(self, name: &str, value: &'a Value) -> Self {
        Self { value, path: self.path + name.len(), ..self }
    }

    /// Spends steps and returns the value, unless the meter has run out.
    fn read(self, steps: usize) -> Option<&'a Value> {
        self.meter.is_none_or(|meter| meter.spend(steps)).then_some(self.value)
    }
}

impl Json for Metered {
    type Node<'a> = Seen<'a>;
    type PreparedKey = String;
    type StringBuffer = Value;

    const ACYCLIC: bool = true;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(Seen<'_>) -> T) -> T {
        *buffer = Value::String(string.to_owned());
        f(Seen { value: buffer, meter: None, path: 0 })
    }
}

impl<'a> Node<'a, Metered> for Seen<'a> {
    type Object = Members<'a>;
    type Array = Items<'a>;
    type Number = &'a Number;

    fn as_object(&self) -> Option<Members<'a>> {
        self.read(1)?.as_object().map(|members| Members { members, of: *self })
    }

    fn as_array(&self) -> Option<Items<'a>> {
        self.read(1)?.as_array().map(|items| Items { items, of: *self })
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        let text = self.value.as_str()?;
        self.read(1 + text.len() / STEP).map(|_| Cow::Borrowed(text))
    }

    fn as_number(&self) -> Option<&'a Number> {
        match self.value {
            Value::Number(number) => Some(number),
            _ => None,
        }
    }

    fn as_boolean(&self) -> Option<bool> {
        self.value.as_bool()
    }

    fn is_null(&self) -> bool {
        self.value.is_null()
    }

    fn json_type(&self) -> JsonType {
        match self.value {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &Value) -> bool {
        cmp::equal(self.value, expected)
    }

    /// The copy that an error keeps: only the type of arrays and objects, only the start of strings.
    fn to_value(&self) -> Cow<'a, Value> {
        let Some(value) = self.read(ERROR + self.path / PATH) else { return Cow::Owned(worthless()) };
        Cow::Owned(match value {
            Value::Array(_) => Value::Array(Vec::new()),
            Value::Object(_) => Value::Object(Map::new()),
            Value::String(text) => Value::String(text.chars().take(SHOWN).collect()),
            scalar => scalar.clone(),
        })
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref(self.value) as usize))
    }
}

/// The members of an object.
pub(super) struct Members<'a> {
    members: &'a Map<String, Value>,
    of: Seen<'a>,
}

/// An iterator over the members of an object.
pub(super) struct MembersIter<'a> {
    rest: serde_json::map::Iter<'a>,
    of: Seen<'a>,
}

impl<'a> Iterator for MembersIter<'a> {
    type Item = (&'a str, Seen<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        let (name, value) = self.rest.next()?;
        self.of.read(1 + name.len() / PATH)?;
        Some((name, self.of.at(name, value)))
    }
}

impl<'a> Object<'a, Metered> for Members<'a> {
    type Node = Seen<'a>;
    type MemberName = &'a str;
    type MembersIter = MembersIter<'a>;

    fn len(&self) -> usize {
        self.members.len()
    }

    fn get(&self, key: &String) -> Option<Seen<'a>> {
        self.of.read(1)?;
        self.members.get(key).map(|value| self.of.at(key, value))
    }

    fn members(&self) -> MembersIter<'a> {
        MembersIter { rest: self.members.iter(), of: self.of }
    }
}

/// The items of an array.
pub(super) struct Items<'a> {
    items: &'a [Value],
    of: Seen<'a>,
}

/// An iterator over the items of an array.
pub(super) struct ItemsIter<'a> {
    rest: std::slice::Iter<'a, Value>,
    of: Seen<'a>,
}

impl<'a> Iterator for ItemsIter<'a> {
    type Item = Seen<'a>;

    fn next(&mut self) -> Option<Seen<'a>> {
        self.of.read(1)?;
        self.rest.next().map(|value| self.of.at("", value))
    }
}

impl<'a> Array<'a, Metered> for Items<'a> {
    type Node = Seen<'a>;
    type ElementsIter = ItemsIter<'a>;

    fn len(&self) -> usize {
        self.items.len()
    }

    fn elements(&self) -> ItemsIter<'a> {
        ItemsIter { rest: self.items.iter(), of: self.of }
    }

    fn is_unique(&self) -> bool {
        self.of.read(self.items.len()).is_none() || is_unique(&self.items.iter().map(Tree::from).collect::<Vec<_>>())
    }
}

#[cfg(test)]
mod tests {
    use super::{Meter, Node as _, Object as _, Seen, worthless};

    /// Regression: each of thousands of errors kept the long name of its member, so a body of 200 kB took 700 MB.
    #[test]
    fn what_stands_under_a_long_name_costs_more() {
        let value = serde_json::json!({ "k".repeat(200_000): "x" });
        let meter = Meter::new(20_000);
        let object = Seen::new(&value, &meter).as_object().expect("an object");
        let (_, member) = object.members().next().expect("a member");
        assert!((0..1_000).take_while(|_| *member.to_value() != worthless()).count() < 20);
    }

    /// Regression: each of hundreds of closed branches kept all names of the body, so 62 kB took 100 MB.
    #[test]
    fn a_long_name_that_is_looked_at_costs_more() {
        let value = serde_json::json!({ "k".repeat(3_200): 1 });
        let meter = Meter::new(1_000);
        let looks = (0..)
            .take_while(|_| Seen::new(&value, &meter).as_object().is_some_and(|all| all.members().next().is_some()));
        assert_eq!(looks.count(), 9);
    }
}
