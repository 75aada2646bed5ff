//! The sentences for callers without a valid credential: each says where a valid one goes, and none says whether a
//! topic exists.

use std::fmt;

use crate::problem::Refusal;

impl Refusal {
    /// Writes the `detail` of a refusal about credentials; not called for any other.
    pub(super) fn of_credential(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unauthenticated { wrong: true } => {
                "unknown token: check that it is spelled correctly and still in relay.toml"
            }
            Self::Anonymous { topics, open } => {
                let show = match open {
                    true => "reconnect and send `auth` as the first message or a bearer token with the upgrade request",
                    false => "send `Authorization: Bearer <token>`",
                };
                return write!(f, "anonymous callers have no grant for `{topics}`: check the name, or {show}");
            }
            Self::NotBearer => "only bearer tokens are accepted: send `Authorization: Bearer <token>`",
            Self::TokenExpired => "the token has expired (`not_after`): use its successor",
            Self::UnknownRegistration => {
                "unknown registration: it was deleted or has expired, or the server was restarted; register again"
            }
            Self::NoRegistration => "unknown registration: it was deleted or has expired, or the server was restarted",
            Self::Unauthenticated { wrong: false } => {
                "anonymous callers have no grant for this: send `Authorization: Bearer <token>`"
            }
            _ => unreachable!("it is of no credential"),
        })
    }
}
