//! What operators see of the server: log lines and metrics.
//!
//! No payload and no secret goes through here. Everything is counted by plain atomics where it happens, and a scrape
//! reads them. Only names declared in relay.toml become labels, so that no caller can make their number grow.

pub mod logs;
pub mod panics;
mod process;
pub mod queue;
pub mod scrape;
pub mod stats;
