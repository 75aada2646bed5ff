//! Which parts of its documents a schema uses: those that its root reaches by keywords that judge, and by references.
//!
//! The rest of a shared file does not matter to it, so that is neither compared nor given to subscribers. Changing one
//! definition therefore changes only the schemas that use it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use serde_json::{Map, Value};

use crate::schema::compile::dialect::{self, Role};
use crate::schema::compile::library::{Document, Library};
use crate::schema::compile::link::Linked;
use crate::schema::json::escape;

/// The keywords for definitions in any dialect. A dialect that does not know one ignores it, so it judges nothing there
/// either.
pub(super) const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The nodes in use, and their places. See the module.
pub(super) struct Used {
    nodes: BTreeSet<usize>,
    /// Their pointers, by document.
    places: HashMap<usize, BTreeSet<String>>,
}

impl Used {
    /// What the root of the first document reaches.
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

    /// Whether the schema uses a node.
    pub(super) fn has(&self, node: usize) -> bool {
        self.nodes.contains(&node)
    }

    /// The nodes in use.
    pub(super) fn nodes(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().copied()
    }

    /// Whether it uses a place in a document, or one below that.
    pub(super) fn leads_to(&self, document: usize, place: &str) -> bool {
        self.places.get(&document).is_some_and(|places| leads(places, place))
    }

    /// The used part of a document; everything stays at its place.
    pub(super) fn part(&self, id: usize, document: &Document) -> Value {
        match self.places.get(&id) {
            Some(places) => part(places, "", &document.value, false),
            None => Value::Object(Map::new()),
        }
    }
}

/// The used part of the value at a place: all of a used schema but its definitions; of anything else only the way to
/// used places.
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
                // Items are known by their index, so an unused one needs a placeholder.
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
