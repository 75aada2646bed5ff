//! Who is at the other end of a subscriber.

use std::net::IpAddr;

use uuid::Uuid;

use crate::time::Time;

/// What is known of it before it says who it is.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// What `hello` and the log call the connection.
    pub connection: Uuid,
    /// How it is served, as in the metrics.
    pub kind: &'static str,
    /// Behind trusted proxies; the loopback address on a Unix socket.
    pub address: IpAddr,
    /// Since when it is a subscriber.
    pub since: Time,
}

impl Peer {
    /// One that comes now.
    pub fn new(kind: &'static str, address: IpAddr) -> Self {
        Self { connection: Uuid::new_v4(), kind, address, since: Time::now() }
    }
}
