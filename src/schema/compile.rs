//! Turns schema files into schemas: loads, checks and compiles everything that topics name, in one go.
//!
//! Decides what a schema file may say and refer to. Knows nothing of files (a [`Texts`] supplies the texts), of topics,
//! or of how a fault is printed. A file is known by its path relative to relay.toml's directory and gets the base URI
//! `relay:///<path>`, so a `$ref` between files is ordinary URI resolution, and nothing is ever fetched.

mod build;
mod cost;
mod dialect;
mod fault;
mod flatten;
#[cfg(test)]
mod format_tests;
mod help;
mod library;
#[cfg(test)]
mod library_tests;
mod link;
#[cfg(test)]
mod link_tests;
mod pattern;
mod regexes;
mod rules;
mod settle;
mod survey;
#[cfg(test)]
mod tests;
mod used;
mod void;

pub use self::fault::{SchemaFault, SchemaFaultKind};

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::schema::Schema;
use crate::schema::compile::library::Library;
use crate::schema::compile::link::Linked;
use crate::schema::compile::regexes::RegexChecker;

/// The source of the texts of schema files.
pub trait Texts {
    /// Reads a file by its path relative to relay.toml's directory, with `/` between its parts.
    ///
    /// # Errors
    /// Why the file cannot be read, or that it lies outside the directory (symlinks followed), as a sentence.
    fn read(&self, path: &str) -> Result<Arc<str>, String>;
}

/// The limits on schema files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaLimits {
    /// Size of one file, in bytes.
    pub schema_size: usize,
    /// Size of one compiled regular expression, in bytes.
    pub regex_size: usize,
    /// Nesting depth of arrays and objects in a file.
    pub json_depth: usize,
}

/// What a compilation keeps for the next one, so that unchanged files need no work: the schemas, by their content.
#[derive(Clone, Default)]
pub struct SchemaCache {
    schemas: HashMap<[u8; 32], Arc<Schema>>,
    /// Documents without a fault or a warning of their own.
    good: HashSet<[u8; 32]>,
}

/// The outcome of [`compile_all`].
#[derive(Default)]
pub struct Compiled {
    /// The schemas by requested path. A root is missing if anything it reaches has a fault.
    pub schemas: HashMap<Arc<str>, Arc<Schema>>,
    /// The first root that reaches each file.
    pub reached_by: HashMap<Arc<str>, Arc<str>>,
    /// The faults of all files, each once, ordered by file and place. Never empty if a root is missing.
    pub faults: Vec<SchemaFault>,
    /// For the next compilation. Holds only what this one used.
    pub cache: SchemaCache,
}

/// Loads, checks and compiles the named schema files and all that they refer to. A root comes back as the same
/// [`Schema`] if its text and those it refers to are what they were when `cache` was made.
pub fn compile_all(files: &dyn Texts, roots: &[Arc<str>], limits: &SchemaLimits, cache: &SchemaCache) -> Compiled {
    let patterns = RegexChecker::new(limits.regex_size);
    let mut library = Library::new(files, limits, &patterns, &cache.good);
    let roots = load_roots(&mut library, roots);
    let linked: Vec<_> = roots.into_iter().map(|(path, root)| (path, library.link(root))).collect();
    cost::check(&mut library, linked.iter().map(|(_, linked)| linked));
    for document in 0..library.documents.len() {
        rules::check(&mut library, document);
    }
    let mut compiled = Compiled { reached_by: reached_by(&library, &linked), ..Compiled::default() };
    compiled.cache.good =
        library.documents.iter().filter(|d| !d.faulty && !d.suspicious).map(|d| d.fingerprint).collect();
    // Taken before the loop: a fault that the compiler finds in one root must not exclude the others.
    let good: Vec<_> = linked.into_iter().filter(|(_, linked)| linked.is_good(&library)).collect();
    for (path, linked) in good {
        let fingerprint = build::fingerprint(&library, &linked);
        let known = cache.schemas.get(&fingerprint).cloned();
        if let Some(schema) = known.or_else(|| build::build(&mut library, &linked, fingerprint)) {
            compiled.cache.schemas.insert(fingerprint, schema.clone());
            compiled.schemas.insert(path, schema);
        }
    }
    compiled.faults = library.into_faults();
    compiled.faults.sort_by(|a, b| (&a.file, a.bytes.start, &a.pointer).cmp(&(&b.file, b.bytes.start, &b.pointer)));
    compiled.faults.dedup();
    compiled
}

fn reached_by(library: &Library<'_>, linked: &[(Arc<str>, Linked)]) -> HashMap<Arc<str>, Arc<str>> {
    let mut reached_by = HashMap::new();
    let path = |document: &usize| &library.documents[*document].path;
    for (root, linked) in linked {
        for file in linked.documents.iter().map(path) {
            reached_by.entry(file.clone()).or_insert_with(|| root.clone());
        }
    }
    for (from, file) in &library.broken {
        if let Some(root) = reached_by.get(path(from)).cloned() {
            reached_by.entry(file.clone()).or_insert(root);
        }
    }
    reached_by
}

/// Loads each root once, in the given order.
fn load_roots(library: &mut Library<'_>, roots: &[Arc<str>]) -> Vec<(Arc<str>, usize)> {
    let mut seen = HashSet::new();
    let mut loaded = Vec::new();
    for path in roots.iter().filter(|path| seen.insert(Arc::clone(path))) {
        match library.load(path) {
            Ok(Some(document)) => loaded.push((path.clone(), document)),
            Ok(None) => {}
            Err(why) => library.faults.push(SchemaFault {
                file: path.clone(),
                bytes: 0..0,
                pointer: String::new(),
                kind: SchemaFaultKind::Unreadable { why },
            }),
        }
    }
    loaded
}
