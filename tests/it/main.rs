//! The server as others see it: over real sockets, from a port that the system chose.

#![allow(clippy::disallowed_methods, reason = "tests may start tasks that nobody owns")]

mod admin;
mod budget;
mod cli;
mod config;
mod deploy;
mod drain;
mod event_stream;
mod events;
mod fuzz;
mod handshake;
mod history;
mod http;
mod logs;
mod model;
mod overload;
mod pages;
mod panics;
mod peer;
mod process;
mod program;
mod raw_http;
mod register;
mod rig;
mod smallest_flow;
mod subscriber;
mod supervisor;
mod tls;
