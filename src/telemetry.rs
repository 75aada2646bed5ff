//! What operators see of the server: log lines and metrics.
//!
//! No payload and no secret passes here. Everything is counted by plain atomics, wherever it happens; a scrape reads
//! them. Only names that relay.toml declares become labels, so that no caller can make their number grow.

pub mod logs;
pub mod panics;
pub mod queue;
pub mod scrape;
pub mod stats;

use std::net::IpAddr;

use tracing::info;

use crate::problem::Refusal;

/// The one log line of a refused publish. `topic` is empty where none was named, and so is `principal` where nobody was
/// known yet.
pub fn log_refused(topic: &str, principal: &str, peer: IpAddr, refusal: &Refusal) {
    let items = match refusal {
        Refusal::Batch(items) => items.len(),
        _ => 1,
    };
    info!(problem = refusal.slug(), topic, principal, %peer, items, "a publish was refused");
}
