//! From linked documents to a [`Schema`]: what a root reaches, whether it is known already, and the compiler's own word.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use jsonschema::ValidationError;
use sha2::{Digest, Sha256};

use crate::schema::canon::{Canon, Emptiness};
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::flatten::flatten;
use crate::schema::compile::library::Library;
use crate::schema::example::Effort;
use crate::schema::json::Tree;
use crate::schema::judge::{Judge, Parts};
use crate::schema::{Schema, example, violation};

/// The documents that a root reaches, itself first; `None` when something is wrong in one of them.
pub(super) fn reach(library: &Library<'_>, root: usize) -> Option<Vec<usize>> {
    let mut reached = vec![root];
    let mut next = 0;
    while let Some(&document) = reached.get(next) {
        let document = &library.documents[document];
        if document.faulty {
            return None;
        }
        for target in document.references.iter().filter_map(|id| library.references[*id].target) {
            let document = library.nodes[target].document;
            if !reached.contains(&document) {
                reached.push(document);
            }
        }
        next += 1;
    }
    Some(reached)
}

/// Everything that decides what a schema is.
pub(super) fn fingerprint(library: &Library<'_>, reached: &[usize]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let mut part = |bytes: &[u8]| {
        hash.update(bytes.len().to_le_bytes());
        hash.update(bytes);
    };
    for document in reached.iter().map(|id| &library.documents[*id]) {
        part(document.path.as_bytes());
        part(&document.fingerprint);
        document.aliases.iter().for_each(|alias| part(alias.as_bytes()));
        part(b"");
    }
    hash.finalize().into()
}

/// Compiles a root whose documents are without fault.
pub(super) fn build(library: &mut Library<'_>, reached: &[usize], fingerprint: [u8; 32]) -> Option<Arc<Schema>> {
    let root = reached[0];
    let parts = parts(library, reached);
    // The compiler is not ours: its panic is a fault of the schema, not the end of a running server.
    let built = catch_unwind(AssertUnwindSafe(|| parts.build(library.patterns.options())));
    let validator = match built {
        Ok(Ok(validator)) => validator,
        refused => {
            let ((document, pointer), detail) = match refused {
                Ok(Err(e)) => (place_of(&e, library, reached), violation::sentence(&e)),
                _ => ((root, String::new()), "the compiler of schemas gave up".to_owned()),
            };
            library.fault(document, pointer, SchemaFaultKind::Uncompilable { detail });
            return None;
        }
    };
    let draft = library.documents[root].draft;
    let flat = flatten(library, reached);
    let canon = Canon::new(flat.clone(), draft);
    // A value that matches is found for nearly every schema, and much faster than a proof that there is one.
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

fn parts(library: &Library<'_>, reached: &[usize]) -> Parts {
    let reached_documents = reached.iter().map(|id| &library.documents[*id]);
    let documents = reached_documents.flat_map(|document| {
        let uris = std::iter::once(document.base.as_str()).chain(document.aliases.iter().map(String::as_str));
        uris.map(|uri| (uri.to_owned(), document.value.clone()))
    });
    let root = &library.documents[reached[0]];
    Parts {
        base: root.base.as_str().to_owned(),
        documents: documents.collect(),
        places: places(library, reached),
        file: root.path.clone(),
        regex_size: library.limits.regex_size,
    }
}

/// Where the compiler found what it refuses: the file in which that very value stands at its place, else the root's. What
/// breaks the rules of its own dialect is an instance of the schema that these rules are, and it may stand in any file;
/// that schema's own places are of no use to anybody.
fn place_of(error: &ValidationError<'_>, library: &Library<'_>, reached: &[usize]) -> (usize, String) {
    let place = error.instance_path().as_str();
    let is_there = |id: &usize| library.documents[*id].value.pointer(place) == Some(error.instance());
    let found = reached.iter().copied().find(is_there).filter(|_| !place.is_empty());
    found.map_or_else(|| (reached[0], String::new()), |id| (id, place.to_owned()))
}

/// What stands under each URI: a file, and a place in it.
fn places(library: &Library<'_>, reached: &[usize]) -> HashMap<String, (Arc<str>, String)> {
    let mut places = HashMap::new();
    for document in reached.iter().map(|id| &library.documents[*id]) {
        for uri in std::iter::once(document.base.as_str()).chain(document.aliases.iter().map(String::as_str)) {
            places.insert(uri.to_owned(), (document.path.clone(), String::new()));
        }
        for node in document.nodes.iter().map(|id| &library.nodes[*id]) {
            if node.base.as_str() != document.base.as_str() {
                let place = (document.path.clone(), node.pointer.clone());
                // The first node with a base is the one that sets it: outer schemas come before inner ones.
                places.entry(node.base.as_str().to_owned()).or_insert(place);
            }
        }
    }
    places
}
