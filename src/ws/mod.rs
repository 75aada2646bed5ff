//! WebSocket connections.

pub mod handshake;
pub mod opening;

use std::sync::Arc;

use bytes::Bytes;

use crate::hub::connection::Io;
use crate::live::Live;
use crate::ws::opening::Opening;

/// Serves one WebSocket until it ends. `head` are bytes that arrived behind the upgrade request.
pub async fn serve(live: Arc<Live>, socket: Box<dyn Io>, head: Bytes, opening: Opening) {
    let _ = (live, socket, head, opening);
}
