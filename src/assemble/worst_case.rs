//! How much memory a configuration allows to be filled, so that nobody is surprised by it.

use crate::config::model::{Config, Limits};

/// Connections that are reckoned with when the configuration leaves their number to the system.
const CONNECTIONS: usize = 65_536;
/// What a connection takes while it does nothing.
const IDLE_CONNECTION: u64 = 4 << 10;
/// What a retained message takes beside its payload.
const RECORD: u64 = 256;

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
        Self { topics, families, window: limits.window as u64, connections: connections(limits) }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        [self.topics, self.families, self.window, self.connections].into_iter().fold(0, u64::saturating_add)
    }
}

fn connections(limits: &Limits) -> u64 {
    let each = IDLE_CONNECTION + limits.frame as u64 + limits.body as u64;
    each.saturating_mul(limits.connections.unwrap_or(CONNECTIONS) as u64)
}
