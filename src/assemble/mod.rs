//! From files to what a server runs on: the one place that puts configuration, schemas and kinds together.

pub mod load;
mod schemas;
pub mod worst_case;

pub use self::load::{Loaded, load};

use crate::config::keys::{Kind, Kinds};

/// The kinds that are built in.
pub const KINDS: Kinds =
    Kinds { store: &[Kind { name: "memory", doc: "in this process, gone when it ends", keys: &[] }] };
