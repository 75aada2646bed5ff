//! Makes one document of several: what a schema uses of each file becomes a definition, and every reference becomes
//! local.
//!
//! Subscribers get this document, because they do not have the files. Versions of a schema are compared by it, too:
//! definitions are private to a document, so a changed file cannot clash with its old version.

use std::collections::HashMap;

use jsonschema::Draft;
use percent_encoding::utf8_percent_encode;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use crate::schema::canon::Flat;
use crate::schema::compile::library::{FRAGMENT, Library, Node};
use crate::schema::compile::link::Linked;
use crate::schema::compile::used::{DEFINITIONS, Used};
use crate::schema::compile::{dialect, rules};
use crate::schema::json::escape;
use crate::schema::judge::FORMATS;

/// Keywords that name a schema or its dialect. They are of no use once references are local.
const NAMES: [&str; 5] = ["$id", "$anchor", "$dynamicAnchor", "$recursiveAnchor", "$schema"];
/// The `$id` of draft 4; in other dialects it has no meaning.
const DRAFT_4_NAME: &str = "id";

/// Keywords that refer to other schemas.
const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Keywords that describe a schema and judge nothing, in any dialect.
const ANNOTATIONS: [&str; 8] =
    ["title", "description", "$comment", "default", "examples", "deprecated", "readOnly", "writeOnly"];

/// Writes the first document and what it uses of the others as one document.
///
/// # Errors
/// Why no single document can say the same.
pub(super) fn flatten(library: &Library<'_>, linked: &Linked) -> Result<Flat, String> {
    let (reached, used) = (&linked.documents, Used::of(library, linked));
    let root = &library.documents[reached[0]];
    if used.nodes().any(|node| library.nodes[node].draft != root.draft) {
        return Err("its parts are written in different dialects".to_owned());
    }
    let mut references = reached.iter().flat_map(|id| &library.documents[*id].references);
    if !references.any(|id| used.has(library.references[*id].from)) {
        let document = used.part(reached[0], root);
        let mut judged = document.clone();
        take_out_annotations(library, &used, reached[0], &mut judged);
        let sames = [digest(document.clone()), digest(judged.clone())];
        return Ok(Flat::new(document, judged, sames, String::new()));
    }
    if let Some(place) = used.nodes().find_map(|node| judged_otherwise(library, node)) {
        return Err(format!("a reference leads into a plain value, at `{place}`"));
    }
    let documents = numbered(library, linked, &used);
    let by_path = documents.iter().map(|id| (*id, library.documents[*id].path.to_string())).collect();
    let by_number = documents.iter().enumerate().map(|(number, id)| (*id, number.to_string())).collect();
    let keyword = dialect::definitions(root.draft);
    let called = Bundle { library, linked, used: &used, keyword, names: by_path };
    let counted = Bundle { names: by_number, ..called.clone() };
    let sames = [digest(counted.of(&documents, false)?), digest(counted.of(&documents, true)?)];
    let place = format!("/{keyword}/{}", escape(&root.path));
    Ok(Flat::new(called.of(&documents, false)?, called.of(&documents, true)?, sames, place))
}

/// A place where the node is read as a value or a map as well, and has a member named like a keyword. Flattened as a
/// schema it would lose that member, and be another value or another map.
fn judged_otherwise(library: &Library<'_>, node: usize) -> Option<String> {
    let Node { document, pointer, .. } = &library.nodes[node];
    let lost = |(schema, keyword): (&str, &str)| {
        let place = format!("{schema}/{keyword}");
        let value = library.documents[*document].value.pointer(&place)?;
        let loses = match keyword {
            "const" | "enum" => has_words(value),
            "properties" | "patternProperties" | "dependentSchemas" | "dependencies" | "$defs" | "definitions" => {
                *pointer == place && value.as_object().is_some_and(|map| map.keys().any(|name| is_name(name)))
            }
            _ => false,
        };
        loses.then_some(place)
    };
    readings(library, node).into_iter().find_map(lost)
}

/// The keywords by which a node, or what contains it, is read as a value or a map as well; only a reference makes it a
/// schema. Each comes after the pointer of the schema that has it. Unknown keywords do not count, because nothing below
/// them has any meaning except what references lead to.
fn readings<'l>(library: &'l Library<'_>, node: usize) -> Vec<(&'l str, &'l str)> {
    let Node { document, pointer, .. } = &library.nodes[node];
    let (mut found, mut below) = (Vec::new(), node);
    for (at, _) in pointer.rmatch_indices('/') {
        let (schema, way) = pointer.split_at(at);
        let Some(above) = library.by_place.get(&(*document, schema.to_owned())) else { continue };
        let (keyword, within) = way[1..].split_once('/').unwrap_or((&way[1..], ""));
        // An entry among definitions is never a value, even in a dialect that does not know the keyword.
        let is_one = !within.is_empty() && DEFINITIONS.contains(&keyword);
        if !library.nodes[below].above.contains(above) && rules::is_known(keyword) && !is_one {
            found.push((schema, keyword));
        }
        below = *above;
    }
    found
}

fn is_name(word: &str) -> bool {
    NAMES.contains(&word) || word == DRAFT_4_NAME
}

/// Whether a value has members, at any depth, that flattening would change in a schema.
fn has_words(value: &Value) -> bool {
    let is_changed = |word: &str| is_name(word) || REFERENCES.contains(&word) || DEFINITIONS.contains(&word);
    match value {
        Value::Object(members) => members.iter().any(|(name, member)| is_changed(name) || has_words(member)),
        Value::Array(items) => items.iter().any(has_words),
        _ => false,
    }
}

/// The documents in use, numbered independently of their names, of the order of members and of unused parts: in the
/// order in which references reach them from the root. The references of one document are taken by their places.
fn numbered(library: &Library<'_>, linked: &Linked, used: &Used) -> Vec<usize> {
    let mut documents = vec![linked.documents[0]];
    let mut next = 0;
    while let Some(document) = documents.get(next) {
        let references = library.documents[*document].references.iter().map(|id| (*id, &library.references[*id]));
        let mut references: Vec<_> = references.filter(|(_, reference)| used.has(reference.from)).collect();
        references.sort_by_key(|(_, reference)| (&library.nodes[reference.from].pointer, reference.keyword));
        for target in references.into_iter().filter_map(|(id, _)| linked.target(library, id)) {
            let document = library.nodes[target].document;
            if !documents.contains(&document) {
                documents.push(document);
            }
        }
        next += 1;
    }
    documents
}

/// The digest of a document, independent of the order of members.
fn digest(mut document: Value) -> [u8; 32] {
    document.sort_all_objects();
    Sha256::digest(document.to_string()).into()
}

/// Removes keywords from each used schema of a file.
fn take_out(keywords: &[&str], library: &Library<'_>, used: &Used, id: usize, file: &mut Value) {
    for node in library.documents[id].nodes.iter().filter(|node| used.has(**node)) {
        if let Some(Value::Object(schema)) = file.pointer_mut(&library.nodes[*node].pointer) {
            keywords.iter().for_each(|keyword| drop(schema.shift_remove(*keyword)));
        }
    }
}

/// Removes annotations from each used schema of a file, except those that may be more: if a reference leads into one,
/// or if the schema is read as a value or a map as well, whose members only look like keywords.
fn take_out_annotations(library: &Library<'_>, used: &Used, id: usize, file: &mut Value) {
    let nodes = library.documents[id].nodes.iter().filter(|node| used.has(**node));
    for node in nodes.filter(|node| readings(library, **node).is_empty()).map(|node| &library.nodes[*node]) {
        let Some(Value::Object(schema)) = file.pointer_mut(&node.pointer) else { continue };
        let is_judged = |format: &Value| format.as_str().is_none_or(|format| FORMATS.contains(&format));
        let format = schema.get("format").filter(|format| !is_judged(format)).map(|_| "format");
        for keyword in ANNOTATIONS.into_iter().chain(format) {
            if !used.leads_to(id, &format!("{}/{keyword}", node.pointer)) {
                schema.shift_remove(keyword);
            }
        }
    }
}

/// How several files become one document.
#[derive(Clone)]
struct Bundle<'a> {
    library: &'a Library<'a>,
    linked: &'a Linked,
    used: &'a Used,
    /// The keyword under which the files stand.
    keyword: &'static str,
    /// The name of each file's definition.
    names: HashMap<usize, String>,
}

impl Bundle<'_> {
    /// The document; if `judged`, without annotations.
    fn of(&self, documents: &[usize], judged: bool) -> Result<Value, String> {
        let root = documents[0];
        let mut files = Map::new();
        for id in documents {
            files.insert(self.names[id].clone(), self.localized(*id, judged)?);
        }
        let mut whole = Map::new();
        if let Some(dialect) = self.library.documents[root].value.get("$schema") {
            whole.insert("$schema".to_owned(), dialect.clone());
        }
        whole.insert("$ref".to_owned(), self.local(root, "").into());
        whole.insert(self.keyword.to_owned(), Value::Object(files));
        Ok(Value::Object(whole))
    }

    /// The local reference to a place in a file that became a definition.
    fn local(&self, document: usize, pointer: &str) -> String {
        let place = format!("/{}/{}{pointer}", self.keyword, escape(&self.names[&document]));
        format!("#{}", utf8_percent_encode(&place, FRAGMENT))
    }

    /// The used parts of a file, without its own names and with local references.
    fn localized(&self, id: usize, judged: bool) -> Result<Value, String> {
        let Self { library, linked, used, .. } = self;
        let document = &library.documents[id];
        let mut file = used.part(id, document);
        take_out(&NAMES, library, used, id, &mut file);
        if document.draft == Draft::Draft4 {
            take_out(&[DRAFT_4_NAME], library, used, id, &mut file);
        }
        if judged {
            take_out_annotations(library, used, id, &mut file);
        }
        let references = document.references.iter().map(|id| (*id, &library.references[*id]));
        for (id, reference) in references.filter(|(_, reference)| used.has(reference.from)) {
            let from = &library.nodes[reference.from].pointer;
            let Some(Value::Object(schema)) = file.pointer_mut(from) else { continue };
            let Some(target) = linked.target(library, id).map(|target| &library.nodes[target]) else {
                return Err(format!("it refers to `{}`", reference.text));
            };
            if reference.keyword != "$ref"
                && (schema.contains_key("$ref") || binds_late(library, linked, &reference.text))
            {
                return Err(format!("`{}` is resolved dynamically", reference.keyword));
            }
            schema.shift_remove(reference.keyword);
            schema.insert("$ref".to_owned(), self.local(target.document, &target.pointer).into());
        }
        Ok(file)
    }
}

/// Whether the target of the reference depends on the path that led to it (a dynamic reference).
fn binds_late(library: &Library<'_>, linked: &Linked, text: &str) -> bool {
    let name = text.rsplit('#').next().unwrap_or_default();
    let names = linked.documents.iter().flat_map(|id| &library.documents[*id].dynamic);
    name.is_empty() || names.filter(|given| *given == name).count() > 1
}
