//! Following references: each becomes an edge to a node, and what it needs is loaded on the way.

use jsonschema::uri;
use percent_encoding::percent_decode_str;
use serde_json::Value;

use crate::path::below;
use crate::schema::compile::dialect;
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{Library, Node, path_of};
use crate::schema::compile::survey::Surveyor;

/// Resolves every reference of the library, those of documents that are loaded for one included.
pub(super) fn link(library: &mut Library<'_>, surveyor: &Surveyor<'_>) {
    let mut waiting: Vec<usize> = Vec::new();
    let mut next = 0;
    loop {
        while next < library.references.len() {
            if !resolve(library, surveyor, next, false) {
                waiting.push(next);
            }
            next += 1;
        }
        // A URI that is no path may be the `$id` of a file that was loaded since, or stand for a file beside this one.
        waiting.retain(|reference| !resolve(library, surveyor, *reference, true));
        if next == library.references.len() {
            break;
        }
    }
    for reference in waiting {
        let target = library.references[reference].text.clone();
        fault(library, reference, SchemaFaultKind::RefRemote { target });
    }
}

/// Whether nothing more is to be done for a reference: it has a target, needs none, or its fault is noted.
fn resolve(library: &mut Library<'_>, surveyor: &Surveyor<'_>, reference: usize, beside: bool) -> bool {
    let (from, text) = (library.references[reference].from, library.references[reference].text.clone());
    let Ok(absolute) = uri::resolve_against(&library.nodes[from].base.borrow(), &text) else {
        let keyword = library.references[reference].keyword;
        fault(library, reference, SchemaFaultKind::InvalidUri { keyword, uri: text });
        return true;
    };
    let (place, fragment) = absolute.as_str().split_once('#').unwrap_or((absolute.as_str(), ""));
    let resource = match node_of(library, surveyor, reference, place, beside) {
        Step::Found(node) => node,
        Step::Done => return true,
        Step::Wait => return false,
    };
    let file = library.documents[library.nodes[resource].document].path.clone();
    match named(library, surveyor, resource, fragment) {
        Named::Schema(target) => library.references[reference].target = Some(target),
        Named::Other => fault(library, reference, SchemaFaultKind::RefNotASchema { target: text, file }),
        Named::Nothing => fault(library, reference, SchemaFaultKind::RefNowhere { target: text, file }),
    }
    true
}

enum Step {
    Found(usize),
    Done,
    Wait,
}

/// The node that a URI without fragment names.
fn node_of(library: &mut Library<'_>, surveyor: &Surveyor<'_>, reference: usize, place: &str, beside: bool) -> Step {
    let from = library.references[reference].from;
    if let Some(known) = library.resources.get(place) {
        let own = known.iter().find(|node| library.nodes[**node].document == library.nodes[from].document);
        return match (own, known.as_slice()) {
            (Some(node), _) | (None, [node]) => Step::Found(*node),
            (None, [.., one, other]) => {
                let path = |node: &usize| library.documents[library.nodes[*node].document].path.clone();
                let kind = SchemaFaultKind::DuplicateId { uri: place.to_owned(), files: [path(one), path(other)] };
                fault(library, reference, kind);
                Step::Done
            }
            (None, []) => Step::Wait,
        };
    }
    if dialect::is_built_in(place, library.nodes[from].draft) {
        return Step::Done;
    }
    let text = library.references[reference].text.clone();
    let path = match path_of(place) {
        Some(path) if leaves(&library.documents[library.nodes[from].document].path, &text, &path) => {
            fault(library, reference, SchemaFaultKind::RefOutside { target: text });
            return Step::Done;
        }
        Some(path) => path,
        None if beside && !has_scheme(&text) => {
            match sibling(&library.documents[library.nodes[from].document].path, &text) {
                Some(path) if library.by_path.contains_key(path.as_str()) || library.files.read(&path).is_ok() => path,
                _ => return Step::Wait,
            }
        }
        None => return Step::Wait,
    };
    match library.load(&path) {
        Err(why) => {
            fault(library, reference, SchemaFaultKind::RefUnreadable { target: text, why });
            Step::Done
        }
        Ok(None) => {
            let document = library.nodes[from].document;
            library.documents[document].faulty = true;
            Step::Done
        }
        Ok(Some(document)) => {
            let root = surveyor.document(library, document);
            let names = library.resources.entry(place.to_owned()).or_default();
            if !names.contains(&root) {
                names.push(root);
                library.documents[document].aliases.push(place.to_owned());
            }
            Step::Found(root)
        }
    }
}

enum Named {
    Schema(usize),
    Other,
    Nothing,
}

/// What a fragment names in a resource.
fn named(library: &mut Library<'_>, surveyor: &Surveyor<'_>, resource: usize, fragment: &str) -> Named {
    let Ok(fragment) = percent_decode_str(fragment).decode_utf8() else { return Named::Nothing };
    let Node { document, pointer, base, draft, .. } = &library.nodes[resource];
    if fragment.is_empty() {
        return Named::Schema(resource);
    }
    if !fragment.starts_with('/') {
        let anchors = library.anchors.get(&(base.as_str().to_owned(), fragment.into_owned()));
        return anchors.and_then(|nodes| nodes.first()).map_or(Named::Nothing, |node| Named::Schema(*node));
    }
    let (document, pointer) = (*document, format!("{pointer}{fragment}"));
    let (base, draft) = (base.clone(), *draft);
    let value = library.documents[document].value.clone();
    match value.pointer(&pointer) {
        None => Named::Nothing,
        Some(schema @ (Value::Object(_) | Value::Bool(_))) => {
            // Nobody has looked at it yet, unless the walk from the root came by.
            if !library.by_place.contains_key(&(document, pointer.clone())) {
                library.documents[document].known_good = false;
            }
            Named::Schema(surveyor.node(library, document, pointer, schema, &base, draft))
        }
        Some(_) => Named::Other,
    }
}

fn fault(library: &mut Library<'_>, reference: usize, kind: SchemaFaultKind) {
    let (from, keyword) = (library.references[reference].from, library.references[reference].keyword);
    let Node { document, pointer, .. } = &library.nodes[from];
    let (document, pointer) = (*document, format!("{pointer}/{keyword}"));
    library.fault(document, pointer, kind);
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
