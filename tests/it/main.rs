//! The server as others see it: over real sockets, from a port that the system chose.

#![allow(clippy::disallowed_methods, reason = "tests may start tasks that nobody owns")]

mod cli;
mod config;
mod http;
mod peer;
mod rig;
mod smallest_flow;
mod subscriber;
