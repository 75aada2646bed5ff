//! May the configuration in the files follow the one in force? What only a restart could apply, and what a change of
//! schemas would break, told as diagnostics.
//!
//! The running file's `compatibility` decides, so that loosening it and breaking a schema are two saves.

use std::collections::HashMap;
use std::sync::Arc;

use crate::assemble::Loaded;
use crate::config::model::{Compatibility, Config, SchemaSource, Span, TopicConfig};
use crate::diagnostic::Diagnostic;
use crate::diagnostic::change::{ChangeFact, Whom};
use crate::name::Pattern;
use crate::schema::Schema;
use crate::schema::compat::{Side, Verdict, compare};
use crate::snapshot::{Snapshot, TopicRules};

/// What speaks against the change.
pub fn examine(running: &Snapshot, next: &Snapshot, loaded: &Loaded) -> Vec<Diagnostic> {
    let mut found = restart_only(&running.config, &next.config);
    let mut verdicts = Verdicts::default();
    for old in &running.config.topics {
        let (Some(before), Some(after)) = (running.declared(&old.name), successor(next, &old.name)) else { continue };
        found.extend(verdicts.breaks(old, before, after, next, loaded));
    }
    // An exact topic that is declared beside its family was resolved by the family.
    for new in &next.config.topics {
        let Some(topic) = new.name.exact().filter(|_| running.declared(&new.name).is_none()) else { continue };
        let (Some(before), Some(after)) = (running.resolve(&topic), next.resolve(&topic)) else { continue };
        let family = &running.config.topics[before.config];
        found.extend(verdicts.breaks(family, before, after, next, loaded));
    }
    found
}

/// What the old name's messages are judged by under the new configuration.
fn successor<'a>(next: &'a Snapshot, name: &Pattern) -> Option<&'a TopicRules> {
    match next.declared(name) {
        Some(rules) => Some(rules),
        None => name.exact().and_then(|topic| next.resolve(&topic)).map(|rules| &**rules),
    }
}

fn restart_only(old: &Config, new: &Config) -> Vec<Diagnostic> {
    let admin = |config: &Config| config.server.admin.as_ref().map_or(String::new(), ToString::to_string);
    let keys = [
        ("server.listen", old.server.listen.to_string(), new.server.listen.to_string()),
        ("server.admin", admin(old), admin(new)),
        ("store.kind", old.store.kind.clone(), new.store.kind.clone()),
    ];
    let changed = keys.into_iter().filter(|(_, old, new)| old != new);
    changed
        .map(|(key, old, new)| Diagnostic::new(ChangeFact::RestartOnly { key: key.into(), old, new }, None))
        .collect()
}

/// Comparisons that were made: many topics may share a schema.
#[derive(Default)]
struct Verdicts(HashMap<[*const Schema; 2], Verdict>);

impl Verdicts {
    fn of(&mut self, old: &Arc<Schema>, new: &Arc<Schema>) -> &Verdict {
        self.0.entry([Arc::as_ptr(old), Arc::as_ptr(new)]).or_insert_with(|| compare(old, new))
    }

    fn breaks(
        &mut self,
        old: &TopicConfig,
        before: &TopicRules,
        after: &TopicRules,
        next: &Snapshot,
        loaded: &Loaded,
    ) -> Vec<Diagnostic> {
        if before.schema == after.schema {
            return Vec::new();
        }
        let new = &next.config.topics[after.config];
        let verdict = self.of(&before.schema, &after.schema);
        let sides = [(Whom::Publishers, &verdict.publishers), (Whom::Subscribers, &verdict.subscribers)];
        let facts = sides.into_iter().filter_map(|(whom, side)| fact(old, whom, side));
        facts.map(|fact| place(fact, new, loaded)).collect()
    }
}

fn fact(old: &TopicConfig, whom: Whom, side: &Side) -> Option<ChangeFact> {
    let topic = old.name.to_string();
    let protected = match (old.compatibility, whom) {
        (Compatibility::Full, _)
        | (Compatibility::Publishers, Whom::Publishers)
        | (Compatibility::Subscribers, Whom::Subscribers) => true,
        (Compatibility::None, Whom::Publishers) => false,
        // Without a promise, what new subscribers may get is nobody's business; a refused publisher is worth a word.
        _ => return None,
    };
    match side {
        Side::Yes => None,
        Side::No { lost, example } => {
            let [lost, example] = [lost, example].map(|value| value.as_ref().map(|value| value.to_string()));
            Some(ChangeFact::Breaks { topic, whom, protected, lost, example })
        }
        Side::Unknown { why } => protected.then(|| ChangeFact::Unknown { topic, whom, why: why.clone() }),
    }
}

/// At the schema file where it has one, else where the topic names it.
fn place(fact: ChangeFact, new: &TopicConfig, loaded: &Loaded) -> Diagnostic {
    let file = match &new.schema {
        SchemaSource::File(path) => loaded.files.get(path),
        SchemaSource::Any => None,
    };
    match file {
        Some(file) => {
            Diagnostic::new(fact, Span { file: *file, bytes: 0..1 }).related(new.schema_span.clone(), "used here")
        }
        None => Diagnostic::new(fact, new.schema_span.clone()),
    }
}
