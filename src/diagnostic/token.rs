//! Facts about `[tokens.*]` and `[anonymous]`. None of them holds a secret or a digest.

use std::fmt;

use super::{About, did_you_mean};

/// What is wrong with a token or with grants.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "each name says it, and `Display` writes it out")]
pub enum TokenFact {
    BadName {
        name: String,
    },
    Duplicate {
        name: String,
    },
    /// `length` is the number of characters, where 64 are expected.
    BadDigest {
        name: String,
        length: usize,
    },
    NoSecret {
        name: String,
    },
    TwoSecrets {
        name: String,
    },
    PlainSecret {
        name: String,
    },
    BadSecretSource,
    /// `None` if the text cannot be the name of a variable, and may be the secret itself.
    EnvUnset {
        variable: Option<String>,
    },
    /// `path` is `None` if it may be the secret itself.
    SecretUnreadable {
        path: Option<String>,
        cause: String,
    },
    EmptySecret {
        source: String,
    },
    UnusableSecret {
        source: String,
    },
    LongSecret {
        source: String,
        bytes: usize,
        most: usize,
    },
    WeakSecret {
        name: String,
    },
    SameSecret {
        name: String,
        other: String,
    },
    BadNotAfter {
        value: String,
    },
    Expired {
        name: String,
        since: String,
    },
    NoGrants {
        name: String,
    },
    BadPattern {
        pattern: String,
        why: String,
    },
    BadUser {
        user: String,
        why: String,
    },
    GrantMatchesNothing {
        pattern: String,
        suggestion: Option<String>,
    },
}

const NAME: &str = "use 1 to 64 characters of A-Z, a-z, 0-9, `_`, `-` and `.`; `anonymous` and `unauthenticated` are \
                    reserved: the log uses them for callers without a token";

const NO_VARIABLE: &str =
    "a name of A-Z, 0-9 and `_` would be shown here; if this is the secret itself, treat it as leaked";

const NO_PATH: &str =
    "a path with a `/` or a `.` would be shown here; if this is the secret itself, treat it as leaked";

impl TokenFact {
    pub(super) fn about(&self) -> About {
        match self {
            Self::BadName { .. } => About::error("bad-token-name", NAME),
            Self::Duplicate { .. } => About::error("duplicate-token", "keep one of them"),
            Self::BadDigest { .. } => About::error(
                "bad-digest",
                "write the SHA-256 of the secret as 64 hex digits: `relay token new` prints both",
            ),
            Self::NoSecret { .. } => About::error(
                "token-without-secret",
                "add `sha256 = \"…\"`, `secret = { env = \"…\" }` or `secret = { file = \"…\" }`; `relay token new` makes one",
            ),
            Self::TwoSecrets { .. } => {
                About::error("two-secrets", "keep one of them; to rotate, declare a second token with the same grants")
            }
            Self::PlainSecret { .. } => About::error(
                "plain-secret",
                "treat it as leaked; write `secret = { env = \"…\" }`, `secret = { file = \"…\" }`, or its digest as `sha256`",
            ),
            Self::BadSecretSource => About::error(
                "bad-secret-source",
                "write `secret = { env = \"NAME\" }` or `secret = { file = \"/path\" }`",
            ),
            Self::EnvUnset { variable: None } => About::error("env-unset", NO_VARIABLE),
            Self::EnvUnset { .. } => About::error("env-unset", "set it for the server's process and for `relay check`"),
            Self::SecretUnreadable { path: None, .. } => About::error("secret-unreadable", NO_PATH),
            Self::SecretUnreadable { .. } => {
                About::error("secret-unreadable", "check that the file is there and that the server's user may read it")
            }
            Self::EmptySecret { .. } => About::error("empty-secret", "make a secret with `relay token new`"),
            Self::UnusableSecret { .. } => {
                About::error("unusable-secret", "use visible ASCII on one line (RFC 6750), as `relay token new` does")
            }
            Self::LongSecret { .. } => About::error("unusable-secret", "make a shorter one with `relay token new`"),
            Self::WeakSecret { .. } => {
                About::warning("weak-secret", "make one of 256 random bits with `relay token new`")
            }
            Self::SameSecret { .. } => {
                About::error("same-secret", "a secret identifies the caller: give each token its own")
            }
            Self::BadNotAfter { .. } => {
                About::error("bad-not-after", "write date, time and offset without quotes: `2027-01-01T00:00:00Z`")
            }
            Self::Expired { .. } => About::warning("expired-token", "remove it, or give it a later `not_after`"),
            Self::NoGrants { .. } => {
                About::warning("token-without-grants", "add `publish`, `subscribe` or `register`, or remove the token")
            }
            Self::BadPattern { .. } => About::error(
                "bad-pattern",
                "write a topic; `*` stands for one segment, `**` as the last for one or more: `orders.*`, `orders.**`",
            ),
            Self::BadUser { .. } => About::error(
                "bad-user",
                "write 1 to 255 bytes without control characters; in `register`, `*` may end it",
            ),
            Self::GrantMatchesNothing { suggestion, .. } => About::warning(
                "grant-matches-nothing",
                did_you_mean(suggestion.as_ref(), || "declare such a topic, or remove the grant".to_owned()),
            ),
        }
    }
}

impl fmt::Display for TokenFact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadName { name } => write!(f, "`{name}` is not a token name"),
            Self::Duplicate { name } => write!(f, "token `{name}` is declared twice"),
            Self::BadDigest { name, length } => {
                write!(f, "`sha256` of token `{name}` is not 64 hex digits ({length} characters)")
            }
            Self::NoSecret { name } => write!(f, "token `{name}` has no secret"),
            Self::TwoSecrets { name } => write!(f, "token `{name}` has both `sha256` and `secret`"),
            Self::PlainSecret { name } => write!(f, "the secret of token `{name}` is in the file in plain text"),
            Self::BadSecretSource => f.write_str("`secret` names either a variable or a file"),
            Self::EnvUnset { variable: Some(name) } => write!(f, "the environment variable `{name}` is not set"),
            Self::EnvUnset { variable: None } => f.write_str("`secret.env` names no environment variable that is set"),
            Self::SecretUnreadable { path: Some(path), cause } => {
                write!(f, "cannot read the secret in `{path}`: {cause}")
            }
            Self::SecretUnreadable { path: None, cause } => {
                write!(f, "cannot read the file that `secret.file` names: {cause}")
            }
            Self::EmptySecret { source } => write!(f, "the secret in `{source}` is empty"),
            Self::UnusableSecret { source } => {
                write!(f, "the secret in `{source}` has characters that no `Authorization` header can carry")
            }
            Self::LongSecret { source, bytes, most } => {
                write!(f, "the secret in `{source}` has {bytes} bytes; at most {most} are allowed")
            }
            Self::WeakSecret { name } => write!(f, "the secret of token `{name}` is shorter than 128 bits"),
            Self::SameSecret { name, other } => write!(f, "tokens `{name}` and `{other}` have the same secret"),
            Self::BadNotAfter { value } => write!(f, "`{value}` is not a date with time and offset"),
            Self::Expired { name, since } => write!(f, "token `{name}` has expired: its `not_after` is {since}"),
            Self::NoGrants { name } => write!(f, "token `{name}` grants nothing"),
            Self::BadPattern { pattern, why } => write!(f, "`{pattern}` is not a pattern: {why}"),
            Self::BadUser { user, why } => write!(f, "`{user}` is not a user: {why}"),
            Self::GrantMatchesNothing { pattern, .. } => write!(f, "`{pattern}` matches no declared topic"),
        }
    }
}
