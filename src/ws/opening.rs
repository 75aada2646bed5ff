//! What the HTTP side hands over when a connection becomes a WebSocket.

use std::net::IpAddr;

use bytes::Bytes;
use secrecy::SecretString;

use crate::close::Close;
use crate::connections::Permit;
use crate::plugin::Protocol;

/// A connection that has left HTTP.
pub struct Upgraded<S> {
    /// The socket.
    pub socket: S,
    /// The answer to the upgrade, which has not been written: it leaves in one write with what is said first.
    pub answer: Vec<u8>,
    /// What arrived behind the request.
    pub head: Bytes,
}

/// A WebSocket whose upgrade has been answered. Whether its credential is any good has not been looked at: a browser
/// cannot see the status of a refused upgrade, so that is told with a close code.
pub struct Opening {
    /// The subprotocol that was agreed on; the first one of the server's when none was offered.
    pub protocol: &'static dyn Protocol,
    /// The bearer of the `Authorization` header. A header that is no bearer is an empty one: it is nobody's.
    pub bearer: Option<SecretString>,
    /// The last part of `/ws/<id>` as it was written: a secret, and perhaps not even a UUID.
    pub registration: Option<SecretString>,
    /// How it is to be closed for what its URL says besides.
    pub refused: Option<Close>,
    /// Who it is on the network, behind trusted proxies; the loopback address on a Unix socket.
    pub peer: IpAddr,
    /// Its place among `limits.connections`, to be dropped with the connection.
    pub permit: Permit,
}
