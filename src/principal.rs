//! Principals and what they may do: the one authorisation decision, which every way in asks for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::name::{Pattern, TopicName, UserId};
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
    pub publish: Vec<Pattern>,
    /// Topics that may be subscribed to.
    pub subscribe: Vec<Pattern>,
    /// Users for whom connections may be registered (patterns on the user id).
    pub register: Vec<UserPattern>,
}

impl Grants {
    /// Whether nothing is granted.
    pub fn is_empty(&self) -> bool {
        self.publish.is_empty() && self.subscribe.is_empty() && self.register.is_empty()
    }
}

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

    /// The name for logs of a caller who may not be authenticated yet.
    pub fn name_of(principal: Option<&Self>) -> &str {
        principal.map_or("unauthenticated", Self::name)
    }
}

/// Whether the principal may do this to every topic of the pattern: a single grant must contain all of it.
pub fn authorize(principal: &Principal, action: Action, topics: &Pattern) -> bool {
    grants(principal, action).iter().any(|grant| grant.contains(topics))
}

/// As [`authorize`], for one concrete topic: without building a pattern.
pub fn authorize_topic(principal: &Principal, action: Action, topic: &TopicName) -> bool {
    grants(principal, action).iter().any(|grant| grant.matches(topic))
}

fn grants(principal: &Principal, action: Action) -> &[Pattern] {
    match action {
        Action::Publish => &principal.grants.publish,
        Action::Subscribe => &principal.grants.subscribe,
    }
}
