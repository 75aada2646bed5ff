//! Who is at the other end of a subscriber.

use std::net::IpAddr;

use uuid::Uuid;

use crate::time::Time;

/// What is known of the peer before it authenticates.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The connection's id in `hello` and in the log.
    pub connection: Uuid,
    /// How it is served, as a label of the metrics.
    pub kind: &'static str,
    /// Its address, as trusted proxies report it; the loopback address on a Unix socket.
    pub address: IpAddr,
    /// When it became a subscriber.
    pub since: Time,
}

impl Peer {
    /// A peer that connects now.
    pub fn new(kind: &'static str, address: IpAddr) -> Self {
        Self { connection: Uuid::new_v4(), kind, address, since: Time::now() }
    }
}
