//! Finds the principal of a bearer credential: the one way, for HTTP and WebSocket alike.
//!
//! A wrong credential never becomes anonymous. Failures are counted for each address, which makes guessing slow.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use crate::counter::Counter;
use crate::plugin::AuthError;
use crate::principal::Principal;
use crate::problem::{Rate, Refusal};
use crate::rates::{PerSecond, network};
use crate::snapshot::Snapshot;
use crate::time::Time;

/// The principal of a bearer; the anonymous one without a bearer.
///
/// # Errors
/// 401 for a credential that is wrong or expired. 429 for a wrong one beyond `limits.auth_failures`; from then on for
/// any credential of that address, unless it is loopback.
pub async fn identify(
    snapshot: &Snapshot,
    failures: &Failures,
    bearer: Option<&str>,
    peer: IpAddr,
) -> Result<Arc<Principal>, Refusal> {
    let Some(bearer) = bearer else {
        return Ok(snapshot.anonymous.clone());
    };
    let (now, limit) = (Instant::now(), snapshot.config.limits.auth_failures);
    // All services of this machine share the loopback address: one with a wrong token must not lock out the others.
    if !peer.is_loopback() && failures.of(peer, now) >= limit {
        return Err(Refusal::RateLimited(Rate::AuthFailures));
    }
    snapshot.auth.authenticate(bearer, Time::now()).await.map_err(|error| {
        let (reason, token, refusal) = match error {
            AuthError::Unknown if bearer.is_empty() => (Reason::NoBearer, None, Refusal::NotBearer),
            AuthError::Unknown => (Reason::Unknown, None, Refusal::Unauthenticated { wrong: true }),
            AuthError::Expired(token) => (Reason::Expired, Some(token), Refusal::TokenExpired),
        };
        if failures.count(peer, reason, now) > limit {
            return Refusal::RateLimited(Rate::AuthFailures);
        }
        warn!(%peer, reason = REASONS[reason as usize], token = token.as_deref(), "a credential was refused");
        refusal
    })
}

/// Why a credential was refused.
#[derive(Clone, Copy)]
enum Reason {
    Unknown,
    Expired,
    /// An `Authorization` of another scheme, or without a token, for example from a variable that is not set.
    NoBearer,
}

/// Names of the reasons in the log and the metrics, in the order of [`Reason`].
const REASONS: [&str; 3] = ["unknown", "expired", "no-bearer"];

/// Failed authentications by address.
#[derive(Default)]
pub struct Failures {
    counts: PerSecond<IpAddr>,
    by_reason: [Counter; REASONS.len()],
}

impl Failures {
    fn of(&self, peer: IpAddr, now: Instant) -> u32 {
        self.counts.get(&network(peer), now)
    }

    /// All failures since the start, by reason.
    pub fn by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.by_reason.iter().map(Counter::get))
    }

    fn count(&self, peer: IpAddr, reason: Reason, now: Instant) -> u32 {
        self.by_reason[reason as usize].add(1);
        self.counts.add(network(peer), 1, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use super::{Failures, Reason};

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn failures_are_counted_for_each_network_and_second() {
        let (failures, start) = (Failures::default(), Instant::now());
        for _ in 0..3 {
            failures.count(ip("10.0.0.1"), Reason::Unknown, start);
            failures.count(ip("2001:db8::1"), Reason::Expired, start);
        }
        let later = start + Duration::from_millis(999);
        assert_eq!(failures.of(ip("10.0.0.1"), later), 3);
        assert_eq!(failures.of(ip("10.0.0.2"), later), 0);
        assert_eq!(failures.of(ip("2001:db8::ffff"), later), 3);
        assert_eq!(failures.of(ip("2001:db8:0:1::1"), later), 0);
        assert_eq!(failures.of(ip("10.0.0.1"), start + Duration::from_secs(1)), 0);
    }
}
