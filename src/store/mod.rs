//! Kinds of log. They know nothing of subscribers.

pub mod memory;
mod ring;

use std::sync::Arc;
use std::time::Duration;

use crate::plugin::Store;

/// One kind of store, as `[store] kind = "…"` names it.
pub struct Kind {
    /// The word in the configuration.
    pub name: &'static str,
    /// What it is, in a sentence.
    pub doc: &'static str,
    /// Lines of relay.toml that choose it.
    pub example: &'static str,
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
pub const KINDS: &[Kind] = &[Kind {
    name: "memory",
    doc: "keeps the log in this process's memory; a restart begins a new one, and says so by a new epoch",
    example: "[store]\nkind = \"memory\"\n",
    build: |settings| Arc::new(memory::MemoryStore::new(settings)),
}];
