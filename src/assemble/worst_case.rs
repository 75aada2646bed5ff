//! How much memory a configuration allows relay to fill, so that it surprises nobody.

use crate::config::model::{Config, History, Limits};
use crate::connections;
use crate::footprint;
use crate::hub::entry::{COST_HALVES, FIXED_BYTES};
use crate::hub::subscriber::SUBSCRIPTION_BYTES;
use crate::judging::{AT_A_TIME, COST, SMALL};
use crate::name::{MAX_NAME, MAX_USER};
use crate::registrations;
use crate::store::{self, FORGOTTEN_BYTES};

/// Bytes that an idle connection takes.
const IDLE_CONNECTION: u64 = 4 << 10;

/// The most bytes that a configuration can make relay take, by what takes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorstCase {
    /// Exact topics, with full rings.
    pub topics: u64,
    /// Families, each with as many concrete topics as it may have, and full rings.
    pub families: u64,
    /// The window, with every message encoded for every protocol.
    pub window: u64,
    /// Connections. Each is subscribed to as many of the longest patterns as it may, has received most of a frame and
    /// has most of a message left to send.
    pub connections: u64,
    /// Bodies being judged: as many of the largest as are judged at a time.
    pub judging: u64,
    /// Output that connections and readers of large answers have not yet read.
    pub outbound: u64,
    /// Registrations, each with as many of the longest names as a connection may subscribe to; 0 if nobody may
    /// register.
    pub registrations: u64,
    /// Idempotency keys; 0 if no token may publish.
    pub keys: u64,
}

impl WorstCase {
    /// Computes the worst case of a configuration.
    pub fn of(config: &Config) -> Self {
        let ring = |history: &History| match history.count as u64 {
            0 => store::TOPIC_BYTES as u64,
            // A ring is full when it reaches one of its bounds: `count` small messages, or `bytes` of large ones. The
            // allocator rounds each of them up.
            count => {
                let bytes = history.bytes as u64;
                let records = count.saturating_mul(store::RECORD_BYTES as u64 + footprint::allocated(0) as u64);
                (store::TOPIC_BYTES as u64).saturating_add(bytes.saturating_add(bytes / 4)).saturating_add(records)
            }
        };
        let limits = &config.limits;
        let (mut topics, mut families) = (0_u64, 0_u64);
        for topic in &config.topics {
            let one = ring(&topic.history);
            if topic.name.is_exact() {
                topics = topics.saturating_add(one);
            } else {
                families = families.saturating_add(one.saturating_mul(limits.family_topics as u64));
            }
        }
        if families > 0 {
            families = families.saturating_add(FORGOTTEN_BYTES as u64);
        }
        let mut grants = config.tokens.iter().map(|token| &token.grants);
        let publishes = grants.clone().any(|grants| !grants.publish.is_empty());
        let registers = !config.anonymous.register.is_empty() || grants.any(|grants| !grants.register.is_empty());
        let registration =
            (registrations::REGISTRATION_BYTES + limits.subscriptions * registrations::REGISTERED_TOPIC_BYTES) as u64;
        Self {
            topics,
            families,
            window: window(limits),
            connections: connections(limits),
            judging: (AT_A_TIME * COST) as u64 * limits.body.max(SMALL) as u64,
            outbound: limits.outbound as u64,
            registrations: if registers { registration.saturating_mul(limits.registrations as u64) } else { 0 },
            keys: if publishes { (store::KEY_BYTES as u64).saturating_mul(limits.idempotency_keys as u64) } else { 0 },
        }
    }

    /// The sum of all of them.
    pub fn total(&self) -> u64 {
        let Self { topics, families, window, connections, judging, outbound, registrations, keys } = *self;
        let all = [topics, families, window, connections, judging, outbound, registrations, keys];
        all.into_iter().fold(0, u64::saturating_add)
    }
}

/// The newest batch stays in the window even if it is larger than the window itself.
fn window(limits: &Limits) -> u64 {
    let names = limits.batch * (MAX_NAME + MAX_USER);
    let last = 2 * (limits.body + names) + limits.batch * FIXED_BYTES;
    (limits.window.max(last) as u64).saturating_mul(COST_HALVES as u64) / 2
}

fn connections(limits: &Limits) -> u64 {
    let subscriptions = (limits.subscriptions as u64).saturating_mul(SUBSCRIPTION_BYTES as u64);
    let each = (IDLE_CONNECTION + limits.frame as u64 + limits.body as u64).saturating_add(subscriptions);
    each.saturating_mul(limits.connections.unwrap_or(connections::MOST) as u64)
}

#[cfg(test)]
#[path = "worst_case_tests.rs"]
mod tests;
