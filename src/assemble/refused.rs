//! Remembers the last refusal, so that the same files are not refused again at every look.
//!
//! A refusal for `compatibility-unknown` can lapse without any change of the files, once `schema_next` has accepted its
//! hundredth message. So each poll asks whether it has.

use std::sync::Arc;

use crate::diagnostic::change::{ChangeFact, Whom};
use crate::diagnostic::{Diagnostic, Fact};
use crate::name::Pattern;
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
        let unknown: Vec<Pattern> = why.iter().filter_map(unknown).collect();
        let trial = |name: &Pattern| running.declared(name)?.shadow.clone().filter(|shadow| !shadow.is_safe());
        let tried = running.config.topics.iter().filter_map(|topic| Some((&topic.name, trial(&topic.name)?)));
        let matters = |name: &Pattern| unknown.iter().any(|topics| topics.overlaps(name));
        Self { hash, trials: tried.filter(|(name, _)| matters(name)).map(|(_, trial)| trial).collect() }
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

/// The topics whose new schema was refused for want of a trial.
fn unknown(diagnostic: &Diagnostic) -> Option<Pattern> {
    match &diagnostic.fact {
        Fact::Change(ChangeFact::Unknown { topic, whom: Whom::Publishers, .. }) => Pattern::parse(topic).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::LastRefusal;
    use crate::assemble::{build, load};
    use crate::config::files::Memory;
    use crate::diagnostic::Diagnostic;
    use crate::diagnostic::change::{ChangeFact, Whom};
    use crate::name::Pattern;
    use crate::schema::compile::SchemaCache;
    use crate::shadow::{ENOUGH, Shadow};
    use crate::time::Time;

    /// Regression: the success of any trial had the same files refused once more.
    #[test]
    fn only_a_trial_for_a_refused_topic_may_change_the_verdict() {
        let topic = |name: &str| format!("[topics.\"{name}\"]\nschema = \"any\"\nschema_next = \"s\"\n");
        let toml = format!("version = 1\n{}{}", topic("cats"), topic("orders.{region}"));
        let mut loaded = load(&Memory::new(&toml).with("s", "true"), &SchemaCache::default(), Time(0));
        let running = build::snapshot(loaded.config.take().expect("a good configuration"), &loaded, None);
        let trial = |name: &str| -> Arc<Shadow> {
            let name = Pattern::parse(name).expect("a name");
            running.declared(&name).and_then(|rules| rules.shadow.clone()).expect("a trial")
        };
        let fact = ChangeFact::Unknown {
            topic: "orders.eu".to_owned(),
            whom: Whom::Publishers,
            why: String::new(),
            is_comparable: true,
        };
        let refusal = LastRefusal::new("hash".to_owned(), &[Diagnostic::new(fact, None)], &running);
        trial("cats").go_on(ENOUGH, 0);
        assert!(refusal.would_be("hash") && !refusal.would_be("other"));
        trial("orders.{region}").go_on(ENOUGH, 0);
        assert!(!refusal.would_be("hash"));
    }
}
