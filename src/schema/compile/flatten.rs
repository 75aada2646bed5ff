//! One document in place of several: what a schema uses of each file becomes a definition, every reference a local one.
//!
//! That is what is given to subscribers, who do not have the files, and what two versions of a schema are compared by:
//! definitions are private to a document, so that a changed file never clashes with its old self.

use std::sync::Arc;

use jsonschema::Draft;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Map, Value};

use crate::schema::canon::Flat;
use crate::schema::compile::dialect;
use crate::schema::compile::library::{Document, Library};
use crate::schema::compile::used::Used;
use crate::schema::json::escape;

/// What a fragment cannot hold as it is (RFC 3986, section 3.5).
const FRAGMENT: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// What names a schema or its dialect, of no use once references are local.
const NAMES: [&str; 5] = ["$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$schema"];
/// The same in draft 4; in others it is a word without a meaning.
const DRAFT_4_NAME: &str = "id";

/// The document that says by itself what the first of `reached` says with the others.
///
/// # Errors
/// Why there is none.
pub(super) fn flatten(library: &Library<'_>, reached: &[usize]) -> Result<Flat, String> {
    let Some(root) = reached.first().map(|id| &library.documents[*id]) else { return Ok(Flat::any()) };
    let used = Used::of(library, reached);
    if used.nodes().any(|node| library.nodes[node].draft != root.draft) {
        return Err("its parts are written in different dialects".to_owned());
    }
    let documents: Vec<usize> = reached.iter().copied().filter(|id| used.comes_to(*id)).collect();
    let mut references = documents.iter().flat_map(|id| &library.documents[*id].references);
    if !references.any(|id| used.has(library.references[*id].from)) {
        return Ok(Flat { document: Arc::new(used.part(reached[0], root)), root: String::new() });
    }
    let keyword = dialect::definitions(root.draft);
    let mut files = Map::new();
    for id in documents {
        files.insert(library.documents[id].path.to_string(), localized(library, &used, id, keyword)?);
    }
    let mut flat = Map::new();
    if let Some(dialect) = root.value.get("$schema") {
        flat.insert("$schema".to_owned(), dialect.clone());
    }
    flat.insert("$ref".to_owned(), local(keyword, root, "").into());
    flat.insert(keyword.to_owned(), Value::Object(files));
    let root = format!("/{keyword}/{}", escape(&root.path));
    Ok(Flat { document: Arc::new(Value::Object(flat)), root })
}

/// A reference to a place in a file that is a definition.
fn local(keyword: &str, document: &Document, pointer: &str) -> String {
    let place = format!("/{keyword}/{}{pointer}", escape(&document.path));
    format!("#{}", utf8_percent_encode(&place, FRAGMENT))
}

/// What is used of a file, without names of its own, with local references.
fn localized(library: &Library<'_>, used: &Used, id: usize, keyword: &str) -> Result<Value, String> {
    let document = &library.documents[id];
    let mut file = used.part(id, document);
    for node in document.nodes.iter().filter(|node| used.has(**node)) {
        if let Some(Value::Object(schema)) = file.pointer_mut(&library.nodes[*node].pointer) {
            for name in NAMES.iter().chain((document.draft == Draft::Draft4).then_some(&DRAFT_4_NAME)) {
                schema.shift_remove(*name);
            }
        }
    }
    let references = document.references.iter().map(|id| &library.references[*id]);
    for reference in references.filter(|reference| used.has(reference.from)) {
        let Some(Value::Object(schema)) = file.pointer_mut(&library.nodes[reference.from].pointer) else { continue };
        let Some(target) = reference.target.map(|target| &library.nodes[target]) else {
            return Err(format!("it refers to `{}`", reference.text));
        };
        if reference.keyword != "$ref" && (schema.contains_key("$ref") || binds_late(library, &reference.text)) {
            return Err(format!("`{}` is bound late", reference.keyword));
        }
        schema.shift_remove(reference.keyword);
        let target = local(keyword, &library.documents[target.document], &target.pointer);
        schema.insert("$ref".to_owned(), target.into());
    }
    Ok(file)
}

/// Whether what the reference names depends on the way that led to it.
fn binds_late(library: &Library<'_>, text: &str) -> bool {
    let name = text.rsplit('#').next().unwrap_or_default();
    name.is_empty() || library.dynamic.get(name).is_some_and(|count| *count > 1)
}
