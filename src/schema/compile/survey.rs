//! Walks a document: finds its nodes, their names and their references, and makes the checks that need no other file.

use std::sync::Arc;

use jsonschema::{Draft, Uri, uri};
use serde_json::{Map, Value};

use crate::schema::compile::dialect::{self, Role};
use crate::schema::compile::fault::SchemaFaultKind;
use crate::schema::compile::library::{Library, Node, Reference};
use crate::schema::compile::{pattern, rules, settle, void};

impl Library<'_> {
    /// Walks a whole document.
    pub(super) fn survey(&mut self, document: usize) {
        let (value, draft) = (self.documents[document].value.clone(), self.documents[document].draft);
        let base = Arc::new(self.documents[document].base.clone());
        let root = self.nodes.len();
        self.documents[document].resources.insert(base.as_str().to_owned(), root);
        self.node(document, String::new(), &value, &base, draft);
        self.documents[document].walked = root..self.nodes.len();
    }

    /// Walks the schema at `pointer`, unless that was done before. `base` and `draft` are those of the resource around
    /// it.
    pub(super) fn node(
        &mut self,
        document: usize,
        pointer: String,
        schema: &Value,
        base: &Arc<Uri<String>>,
        draft: Draft,
    ) -> usize {
        if let Some(known) = self.by_place.get(&(document, pointer.clone())) {
            return *known;
        }
        let id = self.nodes.len();
        self.by_place.insert((document, pointer.clone()), id);
        self.documents[document].nodes.push(id);
        self.nodes.push(Node {
            document,
            pointer,
            draft,
            base: base.clone(),
            is_resource: false,
            below: Vec::new(),
            same: Vec::new(),
            above: Vec::new(),
            references: Vec::new(),
        });
        if let Value::Object(schema) = schema {
            let draft = self.dialect(id, schema, draft);
            self.names(id, schema, draft);
            refer(self, id, schema, draft);
            if !self.documents[document].known_good {
                pattern::check(self, id, schema);
                rules::check_spelling(self, id, schema);
                void::check(self, id, schema, draft);
            }
            self.below(id, schema, draft);
        }
        id
    }

    /// The dialect of a schema. A resource inside a document may name its own, unless the `$schema` is void beside a
    /// `$ref`.
    fn dialect(&mut self, id: usize, schema: &Map<String, Value>, draft: Draft) -> Draft {
        if dialect::ref_stands_alone(draft) && schema.contains_key("$ref") {
            return draft;
        }
        let inner = match schema.get("$schema").and_then(Value::as_str).map(|uri| (uri, Draft::from_schema_uri(uri))) {
            None => draft,
            Some((uri, Draft::Unknown)) => {
                self.fault_below(id, "$schema", SchemaFaultKind::UnknownDialect { uri: uri.to_owned() });
                draft
            }
            Some((_, inner)) => inner,
        };
        self.nodes[id].draft = inner;
        inner
    }

    fn names(&mut self, id: usize, schema: &Map<String, Value>, draft: Draft) {
        let classic = dialect::ref_stands_alone(draft);
        if classic && schema.contains_key("$ref") {
            return;
        }
        let keyword = if draft == Draft::Draft4 { "id" } else { "$id" };
        if let Some(text) = schema.get(keyword).and_then(Value::as_str) {
            match uri::resolve_against(&self.nodes[id].base.borrow(), text) {
                Err(_) => {
                    self.fault_below(id, keyword, settle::invalid(keyword, text, &self.nodes[id].base));
                }
                Ok(_) if classic && text.starts_with('#') => self.anchor(id, keyword, &text[1..], text),
                Ok(own) => {
                    let own = own.as_str().split('#').next().unwrap_or_default().to_owned();
                    let document = self.nodes[id].document;
                    let first = *self.documents[document].resources.entry(own.clone()).or_insert(id);
                    self.only_one(first, id, keyword, text);
                    if let Ok(base) = uri::from_str(&own) {
                        self.nodes[id].base = Arc::new(base);
                        self.nodes[id].is_resource = true;
                    }
                }
            }
        }
        let anchors: &[&'static str] = match draft {
            Draft::Draft201909 => &["$anchor"],
            Draft::Draft202012 => &["$anchor", "$dynamicAnchor"],
            _ => &[],
        };
        for keyword in anchors {
            if let Some(name) = schema.get(*keyword).and_then(Value::as_str) {
                self.anchor(id, keyword, name, name);
                if *keyword == "$dynamicAnchor" {
                    let document = self.nodes[id].document;
                    self.documents[document].dynamic.push(name.to_owned());
                }
            }
        }
    }

    fn anchor(&mut self, id: usize, keyword: &'static str, name: &str, text: &str) {
        let Node { document, base, .. } = &self.nodes[id];
        let key = (base.as_str().to_owned(), name.to_owned());
        let first = *self.documents[*document].anchors.entry(key).or_insert(id);
        self.only_one(first, id, keyword, text);
    }

    /// Notes a fault if a name is given twice in a document. The compiler would take the last, references the first.
    fn only_one(&mut self, first: usize, id: usize, keyword: &'static str, name: &str) {
        if first != id {
            self.fault_below(id, keyword, SchemaFaultKind::NamedTwice { keyword, name: name.to_owned() });
        }
    }

    fn below(&mut self, id: usize, schema: &Map<String, Value>, draft: Draft) {
        let (document, pointer, base) = {
            let node = &self.nodes[id];
            (node.document, node.pointer.clone(), node.base.clone())
        };
        for (place, value, role) in dialect::subschemas(schema, draft) {
            let child = self.node(document, format!("{pointer}{place}"), value, &base, draft);
            self.nodes[child].above.push(id);
            self.nodes[id].below.push(child);
            if role == Role::Same {
                self.nodes[id].same.push(child);
            }
        }
    }
}

/// Records the references of a schema.
fn refer(library: &mut Library<'_>, from: usize, schema: &Map<String, Value>, draft: Draft) {
    let keywords: &[&'static str] = match draft {
        Draft::Draft201909 => &["$ref", "$recursiveRef"],
        Draft::Draft202012 => &["$ref", "$dynamicRef"],
        _ => &["$ref"],
    };
    for keyword in keywords {
        if let Some(text) = schema.get(*keyword).and_then(Value::as_str) {
            let document = library.nodes[from].document;
            library.documents[document].references.push(library.references.len());
            library.nodes[from].references.push(library.references.len());
            library.references.push(Reference { from, keyword, text: text.to_owned(), way: None, told: false });
        }
    }
}
