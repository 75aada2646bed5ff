//! Kinds of authentication, each of which finds out who a bearer credential belongs to. Knows neither sockets nor
//! topics.

pub mod tokens;

use std::sync::Arc;

use crate::config::model::TokenConfig;
use crate::plugin::Authenticator;

/// Builds the authenticator. Credentials do not say of which kind they are, so with a second kind this sets the order.
pub fn build(tokens: &[TokenConfig]) -> Arc<dyn Authenticator> {
    Arc::new(tokens::Tokens::new(tokens))
}
