//! From files to what a server runs on: the one place that puts configuration, schemas and kinds together.

pub(crate) mod aside;
pub mod build;
pub mod gate;
pub mod load;
pub mod plan;
pub mod reload;
mod schemas;
mod succession;
mod tls;
mod trigger;
pub mod worst_case;

pub use self::load::{Loaded, load};

use crate::config::keys::Kinds;
use crate::plugin::Protocol;
use crate::protocol;
use crate::store;

/// The WebSocket subprotocols; the first is spoken where none is offered.
pub const PROTOCOLS: &[&dyn Protocol] = &[protocol::KINDS[0].protocol, protocol::KINDS[1].protocol];

/// The kinds that are built in, as the configuration knows them.
pub const KINDS: Kinds = Kinds { store: &[store::KINDS[0].config] };
