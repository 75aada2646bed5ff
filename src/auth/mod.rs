//! Kinds of authentication: each decides who a bearer credential is. Knows neither sockets nor topics.

pub mod tokens;

use std::sync::Arc;

use crate::config::model::TokenConfig;
use crate::plugin::Authenticator;

/// Who decides. A credential does not say of which kind it is: with a second kind, this says which is asked first.
pub fn build(tokens: &[TokenConfig]) -> Arc<dyn Authenticator> {
    Arc::new(tokens::Tokens::new(tokens))
}
