//! How much memory a configuration allows to be filled, so that nobody is surprised by it.

use crate::config::model::{Config, Limits};

/// Connections that are reckoned with when the configuration leaves their number to the system.
const CONNECTIONS: usize = 65_536;
/// What a connection takes while it does nothing.
const IDLE_CONNECTION: u64 = 4 << 10;
/// What a retained message takes beside its payload.
const RECORD: u64 = 256;

/// What a message in the window takes beside its payload and that once encoded.
const MESSAGE: u64 = 384;
/// What an idempotency key of the greatest length takes, with its topic, its receipt and its place in the order.
const KEY: u64 = 1 << 10;
/// What a topic's name or pattern of the greatest length takes.
const NAME: u64 = 672;

/// Bytes at most, by what takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorstCase {
    /// Rings of exact topics.
    pub topics: u64,
    /// Rings of families, all full of concrete topics.
    pub families: u64,
    /// The window.
    pub window: u64,
    /// Connections, each in the middle of a frame inwards and a message outwards.
    pub connections: u64,
    /// Registrations, each of as many of the longest names as a connection may subscribe to; none where nobody may register.
    pub registrations: u64,
    /// Idempotency keys; none where no token may publish.
    pub keys: u64,
}

impl WorstCase {
    /// Adds everything up.
    pub fn of(config: &Config) -> Self {
        let ring = |history: &crate::config::model::History| {
            // A ring is full when one of its bounds is met: `count` small messages, or `bytes` of large ones.
            (history.bytes as u64).saturating_add((history.count as u64).saturating_mul(RECORD))
        };
        let limits = &config.limits;
        let (mut topics, mut families) = (0_u64, 0_u64);
        for topic in &config.topics {
            let one = if topic.history.count == 0 { 0 } else { ring(&topic.history) };
            if topic.name.is_exact() {
                topics = topics.saturating_add(one);
            } else {
                families = families.saturating_add(one.saturating_mul(limits.family_topics as u64));
            }
        }
        let mut grants = config.tokens.iter().map(|token| &token.grants);
        let publishes = grants.clone().any(|grants| !grants.publish.is_empty());
        let registers = !config.anonymous.register.is_empty() || grants.any(|grants| !grants.register.is_empty());
        let registration = (limits.subscriptions as u64).saturating_mul(NAME);
        Self {
            topics,
            families,
            window: (limits.window as u64).max(2 * limits.body as u64 + limits.batch as u64 * MESSAGE),
            connections: connections(limits),
            registrations: if registers { registration.saturating_mul(limits.registrations as u64) } else { 0 },
            keys: if publishes { KEY.saturating_mul(limits.idempotency_keys as u64) } else { 0 },
        }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        let Self { topics, families, window, connections, registrations, keys } = *self;
        [topics, families, window, connections, registrations, keys].into_iter().fold(0, u64::saturating_add)
    }
}

fn connections(limits: &Limits) -> u64 {
    let each = IDLE_CONNECTION + limits.frame as u64 + limits.body as u64;
    each.saturating_mul(limits.connections.unwrap_or(CONNECTIONS) as u64)
}
