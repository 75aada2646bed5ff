//! Who calls: the one way from a bearer credential to a principal, over HTTP and WebSocket alike.
//!
//! A wrong credential is never anonymous. Failures are counted for each address, so that guessing is slow.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tracing::warn;

use crate::counter::Counter;
use crate::plugin::AuthError;
use crate::principal::Principal;
use crate::problem::{Rate, Refusal};
use crate::rates::{PerSecond, limited, network};
use crate::snapshot::Snapshot;
use crate::time::Time;

/// Decides who it is.
///
/// # Errors
/// 401 for a credential that is wrong or has expired; 429 for a wrong one over `limits.auth_failures`, and then, unless it is
/// loopback, for any of that address.
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
    // All services of this machine share its loopback address: one that has a wrong token must not keep the others out.
    if !peer.is_loopback() && failures.of(peer, now) >= limit {
        return Err(limited(Rate::AuthFailures));
    }
    snapshot.auth.authenticate(bearer, Time::now()).await.map_err(|error| {
        if failures.count(peer, now) > limit {
            return limited(Rate::AuthFailures);
        }
        let (reason, refusal) = match error {
            AuthError::Unknown => ("unknown", Refusal::Unauthenticated { wrong: true }),
            AuthError::Expired => ("expired", Refusal::TokenExpired),
        };
        warn!(%peer, reason, "a credential was refused");
        refusal
    })
}

/// Failed authentications of each address.
#[derive(Default)]
pub struct Failures {
    counts: PerSecond<IpAddr>,
    /// All of them, ever.
    pub total: Counter,
}

impl Failures {
    fn of(&self, peer: IpAddr, now: Instant) -> u32 {
        self.counts.get(&network(peer), now)
    }

    fn count(&self, peer: IpAddr, now: Instant) -> u32 {
        self.total.add(1);
        self.counts.add(network(peer), 1, now)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use super::Failures;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn failures_are_counted_for_each_network_and_second() {
        let (failures, start) = (Failures::default(), Instant::now());
        for _ in 0..3 {
            failures.count(ip("10.0.0.1"), start);
            failures.count(ip("2001:db8::1"), start);
        }
        let later = start + Duration::from_millis(999);
        assert_eq!(failures.of(ip("10.0.0.1"), later), 3);
        assert_eq!(failures.of(ip("10.0.0.2"), later), 0);
        assert_eq!(failures.of(ip("2001:db8::ffff"), later), 3);
        assert_eq!(failures.of(ip("2001:db8:0:1::1"), later), 0);
        assert_eq!(failures.of(ip("10.0.0.1"), start + Duration::from_secs(1)), 0);
    }
}
