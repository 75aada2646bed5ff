//! The close codes of the WebSocket protocol, decided in one place.
//!
//! 4000–4099: do not reconnect unchanged. 4100–4199: reconnect with backoff. 4200–4299: reconnect. After a `goaway`,
//! not sooner than its `reconnect_after_ms`. The codes below 4000 are RFC 6455, section 7.4.1.

use crate::problem::{Rate, Refusal};

/// Why a connection is closed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each name says it, and `reason` writes it out")]
pub enum Close {
    ProtocolError,
    UnsupportedData,
    InvalidText,
    TooBig,
    Malformed,
    CredentialInUrl,
    ParameterInUrl,
    Unauthenticated,
    UnknownRegistration,
    TokenExpired,
    Forbidden,
    AuthTimeout,
    TokenRevoked,
    Unregistered,
    Replaced,
    TooManyMalformed,
    OverCapacity,
    Lagging,
    Shed,
    RateLimited(Rate),
    Internal,
    Draining,
    NoSignOfLife,
}

impl Close {
    /// The code on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::ProtocolError => 1002,
            Self::UnsupportedData => 1003,
            Self::InvalidText => 1007,
            Self::TooBig => 1009,
            Self::Malformed | Self::CredentialInUrl | Self::ParameterInUrl => 4000,
            Self::Unauthenticated | Self::UnknownRegistration => 4001,
            Self::TokenExpired => 4002,
            Self::Forbidden => 4003,
            Self::AuthTimeout => 4008,
            Self::TokenRevoked => 4010,
            Self::Unregistered => 4011,
            Self::Replaced => 4012,
            Self::TooManyMalformed => 4013,
            Self::OverCapacity => 4100,
            Self::Lagging | Self::Shed => 4101,
            Self::RateLimited(_) => 4102,
            Self::Internal => 4103,
            Self::Draining => 4200,
            Self::NoSignOfLife => 4201,
        }
    }

    /// Whether the peer violated the framing: nothing that it sends from here on can be understood.
    pub fn is_violation(self) -> bool {
        self.code() < 4000
    }

    /// The reason on the wire: what happened and what to do, at most 123 bytes (RFC 6455, section 5.5).
    pub fn reason(self) -> &'static str {
        match self {
            Self::ProtocolError => "protocol error: see RFC 6455",
            Self::UnsupportedData => "binary messages are not supported: send JSON as text",
            Self::InvalidText => "a text message is not valid UTF-8",
            Self::TooBig => "a message is larger than `limits.frame` allows",
            Self::Malformed => "malformed or refused command (`relay.v1` says why), or a lost position: omit `after`",
            Self::CredentialInUrl => {
                "a credential in a URL ends up in logs: send `auth` as the first message, or use `/register`"
            }
            Self::ParameterInUrl => "unknown parameter: the URL of a WebSocket takes none, send `subscribe`",
            Self::Unauthenticated => "the credential is missing, wrong or unknown: send `auth` first, or get a new one",
            Self::UnknownRegistration => {
                "unknown registration: it was deleted or has expired, or the server was restarted; register again"
            }
            Self::TokenExpired => "the token has expired: get a new one",
            Self::Forbidden => "the credential does not grant this, or the topic was removed",
            Self::AuthTimeout => "no credential within `limits.auth_timeout`: send `auth` first",
            Self::TokenRevoked => "the token was revoked or changed: get a new one",
            Self::Unregistered => "the registration was deleted, or is not allowed any more: register again",
            Self::Replaced => "a newer connection uses this registration",
            Self::TooManyMalformed => "ten malformed messages: fix the sender before reconnecting",
            Self::OverCapacity => "over capacity: reconnect after `reconnect_after_ms`, then with backoff",
            Self::Lagging => "too slow for this topic: reconnect, and resume from your position if you know it",
            Self::Shed => "too slow while slow readers filled `limits.outbound`: reconnect with backoff, and resume",
            Self::RateLimited(Rate::AuthFailures) => {
                "more than `limits.auth_failures` wrong credentials per second: reconnect with backoff"
            }
            Self::RateLimited(Rate::Commands) => {
                "more than `limits.commands` commands per second: reconnect with backoff"
            }
            Self::RateLimited(Rate::Connects) => {
                "more than `limits.connect_rate` connections per second: reconnect with backoff"
            }
            Self::RateLimited(Rate::Publishes) => {
                "more than `limits.publish_rate` publishes per second: reconnect with backoff"
            }
            Self::Internal => "internal error: reconnect with backoff",
            Self::Draining => "the server is shutting down: reconnect after `reconnect_after_ms`",
            Self::NoSignOfLife => "no sign of life within `limits.pong_timeout`: reconnect",
        }
    }

    /// The reason for a peer that was not sent the `goaway` which precedes this close.
    pub fn reason_alone(self) -> &'static str {
        match self {
            Self::OverCapacity => "over capacity: reconnect with backoff",
            Self::Draining => "the server is shutting down: reconnect with backoff",
            other => other.reason(),
        }
    }
}

/// The close that tells a refusal, where it can only be told by closing.
impl From<&Refusal> for Close {
    fn from(refusal: &Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated { .. } | Refusal::Anonymous { .. } | Refusal::NotBearer => Self::Unauthenticated,
            Refusal::UnknownRegistration => Self::UnknownRegistration,
            Refusal::TokenExpired => Self::TokenExpired,
            Refusal::Forbidden { .. }
            | Refusal::ForbiddenUser { .. }
            | Refusal::OriginDenied { .. }
            | Refusal::UnknownTopic { .. } => Self::Forbidden,
            Refusal::RateLimited(limit) => Self::RateLimited(*limit),
            Refusal::Overloaded { .. } => Self::OverCapacity,
            Refusal::Draining => Self::Draining,
            Refusal::Internal { .. } => Self::Internal,
            Refusal::Batch(items) => items.first().map_or(Self::Malformed, |(_, first)| first.into()),
            _ => Self::Malformed,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::Close;
    use crate::problem::Rate;

    /// The next close in this list: a new one that is left out here does not compile.
    fn next(close: Close) -> Option<Close> {
        Some(match close {
            Close::ProtocolError => Close::UnsupportedData,
            Close::UnsupportedData => Close::InvalidText,
            Close::InvalidText => Close::TooBig,
            Close::TooBig => Close::Malformed,
            Close::Malformed => Close::CredentialInUrl,
            Close::CredentialInUrl => Close::ParameterInUrl,
            Close::ParameterInUrl => Close::Unauthenticated,
            Close::Unauthenticated => Close::UnknownRegistration,
            Close::UnknownRegistration => Close::TokenExpired,
            Close::TokenExpired => Close::Forbidden,
            Close::Forbidden => Close::AuthTimeout,
            Close::AuthTimeout => Close::TokenRevoked,
            Close::TokenRevoked => Close::Unregistered,
            Close::Unregistered => Close::Replaced,
            Close::Replaced => Close::TooManyMalformed,
            Close::TooManyMalformed => Close::OverCapacity,
            Close::OverCapacity => Close::Lagging,
            Close::Lagging => Close::Shed,
            Close::Shed => Close::RateLimited(Rate::AuthFailures),
            Close::RateLimited(Rate::AuthFailures) => Close::RateLimited(Rate::Commands),
            Close::RateLimited(Rate::Commands) => Close::RateLimited(Rate::Connects),
            Close::RateLimited(Rate::Connects) => Close::RateLimited(Rate::Publishes),
            Close::RateLimited(Rate::Publishes) => Close::Internal,
            Close::Internal => Close::Draining,
            Close::Draining => Close::NoSignOfLife,
            Close::NoSignOfLife => return None,
        })
    }

    #[test]
    fn each_has_a_code_and_a_reason_that_fits_a_control_frame() {
        let all: Vec<_> = std::iter::successors(Some(Close::ProtocolError), |close| next(*close)).collect();
        assert_eq!(all.len(), 26);
        for close in &all {
            assert!(close.reason().len() <= 123, "{close:?}");
        }
        // One code covers a faulty message or URL, one whatever is unknown, one what is too fast, and one what is too
        // slow.
        let one = |close: &&Close| {
            !matches!(
                close,
                Close::RateLimited(_)
                    | Close::CredentialInUrl
                    | Close::ParameterInUrl
                    | Close::UnknownRegistration
                    | Close::Shed
            )
        };
        let kinds = all.iter().filter(one);
        let codes: HashSet<u16> = kinds.clone().map(|close| close.code()).collect();
        assert_eq!(codes.len(), kinds.count(), "two mean the same");
    }

    /// The range of a code, not the code itself, tells a client whether to come back.
    #[test]
    fn what_to_do_is_in_the_range_of_the_code() {
        for close in std::iter::successors(Some(Close::ProtocolError), |close| next(*close)) {
            let range = match close {
                Close::ProtocolError | Close::UnsupportedData | Close::InvalidText | Close::TooBig => 1000..=1015,
                Close::OverCapacity | Close::Lagging | Close::Shed | Close::RateLimited(_) | Close::Internal => {
                    4100..=4199
                }
                Close::Draining | Close::NoSignOfLife => 4200..=4299,
                // Nothing that would fail again in the same way.
                _ => 4000..=4099,
            };
            assert!(range.contains(&close.code()), "{close:?}");
        }
    }

    /// `relay.raw` has no `goaway`, which alone says when to come back.
    #[test]
    fn nobody_is_told_to_wait_for_what_he_was_not_told() {
        for close in std::iter::successors(Some(Close::ProtocolError), |close| next(*close)) {
            assert!(!close.reason_alone().contains("reconnect_after_ms"), "{close:?}");
        }
    }
}
