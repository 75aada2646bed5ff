//! Builds a [`Schema`] from linked documents: tells whether it is known already, and has the library compile it if not.

use std::collections::HashMap;
use std::iter::once;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jsonschema::{Draft, ValidationError};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::schema::canon::{Canon, Emptiness};
use crate::schema::compile::dialect;
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::flatten::flatten;
use crate::schema::compile::library::Library;
use crate::schema::compile::link::Linked;
use crate::schema::example::Effort;
use crate::schema::json::Tree;
use crate::schema::judge::{Judge, Parts};
use crate::schema::{Schema, example, violation};

/// A digest of everything that decides what a schema means.
pub(super) fn fingerprint(library: &Library<'_>, linked: &Linked) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    for id in &linked.documents {
        let document = &library.documents[*id];
        part(document.path.as_bytes());
        part(&document.fingerprint);
        linked.aliases(*id).for_each(|alias| part(alias.as_bytes()));
        part(b"");
    }
    hash.finalize().into()
}

/// Compiles a root whose documents have no faults.
pub(super) fn build(library: &mut Library<'_>, linked: &Linked, fingerprint: [u8; 32]) -> Option<Arc<Schema>> {
    let root = linked.documents[0];
    let parts = parts(library, linked);
    // A panic of the library's compiler must be a fault of the schema, not the end of a running server.
    let built = catch_unwind(AssertUnwindSafe(|| parts.build(library.patterns.options())));
    let validator = match built {
        Ok(Ok(validator)) => validator,
        refused => {
            let ((document, pointer), detail) = match refused {
                Ok(Err(e)) => (place_of(&e, library, &linked.documents), violation::sentence(&e)),
                _ => ((root, String::new()), "the schema compiler failed".to_owned()),
            };
            library.fault(document, pointer, SchemaFaultKind::Uncompilable { detail });
            return None;
        }
    };
    let draft = library.documents[root].draft;
    let flat = flatten(library, linked);
    let canon = Canon::new(flat.clone(), draft);
    // For nearly every schema a matching value is found, much faster than a proof that there is one.
    let witness = example::find(canon.document().map(|document| (document, None)), Effort::Full, |guess| {
        validator.is_valid(&Tree::from(guess))
    });
    if witness.is_none()
        && let Emptiness::Proven(why) = canon.emptiness()
    {
        library.fault(root, String::new(), SchemaFaultKind::Unsatisfiable { why });
        return None;
    }
    let document = flat.map_or_else(|_| library.documents[root].value.clone(), |flat| flat.document);
    let file = library.documents[root].path.clone();
    Some(Arc::new(Schema { file: Some(file), document, judge: Some(Judge::new(validator, parts)), fingerprint, canon }))
}

fn parts(library: &Library<'_>, linked: &Linked) -> Parts {
    let documents = linked.documents.iter().flat_map(|id| {
        let document = &library.documents[*id];
        let aliased = linked.aliases(*id).map(|alias| (alias.to_owned(), based(library, *id)));
        once((document.base.as_str().to_owned(), document.value.clone())).chain(aliased)
    });
    let overriding = overriding(library, linked);
    let root = &library.documents[linked.documents[0]];
    let entry = json!({"$schema": dialect::uri(root.draft), "$ref": root.base.as_str()});
    let nodes = linked.documents.iter().flat_map(|id| &library.documents[*id].nodes);
    let mut drafts: Vec<_> = nodes.map(|node| library.nodes[*node].draft).collect();
    drafts.dedup();
    Parts {
        base: root.base.as_str().to_owned(),
        entry: (!overriding.is_empty()).then_some(entry),
        documents: documents.chain(overriding).collect(),
        places: places(library, linked),
        file: root.path.clone(),
        regex_size: library.limits.regex_size,
        formats: dialect::formats_unknown_in(&drafts),
    }
}

/// The value of a document for use under an alias. Its own base becomes its `$id`, so that its references resolve as
/// before.
fn based(library: &Library<'_>, id: usize) -> Arc<Value> {
    let document = &library.documents[id];
    let draft = library.nodes[document.root()].draft;
    let (keyword, is_old) = match draft {
        Draft::Draft4 => ("id", true),
        Draft::Draft6 | Draft::Draft7 => ("$id", true),
        _ => ("$id", false),
    };
    match &*document.value {
        // In old dialects an `$id` beside a `$ref` has no effect.
        Value::Object(members) if !(members.contains_key(keyword) || is_old && members.contains_key("$ref")) => {
            let mut members = members.clone();
            members.insert(keyword.to_owned(), document.base.as_str().into());
            Arc::new(Value::Object(members))
        }
        _ => document.value.clone(),
    }
}

/// Schemas in the documents that have the URI of something built in. Unless they are passed as documents, the compiler
/// uses its own.
fn overriding(library: &Library<'_>, linked: &Linked) -> Vec<(String, Arc<Value>)> {
    let named = linked.uris.iter().filter(|(uri, _)| dialect::is_built_in_somewhere(uri));
    let documents = named.filter_map(|(uri, node)| {
        let mut schema = library.value(*node)?.clone();
        if let Value::Object(members) = &mut schema {
            members.entry("$schema").or_insert_with(|| dialect::uri(library.nodes[*node].draft).into());
        }
        Some((uri.as_ref().to_owned(), Arc::new(schema)))
    });
    documents.collect()
}

/// The place of an error of the compiler: the file that has the refused value at the reported pointer, or else the
/// root. The pointer is that of the instance, because a schema that breaks the rules of its dialect is an instance of
/// the meta-schema; places in the meta-schema would help nobody.
fn place_of(error: &ValidationError<'_>, library: &Library<'_>, reached: &[usize]) -> (usize, String) {
    let place = error.instance_path().as_str();
    let is_there = |id: &usize| library.documents[*id].value.pointer(place) == Some(error.instance());
    let found = reached.iter().copied().find(is_there).filter(|_| !place.is_empty());
    found.map_or_else(|| (reached[0], String::new()), |id| (id, place.to_owned()))
}

/// What each base URI stands for: a file, and a pointer in it.
fn places(library: &Library<'_>, linked: &Linked) -> HashMap<String, (Arc<str>, String)> {
    let mut places = HashMap::new();
    for id in &linked.documents {
        let document = &library.documents[*id];
        for uri in once(document.base.as_str()).chain(linked.aliases(*id)) {
            places.insert(uri.to_owned(), (document.path.clone(), String::new()));
        }
        for node in document.nodes.iter().map(|id| &library.nodes[*id]) {
            if node.base.as_str() != document.base.as_str() {
                let place = (document.path.clone(), node.pointer.clone());
                // The first node with a base is the one that sets it, because outer schemas come before inner ones.
                places.entry(node.base.as_str().to_owned()).or_insert(place);
            }
        }
    }
    places
}
