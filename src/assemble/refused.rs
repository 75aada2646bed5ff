//! What was refused last, so that the same files are not refused again at every look.
//!
//! A refusal for `compatibility-unknown` can lapse without any change of the files: when `schema_next` has passed its
//! hundredth message. So it is asked at each poll.

use std::sync::Arc;

use crate::diagnostic::change::{ChangeFact, Whom};
use crate::diagnostic::{Diagnostic, Fact};
use crate::shadow::Shadow;
use crate::snapshot::Snapshot;

/// See the module.
pub(super) struct LastRefusal {
    /// Of the files.
    hash: String,
    /// What may become good enough.
    trials: Vec<Arc<Shadow>>,
}

impl LastRefusal {
    /// These files were refused for that, while `running` was in force.
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

    /// Whether what was tried meanwhile may change the verdict.
    pub(super) fn is_outdated(&self) -> bool {
        self.trials.iter().any(|shadow| shadow.is_safe())
    }
}
