//! The server as others see it: over real sockets, from a port that the system chose.

#![allow(clippy::disallowed_methods, reason = "tests may start tasks that nobody owns")]

mod admin;
mod attacks;
mod cli;
mod config;
mod event_stream;
mod events;
mod handshake;
mod history;
mod http;
mod logs;
mod matrix;
mod model;
mod pages;
mod peer;
mod process;
mod raw_http;
mod raw_table;
mod register;
mod rig;
mod smallest_flow;
mod subscriber;
mod suites;
mod tls;
