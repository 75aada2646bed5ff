//! One load of a configuration: read, decode, check, compile the schemas, try the examples.
//!
//! `relay check`, the start and every reload call this one function, so that they cannot differ. It changes nothing.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use tracing::warn;

use super::{schemas, tls};
use crate::config::decode::decode;
use crate::config::files::Files;
use crate::config::model::{Config, Span};
use crate::config::reading::{Inputs, Reading};
use crate::diagnostic::{self, Diagnostic, ServerFact, Sources, any_error};
use crate::schema::Schema;
use crate::schema::compile::SchemaCache;
use crate::time::Time;

/// What came of a load.
pub struct Loaded {
    /// The configuration; `None` when there is an error among the diagnostics.
    pub config: Option<Config>,
    /// The schemas of its topics, by file.
    pub schemas: HashMap<Arc<str>, Arc<Schema>>,
    /// The certificate and key of `[server.tls]`, made ready.
    pub tls: Option<tls::Ready>,
    /// What the next load is to know of this one, if it is put in force.
    pub remembered: Remembered,
    /// Everything that is wrong or suspicious, in the order of the files.
    pub diagnostics: Vec<Diagnostic>,
    /// The texts that the diagnostics point into, secrets masked.
    pub sources: Sources,
    /// The number in `sources` of each schema file that a topic names.
    pub files: HashMap<Arc<str>, usize>,
    /// What was read, for looking whether it is still the same.
    pub inputs: Inputs,
    /// SHA-256 over everything that was read, in hex.
    pub hash: String,
}

/// What is remembered from one load to the next.
pub struct Remembered {
    /// What has not changed need not be compiled again.
    pub cache: SchemaCache,
    /// Every key that the files have, dotted, and where it stands: what a half-written file lacks.
    pub keys: BTreeMap<String, Span>,
    /// Files whose last line has no end, which a half-written file looks like too.
    pub unfinished: BTreeSet<Arc<str>>,
}

/// Writes diagnostics into the log that are no reason not to run, as people read them.
pub fn log_warnings(text: &str) {
    if !text.is_empty() {
        warn!(diagnostics = %format_args!("\n{text}"), "the configuration has warnings");
    }
}

/// Loads a configuration. `cache` is that of the load before, `now` is what
/// the validity of tokens and of the certificate is compared with.
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
                tls::validity_warning(tls, now)
            }
            Err(why) => Some(ServerFact::BadTls { why }),
        };
        diagnostics.extend(wrong.map(|fact| Diagnostic::new(fact, tls.span.clone())));
    }
    schemas::try_examples(&config, &compiled.schemas, &mut diagnostics);
    diagnostic::sort(&mut diagnostics);
    Loaded {
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
