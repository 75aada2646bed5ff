//! One load of a configuration: read, decode, check, compile the schemas, try the examples.
//!
//! `relay check`, the start and every reload all call this one function, so they cannot disagree. It changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tracing::warn;

use super::{schemas, tls};
use crate::config::decode::decode;
use crate::config::files::Files;
use crate::config::model::{Config, Log, Span};
use crate::config::reading::{Inputs, Reading};
use crate::diagnostic::{self, Diagnostic, Sources, any_error};
use crate::schema::Schema;
use crate::schema::compile::SchemaCache;
use crate::time::Time;

/// The result of a load.
pub struct Loaded {
    /// The configuration; `None` when there is an error among the diagnostics.
    pub config: Option<Config>,
    /// How to log, as far as that could be read, even when there is an error.
    pub log: Log,
    /// The schemas of its topics, by file.
    pub schemas: HashMap<Arc<str>, Arc<Schema>>,
    /// The certificate and key of `[server.tls]`, made ready.
    pub tls: Option<tls::Ready>,
    /// What the next load needs to know of this one, if this one is put in force.
    pub remembered: Remembered,
    /// Everything that is wrong or suspicious, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into, secrets masked.
    pub sources: Sources,
    /// The number in `sources` of each schema file: those that topics name and those that these refer to.
    pub files: HashMap<Arc<str>, usize>,
    /// What was read, to find out later whether it is still the same.
    pub inputs: Inputs,
    /// SHA-256 over everything that was read, in hex.
    pub hash: String,
}

/// What a load leaves for the next one.
pub struct Remembered {
    /// The compiled schemas, so that unchanged ones need not be compiled again.
    pub cache: SchemaCache,
    /// Every key in the files, dotted, with its place. A half-written file lacks some.
    pub keys: BTreeMap<String, Span>,
    /// Files whose last line has no line end, another sign of a half-written file.
    pub unfinished: BTreeSet<Arc<str>>,
}

/// Logs the warnings of a valid configuration, in the form people read.
pub fn log_warnings(text: &str) {
    if !text.is_empty() {
        warn!(diagnostics = %format_args!("\n{text}"), "the configuration has warnings");
    }
}

/// Loads a configuration. `cache` is that of the previous load; `now` is the time at which tokens and the certificate
/// have to be valid.
pub fn load(files: &dyn Files, cache: &SchemaCache, now: Time) -> Loaded {
    let reading = Reading::new(files);
    let decoded = decode(&reading, now);
    let (config, mut diagnostics, mut sources) = (decoded.config, decoded.diagnostics, decoded.sources);
    let (compiled, files) = schemas::compile(&config, &reading, cache, &mut sources, &mut diagnostics);
    let mut tls_config = None;
    if let Some(tls) = &config.server.tls {
        let wrong = match tls::build(tls) {
            Ok(ready) => {
                tls_config = Some(ready);
                tls::validity_warning(tls, now).map(|fact| Diagnostic::new(fact, tls.cert_span.clone()))
            }
            Err(bad) => Some(*bad),
        };
        diagnostics.extend(wrong);
    }
    schemas::try_examples(&config, &compiled.schemas, &mut diagnostics);
    diagnostic::sort(&mut diagnostics);
    Loaded {
        log: config.log.clone(),
        config: (!any_error(&diagnostics)).then_some(config),
        schemas: compiled.schemas,
        tls: tls_config,
        diagnostics,
        sources,
        files,
        remembered: Remembered { cache: compiled.cache, keys: decoded.keys, unfinished: decoded.unfinished },
        inputs: reading.inputs(),
        hash: reading.hash(),
    }
}
