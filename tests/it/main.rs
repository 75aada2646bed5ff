//! The server as others see it: over real sockets, from a port that the system chose.

#![allow(clippy::disallowed_methods, reason = "tests may start tasks that nobody owns")]

mod admin;
mod architecture;
mod cli;
mod config;
mod event_stream;
mod events;
mod examples;
mod faults;
mod handshake;
mod history;
mod http;
mod logs;
mod model;
mod pages;
mod pattern;
mod peer;
mod process;
mod program;
mod raw_http;
mod raw_table;
mod readme;
mod register;
mod reload;
mod reload_large;
mod reload_storm;
mod rig;
mod smallest_flow;
mod store_contract;
mod subscriber;
mod tls;
mod tour;
mod transcripts;
