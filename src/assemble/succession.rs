//! Pairs the declarations of two configurations: which new one takes over the topics of which old one.
//!
//! Comparing by name is not enough. An exact topic that is newly declared beside its family takes a topic over from
//! that family, and one that is removed leaves its topic to the family. So all comparisons of two configurations use
//! these pairs.

use crate::name::Pattern;
use crate::snapshot::{Snapshot, TopicRules};

/// Topics that both configurations declare, and what each says of them.
pub struct Succession<'a> {
    /// Their name: the narrower of both declared names, or the new one if neither contains the other.
    pub topics: &'a Pattern,
    /// What the old configuration says of them.
    pub old: &'a TopicRules,
    /// What the new configuration says of them.
    pub new: &'a TopicRules,
}

/// Every pair of declarations that share a topic.
pub fn successions<'a>(old: &'a Snapshot, new: &'a Snapshot) -> Vec<Succession<'a>> {
    let mut all = Vec::new();
    // New families whose name was not declared before.
    let fresh: Vec<&Pattern> = new
        .config
        .topics
        .iter()
        .map(|topic| &topic.name)
        .filter(|n| !n.is_exact() && old.declared(n).is_none())
        .collect();
    for before in old.config.topics.iter().map(|topic| &topic.name) {
        let Some(was) = old.declared(before) else { continue };
        if let Some(is) = new.declared(before) {
            all.push(Succession { topics: before, old: was, new: is });
        } else if let Some(topic) = before.exact() {
            all.extend(new.resolve(&topic).map(|is| Succession { topics: before, old: was, new: is }));
        } else {
            let taken = fresh.iter().filter(|name| name.overlaps(before));
            let narrower = |name| if Pattern::contains(name, before) { before } else { name };
            let pair =
                |name: &&'a Pattern| Some(Succession { topics: narrower(*name), old: was, new: new.declared(name)? });
            all.extend(taken.filter_map(pair));
        }
    }
    for after in new.config.topics.iter().map(|topic| &topic.name) {
        let Some(topic) = after.exact().filter(|_| old.declared(after).is_none()) else { continue };
        let pair = old.resolve(&topic).zip(new.declared(after));
        all.extend(pair.map(|(was, is)| Succession { topics: after, old: was, new: is }));
    }
    all
}

impl Succession<'_> {
    /// Whether both judge messages by the same schema.
    pub fn same_schema(&self) -> bool {
        self.old.schema.is_same(&self.new.schema)
    }
}

#[cfg(test)]
mod tests {
    use super::successions;
    use crate::assemble::{build, load};
    use crate::config::files::Memory;
    use crate::schema::compile::SchemaCache;
    use crate::snapshot::Snapshot;
    use crate::time::Time;

    fn snapshot(topics: &[(&str, &str)]) -> Snapshot {
        let topics: String =
            topics.iter().map(|(name, schema)| format!("[topics.\"{name}\"]\nschema = \"{schema}\"\n")).collect();
        let files =
            Memory::new(&format!("version = 1\n{topics}")).with("a", "true").with("b", "{\"type\": \"string\"}");
        let mut loaded = load(&files, &SchemaCache::default(), Time(0));
        build::snapshot(loaded.config.take().expect("a good configuration"), &loaded, None)
    }

    #[test]
    fn whoever_shares_a_topic_is_a_pair() {
        for (old, new, expected) in [
            (&[("x", "a")][..], &[("x", "a")][..], &["x same"][..]),
            (&[("x", "a")], &[("x", "b")], &["x other"]),
            (&[("x", "a")], &[("y", "a")], &[]),
            (&[("o.{r}", "a")], &[("o.{r}", "a"), ("o.eu", "b")], &["o.eu other", "o.{r} same"]),
            (&[("o.{r}", "a"), ("o.eu", "b")], &[("o.{r}", "a")], &["o.eu other", "o.{r} same"]),
            (&[("o.{r}", "a")], &[("o.{zone}", "b")], &["o.{r} other"]),
            (&[("o.{r}", "a")], &[("{all}.eu", "b")], &["{all}.eu other"]),
            (&[("o.eu", "a")], &[("o.{r}", "b")], &["o.eu other"]),
            (&[("a.{x}", "a"), ("b.{x}", "b")], &[("{k}.{x}", "a")], &["a.{x} same", "b.{x} other"]),
            (&[("{k}.{x}", "a")], &[("a.{x}", "a"), ("b.{x}", "b")], &["a.{x} same", "b.{x} other"]),
        ] {
            let (old, new) = (snapshot(old), snapshot(new));
            let mut found: Vec<_> = successions(&old, &new)
                .iter()
                .map(|pair| format!("{} {}", pair.topics, if pair.same_schema() { "same" } else { "other" }))
                .collect();
            found.sort();
            assert_eq!(found, expected);
        }
    }
}
