//! Builds what a server runs on from a checked configuration.

use std::collections::HashMap;
use std::sync::Arc;

use crate::assemble::{Loaded, tls};
use crate::auth;
use crate::config::model::{Config, SchemaSource};
use crate::directory::Directory;
use crate::hub::topic::Topic;
use crate::hub::{Hub, Size};
use crate::live::Live;
use crate::plugin::Retention;
use crate::principal::Principal;
use crate::schema::Schema;
use crate::shadow::Shadow;
use crate::snapshot::{Snapshot, TopicRules};
use crate::store;
use crate::time::Time;

/// Builds the snapshot of a configuration. State that outlives a configuration is taken over from the snapshot
/// `before`.
pub fn snapshot(config: Config, loaded: &Loaded, before: Option<&Snapshot>) -> Snapshot {
    let known: HashMap<&str, &TopicRules> =
        before.into_iter().flat_map(|b| b.topics.iter()).map(|r| (r.topic.name.as_str(), &**r)).collect();
    let any = Schema::any();
    let schema = |source: &SchemaSource| match source {
        SchemaSource::File(file) => loaded.schemas.get(file).cloned(),
        SchemaSource::Any => None,
    };
    let generation = before.map_or(0, |b| b.generation) + 1;
    let topics = config.topics.iter().enumerate().map(|(index, topic)| {
        let lives = known.get(topic.name.as_str()).copied();
        // The same text is the same schema: keep the old object, with all that was learnt about it.
        let new = schema(&topic.schema).unwrap_or_else(|| any.clone());
        let same = lives.map(|lives| &lives.schema).filter(|schema| **schema == new);
        // A schema that is only laid out differently is as slow as before; a different one gets a fresh fuse.
        let fuse = lives.map(|lives| match lives.schema.is_same(&new) {
            true => lives.fuse.clone(),
            false => Arc::new(lives.fuse.renewed()),
        });
        let rules = TopicRules {
            config: index,
            schema: same.cloned().unwrap_or(new),
            shadow: topic.schema_next.as_ref().map(|(source, _)| {
                let next = schema(source).unwrap_or_else(|| any.clone());
                let same = lives.and_then(|lives| lives.shadow.as_ref()).filter(|shadow| shadow.tries(&next));
                same.cloned().unwrap_or_else(|| Arc::new(Shadow::new(next)))
            }),
            topic: lives.map_or_else(|| Arc::new(Topic::new(topic.name.clone())), |lives| lives.topic.clone()),
            fuse: fuse.unwrap_or_default(),
            since: lives.map_or(generation, |lives| lives.since),
        };
        (topic.name.clone(), Arc::new(rules))
    });
    let topics = topics.collect();
    // Keeps the `ServerConfig`, and with it its cache of TLS sessions, so that reconnecting clients can resume.
    let same_tls = before.filter(|b| b.config.server.tls == config.server.tls).map(|b| b.tls.clone());
    let anonymous =
        Principal { token: None, user: None, grants: config.anonymous.clone(), not_after: None, fingerprint: 0 };
    Snapshot {
        generation,
        hash: loaded.hash.clone(),
        loaded_at: Time::now(),
        topics,
        tls: same_tls.unwrap_or_else(|| loaded.tls.clone()),
        certificate_expires: config.server.tls.as_ref().and_then(tls::expires),
        auth: auth::build(&config.tokens),
        anonymous: Arc::new(anonymous),
        config,
    }
}

/// What each declared topic retains.
pub fn retention(config: &Config) -> Directory<Retention> {
    let retention = config.topics.iter().map(|topic| {
        let history = topic.history;
        let retention = Retention {
            count: history.count,
            bytes: history.bytes,
            age: history.age,
            declared: topic.name.clone(),
            topics: config.limits.family_topics,
        };
        (topic.name.clone(), retention)
    });
    retention.collect()
}

/// The declared topics, as the objects that live across configurations.
pub fn topics(snapshot: &Snapshot) -> Directory<Arc<Topic>> {
    snapshot.topics.iter().map(|rules| (rules.topic.name.clone(), rules.topic.clone())).collect()
}

/// Makes the live state from a first snapshot: the log, the hub over it, and all counters.
pub fn live(snapshot: Snapshot, shards: usize) -> Arc<Live> {
    let window = snapshot.config.limits.window;
    sized(snapshot, Size { shards, window, ..Size::default() })
}

/// Like [`live`], with a hub of any size.
pub fn sized(snapshot: Snapshot, size: Size) -> Arc<Live> {
    let config = &snapshot.config;
    let kind = store::KINDS.iter().find(|kind| kind.name == config.store.kind);
    let store = (kind.expect("the check knows the same kinds").build)();
    store.retain(retention(config));
    store.remember(config.limits.idempotency_keys, config.limits.idempotency_window);
    let hub = Hub::new(store, size, topics(&snapshot));
    Arc::new(Live::new(snapshot, hub))
}
