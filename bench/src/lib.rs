//! What the loads and the floors are made of: sockets without waiting, frames, and the cost of a process.
//!
//! Knows of Relay what stands on the wire, and nothing of its code: any server that speaks the same can be measured.

pub mod cost;
pub mod frame;
pub mod load;
pub mod payload;
pub mod plan;
pub mod publisher;
pub mod readiness;
pub mod socket;
pub mod subscribers;
