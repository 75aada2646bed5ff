//! Relay: validated JSON in over HTTP, out to WebSocket and SSE subscribers.
//!
//! `ARCHITECTURE.md` has the map.

pub mod assemble;
pub mod cli;
pub mod close;
pub mod command;
pub mod config;
pub mod diagnostic;
pub mod directory;
pub mod files;
pub mod hub;
pub mod ingest;
pub mod live;
pub mod message;
pub mod name;
pub mod notice;
pub mod plugin;
pub mod principal;
pub mod problem;
pub mod schema;
pub mod snapshot;
