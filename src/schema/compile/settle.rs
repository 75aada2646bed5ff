//! Resolves references as far as the files alone tell, the same for every root: within their own file, to built-in
//! schemas, and to files by path. What depends on the root is left to `link`.

use std::sync::Arc;

use jsonschema::{Uri, uri};
use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use serde_json::Value;

use crate::path::below;
use crate::schema::compile::dialect;
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{FRAGMENT, Library, Node, Way, path_of};

/// The characters to encode in a fragment that may already be partly encoded.
const RAW_FRAGMENT: &AsciiSet = &FRAGMENT.remove(b'%');
/// The same for the rest of a URI, where brackets enclose an address.
const PATH: &AsciiSet = &RAW_FRAGMENT.remove(b'[').remove(b']');

impl Library<'_> {
    /// Resolves each new reference, and loads the files that this leads to.
    pub(super) fn settle(&mut self) {
        while self.settled < self.references.len() {
            let way = self.way(self.settled);
            self.references[self.settled].way = Some(way);
            self.settled += 1;
        }
    }

    fn way(&mut self, reference: usize) -> Way {
        let (from, text) = (self.references[reference].from, self.references[reference].text.clone());
        let Node { document, draft, ref base, .. } = self.nodes[from];
        let base = base.clone();
        let Ok(absolute) = uri::resolve_against(&base.borrow(), &text) else {
            let kind = invalid(self.references[reference].keyword, &text, &base);
            return self.broken(reference, kind);
        };
        let (place, fragment) = absolute.as_str().split_once('#').unwrap_or((absolute.as_str(), ""));
        if let Some(own) = self.documents[document].resources.get(place) {
            return self.to(reference, *own, fragment, None);
        }
        if dialect::is_built_in(place, draft) {
            return Way::BuiltIn(place.into());
        }
        let file = self.documents[document].path.clone();
        let mut otherwise = SchemaFaultKind::RefRemote { target: text.clone() };
        let in_place = path_of(place);
        let paths = match &in_place {
            // An embedded `$id` may be a path of its own.
            Some(path) if leaves(&path_of(base.as_str()).unwrap_or_else(|| file.to_string()), &text, path) => {
                return self.broken(reference, SchemaFaultKind::RefOutside { target: text });
            }
            Some(path) => vec![path.clone()],
            None => beside(&file, &text, place, &base),
        };
        for path in paths {
            match self.load(&path) {
                Err(why) if in_place.is_some() || !has_scheme(&text) => {
                    otherwise = SchemaFaultKind::RefUnreadable { target: text.clone(), why };
                }
                Err(_) => {}
                Ok(None) => {
                    self.documents[document].faulty = true;
                    self.broken.push((document, path.as_str().into()));
                    return Way::Broken;
                }
                Ok(Some(found)) => {
                    let root = self.documents[found].root();
                    let (file, id) = (self.documents[found].path.clone(), self.nodes[root].base.as_str().to_owned());
                    if in_place.is_none() && has_scheme(&text) && self.nodes[root].is_resource && id != place {
                        otherwise = SchemaFaultKind::RefOtherId { target: text.clone(), file, id };
                        continue;
                    }
                    let is_known = self.documents[found].resources.get(place) == Some(&root);
                    return self.to(reference, root, fragment, (!is_known).then(|| place.into()));
                }
            }
        }
        Way::Named { uri: place.into(), fragment: fragment.into(), otherwise: Box::new(otherwise) }
    }

    /// The way to what a fragment names in a resource.
    fn to(&mut self, reference: usize, resource: usize, fragment: &str, alias: Option<Arc<str>>) -> Way {
        match self.named(reference, resource, fragment) {
            Ok(node) => Way::To { node, alias },
            Err(kind) => self.broken(reference, kind),
        }
    }

    fn broken(&mut self, reference: usize, kind: SchemaFaultKind) -> Way {
        self.fault_of(reference, kind);
        Way::Broken
    }

    /// The node that a fragment names in a resource.
    ///
    /// # Errors
    /// What is wrong with the reference.
    pub(super) fn named(
        &mut self,
        reference: usize,
        resource: usize,
        fragment: &str,
    ) -> Result<usize, SchemaFaultKind> {
        if fragment.is_empty() {
            return Ok(resource);
        }
        let nowhere = |library: &Self| Err(library.nowhere(reference, resource, fragment));
        let Ok(name) = percent_decode_str(fragment).decode_utf8() else { return nowhere(self) };
        let Node { document, pointer, base, draft, .. } = &self.nodes[resource];
        let (document, base, draft) = (*document, base.clone(), *draft);
        if !name.starts_with('/') {
            let key = (base.as_str().to_owned(), name.into_owned());
            return self.documents[document].anchors.get(&key).map_or_else(|| nowhere(self), |node| Ok(*node));
        }
        let pointer = format!("{pointer}{name}");
        let value = self.documents[document].value.clone();
        match value.pointer(&pointer) {
            None => nowhere(self),
            Some(schema @ (Value::Object(_) | Value::Bool(_))) => {
                // If the walk from the root did not reach it, nobody has checked it yet.
                if !self.by_place.contains_key(&(document, pointer.clone())) {
                    self.documents[document].known_good = false;
                }
                Ok(self.node(document, pointer, schema, &base, draft))
            }
            Some(_) => {
                let (target, file) = (self.references[reference].text.clone(), self.documents[document].path.clone());
                Err(SchemaFaultKind::RefNotASchema { target, file })
            }
        }
    }

    /// The fault of a fragment that names nothing. If it counts from the wrong `$id`, suggests what to write instead.
    fn nowhere(&self, reference: usize, resource: usize, fragment: &str) -> SchemaFaultKind {
        let Node { document, pointer, base, .. } = &self.nodes[resource];
        let document = &self.documents[*document];
        let is_part = !pointer.is_empty();
        let from = &self.nodes[self.references[reference].from];
        let is_there = || {
            let place = percent_decode_str(fragment).decode_utf8_lossy();
            self.documents[from.document].path == document.path && document.value.pointer(&place).is_some()
        };
        let instead = match fragment {
            "/" => Some("#".to_owned()),
            _ if is_part && is_there() => {
                // If its `$id` is not a path, a file is referred to by its name; otherwise by its path.
                let (above, name) = document.base.as_str().rsplit_once('/').unwrap_or_default();
                let path = document.base.as_str().strip_prefix("relay://").unwrap_or(name);
                let is_own = path_of(base.as_str()).is_none() && !above.is_empty();
                Some(format!("{}#{fragment}", if is_own { name } else { path }))
            }
            _ => None,
        };
        SchemaFaultKind::RefNowhere {
            target: self.references[reference].text.clone(),
            file: document.path.clone(),
            part: is_part.then(|| base.as_str().to_owned()),
            instead,
        }
    }

    pub(super) fn fault_of(&mut self, reference: usize, kind: SchemaFaultKind) {
        let (from, keyword) = (self.references[reference].from, self.references[reference].keyword);
        self.fault_below(from, keyword, kind);
    }
}

/// The fault of an invalid URI reference. Usually the name of a type, as `V<number>`, which some generators do not
/// encode.
pub(super) fn invalid(keyword: &'static str, text: &str, base: &Uri<String>) -> SchemaFaultKind {
    let (path, fragment) = text.split_once('#').map_or((text, None), |(path, fragment)| (path, Some(fragment)));
    let mut encoded = utf8_percent_encode(path, PATH).to_string();
    if let Some(fragment) = fragment {
        encoded = format!("{encoded}#{}", utf8_percent_encode(fragment, RAW_FRAGMENT));
    }
    let is_taken = uri::resolve_against(&base.borrow(), &encoded).is_ok();
    SchemaFaultKind::InvalidUri { keyword, uri: text.to_owned(), instead: is_taken.then_some(encoded) }
}

/// The files that a URI may mean that is not a path: the one in the same place relative to the referring file as the
/// URI is relative to its `$id`, and the one that the reference would name if there were no `$id`.
fn beside(file: &str, text: &str, place: &str, base: &Uri<String>) -> Vec<String> {
    let path = base.path().as_str();
    let directory = base.as_str().strip_suffix(path.rsplit('/').next().unwrap_or_default());
    let within = directory.filter(|_| path.contains('/')).and_then(|directory| place.strip_prefix(directory));
    let by_id = within.filter(|rest| !rest.is_empty()).and_then(|rest| sibling(file, rest));
    let by_text = if has_scheme(text) { None } else { sibling(file, text) };
    by_id.into_iter().chain(by_text).collect()
}

/// Whether a reference climbs above relay.toml's directory. URI resolution stops at the root (RFC 3986, section 5.2.4)
/// and would hide it.
fn leaves(from: &str, text: &str, resolved: &str) -> bool {
    resolved.split('/').any(|segment| segment == "..") || (!has_scheme(text) && sibling(from, text).is_none())
}

/// The file that a reference without a scheme names, seen from a file's directory; `None` if it is outside
/// relay.toml's.
fn sibling(from: &str, text: &str) -> Option<String> {
    let path = text.split(['#', '?']).next().unwrap_or_default();
    let path = percent_decode_str(path).decode_utf8().ok()?;
    if path.is_empty() {
        return Some(from.to_owned());
    }
    let directory = from.rsplit_once('/').map_or("", |(directory, _)| directory);
    // A leading slash means relay.toml's directory.
    if path.starts_with('/') { below("", path.trim_start_matches('/')) } else { below(directory, &path) }
}

/// Whether a URI reference is absolute (RFC 3986, section 3.1) or names an authority.
fn has_scheme(text: &str) -> bool {
    let scheme = text.split(['/', '?', '#']).next().unwrap_or_default();
    text.starts_with("//") || scheme.contains(':')
}
