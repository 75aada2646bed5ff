//! Kinds of log. They know nothing of subscribers.

mod clock;
mod idempotency;
mod log;
pub mod memory;
mod order;
mod reading;
mod ring;
mod rings;

pub use self::idempotency::KEY_BYTES;
pub use self::ring::{RECORD_BYTES, TOPIC_BYTES};
pub use self::rings::FORGOTTEN_BYTES;

use std::sync::Arc;

use crate::plugin::Store;

/// One kind of store, as `[store] kind = "…"` names it.
pub struct Kind {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Opens a log of this kind.
    pub build: fn() -> Arc<dyn Store>,
}

/// Every kind.
pub const KINDS: &[Kind] = &[memory::KIND];
