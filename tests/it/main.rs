//! The server as others see it: over real sockets, from a port that the system chose.

mod cli;
mod config;
mod event_stream;
mod events;
mod history;
mod http;
mod model;
mod peer;
mod rig;
mod smallest_flow;
mod subscriber;
