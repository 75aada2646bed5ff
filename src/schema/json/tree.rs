//! The value of a JSON text, borrowed from the text.
//!
//! Defines what a value is and how its members are found; knows neither syntax nor schemas. A payload is read, judged
//! once and dropped, so this avoids all preparation: a string without an escape is a slice of the text, and members are
//! found by a linear search unless there are too many.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Number, Value};

/// The most members that are searched one by one; a larger object has an index.
pub(super) const LINEAR: usize = 16;

/// A JSON value that borrows from its text for `'t`.
pub enum Tree<'t> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Within the range of a double; 64-bit integers are kept exactly.
    Number(Number),
    /// Owned only if it has an escape in the text.
    String(Cow<'t, str>),
    /// In the order of the text.
    Array(Vec<Tree<'t>>),
    /// In the order of the text.
    Object(Members<'t>),
}

/// The members of an object, in the order of the text; no two have the same name.
#[derive(Default)]
pub struct Members<'t> {
    list: Vec<(Cow<'t, str>, Tree<'t>)>,
    /// The position of each member, once there are more than [`LINEAR`]. Strangers choose the names, so the hash has a
    /// secret key.
    #[expect(clippy::box_collection, reason = "few objects have one, and every value would be as large")]
    index: Option<Box<HashMap<Cow<'t, str>, usize>>>,
}

impl Tree<'_> {
    /// The text of a string; `None` for other values.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// An owned copy of the value, with its members in the same order.
    pub fn to_value(&self) -> Value {
        match self {
            Self::Null => Value::Null,
            Self::Bool(value) => Value::Bool(*value),
            Self::Number(number) => Value::Number(number.clone()),
            Self::String(text) => Value::String(text.as_ref().to_owned()),
            Self::Array(items) => Value::Array(items.iter().map(Tree::to_value).collect()),
            Self::Object(members) => {
                let mut map = Map::with_capacity(members.len());
                map.extend(members.iter().map(|(name, value)| (name.to_owned(), value.to_value())));
                Value::Object(map)
            }
        }
    }
}

impl<'t> From<&'t Value> for Tree<'t> {
    fn from(value: &'t Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::String(Cow::Borrowed(text)),
            Value::Array(items) => Self::Array(items.iter().map(Tree::from).collect()),
            Value::Object(map) => {
                let mut members = Members::default();
                for (name, value) in map {
                    members.insert(Cow::Borrowed(name), value.into()).expect("a map has each name once");
                }
                Self::Object(members)
            }
        }
    }
}

impl<'t> Members<'t> {
    /// The number of members.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are no members.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The value of the member of this name.
    pub fn get(&self, name: &str) -> Option<&Tree<'t>> {
        self.position(name).map(|at| &self.list[at].1)
    }

    /// All members, in order.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.list.iter())
    }

    /// Adds a member at the end.
    ///
    /// # Errors
    /// The name, if a member already has it; then nothing is added.
    pub(super) fn insert(&mut self, name: Cow<'t, str>, value: Tree<'t>) -> Result<(), Cow<'t, str>> {
        if self.position(&name).is_some() {
            return Err(name);
        }
        if let Some(index) = &mut self.index {
            index.insert(name.clone(), self.list.len());
        }
        self.list.push((name, value));
        if self.index.is_none() && self.list.len() > LINEAR {
            let names = self.list.iter().map(|(name, _)| name.clone());
            self.index = Some(Box::new(names.zip(0..).collect()));
        }
        Ok(())
    }

    fn position(&self, name: &str) -> Option<usize> {
        match &self.index {
            Some(index) => index.get(name).copied(),
            None => self.list.iter().position(|(known, _)| known == name),
        }
    }
}

/// An iterator over the members of an object.
pub struct Iter<'a>(std::slice::Iter<'a, (Cow<'a, str>, Tree<'a>)>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a Tree<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_ref(), value))
    }
}
