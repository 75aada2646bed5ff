//! What a concrete topic name resolves to among the declared ones: an exact topic wins over a family.

use ahash::AHashMap;

use crate::name::{Pattern, TopicName};
use crate::patterns::Patterns;

/// Declared names (exact topics and families), each with a value.
///
/// No two declared families overlap, which the configuration's check ensures, so at most one family resolves a name.
#[derive(Debug, Clone)]
pub struct Directory<T> {
    exact: AHashMap<TopicName, T>,
    families: Patterns<T>,
}

impl<T> Default for Directory<T> {
    fn default() -> Self {
        Self { exact: AHashMap::new(), families: Patterns::default() }
    }
}

impl<T> Directory<T> {
    /// Declares a name.
    pub fn insert(&mut self, name: Pattern, value: T) {
        if let Some(topic) = name.exact() {
            self.exact.insert(topic, value);
        } else {
            self.families.insert(name, value);
        }
    }

    /// The value of exactly this declared name.
    pub fn get(&self, name: &Pattern) -> Option<&T> {
        match name.exact() {
            Some(topic) => self.exact.get(&topic),
            None => self.families.get(name),
        }
    }

    /// The value of the declared name that a topic resolves to.
    pub fn resolve(&self, topic: &TopicName) -> Option<&T> {
        self.exact.get(topic).or_else(|| self.family(topic.as_str()))
    }

    /// The values of the declared names that match a topic: its own, and that of a family.
    pub fn matching(&self, topic: &TopicName) -> impl Iterator<Item = &T> {
        self.exact.get(topic).into_iter().chain(self.family(topic.as_str()))
    }

    /// The value of the declared name that contains all topics of this one.
    pub fn containing(&self, name: &Pattern) -> Option<&T> {
        match name.exact() {
            Some(topic) => self.resolve(&topic),
            None => self.family(&name.canonical()),
        }
    }

    fn family(&self, name: &str) -> Option<&T> {
        let mut found = None;
        self.families.any_containing(name, |value| {
            found = Some(value);
            true
        });
        found
    }

    /// The same names, each with another value.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> Directory<U> {
        let exact = self.exact.into_iter().map(|(name, value)| (name, change(value))).collect();
        Directory { exact, families: self.families.map(change) }
    }

    /// All values, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.exact.values().chain(self.families.iter().map(|(_, value)| value))
    }
}

impl<T> FromIterator<(Pattern, T)> for Directory<T> {
    fn from_iter<I: IntoIterator<Item = (Pattern, T)>>(iter: I) -> Self {
        let mut directory = Self::default();
        for (name, value) in iter {
            directory.insert(name, value);
        }
        directory
    }
}

#[cfg(test)]
mod tests {
    use super::Directory;
    use crate::name::{Pattern, TopicName};

    #[test]
    fn an_exact_topic_wins_over_a_family() {
        let names = ["orders.{region}", "orders.eu", "{tenant}.audit", "cats"];
        let directory: Directory<&str> = names.iter().map(|n| (Pattern::parse(n).expect("a name"), *n)).collect();
        let resolve = |t: &str| directory.resolve(&TopicName::parse(t).expect("a topic")).copied();
        assert_eq!(resolve("orders.eu"), Some("orders.eu"));
        assert_eq!(resolve("orders.us"), Some("orders.{region}"));
        assert_eq!(resolve("acme.audit"), Some("{tenant}.audit"));
        assert_eq!(resolve("cats"), Some("cats"));
        assert_eq!(resolve("orders"), None);
        assert_eq!(resolve("cats.x"), None);
    }
}
