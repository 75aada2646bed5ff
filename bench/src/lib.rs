//! What the loads and the floors share: non-blocking sockets, frames, and the cost of a process.
//!
//! It knows Relay's wire format and nothing of its code, so it can measure any server that speaks the same format.

pub mod cost;
pub mod frame;
pub mod load;
pub mod payload;
pub mod plan;
pub mod publisher;
pub mod readiness;
pub mod socket;
pub mod subscribers;
