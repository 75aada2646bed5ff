//! The documents that a compilation has loaded, the schemas in them, and the faults found so far.
//!
//! Each schema, an object or a boolean, is a *node*, identified by its document and pointer. References are edges
//! between nodes.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;
use std::sync::Arc;

use jsonschema::{Draft, Uri, uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::schema::compile::fault::{SchemaFault, SchemaFaultKind};
use crate::schema::compile::regexes::RegexChecker;
use crate::schema::compile::{SchemaLimits, Texts, dialect};
use crate::schema::json::{self, Fault};

/// The base URI of relay.toml's directory.
const ROOT: &str = "relay:///";

/// The characters that must be encoded in a fragment (RFC 3986, section 3.5).
pub(super) const FRAGMENT: &AsciiSet = &CONTROLS
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

/// The characters that must be encoded in a path segment of a URI (RFC 3986, section 3.3).
const SEGMENT: &AsciiSet = &FRAGMENT.add(b'?');

/// A schema file that could be read.
pub(super) struct Document {
    pub path: Arc<str>,
    pub text: Arc<str>,
    pub value: Arc<Value>,
    pub draft: Draft,
    /// Its base URI.
    pub base: Uri<String>,
    /// The nodes found by the walk from its root, which is the first of them.
    pub walked: Range<usize>,
    /// Its schemas that have a URI, by that URI.
    pub resources: HashMap<String, usize>,
    /// Its schemas that have an anchor, by base URI and name.
    pub anchors: HashMap<(String, String), usize>,
    /// The name of each `$dynamicAnchor`, with repetitions.
    pub dynamic: Vec<String>,
    /// Formats that are not checked; each is reported once.
    pub unjudged: HashSet<String>,
    /// The fault of each misspelt keyword, by index.
    pub misspelt: HashMap<String, usize>,
    /// Whether it, or a reference in it, has a fault.
    pub faulty: bool,
    /// Whether it has a warning.
    pub suspicious: bool,
    /// The digest of its text and of the limits that its faults depend on.
    pub fingerprint: [u8; 32],
    /// The indices of its own faults, and whether each is placed at a key rather than a value.
    pub noted: Vec<(usize, bool)>,
    /// Whether an earlier compilation found no fault and no warning that the file itself can show.
    pub known_good: bool,
    /// Its schemas, as indices.
    pub nodes: Vec<usize>,
    /// Its references, as indices.
    pub references: Vec<usize>,
}

impl Document {
    /// The node of the whole document.
    pub(super) fn root(&self) -> usize {
        self.walked.start
    }
}

/// A schema in a document.
pub(super) struct Node {
    pub document: usize,
    pub pointer: String,
    pub draft: Draft,
    /// The base URI inside it.
    pub base: Arc<Uri<String>>,
    /// Whether it sets that base.
    pub is_resource: bool,
    /// Its subschemas.
    pub below: Vec<usize>,
    /// Those of its subschemas that apply to the same value.
    pub same: Vec<usize>,
    /// Schemas that have it as a subschema. Within any other schema that contains it, it may also be read as a value,
    /// an annotation or a map of schemas.
    pub above: Vec<usize>,
    /// Its references.
    pub references: Vec<usize>,
}

/// A keyword that refers to a schema.
pub(super) struct Reference {
    pub from: usize,
    pub keyword: &'static str,
    pub text: String,
    /// Where it leads, as far as the files alone tell; `None` until resolved.
    pub way: Option<Way>,
    /// Whether a fault that only some roots have was already reported here.
    pub told: bool,
}

/// Where a reference leads.
#[derive(Clone)]
pub(super) enum Way {
    /// To a node. `alias` is the URI used for the node's document, if that is not its own.
    To { node: usize, alias: Option<Arc<str>> },
    /// To a schema that the compiler has built in under this URI.
    BuiltIn(Arc<str>),
    /// To whichever schema with this URI the root reaches; if there is none, `otherwise` is the fault.
    Named { uri: Arc<str>, fragment: Arc<str>, otherwise: Box<SchemaFaultKind> },
    /// Nowhere; the fault is noted.
    Broken,
}

/// A schema with everything below it: the URIs in it, and the references that lead out of it.
#[derive(Default)]
pub(super) struct Region {
    /// Schemas that have a URI.
    pub resources: Vec<(Arc<str>, usize)>,
    /// References to other regions, or to this one by an alias.
    pub leads: Vec<usize>,
    /// References to built-in schemas, and those that name only a URI.
    pub open: Vec<usize>,
}

/// All documents, nodes, references and faults of a compilation. See the module.
pub(super) struct Library<'a> {
    pub files: &'a dyn Texts,
    pub limits: &'a SchemaLimits,
    /// Checks regular expressions and formats.
    pub patterns: &'a RegexChecker,
    good: &'a HashSet<[u8; 32]>,
    pub documents: Vec<Document>,
    /// The files that are no documents because of their faults, each with a document that refers to it.
    pub broken: Vec<(usize, Arc<str>)>,
    /// The result for each path that was tried.
    by_path: HashMap<Arc<str>, Result<Option<usize>, String>>,
    /// The parsed value of each text, shared, so that the compiler treats copies of a schema as one.
    values: HashMap<[u8; 32], Arc<Value>>,
    pub nodes: Vec<Node>,
    pub by_place: HashMap<(usize, String), usize>,
    pub references: Vec<Reference>,
    /// How many of the references were resolved.
    pub settled: usize,
    /// The regions walked so far, by the node at which the walk starts.
    pub regions: HashMap<usize, Rc<Region>>,
    /// Schemas already reported because they share their `$id` with another.
    pub told_ids: HashSet<usize>,
    pub faults: Vec<SchemaFault>,
}

impl<'a> Library<'a> {
    pub(super) fn new(
        files: &'a dyn Texts,
        limits: &'a SchemaLimits,
        patterns: &'a RegexChecker,
        good: &'a HashSet<[u8; 32]>,
    ) -> Self {
        Self {
            files,
            limits,
            patterns,
            good,
            documents: Vec::new(),
            broken: Vec::new(),
            by_path: HashMap::new(),
            values: HashMap::new(),
            nodes: Vec::new(),
            by_place: HashMap::new(),
            references: Vec::new(),
            settled: 0,
            regions: HashMap::new(),
            told_ids: HashSet::new(),
            faults: Vec::new(),
        }
    }

    /// The document of a path, loaded and walked at the first call. `Ok(None)` if it can be read but is wrong; its
    /// faults are then noted.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(super) fn load(&mut self, path: &str) -> Result<Option<usize>, String> {
        if let Some(known) = self.by_path.get(path) {
            return known.clone();
        }
        let path: Arc<str> = path.into();
        let loaded = self.files.read(&path).map(|text| match self.read(&path, text) {
            Ok(document) => {
                self.documents.push(document);
                let document = self.documents.len() - 1;
                self.survey(document);
                Some(document)
            }
            Err(fault) => {
                self.faults.push(*fault);
                None
            }
        });
        self.by_path.insert(path, loaded.clone());
        loaded
    }

    fn read(&mut self, path: &Arc<str>, text: Arc<str>) -> Result<Document, Box<SchemaFault>> {
        let fault = |bytes: Range<usize>, pointer: &str, kind| {
            Box::new(SchemaFault { file: path.clone(), bytes, pointer: pointer.to_owned(), kind })
        };
        if text.len() > self.limits.schema_size {
            let kind = SchemaFaultKind::TooLarge { bytes: text.len(), limit: self.limits.schema_size };
            return Err(fault(0..0, "", kind));
        }
        let tree = json::read(text.as_bytes(), self.limits.json_depth).map_err(|why| match why {
            Fault::Syntax { detail, .. } if detail == json::MARKED => {
                let detail = "a byte order mark: save the file as UTF-8 without one".to_owned();
                fault(one_char(&text, 1, 1), "", SchemaFaultKind::Syntax { detail })
            }
            Fault::Syntax { line, column, detail } => {
                fault(one_char(&text, line, column), "", SchemaFaultKind::Syntax { detail })
            }
            Fault::TooDeep { line, column, limit } => {
                fault(one_char(&text, line, column), "", SchemaFaultKind::TooDeep { limit })
            }
            Fault::DuplicateKey { pointer } => {
                let key = json::unescape(pointer.rsplit('/').next().unwrap_or_default());
                let bytes = json::locate(&text, &pointer).and_then(|l| l.key).unwrap_or(0..0);
                fault(bytes, &pointer, SchemaFaultKind::DuplicateKey { key })
            }
        })?;
        let value = tree.to_value();
        let draft = dialect::detect(&value).map_err(|uri| {
            let bytes = json::locate(&text, "/$schema").map_or(0..0, |l| l.value);
            fault(bytes, "/$schema", SchemaFaultKind::UnknownDialect { uri })
        })?;
        let base = uri_of(path).ok_or_else(|| {
            let why = format!("`{path}` cannot be written as a URI");
            fault(0..0, "", SchemaFaultKind::Unreadable { why })
        })?;
        let limit = self.limits.regex_size.to_le_bytes();
        let fingerprint = Sha256::new().chain_update(limit).chain_update(&*text).finalize().into();
        let value = self.values.entry(fingerprint).or_insert_with(|| Arc::new(value)).clone();
        Ok(Document {
            path: path.clone(),
            text,
            value,
            draft,
            base,
            walked: 0..0,
            resources: HashMap::new(),
            anchors: HashMap::new(),
            dynamic: Vec::new(),
            unjudged: HashSet::new(),
            misspelt: HashMap::new(),
            faulty: false,
            suspicious: false,
            noted: Vec::new(),
            fingerprint,
            known_good: self.good.contains(&fingerprint),
            nodes: Vec::new(),
            references: Vec::new(),
        })
    }

    /// The document of a node, and its pointer there.
    pub(super) fn place(&self, node: usize) -> (usize, String) {
        (self.nodes[node].document, self.nodes[node].pointer.clone())
    }

    /// The JSON value of a node.
    pub(super) fn value(&self, node: usize) -> Option<&Value> {
        let Node { document, pointer, .. } = &self.nodes[node];
        self.documents[*document].value.pointer(pointer)
    }

    /// Notes a fault at a value of a document.
    pub(super) fn fault(&mut self, document: usize, pointer: String, kind: SchemaFaultKind) {
        self.note(document, false, pointer, kind);
    }

    /// Notes a fault at the value of a schema's keyword.
    pub(super) fn fault_below(&mut self, node: usize, keyword: &str, kind: SchemaFaultKind) {
        let (document, place) = self.place(node);
        self.note(document, false, format!("{place}/{keyword}"), kind);
    }

    /// Notes a fault at a key of a document.
    pub(super) fn fault_at_key(&mut self, document: usize, pointer: String, kind: SchemaFaultKind) {
        self.note(document, true, pointer, kind);
    }

    /// Notes a misspelt keyword, once for each document: an extension for a code generator may stand in it a hundred
    /// times.
    pub(super) fn misspelt(&mut self, document: usize, pointer: String, keyword: &str, suggestion: String) {
        if let Some(fault) = self.documents[document].misspelt.get(keyword) {
            if let SchemaFaultKind::UnknownKeyword { others, .. } = &mut self.faults[*fault].kind {
                *others += 1;
            }
            return;
        }
        self.documents[document].misspelt.insert(keyword.to_owned(), self.faults.len());
        let kind = SchemaFaultKind::UnknownKeyword { keyword: keyword.to_owned(), suggestion, others: 0 };
        self.note(document, true, pointer, kind);
    }

    fn note(&mut self, document: usize, at_key: bool, pointer: String, kind: SchemaFaultKind) {
        let Document { path, faulty, suspicious, noted, .. } = &mut self.documents[document];
        let marked = if kind.is_warning() { suspicious } else { faulty };
        *marked = true;
        noted.push((self.faults.len(), at_key));
        self.faults.push(SchemaFault { file: path.clone(), bytes: 0..0, pointer, kind });
    }

    /// All faults, with their places. Places are found here in one walk per document: a search through the text for
    /// each fault would take minutes if there are thousands.
    pub(super) fn into_faults(mut self) -> Vec<SchemaFault> {
        for document in self.documents.iter().filter(|document| !document.noted.is_empty()) {
            let pointers = document.noted.iter().map(|(fault, _)| self.faults[*fault].pointer.clone()).collect();
            let places = json::locate_all(&document.text, &pointers);
            for (fault, at_key) in &document.noted {
                let fault = &mut self.faults[*fault];
                let place = places.get(&fault.pointer);
                let key = place.and_then(|place| place.key.clone()).filter(|_| *at_key);
                fault.bytes = key.or_else(|| place.map(|place| place.value.clone())).unwrap_or(0..0);
            }
        }
        self.faults
    }
}

/// The bytes of the character at a line and column.
fn one_char(text: &str, line: usize, column: usize) -> Range<usize> {
    let start: usize = text.split_inclusive('\n').take(line - 1).map(str::len).sum();
    let mut at = (start + column - 1).min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at..at + text[at..].chars().next().map_or(0, char::len_utf8)
}

/// The base URI of a file.
pub(super) fn uri_of(path: &str) -> Option<Uri<String>> {
    let segments: Vec<String> = path.split('/').map(|s| utf8_percent_encode(s, SEGMENT).to_string()).collect();
    uri::from_str(&format!("{ROOT}{}", segments.join("/"))).ok()
}

/// The path of the file to which a URI without a fragment belongs. A query is no part of it.
pub(super) fn path_of(uri: &str) -> Option<String> {
    let path = uri.strip_prefix(ROOT)?.split('?').next().unwrap_or_default();
    percent_decode_str(path).decode_utf8().ok().map(Into::into)
}
