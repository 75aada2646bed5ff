//! The entrance of a listener, and the connections that came in by it.

use std::net::IpAddr;
use std::sync::Arc;

use warp::filters::BoxedFilter;
use warp::reply::Response;

use crate::connections::Permit;
use crate::http::flow::Flow;
use crate::live::Live;

/// What the server knows of a connection; shared by every request on it.
pub struct Link {
    /// The door it came in by.
    pub door: Arc<Door>,
    /// Its address; `None` on a Unix socket.
    pub peer: Option<IpAddr>,
    /// Its share of the connection limit.
    pub permit: Permit,
    /// Whether its answers have been sent.
    pub flow: Flow,
    /// Whether it is encrypted.
    pub secure: bool,
    /// Whether its network exceeds `limits.connect_rate`; never on the operators' listener.
    pub over_rate: bool,
}

/// The entrance of one listener.
pub struct Door {
    /// The server behind it.
    pub live: Arc<Live>,
    pub(super) routes: BoxedFilter<(Response,)>,
    /// Whether the listener is on TCP and only this machine can reach it: a foreign Host is then DNS rebinding by some
    /// page.
    pub loopback: bool,
    /// Whom it is for.
    pub side: Side,
}

/// Whom a door is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    /// Publishers and subscribers.
    Public,
    /// Operators.
    Admin,
}

impl Side {
    /// The name of its listener in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Admin => "admin",
        }
    }
}
