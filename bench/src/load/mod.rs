//! The loads. Each answers with one line of JSON; what was lost, doubled or ended makes it fail.

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

/// Whom to measure.
#[derive(Clone, Copy)]
pub struct Target {
    /// Where it listens.
    pub address: SocketAddrV4,
    /// Its process.
    pub process: Process,
    /// Give up when nothing comes for so long.
    pub stall: Duration,
}
