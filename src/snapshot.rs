//! What a request sees: one configuration, built, immutable and swapped as a whole.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::model::Config;
use crate::directory::Directory;
use crate::fuse::Fuse;
use crate::hub::topic::Topic;
use crate::name::{Pattern, TopicName};
use crate::plugin::Authenticator;
use crate::principal::{Action, Principal, authorize};
use crate::schema::Schema;
use crate::shadow::Shadow;
use crate::spelling::nearest;
use crate::time::Time;

/// Bounds the search for the topic that was meant, to about this many comparisons of two characters: a fraction of a
/// millisecond.
const COMPARED: usize = 1 << 16;

/// One configuration, ready for use.
pub struct Snapshot {
    /// The number of this configuration in the process, from 1.
    pub generation: u64,
    /// SHA-256 over everything that was read for it, in hex.
    pub hash: String,
    /// When it was loaded, which is shortly before it was committed.
    pub loaded_at: Time,
    /// What it was built from.
    pub config: Config,
    /// The declared topics.
    pub topics: Directory<Arc<TopicRules>>,
    /// The TLS configuration of the public listener; `None` for plain TCP.
    pub tls: Option<Arc<ServerConfig>>,
    /// When its certificate expires.
    pub certificate_expires: Option<Time>,
    /// Finds the principal of a bearer credential.
    pub auth: Arc<dyn Authenticator>,
    /// The principal of a caller without a credential.
    pub anonymous: Arc<Principal>,
}

/// The rules of one declared topic in one configuration.
pub struct TopicRules {
    /// Index into the configuration's topics.
    pub config: usize,
    /// The schema that messages must match.
    pub schema: Arc<Schema>,
    /// Its `schema_next`, which judges accepted messages and refuses nothing.
    pub shadow: Option<Arc<Shadow>>,
    /// The part of the topic that lives across configurations.
    pub topic: Arc<Topic>,
    /// Blows when the schema is too slow. It lives as long as the schema stays the same, its counters as long as the
    /// topic.
    pub fuse: Arc<Fuse>,
    /// The generation since which its name has been declared without a break.
    pub since: u64,
}

impl Snapshot {
    /// The rules for a concrete topic.
    pub fn resolve(&self, topic: &TopicName) -> Option<&Arc<TopicRules>> {
        self.topics.resolve(topic)
    }

    /// The rules for exactly this declared name.
    pub fn declared(&self, name: &Pattern) -> Option<&TopicRules> {
        self.topics.get(name).map(|rules| &**rules)
    }

    /// Whether the pattern matches some topic of this declared name. An exact topic that a family would match too does
    /// not belong to the family.
    pub fn reaches(&self, pattern: &Pattern, name: &Pattern) -> bool {
        self.reached(pattern, name, self.generation)
    }

    /// Whether it did in an earlier configuration, without regard to exact topics that have been removed since.
    pub fn reached(&self, pattern: &Pattern, name: &Pattern, generation: u64) -> bool {
        let beside = |topic| self.declared(&Pattern::from(&topic)).is_some_and(|rules| rules.since <= generation);
        pattern.overlaps(name) && (name.is_exact() || !pattern.only_common(name).is_some_and(beside))
    }

    /// The declared topic that was probably meant by an undeclared one, if the principal may do the same to that one.
    pub fn nearest_usable(&self, principal: &Principal, action: Action, topic: &str) -> Option<String> {
        let declared = Some(&self.config.topics).filter(|topics| topics.len() * topic.len().pow(2) <= COMPARED);
        let names = declared.into_iter().flatten().map(|topic| &topic.name);
        // A reload may have declared this topic since the refusal.
        let others = names.filter(|name| name.is_exact() && name.as_str() != topic);
        let usable = others.filter(|name| authorize(principal, action, name));
        nearest(topic, usable.map(Pattern::as_str))
    }

    /// The present form of a principal; `None` if its token is gone, or has another secret or user.
    pub fn renew(&self, principal: &Principal) -> Option<Arc<Principal>> {
        match principal.token {
            Some(_) => self.auth.renew(principal),
            None => Some(self.anonymous.clone()),
        }
    }

    /// Whether anonymous callers may do anything at all.
    pub fn admits_anonymous(&self) -> bool {
        !self.anonymous.grants.is_empty()
    }

    /// The first one, of the default configuration: it has no topics.
    #[cfg(test)]
    pub fn without_topics(auth: Arc<dyn Authenticator>, anonymous: Arc<Principal>) -> Self {
        Self {
            generation: 1,
            hash: String::new(),
            loaded_at: Time(0),
            config: Config::default(),
            topics: Directory::default(),
            tls: None,
            certificate_expires: None,
            auth,
            anonymous,
        }
    }
}
