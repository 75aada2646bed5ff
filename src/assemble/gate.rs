//! Decides whether the configuration in the files may follow the one in force. Reports as diagnostics what only a
//! restart could apply and what a change of schemas would break.
//!
//! The `compatibility` of the running file decides, so loosening it and breaking a schema take two saves.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use crate::assemble::plan::Plan;
use crate::assemble::schemas::told;
use crate::assemble::succession::{Succession, successions};
use crate::assemble::{Loaded, build};
use crate::config::model::{Compatibility, Config, SchemaSource, Span, TopicConfig};
use crate::config::view::settings;
use crate::diagnostic::change::{ChangeFact, Whom};
use crate::diagnostic::{self, Diagnostic, any_error};
use crate::name::Pattern;
use crate::patterns::Patterns;
use crate::problem::Violation;
use crate::schema::compat::{self, Side};
use crate::schema::{Schema, json};
use crate::shadow::Shadow;
use crate::snapshot::Snapshot;

/// A configuration that could be put in force.
pub struct Next {
    /// The snapshot it would become.
    pub snapshot: Snapshot,
    /// What it would change.
    pub plan: Plan,
}

/// Does everything between load and commit. Returns no configuration when there is an error among the diagnostics.
pub fn examine(running: &Snapshot, mut loaded: Loaded) -> (Loaded, Option<Next>) {
    let Some(config) = loaded.config.take() else { return (loaded, None) };
    let snapshot = build::snapshot(config, &loaded, Some(running));
    let found = objections(running, &snapshot, &loaded);
    loaded.diagnostics.extend(found);
    diagnostic::sort(&mut loaded.diagnostics);
    if any_error(&loaded.diagnostics) {
        return (loaded, None);
    }
    let plan = Plan::between(running, &snapshot);
    (loaded, Some(Next { snapshot, plan }))
}

/// What speaks against putting `next` in force.
fn objections(running: &Snapshot, next: &Snapshot, loaded: &Loaded) -> Vec<Diagnostic> {
    let mut found = restart_only(&running.config, &next.config, loaded);
    found.extend(removed(&running.config, &next.config, loaded));
    let mut verdicts = Verdicts::default();
    for pair in successions(running, next) {
        let old = &running.config.topics[pair.old.config];
        found.extend(verdicts.breaks(old, &pair, next, loaded));
    }
    found
}

/// Keys that are read once, when the server starts.
const RESTART_ONLY: [&str; 4] = ["server.listen", "server.admin", "log.format", "store.kind"];

fn restart_only(old: &Config, new: &Config, loaded: &Loaded) -> Vec<Diagnostic> {
    let [old, new] = [old, new].map(settings);
    let value = |all: &Value, key: &str| {
        let (table, name) = key.split_once('.').unwrap_or(("", key));
        all[table].get(name).map_or(String::new(), |value| value.as_str().map_or(value.to_string(), str::to_owned))
    };
    let changed = RESTART_ONLY.into_iter().filter_map(|key| {
        let (old, new) = (value(&old, key), value(&new, key));
        let table = key.split('.').next().unwrap_or_default();
        let place = first_there(loaded, &[key, table]);
        (old != new).then(|| Diagnostic::new(ChangeFact::RestartOnly { key: key.to_owned(), old, new }, place))
    });
    changed.collect()
}

/// Reports topics that are removed although a compatibility was promised for them. The promise is about their schemas
/// and ends with the topic, so this only reminds whoever removes it that it was made.
fn removed(old: &Config, new: &Config, loaded: &Loaded) -> Vec<Diagnostic> {
    // `Patterns` instead of two nested loops, which took minutes with thousands of topics on each side.
    let mut left = Patterns::default();
    new.topics.iter().for_each(|topic| left.insert(topic.name.clone(), ()));
    let promised = old.topics.iter().filter(|topic| topic.compatibility != Compatibility::None);
    let gone = promised.filter(|topic| !left.any_containing(&topic.name.canonical(), |()| true));
    let place = first_there(loaded, &["topics"]);
    let fact = |topic: &TopicConfig| ChangeFact::Removes {
        topic: topic.name.to_string(),
        in_part: left.any_overlapping(&topic.name.canonical(), |()| true),
    };
    gone.map(|topic| Diagnostic::new(fact(topic), place.clone())).collect()
}

/// The place of the first of these keys that exists. A removed key has no place, but its table may have one, and
/// `version` always has.
fn first_there(loaded: &Loaded, keys: &[&str]) -> Option<Span> {
    keys.iter().chain(&["version"]).find_map(|key| loaded.remembered.keys.get(*key)).cloned()
}

/// Comparisons made so far: many topics may share a schema, and few ask for both sides.
#[derive(Default)]
struct Verdicts(HashMap<([*const Schema; 2], Whom), Side>);

impl Verdicts {
    fn of(&mut self, pair: &Succession<'_>, whom: Whom) -> &Side {
        let (old, new) = (&pair.old.schema, &pair.new.schema);
        self.0.entry(([Arc::as_ptr(old), Arc::as_ptr(new)], whom)).or_insert_with(|| match whom {
            Whom::Publishers => compat::publishers(old, new),
            Whom::Subscribers => compat::subscribers(old, new),
        })
    }

    fn breaks(
        &mut self,
        old: &TopicConfig,
        pair: &Succession<'_>,
        next: &Snapshot,
        loaded: &Loaded,
    ) -> Vec<Diagnostic> {
        if pair.same_schema() {
            return Vec::new();
        }
        let new = &next.config.topics[pair.new.config];
        let mut found = Vec::new();
        for (whom, protected) in concerned(old.compatibility) {
            let side = self.of(pair, *whom);
            if !was_tried(pair, *whom, side) {
                let violation = first_violation(pair, *whom, side);
                let fact = broken(pair.topics, *whom, *protected, side, violation.as_ref());
                // There is no text of the old schema to point into.
                let rule = violation.filter(|_| *whom == Whom::Publishers).map(|violation| violation.schema_pointer);
                found.extend(fact.map(|fact| place(fact, new, loaded, rule.as_deref())));
            }
        }
        found
    }
}

/// Whose side is compared, and whether a break is an error. The subscribers' side is compared only if they were
/// promised something; publishers that would be refused are always worth at least a warning.
fn concerned(compatibility: Compatibility) -> &'static [(Whom, bool)] {
    match compatibility {
        Compatibility::None => &[(Whom::Publishers, false)],
        Compatibility::Publishers => &[(Whom::Publishers, true)],
        Compatibility::Subscribers => &[(Whom::Publishers, false), (Whom::Subscribers, true)],
        Compatibility::Full => &[(Whom::Publishers, true), (Whom::Subscribers, true)],
    }
}

/// Whether `new` would be refused as the successor of `old` even after a trial of any length.
pub fn keeps_out(old: &Schema, new: &Schema, compatibility: Compatibility) -> bool {
    let mut promises = concerned(compatibility).iter().filter(|(_, protected)| *protected);
    promises.any(|(whom, _)| match whom {
        Whom::Publishers => matches!(compat::publishers(old, new), Side::No { .. }),
        Whom::Subscribers => !matches!(compat::subscribers(old, new), Side::Yes),
    })
}

/// Whether `schema_next` has tried, on the topic's own messages, what could not be proved.
fn was_tried(pair: &Succession<'_>, whom: Whom, side: &Side) -> bool {
    let tried = |shadow: &Arc<Shadow>| shadow.schema.is_same(&pair.new.schema) && shadow.is_safe();
    whom == Whom::Publishers && matches!(side, Side::Unknown { .. }) && pair.old.shadow.as_ref().is_some_and(tried)
}

/// The longest schema or value to show, in bytes of JSON text: nobody reads more, and it goes into the log.
const SHOWN: usize = 4 << 10;

/// What is wrong with the example of a break, according to the schema that refuses it.
fn first_violation(pair: &Succession<'_>, whom: Whom, side: &Side) -> Option<Violation> {
    let Side::No { example: Some(example), .. } = side else { return None };
    let refuses = match whom {
        Whom::Publishers => &pair.new.schema,
        Whom::Subscribers => &pair.old.schema,
    };
    refuses.check_value(example).err()?.violations.into_iter().next()
}

fn broken(
    topics: &Pattern,
    whom: Whom,
    protected: bool,
    side: &Side,
    refusal: Option<&Violation>,
) -> Option<ChangeFact> {
    let topic = topics.to_string();
    match side {
        Side::Yes => None,
        Side::No { lost, example } => {
            let shown = |value: &Value| Some(value.to_string()).filter(|text| text.len() <= SHOWN);
            // The difference of a recursive schema refers to generated definitions, whose names the reader has never
            // seen.
            let lost = lost.as_ref().filter(|lost| !refers(lost)).and_then(shown);
            let example = example.as_ref().and_then(shown);
            let why = refusal.map(told);
            Some(ChangeFact::Breaks { topic, whom, protected, lost, example, why })
        }
        Side::Unknown { why, is_comparable } => {
            protected.then(|| ChangeFact::Unknown { topic, whom, why: why.clone(), is_comparable: *is_comparable })
        }
    }
}

/// Whether a schema has a `$ref`. If a member of a value has that name, the schema is needlessly left out, which is
/// harmless.
fn refers(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => members.contains_key("$ref") || members.values().any(refers),
        Value::Array(items) => items.iter().any(refers),
        _ => false,
    }
}

/// Places the fact at the rule, in the schema file that holds it; at the start of the topic's file if the rule is
/// unknown; and where the topic names its schema if there is no file.
fn place(fact: ChangeFact, new: &TopicConfig, loaded: &Loaded, rule: Option<&str>) -> Diagnostic {
    let file = match &new.schema {
        SchemaSource::File(path) => loaded.files.get(path),
        SchemaSource::Any => None,
    };
    let Some(file) = file.copied() else { return Diagnostic::new(fact, new.schema_span.clone()) };
    let found = rule.filter(|rule| !rule.is_empty()).and_then(|rule| find(rule, file, loaded));
    let place = found.unwrap_or(Span { file, bytes: 0..1 });
    let label = if place.file == file { "used here" } else { "used by this schema" };
    Diagnostic::new(fact, place).related(new.schema_span.clone(), label)
}

/// Finds a rule by its `schema_pointer`, which says nothing of the file if that is `own`.
fn find(rule: &str, own: usize, loaded: &Loaded) -> Option<Span> {
    let (file, pointer) = match rule.split_once('#').filter(|_| !rule.starts_with('/')) {
        Some((path, pointer)) => (*loaded.files.get(path)?, pointer),
        None => (own, rule),
    };
    let located = json::locate(&loaded.sources.get(file)?.text, pointer)?;
    Some(Span { file, bytes: located.key.unwrap_or(located.value) })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::objections;
    use crate::assemble::{Loaded, build, load};
    use crate::config::files::Memory;
    use crate::schema::compile::SchemaCache;
    use crate::snapshot::Snapshot;
    use crate::time::Time;

    #[test]
    fn what_a_change_loses_is_shown_if_somebody_may_read_it() {
        let of = |members: usize, most: usize| {
            let member = |i: usize| (format!("m{i}"), json!({"type": "string", "maxLength": i + most}));
            let schema: Value =
                json!({"type": "object", "properties": (0..members).map(member).collect::<Map<_, _>>()});
            let toml = "version = 1\n[topics.x]\nschema = \"s\"\ncompatibility = \"full\"\n";
            loaded(&Memory::new(toml).with("s", &schema.to_string()))
        };
        for (members, is_shown) in [(2, true), (50, false)] {
            let ((old, _), (new, loaded)) = (of(members, 2), of(members, 1));
            let found = objections(&old, &new, &loaded);
            let help = found[0].fact.about().help;
            assert!(help.contains("for example: ") && help.len() < 5_000, "{help}");
            assert_eq!(help.contains("no longer accepted: "), is_shown, "{help}");
        }
    }

    fn loaded(files: &Memory) -> (Snapshot, Loaded) {
        let mut loaded = load(files, &SchemaCache::default(), Time(0));
        (build::snapshot(loaded.config.take().expect("a good configuration"), &loaded, None), loaded)
    }

    /// Regression: a kilobyte of references to generated definitions stood before the example that said it all.
    #[test]
    fn of_a_recursive_schema_only_the_example_is_shown() {
        let of = |most: usize| {
            let schema = json!({"properties": {"l": {"$ref": "#"}, "v": {"type": "integer", "maximum": most}}});
            let toml = "version = 1\n[topics.x]\nschema = \"s\"\ncompatibility = \"full\"\n";
            loaded(&Memory::new(toml).with("s", &schema.to_string()))
        };
        let ((old, _), (new, loaded)) = (of(6), of(5));
        let found = objections(&old, &new, &loaded);
        let help = found[0].fact.about().help;
        assert!(help.starts_with("for example: ") && !help.contains("$ref"), "{help}");
    }

    /// Regression: without the table around the key, there was no place at all.
    #[test]
    fn what_was_taken_out_has_a_place_all_the_same() {
        let rest = "[topics.x]\nschema = \"any\"\n";
        let (old, _) = loaded(&Memory::new(&format!("version = 1\n[server]\nlisten = \"127.0.0.1:1\"\n{rest}")));
        for (text, place) in [("version = 1\n", 0..7), ("version = 1\n[server]\nallowed_origins = []\n", 13..19)] {
            let (new, loaded) = loaded(&Memory::new(&format!("{text}{rest}")));
            let found = objections(&old, &new, &loaded);
            let places: Vec<_> = found.iter().map(|d| d.place.clone().map(|span| span.bytes)).collect();
            assert_eq!(places, [Some(place)]);
        }
    }

    /// It was placed at the first character of the topic's own file, which had not changed.
    #[test]
    fn what_breaks_publishers_stands_at_the_keyword_in_the_file_that_holds_it() {
        let id = r#""$id": "https://x.example/d/b.json", "#;
        for (refers, id, def) in [
            ("d/b.json", "", false),
            ("d/b.json#/$defs/q", "", true),
            ("https://x.example/d/b.json#/$defs/q", id, true),
        ] {
            let of = |most: usize| {
                let rule = format!(r#""type": "string", "maxLength": {most}"#);
                let file = if def { format!(r#"{{{id}"$defs": {{"q": {{{rule}}}}}}}"#) } else { format!("{{{rule}}}") };
                let own = r#"{"$id": "https://x.example/a.json", "properties": {"x": {"$ref": "REF"}}}"#;
                let own =
                    if id.is_empty() { own.replace(r#""$id": "https://x.example/a.json", "#, "") } else { own.into() };
                let toml = "version = 1\n[topics.x]\nschema = \"a.json\"\ncompatibility = \"publishers\"\n";
                loaded(&Memory::new(toml).with("a.json", &own.replace("REF", refers)).with("d/b.json", &file))
            };
            let ((old, _), (new, loaded)) = (of(9), of(5));
            let found = objections(&old, &new, &loaded);
            let place = found[0].place.as_ref().expect("a place");
            let source = loaded.sources.get(place.file).expect("a file");
            assert_eq!((&*source.path, &source.text[place.bytes.clone()]), ("d/b.json", "\"maxLength\""), "{refers}");
            assert_eq!(found[0].related[0].label, "used by this schema");
        }
    }

    /// Publishers are promised nothing here, and are still warned that they will be refused.
    #[test]
    fn what_breaks_publishers_is_a_warning_where_only_subscribers_are_promised() {
        let of = |schema: &str| {
            let toml = "version = 1\n[topics.x]\nschema = \"s\"\ncompatibility = \"subscribers\"\n";
            loaded(&Memory::new(toml).with("s", schema))
        };
        let ((old, _), (new, loaded)) = (of("true"), of("{\"type\": \"string\"}"));
        let found = objections(&old, &new, &loaded);
        let told: Vec<_> = found.iter().map(|d| (d.fact.about().code, d.is_error())).collect();
        assert_eq!(told, [("breaking-change", false)]);
    }
}
