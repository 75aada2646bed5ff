//! relay.toml: what the file says, checked, and nothing of what follows from it.

pub mod model;
