//! Kinds of log. They know nothing of subscribers.

mod idempotency;
pub mod memory;
mod order;
mod reading;
mod ring;
mod rings;

pub use self::idempotency::KEY_BYTES;
pub use self::ring::{RECORD_BYTES, TOPIC_BYTES};
pub use self::rings::FORGOTTEN_BYTES;

use std::sync::Arc;
use std::time::Duration;

use crate::plugin::Store;

/// One kind of store, as `[store] kind = "…"` names it.
pub struct Kind {
    /// Its name in the configuration.
    pub name: &'static str,
    /// Opens a log of this kind.
    pub build: fn(&Settings) -> Arc<dyn Store>,
}

/// What every kind is told.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For how long an idempotency key is remembered.
    pub key_window: Duration,
    /// How many idempotency keys are remembered at most; the oldest are forgotten first.
    pub keys: usize,
}

/// Every kind there is.
pub const KINDS: &[Kind] = &[memory::KIND];
