//! From files to what a server runs on: the one place that puts configuration, schemas and kinds together.

pub(crate) mod aside;
pub mod build;
pub mod gate;
pub mod load;
pub mod plan;
mod refused;
pub mod reload;
mod schemas;
mod succession;
mod tls;
mod trigger;
pub mod worst_case;

pub use self::load::{Loaded, load};

use crate::config::keys::Kind;
use crate::plugin::Protocol;
use crate::protocol;
use crate::store;

/// The WebSocket subprotocols; the first is spoken where none is offered.
pub const PROTOCOLS: &[&dyn Protocol] = protocol::KINDS;

/// The kinds of store that are built in, as the configuration knows them.
pub fn stores() -> Vec<Kind> {
    store::KINDS.iter().map(|kind| kind.config).collect()
}
