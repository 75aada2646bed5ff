//! What a reload would change, found by comparing two snapshots name by name.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::assemble::succession::successions;
use crate::config::model::TopicConfig;
use crate::config::view::settings;
use crate::name::{Pattern, distinct};
use crate::snapshot::Snapshot;

/// What changes from one configuration to another.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Declared names that are new.
    pub topics_added: Vec<Pattern>,
    /// Declared names that are gone.
    pub topics_removed: Vec<Pattern>,
    /// Declared names whose messages are now judged by another schema.
    pub schemas_changed: Vec<Pattern>,
    /// Declared names of which anything else changes.
    pub topics_changed: Vec<Pattern>,
    /// Tokens that are new.
    pub tokens_added: Vec<Arc<str>>,
    /// Tokens that are gone.
    pub tokens_removed: Vec<Arc<str>>,
    /// Tokens with another secret or user. For a connection that is the same as removed.
    pub tokens_replaced: Vec<Arc<str>>,
    /// Tokens with other grants or another expiry.
    pub tokens_changed: Vec<Arc<str>>,
    /// Whether the grants of anonymous callers change.
    pub anonymous: bool,
    /// Other keys with another value, such as `limits.body`.
    pub keys: Vec<String>,
}

impl Plan {
    /// Compares two snapshots.
    pub fn between(old: &Snapshot, new: &Snapshot) -> Self {
        let mut plan = Self { anonymous: old.anonymous.grants != new.anonymous.grants, ..Self::default() };
        plan.compare_topics(old, new);
        plan.compare_tokens(old, new);
        plan.keys = changed_keys(&settings(&old.config), &settings(&new.config));
        plan
    }

    fn compare_topics(&mut self, old: &Snapshot, new: &Snapshot) {
        let before: HashMap<&str, usize> = names(old).collect();
        let after: HashSet<&str> = names(new).map(|(name, _)| name).collect();
        let changed = successions(old, new).into_iter().filter(|pair| !pair.same_schema());
        self.schemas_changed = distinct(changed.map(|pair| pair.topics.clone()));
        let changed: HashSet<&str> = self.schemas_changed.iter().map(Pattern::as_str).collect();
        for topic in &new.config.topics {
            let Some(index) = before.get(topic.name.as_str()) else {
                self.topics_added.push(topic.name.clone());
                continue;
            };
            let was = &old.config.topics[*index];
            // Another schema, or a `schema_next` that was promoted, is already in `schemas_changed`.
            let is_schema_alike = changed.contains(topic.name.as_str())
                || (was.schema == topic.schema && tried_alike(old, new, &topic.name));
            if !(is_schema_alike && alike(was, topic)) {
                self.topics_changed.push(topic.name.clone());
            }
        }
        let gone = old.config.topics.iter().filter(|topic| !after.contains(topic.name.as_str()));
        self.topics_removed = gone.map(|topic| topic.name.clone()).collect();
    }

    fn compare_tokens(&mut self, old: &Snapshot, new: &Snapshot) {
        let before: HashMap<&str, _> = old.config.tokens.iter().map(|token| (&*token.name, token)).collect();
        for token in &new.config.tokens {
            match before.get(&*token.name) {
                None => self.tokens_added.push(token.name.clone()),
                Some(was) if was.digest != token.digest || was.user != token.user => {
                    self.tokens_replaced.push(token.name.clone());
                }
                Some(was) if was.grants != token.grants || was.not_after != token.not_after => {
                    self.tokens_changed.push(token.name.clone());
                }
                Some(_) => {}
            }
        }
        let after: HashSet<&str> = new.config.tokens.iter().map(|token| &*token.name).collect();
        let gone = old.config.tokens.iter().filter(|token| !after.contains(&*token.name));
        self.tokens_removed = gone.map(|token| token.name.clone()).collect();
    }

    /// Tokens whose connections must end.
    pub fn lost_tokens(&self) -> HashSet<Arc<str>> {
        self.tokens_removed.iter().chain(&self.tokens_replaced).cloned().collect()
    }

    /// Whether somebody may have lost a token or grant that a registration depends on.
    pub fn may_end_registrations(&self) -> bool {
        self.anonymous
            || [&self.tokens_removed, &self.tokens_replaced, &self.tokens_changed].iter().any(|t| !t.is_empty())
    }

    /// The plan as the admin listener returns it; empty lists are left out.
    pub fn to_json(&self) -> Value {
        let texts = |patterns: &[Pattern]| patterns.iter().map(|p| Value::from(p.as_str())).collect::<Vec<_>>();
        let names = |tokens: &[Arc<str>]| tokens.iter().map(|t| Value::from(&**t)).collect::<Vec<_>>();
        let mut plan = Map::new();
        for (name, list) in [
            ("topics_added", texts(&self.topics_added)),
            ("topics_removed", texts(&self.topics_removed)),
            ("schemas_changed", texts(&self.schemas_changed)),
            ("topics_changed", texts(&self.topics_changed)),
            ("tokens_added", names(&self.tokens_added)),
            ("tokens_removed", names(&self.tokens_removed)),
            ("tokens_replaced", names(&self.tokens_replaced)),
            ("tokens_changed", names(&self.tokens_changed)),
            ("keys_changed", self.keys.iter().map(|key| Value::from(key.as_str())).collect()),
        ] {
            if !list.is_empty() {
                plan.insert(name.into(), list.into());
            }
        }
        if self.anonymous {
            plan.insert("anonymous_changed".into(), json!(true));
        }
        Value::Object(plan)
    }
}

fn names(snapshot: &Snapshot) -> impl Iterator<Item = (&str, usize)> {
    snapshot.config.topics.iter().enumerate().map(|(index, topic)| (topic.name.as_str(), index))
}

/// Whether everything but the schema is the same.
fn alike(old: &TopicConfig, new: &TopicConfig) -> bool {
    old.description == new.description
        && old.history == new.history
        && old.compatibility == new.compatibility
        && old.on_lag == new.on_lag
        && old.examples == new.examples
}

/// Whether the counts of the topic's trial schema (`schema_next`) carry on.
fn tried_alike(old: &Snapshot, new: &Snapshot, name: &Pattern) -> bool {
    match [old, new].map(|snapshot| snapshot.declared(name)?.shadow.as_deref()) {
        [Some(old), Some(new)] => old.tries(&new.schema),
        shadows => shadows.iter().all(Option::is_none),
    }
}

/// The keys of `server`, `log`, `limits` and `store` whose value differs.
pub fn changed_keys(old: &Value, new: &Value) -> Vec<String> {
    let mut changed = BTreeSet::new();
    for table in ["server", "log", "limits", "store"] {
        let (Some(old), Some(new)) = (old[table].as_object(), new[table].as_object()) else { continue };
        for key in old.keys().chain(new.keys()).filter(|key| old.get(*key) != new.get(*key)) {
            changed.insert(format!("{table}.{key}"));
        }
    }
    changed.into_iter().collect()
}
