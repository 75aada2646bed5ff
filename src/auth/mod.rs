//! Kinds of authentication: each decides who a bearer credential is. Knows neither sockets nor topics.

pub mod tokens;

use std::sync::Arc;

use crate::config::model::TokenConfig;
use crate::plugin::Authenticator;

/// A kind of authentication.
pub struct Kind {
    /// The section of relay.toml that configures it.
    pub name: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// How it is written.
    pub example: &'static str,
    /// Makes one.
    pub build: fn(&[TokenConfig]) -> Arc<dyn Authenticator>,
}

/// All of them.
pub const KINDS: &[Kind] = &[tokens::KIND];
