use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::Tokens;
use crate::config::model::{Span, TokenConfig};
use crate::name::{Pattern, UserId};
use crate::plugin::{AuthError, Authenticator};
use crate::principal::{Grants, Principal};
use crate::time::Time;

fn token(name: &str, secret: &str) -> TokenConfig {
    TokenConfig {
        name: name.into(),
        span: Span { file: 0, bytes: 0..0 },
        digest: Sha256::digest(secret).into(),
        grants: Grants::default(),
        user: None,
        not_after: None,
    }
}

async fn authenticate(tokens: &Tokens, bearer: &str, now: i64) -> Result<Arc<Principal>, AuthError> {
    tokens.authenticate(bearer, Time(now)).await
}

#[tokio::test]
async fn a_bearer_is_known_by_its_digest() {
    let tokens = Tokens::new(&[token("a", "secret-a"), TokenConfig { not_after: Some(Time(100)), ..token("b", "b") }]);
    assert_eq!(authenticate(&tokens, "secret-a", 0).await.expect("a").name(), "a");
    assert_eq!(authenticate(&tokens, "b", 99).await.expect("b").name(), "b");
    assert_eq!(authenticate(&tokens, "b", 100).await, Err(AuthError::Expired("b".into())));
    for wrong in ["", "secret", "secret-a ", "SECRET-A"] {
        assert_eq!(authenticate(&tokens, wrong, 0).await, Err(AuthError::Unknown), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_principal_is_renewed_while_its_secret_and_user_stand() {
    let before = Tokens::new(&[token("a", "x")]);
    let principal = authenticate(&before, "x", 0).await.expect("a");
    let publish = vec![Pattern::parse("cats").expect("a pattern")].into();
    let more = TokenConfig { grants: Grants { publish, ..Grants::default() }, ..token("a", "x") };
    let renewed = Tokens::new(&[more]).renew(&principal).expect("still there");
    assert_eq!(renewed.grants.publish.len(), 1);

    let user = Some(UserId::parse("ops").expect("a user"));
    for (what, tokens) in [
        ("removed", vec![]),
        ("renamed", vec![token("b", "x")]),
        ("another secret", vec![token("a", "y")]),
        ("another user", vec![TokenConfig { user, ..token("a", "x") }]),
    ] {
        assert!(Tokens::new(&tokens).renew(&principal).is_none(), "{what}");
    }
}
