//! Finds what one root reaches, directly and through others: the documents, the schema that each URI stands for among
//! them, and so the targets of references that name only a URI.
//!
//! The result never depends on other roots, whose files may claim the same `$id`s.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use jsonschema::Draft;

use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{Library, Region, Way};

/// What one root reaches. See the module.
#[derive(Default)]
pub(super) struct Linked {
    /// The documents reached, the root's first.
    pub documents: Vec<usize>,
    /// URIs used for a document that are neither its path nor its `$id`.
    aliases: Vec<(usize, Arc<str>)>,
    /// The targets of the references that name only a URI.
    pub named: HashMap<usize, usize>,
    /// The nodes where the walk enters: the root, and the targets of references into other regions.
    entries: Vec<usize>,
    entered: HashSet<usize>,
    /// The schemas that have a URI, by that URI.
    pub uris: HashMap<Arc<str>, usize>,
}

impl Linked {
    /// The target of a reference; `None` if it is in none of these documents.
    pub(super) fn target(&self, library: &Library<'_>, reference: usize) -> Option<usize> {
        match library.references[reference].way {
            Some(Way::To { node, .. }) => Some(node),
            Some(Way::Named { .. }) => self.named.get(&reference).copied(),
            _ => None,
        }
    }

    /// The URIs used for a document that are neither its path nor its `$id`.
    pub(super) fn aliases(&self, document: usize) -> impl Iterator<Item = &str> {
        self.aliases.iter().filter(move |(aliased, _)| *aliased == document).map(|(_, alias)| &**alias)
    }

    /// Whether none of the documents has a fault.
    pub(super) fn is_good(&self, library: &Library<'_>) -> bool {
        self.documents.iter().all(|document| !library.documents[*document].faulty)
    }

    fn enter(&mut self, library: &Library<'_>, node: usize) {
        let document = library.nodes[node].document;
        let root = library.documents[document].root();
        if self.entered.insert(root) {
            self.documents.push(document);
            self.entries.push(root);
        }
        let entry = library.entry(node);
        if self.entered.insert(entry) {
            self.entries.push(entry);
        }
    }
}

impl Library<'_> {
    /// Follows all references from a document.
    pub(super) fn link(&mut self, root: usize) -> Linked {
        let mut linked = Linked::default();
        linked.enter(self, self.documents[root].root());
        let (mut next, mut built_in, mut waiting) = (0, Vec::new(), Vec::new());
        while next < linked.entries.len() {
            while let Some(entry) = linked.entries.get(next) {
                let region = self.region(*entry);
                for (uri, node) in &region.resources {
                    self.claim(&mut linked, uri, *node, None);
                }
                for lead in &region.leads {
                    let Some(Way::To { node, alias }) = self.references[*lead].way.clone() else { continue };
                    linked.enter(self, node);
                    if let Some(alias) = alias {
                        let document = self.nodes[node].document;
                        self.claim(&mut linked, &alias, self.documents[document].root(), Some(*lead));
                    }
                }
                for reference in &region.open {
                    match &self.references[*reference].way {
                        Some(Way::BuiltIn(uri)) => built_in.push((*reference, uri.clone())),
                        _ => waiting.push(*reference),
                    }
                }
                next += 1;
            }
            waiting.retain(|reference| !self.find(&mut linked, *reference));
        }
        for reference in waiting {
            if let Some(Way::Named { otherwise, .. }) = &self.references[reference].way {
                let kind = (**otherwise).clone();
                self.tell(reference, kind);
            }
        }
        for (reference, uri) in built_in {
            if let Some(node) = linked.uris.get(&uri) {
                let file = self.documents[self.nodes[*node].document].path.clone();
                self.tell(reference, SchemaFaultKind::BuiltInId { uri: uri.as_ref().to_owned(), file });
            }
        }
        linked
    }

    /// Tries to resolve a reference by its URI; false if the URI stands for nothing yet. Otherwise notes the target or
    /// the fault.
    fn find(&mut self, linked: &mut Linked, reference: usize) -> bool {
        let Some(Way::Named { uri, fragment, .. }) = self.references[reference].way.clone() else { return true };
        let Some(resource) = linked.uris.get(&uri) else { return false };
        match self.named(reference, *resource, &fragment) {
            Ok(node) => {
                linked.named.insert(reference, node);
                linked.enter(self, node);
            }
            Err(kind) => self.tell(reference, kind),
        }
        true
    }

    /// Notes that a URI stands for a schema, by its `$id` or by the reference that led to its file. If the URI already
    /// stands for another schema that is a fault, because the compiler would take one for the other.
    fn claim(&mut self, linked: &mut Linked, uri: &Arc<str>, node: usize, by: Option<usize>) {
        let Some(first) = linked.uris.get(uri).copied() else {
            linked.uris.insert(uri.clone(), node);
            if by.is_some() {
                linked.aliases.push((self.nodes[node].document, uri.clone()));
            }
            return;
        };
        // Duplicates within one file are reported by the walk through it.
        let is_one_file = self.nodes[first].document == self.nodes[node].document;
        let is_one_dialect = self.nodes[first].draft == self.nodes[node].draft;
        if is_one_file || is_one_dialect && self.value(first) == self.value(node) {
            return;
        }
        let files = [first, node].map(|node| self.documents[self.nodes[node].document].path.clone());
        let kind = SchemaFaultKind::DuplicateId { uri: uri.as_ref().to_owned(), files };
        match by {
            Some(reference) => self.tell(reference, kind),
            None if self.told_ids.insert(node) => {
                let keyword = if self.nodes[node].draft == Draft::Draft4 { "id" } else { "$id" };
                self.fault_below(node, keyword, kind);
            }
            None => {}
        }
    }

    /// Reports, once, a fault that only some roots have.
    fn tell(&mut self, reference: usize, kind: SchemaFaultKind) {
        if !std::mem::replace(&mut self.references[reference].told, true) {
            self.fault_of(reference, kind);
        }
    }

    /// The entry of the region that contains a node: the document's root, or the node itself if the root does not lead
    /// to it by keywords.
    fn entry(&self, node: usize) -> usize {
        let document = &self.documents[self.nodes[node].document];
        if document.walked.contains(&node) { document.root() } else { node }
    }

    fn region(&mut self, entry: usize) -> Rc<Region> {
        self.settle();
        if let Some(known) = self.regions.get(&entry) {
            return known.clone();
        }
        let mut region = Region::default();
        let mut led: HashSet<(usize, Option<Arc<str>>)> = HashSet::new();
        let document = &self.documents[self.nodes[entry].document];
        if document.root() == entry {
            region.resources.push((document.base.as_str().into(), entry));
        }
        let mut waiting = vec![entry];
        while let Some(id) = waiting.pop() {
            let node = &self.nodes[id];
            if node.is_resource {
                region.resources.push((node.base.as_str().into(), id));
            }
            for reference in &node.references {
                match &self.references[*reference].way {
                    Some(Way::To { node, alias }) => {
                        let target = self.entry(*node);
                        if (target != entry || alias.is_some()) && led.insert((target, alias.clone())) {
                            region.leads.push(*reference);
                        }
                    }
                    Some(Way::BuiltIn(_) | Way::Named { .. }) => region.open.push(*reference),
                    Some(Way::Broken) | None => {}
                }
            }
            waiting.extend(node.below.iter().rev());
        }
        let region = Rc::new(region);
        self.regions.insert(entry, region.clone());
        region
    }
}
