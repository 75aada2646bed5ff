//! Remembers the last refusal, so that the same files are not refused again at every look.
//!
//! A refusal for `compatibility-unknown` can lapse without any change of the files, once `schema_next` has accepted its
//! hundredth message. So each poll asks whether it has.

use std::sync::Arc;

use crate::diagnostic::change::{ChangeFact, Whom};
use crate::diagnostic::{Diagnostic, Fact};
use crate::shadow::Shadow;
use crate::snapshot::Snapshot;

/// The files that were refused last, and what may make them acceptable. See the module.
pub(super) struct LastRefusal {
    /// The hash of the files.
    hash: String,
    /// Trials of schemas that may yet succeed.
    trials: Vec<Arc<Shadow>>,
}

impl LastRefusal {
    /// Notes that these files were refused for those reasons while `running` was in force.
    pub(super) fn new(hash: String, why: &[Diagnostic], running: &Snapshot) -> Self {
        let waits = |d: &Diagnostic| matches!(d.fact, Fact::Change(ChangeFact::Unknown { whom: Whom::Publishers, .. }));
        let names = running.config.topics.iter().map(|topic| &topic.name);
        let tried = names.filter_map(|name| running.declared(name)?.shadow.clone()).filter(|shadow| !shadow.is_safe());
        Self { hash, trials: if why.iter().any(waits) { tried.collect() } else { Vec::new() } }
    }

    /// Whether files with that hash would be refused again.
    pub(super) fn would_be(&self, hash: &str) -> bool {
        self.hash == hash && !self.is_outdated()
    }

    /// Whether a trial that has succeeded since may change the verdict.
    pub(super) fn is_outdated(&self) -> bool {
        self.trials.iter().any(|shadow| shadow.is_safe())
    }
}
