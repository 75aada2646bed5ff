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
    /// The answer to the upgrade, still unwritten: it leaves in one write with the first notice.
    pub answer: Vec<u8>,
    /// Bytes that arrived after the request.
    pub head: Bytes,
}

/// A WebSocket whose upgrade has been answered.
///
/// Its registration is not checked yet: a browser cannot see the status of a refused upgrade, so a bad one is told by a
/// close code.
pub struct Opening {
    /// The subprotocol agreed on; the server's first if the peer offered none.
    pub protocol: &'static dyn Protocol,
    /// The principal of its `Authorization` header.
    pub principal: Option<Arc<Principal>>,
    /// The last segment of `/ws/<id>`, as written: a secret, and perhaps not even a UUID.
    pub registration: Option<SecretString>,
    /// The close to begin with: its URL has a query, which is not allowed, or its `Authorization` is not a bearer.
    pub refused: Option<Close>,
    /// Its address, as trusted proxies report it; the loopback address on a Unix socket.
    pub peer: IpAddr,
    /// Its share of `limits.connections`, released when the connection ends.
    pub permit: Permit,
}
