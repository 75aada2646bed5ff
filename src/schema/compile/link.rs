//! Following references: each becomes an edge to a node, and what it needs is loaded on the way.

use jsonschema::uri;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::path::below;
use crate::schema::compile::dialect;
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{Library, Node, path_of};

impl Library<'_> {
    /// Resolves every reference of the library, those of documents that are loaded for one included.
    pub(super) fn link(&mut self) {
        let mut waiting: Vec<usize> = Vec::new();
        let mut next = 0;
        loop {
            while next < self.references.len() {
                if !self.resolve(next, false) {
                    waiting.push(next);
                }
                next += 1;
            }
            // A URI that is no path may be the `$id` of a file that was loaded since, or stand for a file beside this one.
            waiting.retain(|reference| !self.resolve(*reference, true));
            if next == self.references.len() {
                break;
            }
        }
        for reference in waiting {
            let target = self.references[reference].text.clone();
            self.fault_of(reference, SchemaFaultKind::RefRemote { target });
        }
    }

    /// Whether nothing more is to be done for a reference: it has a target, needs none, or its fault is noted.
    fn resolve(&mut self, reference: usize, beside: bool) -> bool {
        let (from, text) = (self.references[reference].from, self.references[reference].text.clone());
        let Ok(absolute) = uri::resolve_against(&self.nodes[from].base.borrow(), &text) else {
            let keyword = self.references[reference].keyword;
            self.fault_of(reference, SchemaFaultKind::InvalidUri { keyword, uri: text });
            return true;
        };
        let (place, fragment) = absolute.as_str().split_once('#').unwrap_or((absolute.as_str(), ""));
        let resource = match self.node_of(reference, place, beside) {
            Step::Found(node) => node,
            Step::Done => return true,
            Step::Wait => return false,
        };
        let file = self.documents[self.nodes[resource].document].path.clone();
        match self.named(resource, fragment) {
            Named::Schema(target) => self.references[reference].target = Some(target),
            Named::Other => self.fault_of(reference, SchemaFaultKind::RefNotASchema { target: text, file }),
            Named::Nothing => self.fault_of(reference, SchemaFaultKind::RefNowhere { target: text, file }),
        }
        true
    }

    /// The node that a URI without fragment names.
    fn node_of(&mut self, reference: usize, place: &str, beside: bool) -> Step {
        let from = self.references[reference].from;
        if let Some(known) = self.resources.get(place) {
            let own = known.iter().find(|node| self.nodes[**node].document == self.nodes[from].document);
            return match (own, known.as_slice()) {
                (Some(node), _) | (None, [node]) => Step::Found(*node),
                (None, [.., one, other]) => {
                    let path = |node: &usize| self.documents[self.nodes[*node].document].path.clone();
                    let kind = SchemaFaultKind::DuplicateId { uri: place.to_owned(), files: [path(one), path(other)] };
                    self.fault_of(reference, kind);
                    Step::Done
                }
                (None, []) => Step::Wait,
            };
        }
        if dialect::is_built_in(place, self.nodes[from].draft) {
            return Step::Done;
        }
        let text = self.references[reference].text.clone();
        let path = match path_of(place) {
            Some(path) if leaves(&self.documents[self.nodes[from].document].path, &text, &path) => {
                self.fault_of(reference, SchemaFaultKind::RefOutside { target: text });
                return Step::Done;
            }
            Some(path) => path,
            None if beside && !has_scheme(&text) => {
                match sibling(&self.documents[self.nodes[from].document].path, &text) {
                    Some(path) if self.by_path.contains_key(path.as_str()) || self.files.read(&path).is_ok() => path,
                    _ => return Step::Wait,
                }
            }
            None => return Step::Wait,
        };
        match self.load(&path) {
            Err(why) => {
                self.fault_of(reference, SchemaFaultKind::RefUnreadable { target: text, why });
                Step::Done
            }
            Ok(None) => {
                let document = self.nodes[from].document;
                self.documents[document].faulty = true;
                Step::Done
            }
            Ok(Some(document)) => {
                let root = self.survey(document);
                let names = self.resources.entry(place.to_owned()).or_default();
                if !names.contains(&root) {
                    names.push(root);
                    self.documents[document].aliases.push(place.to_owned());
                }
                Step::Found(root)
            }
        }
    }

    /// What a fragment names in a resource.
    fn named(&mut self, resource: usize, fragment: &str) -> Named {
        let Ok(fragment) = percent_decode_str(fragment).decode_utf8() else { return Named::Nothing };
        let Node { document, pointer, base, draft, .. } = &self.nodes[resource];
        if fragment.is_empty() {
            return Named::Schema(resource);
        }
        if !fragment.starts_with('/') {
            let anchors = self.anchors.get(&(base.as_str().to_owned(), fragment.into_owned()));
            return anchors.and_then(|nodes| nodes.first()).map_or(Named::Nothing, |node| Named::Schema(*node));
        }
        let (document, pointer) = (*document, format!("{pointer}{fragment}"));
        let (base, draft) = (base.clone(), *draft);
        let value = self.documents[document].value.clone();
        match value.pointer(&pointer) {
            None => Named::Nothing,
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => {
                // Nobody has looked at it yet, unless the walk from the root came by.
                if !self.by_place.contains_key(&(document, pointer.clone())) {
                    self.documents[document].known_good = false;
                }
                Named::Schema(self.node(document, pointer, schema, &base, draft))
            }
            Some(_) => Named::Other,
        }
    }

    pub(super) fn fault_of(&mut self, reference: usize, kind: SchemaFaultKind) {
        let (from, keyword) = (self.references[reference].from, self.references[reference].keyword);
        self.fault_below(from, keyword, kind);
    }
}

enum Step {
    Found(usize),
    Done,
    Wait,
}

enum Named {
    Schema(usize),
    Other,
    Nothing,
}

/// Whether a reference climbs above relay.toml's directory. URI resolution stops at the root (RFC 3986, section 5.2.4)
/// and would hide that.
fn leaves(from: &str, text: &str, resolved: &str) -> bool {
    resolved.split('/').any(|segment| segment == "..") || (!has_scheme(text) && sibling(from, text).is_none())
}

/// The file that a reference without a scheme names from a file's own directory; `None` where that is outside.
fn sibling(from: &str, text: &str) -> Option<String> {
    let path = text.split(['#', '?']).next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8().ok()?;
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let directory = from.rsplit_once('/').map_or("", |(directory, _)| directory);
    // What begins with a slash begins at relay.toml's directory.
    if path.starts_with('/') { below("", path.trim_start_matches('/')) } else { below(directory, &path) }
}

/// Whether a URI reference is absolute (RFC 3986, section 3.1) or names an authority.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split(['/', '?', '#']).next().unwrap_or_default();
    text.starts_with("//") || scheme.contains(':')
}
