//! Principals and what they may do: the one authorisation decision, which every way in asks for.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use crate::name::{Pattern, TopicName, UserId};
use crate::patterns::Patterns;
use crate::time::Time;

/// What a grant is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Append to a topic.
    Publish,
    /// Read a topic, live or from its history.
    Subscribe,
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish to",
            Self::Subscribe => "subscribe to",
        })
    }
}

/// Patterns that are granted; nothing is granted if there are none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Grants {
    /// Topics that may be published to.
    pub publish: Granted,
    /// Topics that may be subscribed to.
    pub subscribe: Granted,
    /// Users for whom connections may be registered (patterns on the user id).
    pub register: Vec<UserPattern>,
}

impl Grants {
    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.publish.is_empty() && self.subscribe.is_empty() && self.register.is_empty()
    }
}

/// Grants of one action. They are asked for each item of a batch and for each subscription, and a token or a registered
/// connection may have thousands.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    patterns: Vec<Pattern>,
    index: Index,
}

/// What spares comparing with each of many patterns.
#[derive(Clone, Debug, Default)]
enum Index {
    /// Nothing: comparing with a few takes no longer.
    #[default]
    None,
    /// Their order finds the pattern that is asked for literally.
    Sorted,
    /// Finds every pattern that covers a name.
    Tree(Arc<Patterns<()>>),
}

impl Granted {
    /// The most patterns that are compared one by one.
    const FEW: usize = 32;

    /// Creates those of one registered connection. It nearly always asks for what it was registered for literally, and a
    /// tree would take many times the memory of the patterns.
    pub fn of_connection(mut patterns: Vec<Pattern>) -> Self {
        patterns.sort_unstable_by(|a, b| a.canonical().cmp(&b.canonical()));
        Self { patterns, index: Index::Sorted }
    }

    /// Whether a single grant contains every topic of the pattern.
    fn covers(&self, topics: &Pattern) -> bool {
        match &self.index {
            Index::Tree(tree) => tree.any_containing(&topics.canonical(), |()| true),
            Index::Sorted if self.finds(&topics.canonical()) => true,
            _ => self.patterns.iter().any(|grant| grant.contains(topics)),
        }
    }

    /// As [`Granted::covers`], for one concrete topic: without building a pattern.
    fn covers_topic(&self, topic: &TopicName) -> bool {
        match &self.index {
            Index::Tree(tree) => tree.any_containing(topic.as_str(), |()| true),
            Index::Sorted if self.finds(topic.as_str()) => true,
            _ => self.patterns.iter().any(|grant| grant.matches(topic)),
        }
    }

    /// Whether this very pattern is among the sorted ones.
    fn finds(&self, canonical: &str) -> bool {
        self.patterns.binary_search_by(|grant| (*grant.canonical()).cmp(canonical)).is_ok()
    }
}

impl From<Vec<Pattern>> for Granted {
    fn from(patterns: Vec<Pattern>) -> Self {
        if patterns.len() <= Self::FEW {
            return Self { patterns, index: Index::None };
        }
        let mut tree = Patterns::default();
        patterns.iter().for_each(|pattern| tree.insert(pattern.clone(), ()));
        Self { patterns, index: Index::Tree(Arc::new(tree)) }
    }
}

impl Deref for Granted {
    type Target = [Pattern];

    fn deref(&self) -> &[Pattern] {
        &self.patterns
    }
}

impl PartialEq for Granted {
    fn eq(&self, other: &Self) -> bool {
        self.patterns == other.patterns
    }
}

impl Eq for Granted {}

/// The users for whom connections may be registered: one user, those with a prefix, or everybody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UserPattern {
    /// Everybody.
    Any,
    /// Users whose id begins with this text (`team-*`).
    Prefix(Box<str>),
    /// This user only.
    One(UserId),
}

impl UserPattern {
    /// Whether the pattern covers the user.
    pub fn matches(&self, user: &UserId) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => user.as_str().starts_with(&**prefix),
            Self::One(one) => one == user,
        }
    }
}

/// An admitted caller: made by authentication, by a registration for its connection, or from `[anonymous]`.
#[derive(Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's name in relay.toml; `None` for an anonymous caller.
    pub token: Option<Arc<str>>,
    /// Messages addressed to this user reach its connections.
    pub user: Option<UserId>,
    /// What it may do.
    pub grants: Grants,
    /// When its credential expires; never if `None`.
    pub not_after: Option<Time>,
    /// Changes whenever the secret or the user does, so that a reload can tell a rotated credential from an unchanged
    /// one without keeping the secret. 0 for anonymous callers.
    pub fingerprint: u64,
}

impl Principal {
    /// Whether its credential has expired.
    pub fn expired(&self, now: Time) -> bool {
        self.not_after.is_some_and(|end| now >= end)
    }

    /// How long its credential is still valid; [`Duration::MAX`] if it never expires.
    pub fn lasts(&self) -> Duration {
        let left = |end: Time| Duration::from_millis(u64::try_from(end.0.saturating_sub(Time::now().0)).unwrap_or(0));
        self.not_after.map_or(Duration::MAX, left)
    }

    /// Whether it may register connections for this user.
    pub fn may_register(&self, user: &UserId) -> bool {
        self.grants.register.iter().any(|grant| grant.matches(user))
    }

    /// Its name for logs and limits.
    pub fn name(&self) -> &str {
        self.token.as_deref().unwrap_or("anonymous")
    }

    /// Its user, for logs.
    pub fn user_id(&self) -> Option<&str> {
        self.user.as_ref().map(UserId::as_str)
    }

    /// The name for logs of a caller who may not be authenticated yet.
    pub fn name_of(principal: Option<&Self>) -> &str {
        principal.map_or("unauthenticated", Self::name)
    }
}

/// Whether the principal may do this to every topic of the pattern: a single grant must contain all of it.
pub fn authorize(principal: &Principal, action: Action, topics: &Pattern) -> bool {
    grants(principal, action).covers(topics)
}

/// As [`authorize`], for one concrete topic: without building a pattern.
pub fn authorize_topic(principal: &Principal, action: Action, topic: &TopicName) -> bool {
    grants(principal, action).covers_topic(topic)
}

fn grants(principal: &Principal, action: Action) -> &Granted {
    match action {
        Action::Publish => &principal.grants.publish,
        Action::Subscribe => &principal.grants.subscribe,
    }
}

#[cfg(test)]
mod tests {
    use super::{Granted, Index};
    use crate::name::{Pattern, TopicName};

    fn pattern(text: &str) -> Pattern {
        Pattern::parse(text).expect(text)
    }

    #[test]
    fn grants_cover_the_same_with_an_index_and_without() {
        let few = ["cats", "orders.*", "orders.eu.**", "*.news", "a.{b}.c"].map(pattern);
        let others = (0..Granted::FEW).map(|n| pattern(&format!("other-{n}.*")));
        let many = Granted::from(few.iter().cloned().chain(others).collect::<Vec<_>>());
        let of_connection = Granted::of_connection(few.to_vec());
        let few = Granted::from(few.to_vec());
        assert!(matches!((&few.index, &many.index), (Index::None, Index::Tree(_))));
        assert!(of_connection.finds("a.*.c") && of_connection.finds("orders.*") && !of_connection.finds("orders.eu"));
        let mut covered = 0;
        for text in [
            "cats",
            "dogs",
            "orders",
            "orders.eu",
            "orders.us",
            "orders.eu.1.2",
            "orders.us.1",
            "x.news",
            "a.b.c",
            "a.b",
        ] {
            let topic = TopicName::parse(text).expect(text);
            assert_eq!(few.covers_topic(&topic), many.covers_topic(&topic), "{text}");
            assert_eq!(few.covers_topic(&topic), of_connection.covers_topic(&topic), "{text}");
            covered += usize::from(many.covers_topic(&topic));
        }
        for text in
            ["cats", "*", "**", "orders.*", "orders.**", "orders.*.1", "orders.eu.**", "x.*", "a.*.c", "a.{x}.c"]
        {
            assert_eq!(few.covers(&pattern(text)), many.covers(&pattern(text)), "{text}");
            assert_eq!(few.covers(&pattern(text)), of_connection.covers(&pattern(text)), "{text}");
            covered += usize::from(many.covers(&pattern(text)));
        }
        assert_eq!(covered, 11);
    }
}
