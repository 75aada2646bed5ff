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
