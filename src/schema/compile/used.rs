//! What a schema is made of: of the documents that it reaches, the places that its root comes to by keywords that judge and
//! by references.
//!
//! The rest of a shared file says nothing of it: so it is neither compared nor given to subscribers, and who changes one
//! definition changes the schemas that use it, and no other.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::schema::compile::dialect::{self, Role};
use crate::schema::compile::library::{Document, Library};
use crate::schema::compile::link::Linked;
use crate::schema::json::escape;

/// Where definitions are kept, in any dialect: in one that does not know the word it judges nothing either.
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// See the module.
pub(super) struct Used {
    nodes: BTreeSet<usize>,
    /// By document, where they stand.
    places: HashMap<usize, BTreeSet<String>>,
}

impl Used {
    /// What the root of the first of the documents comes to.
    pub(super) fn of(library: &Library<'_>, linked: &Linked) -> Self {
        let mut used = Self { nodes: BTreeSet::new(), places: HashMap::new() };
        let mut waiting: Vec<usize> = vec![library.documents[linked.documents[0]].root()];
        while let Some(id) = waiting.pop() {
            if !used.nodes.insert(id) {
                continue;
            }
            let node = &library.nodes[id];
            used.places.entry(node.document).or_default().insert(node.pointer.clone());
            waiting.extend(node.references.iter().filter_map(|reference| linked.target(library, *reference)));
            let Some(Value::Object(schema)) = library.documents[node.document].value.pointer(&node.pointer) else {
                continue;
            };
            let judging = dialect::subschemas(schema, node.draft).into_iter().filter(|(.., r)| *r != Role::Definition);
            let places = judging.map(|(place, ..)| (node.document, format!("{}{place}", node.pointer)));
            waiting.extend(places.filter_map(|place| library.by_place.get(&place)));
        }
        used
    }

    /// Whether the schema comes to a node.
    pub(super) fn has(&self, node: usize) -> bool {
        self.nodes.contains(&node)
    }

    /// The nodes that it comes to.
    pub(super) fn nodes(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().copied()
    }

    /// Whether it comes to a place in a document, or to one below that.
    pub(super) fn leads_to(&self, document: usize, place: &str) -> bool {
        self.places.get(&document).is_some_and(|places| leads(places, place))
    }

    /// What is left of a document: each place that is used stands where it stood.
    pub(super) fn part(&self, id: usize, document: &Document) -> Value {
        match self.places.get(&id) {
            Some(places) => part(places, "", &document.value, false),
            None => Value::Object(Map::new()),
        }
    }
}

/// What is left of the value at a place: of a schema that is used all but its definitions, of anything else only what leads
/// to one.
fn part(places: &BTreeSet<String>, place: &str, value: &Value, whole: bool) -> Value {
    let is_used = places.contains(place);
    let whole = whole || is_used;
    match value {
        Value::Object(members) => {
            let kept = members.iter().filter_map(|(name, member)| {
                let below = format!("{place}/{}", escape(name));
                let whole = whole && !(is_used && DEFINITIONS.contains(&name.as_str()));
                (whole || leads(places, &below)).then(|| (name.clone(), part(places, &below, member, whole)))
            });
            Value::Object(kept.collect())
        }
        Value::Array(items) => {
            let kept = items.iter().enumerate().map(|(index, item)| {
                let below = format!("{place}/{index}");
                // Something has to stand there, for the others are known by their numbers.
                if whole || leads(places, &below) { part(places, &below, item, whole) } else { Value::Bool(true) }
            });
            kept.collect()
        }
        other => other.clone(),
    }
}

/// Whether a place is used, or one below it.
fn leads(places: &BTreeSet<String>, place: &str) -> bool {
    let below = format!("{place}/");
    places.contains(place) || places.range(below.clone()..).next().is_some_and(|next| next.starts_with(&below))
}
