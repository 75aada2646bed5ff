//! What a request sees: one configuration, built, immutable, swapped whole.

use std::sync::Arc;

use rustls::ServerConfig;

use crate::config::model::Config;
use crate::directory::Directory;
use crate::fuse::Fuse;
use crate::hub::topic::Topic;
use crate::name::{Pattern, TopicName};
use crate::plugin::Authenticator;
use crate::principal::Principal;
use crate::schema::Schema;
use crate::shadow::Shadow;
use crate::time::Time;

/// One configuration, ready for use.
pub struct Snapshot {
    /// Counts the configurations of this process, from 1.
    pub generation: u64,
    /// SHA-256 over everything that was read for it, in hex.
    pub hash: String,
    /// When it was loaded: a moment before it was compared with the one before, and committed.
    pub loaded_at: Time,
    /// What it was built from.
    pub config: Config,
    /// The declared topics.
    pub topics: Directory<Arc<TopicRules>>,
    /// What the public listener speaks TLS with; `None` is plain.
    pub tls: Option<Arc<ServerConfig>>,
    /// When the certificate of that expires.
    pub certificate_expires: Option<Time>,
    /// Who a bearer credential is.
    pub auth: Arc<dyn Authenticator>,
    /// Who a caller without one is.
    pub anonymous: Arc<Principal>,
}

/// What one configuration says of one declared topic.
pub struct TopicRules {
    /// Index into the configuration's topics.
    pub config: usize,
    /// What messages must match.
    pub schema: Arc<Schema>,
    /// Their `schema_next`: it judges what was accepted, and refuses nothing.
    pub shadow: Option<Arc<Shadow>>,
    /// The topic as it lives.
    pub topic: Arc<Topic>,
    /// Blows when the schema is too slow; lives as long as the schema stays the same, and its counts as long as the topic.
    pub fuse: Arc<Fuse>,
}

impl Snapshot {
    /// What a concrete topic is declared as.
    pub fn resolve(&self, topic: &TopicName) -> Option<&Arc<TopicRules>> {
        self.topics.resolve(topic)
    }

    /// What this very name is declared as.
    pub fn declared(&self, name: &Pattern) -> Option<&TopicRules> {
        self.topics.get(name).map(|rules| &**rules)
    }

    /// Whether any topic of the pattern belongs to this declared name. An exact topic beside a family does not belong to
    /// the family.
    pub fn reaches(&self, pattern: &Pattern, name: &Pattern) -> bool {
        let beside = |topic| self.declared(&Pattern::from(&topic)).is_some();
        pattern.overlaps(name) && (name.is_exact() || !pattern.only_common(name).is_some_and(beside))
    }

    /// Who a principal is under this configuration; `None` when its token has gone, or has another secret or user.
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
}
