//! `[tokens.*]`: bearer secrets whose SHA-256 is in the configuration.
//!
//! The secrets themselves are never kept. A digest is looked up by its first bytes, then compared in constant time.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::config::model::TokenConfig;
use crate::plugin::{AuthError, Authenticator, BoxFuture};
use crate::principal::Principal;
use crate::time::Time;

/// The tokens of one configuration.
pub struct Tokens {
    /// By the first bytes of the digest. Timing can reveal only a prefix of a hash, never of a secret.
    by_digest: HashMap<u64, Vec<Token>>,
    by_name: HashMap<Arc<str>, Arc<Principal>>,
}

struct Token {
    digest: [u8; 32],
    principal: Arc<Principal>,
}

impl Tokens {
    /// Takes the tokens of a checked configuration, in which no two have the same secret or name.
    pub fn new(tokens: &[TokenConfig]) -> Self {
        let mut by_digest: HashMap<u64, Vec<Token>> = HashMap::new();
        let mut by_name = HashMap::new();
        for config in tokens {
            let principal = Arc::new(principal(config));
            by_name.insert(config.name.clone(), principal.clone());
            let token = Token { digest: config.digest, principal };
            by_digest.entry(beginning(&config.digest)).or_default().push(token);
        }
        Self { by_digest, by_name }
    }

    fn find(&self, bearer: &str) -> Option<&Arc<Principal>> {
        let digest: [u8; 32] = Sha256::digest(bearer).into();
        let candidates = self.by_digest.get(&beginning(&digest))?;
        candidates.iter().find(|token| bool::from(token.digest.ct_eq(&digest))).map(|token| &token.principal)
    }
}

impl Authenticator for Tokens {
    fn authenticate<'a>(&'a self, bearer: &'a str, now: Time) -> BoxFuture<'a, Result<Arc<Principal>, AuthError>> {
        let answer = match self.find(bearer) {
            None => Err(AuthError::Unknown),
            Some(principal) if principal.expired(now) => Err(AuthError::Expired(principal.name().into())),
            Some(principal) => Ok(principal.clone()),
        };
        Box::pin(std::future::ready(answer))
    }

    fn renew(&self, principal: &Principal) -> Option<Arc<Principal>> {
        let now = self.by_name.get(principal.token.as_ref()?)?;
        (now.fingerprint == principal.fingerprint).then(|| now.clone())
    }
}

fn principal(config: &TokenConfig) -> Principal {
    Principal {
        token: Some(config.name.clone()),
        user: config.user.clone(),
        grants: config.grants.clone(),
        not_after: config.not_after,
        fingerprint: fingerprint(config),
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tokens({})", self.by_name.len())
    }
}

/// The first bytes of a hash over digest and user, which reveal neither. Never 0, which is the fingerprint of anonymous
/// callers.
fn fingerprint(config: &TokenConfig) -> u64 {
    let mut hash = Sha256::new();
    hash.update(config.digest);
    // Distinguishes no user from a user with an empty id, although that cannot exist.
    hash.update([u8::from(config.user.is_some())]);
    hash.update(config.user.as_ref().map_or("", |user| user.as_str()));
    beginning(&hash.finalize().into()).max(1)
}

fn beginning(digest: &[u8; 32]) -> u64 {
    u64::from_be_bytes(*digest.first_chunk().expect("a SHA-256 has more than 8 bytes"))
}

#[cfg(test)]
#[path = "tokens_test.rs"]
mod tests;
