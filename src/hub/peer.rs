//! Who is at the other end of a subscriber.

use std::net::IpAddr;

use uuid::Uuid;

use crate::time::Time;

/// What is known of it before it says who it is.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// What `hello` and the log call the connection.
    pub connection: Uuid,
    /// How it is served.
    pub kind: Kind,
    /// Behind trusted proxies; the loopback address on a Unix socket.
    pub address: IpAddr,
    /// Since when it is a subscriber.
    pub since: Time,
}

/// How a subscriber is served, named as in the metrics.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// A WebSocket.
    WebSocket,
    /// A stream of server-sent events.
    Stream,
    /// One request for history.
    Http,
}

impl Peer {
    /// One that comes now.
    pub fn new(kind: Kind, address: IpAddr) -> Self {
        Self { connection: Uuid::new_v4(), kind, address, since: Time::now() }
    }
}

impl Kind {
    /// As in the label `kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Stream => "stream",
            Self::Http => "http",
        }
    }
}
