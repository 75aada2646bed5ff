//! What the HTTP side hands over when a connection becomes a WebSocket.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::SecretString;

use crate::close::Close;
use crate::connections::Permit;
use crate::plugin::Protocol;
use crate::principal::Principal;

/// A connection that has left HTTP.
pub struct Upgraded<S> {
    /// The socket.
    pub socket: S,
    /// The answer to the upgrade, which has not been written: it leaves in one write with what is said first.
    pub answer: Vec<u8>,
    /// What arrived behind the request.
    pub head: Bytes,
}

/// A WebSocket whose upgrade has been answered. Whether its registration is any good has not been looked at: a browser
/// cannot see the status of a refused upgrade, so that is told with a close code.
pub struct Opening {
    /// The subprotocol that was agreed on; the first one of the server's when none was offered.
    pub protocol: &'static dyn Protocol,
    /// Who its `Authorization` says it is.
    pub principal: Option<Arc<Principal>>,
    /// The last part of `/ws/<id>` as it was written: a secret, and perhaps not even a UUID.
    pub registration: Option<SecretString>,
    /// The close for a query in its URL, which takes none, or for an `Authorization` that is no bearer.
    pub refused: Option<Close>,
    /// Who it is on the network, behind trusted proxies; the loopback address on a Unix socket.
    pub peer: IpAddr,
    /// Its place among `limits.connections`, to be dropped with the connection.
    pub permit: Permit,
}
