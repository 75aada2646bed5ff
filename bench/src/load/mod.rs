//! The loads. Each reports one line of JSON, and fails if anything was lost, doubled or ended early.

mod connect;
mod deliver;
mod publish;
pub mod tls;

pub use self::connect::{connects, idle};
pub use self::deliver::{Pace, deliver};
pub use self::publish::publish;

use std::net::SocketAddrV4;
use std::time::Duration;

use crate::cost::Process;

/// The server to measure.
#[derive(Clone, Copy)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Its process.
    pub process: Process,
    /// Give up when nothing arrives for this long.
    pub stall: Duration,
}
