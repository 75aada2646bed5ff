//! What operators see of the server: log lines and metrics.
//!
//! No payload and no secret passes here. Everything is counted by plain atomics, wherever it happens; a scrape reads
//! them. Only names that relay.toml declares become labels, so that no caller can make their number grow.

pub mod logs;
pub mod panics;
mod process;
pub mod queue;
pub mod scrape;
pub mod stats;

use std::net::IpAddr;

use tracing::info;

use crate::principal::Principal;
use crate::problem::Refusal;

/// The one log line of a refused publish. `topic` is empty where none was named; `principal` is who it was, if that is known.
pub fn log_refused(topic: &str, principal: Option<&Principal>, peer: IpAddr, refusal: &Refusal) {
    // An anonymous caller is nobody where a credential was needed.
    let known = principal.filter(|principal| principal.token.is_some() || refusal.status() != 401);
    let principal = known.map_or("unauthenticated", Principal::name);
    let items = match refusal {
        Refusal::Batch(items) => items.len(),
        _ => 1,
    };
    info!(problem = refusal.slug(), topic, principal, %peer, items, "a publish was refused");
}
