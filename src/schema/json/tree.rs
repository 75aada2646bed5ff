//! The value of a JSON text, borrowed from the text.
//!
//! Owns what a value is and how its members are found. Knows neither syntax nor schemas. Its idea: a payload is read to be
//! judged once and dropped, so a string that has no escape is a piece of the text, and members are found by looking at
//! them all until they are too many for that.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Number, Value};

/// The most members that are looked through one by one; an object with more has an index.
pub(super) const LINEAR: usize = 16;

/// A JSON value. What it borrows from lives for `'t`.
pub enum Tree<'t> {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Within the range of a double; integers of 64 bits are kept exactly.
    Number(Number),
    /// Owned only where the text has an escape in it.
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
    /// Where each stands, once there are more than [`LINEAR`]. The names are strangers' choice: hashed with a secret.
    #[expect(clippy::box_collection, reason = "few objects have one, and every value would be as large")]
    index: Option<Box<HashMap<Cow<'t, str>, usize>>>,
}

impl Tree<'_> {
    /// What a string says; `None` of anything else.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The same value on its own, in the same order of members.
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
    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The value of the member of this name.
    pub fn get(&self, name: &str) -> Option<&Tree<'t>> {
        self.position(name).map(|at| &self.list[at].1)
    }

    /// All of them.
    pub fn iter(&self) -> Iter<'_> {
        Iter(self.list.iter())
    }

    /// Adds a member at the end.
    ///
    /// # Errors
    /// The name, when a member has it already; nothing is added then.
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

/// Goes over the members of an object.
pub struct Iter<'a>(std::slice::Iter<'a, (Cow<'a, str>, Tree<'a>)>);

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a Tree<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(name, value)| (name.as_ref(), value))
    }
}
