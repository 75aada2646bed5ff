//! WebSocket connections.

pub mod handshake;
