//! Relay, a real-time message relay: takes JSON over HTTP, validates it, delivers it over WebSocket and SSE.
//!
//! `ARCHITECTURE.md` has the map.

#![cfg_attr(test, allow(clippy::disallowed_methods, reason = "tests may start tasks that nobody owns"))]
#![cfg_attr(test, allow(clippy::too_many_lines, reason = "a table of a test is as long as it is"))]

pub mod appending;
pub mod assemble;
pub mod auth;
pub mod background;
pub mod cli;
pub mod close;
pub mod command;
pub mod config;
pub mod connections;
pub mod counter;
pub mod delivery;
pub mod diagnostic;
pub mod directory;
pub mod disk;
pub mod drain;
pub mod evaluate;
pub mod footprint;
pub mod frame;
pub mod fuse;
pub mod hex;
pub mod host;
pub mod http;
pub mod hub;
pub mod identify;
pub mod ingest;
pub mod judging;
pub mod live;
pub mod lock;
pub mod message;
pub mod name;
pub mod notice;
pub mod path;
pub mod patterns;
pub mod plugin;
pub mod principal;
pub mod problem;
pub mod protocol;
pub mod rates;
pub mod reconnect;
pub mod registrations;
pub mod reload;
pub mod reloads;
pub mod schema;
pub mod server;
pub mod shadow;
pub mod snapshot;
pub mod spelling;
#[cfg(test)]
mod stopwatch;
pub mod store;
pub mod supervisor;
pub mod telemetry;
pub mod time;
pub mod unauthenticated;
pub mod ws;
