//! Who calls: the one way from a bearer credential to a principal, over HTTP and WebSocket alike.
//!
//! A wrong credential is never anonymous. Failures are counted for each address, so that guessing is slow.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::warn;

use crate::hub::topic::Counter;
use crate::message::Time;
use crate::plugin::AuthError;
use crate::principal::Principal;
use crate::problem::Refusal;
use crate::snapshot::Snapshot;

/// So many addresses are told apart within one second; the others share one count.
const MAX_ADDRESSES: usize = 65_536;

/// Decides who it is.
///
/// # Errors
/// 401 for a credential that is wrong or has expired, 429 for any credential of an address with too many wrong ones.
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
    let limited = || Refusal::RateLimited { limit: "auth_failures", retry_after: Duration::from_secs(1) };
    // All services of this machine share its loopback address: one that has a wrong token must not keep the others out.
    if failures.of(peer, now) >= limit && !peer.is_loopback() {
        return Err(limited());
    }
    snapshot.auth.authenticate(bearer, Time::now()).await.map_err(|error| {
        if failures.count(peer, now) > limit {
            return limited();
        }
        warn!(%peer, ?error, "a credential was refused");
        match error {
            AuthError::Unknown => Refusal::Unauthenticated { wrong: true },
            AuthError::Expired => Refusal::TokenExpired,
        }
    })
}

/// Failed authentications of each address in the current second.
///
/// A fixed window rather than a token bucket for each address: it forgets everything each second, so that its memory is
/// bounded by what one second can bring, and no sweep is needed. Around a tick it lets twice the limit through.
#[derive(Default)]
pub struct Failures {
    window: Mutex<Window>,
    /// All of them, ever.
    pub total: Counter,
}

#[derive(Default)]
struct Window {
    since: Option<Instant>,
    counts: HashMap<IpAddr, u32>,
    others: u32,
}

impl Failures {
    fn of(&self, peer: IpAddr, now: Instant) -> u32 {
        *self.window.lock().unwrap_or_else(PoisonError::into_inner).of(peer, now)
    }

    fn count(&self, peer: IpAddr, now: Instant) -> u32 {
        self.total.add(1);
        let mut window = self.window.lock().unwrap_or_else(PoisonError::into_inner);
        let count = window.of(peer, now);
        *count += 1;
        *count
    }
}

impl Window {
    fn of(&mut self, peer: IpAddr, now: Instant) -> &mut u32 {
        if self.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            *self = Self { since: Some(now), ..Self::default() };
        }
        let peer = network(peer);
        if self.counts.len() < MAX_ADDRESSES || self.counts.contains_key(&peer) {
            self.counts.entry(peer).or_default()
        } else {
            &mut self.others
        }
    }
}

/// Whoever has one IPv6 address has its /64.
fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::{Duration, Instant};

    use super::{Failures, MAX_ADDRESSES};

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

    #[test]
    fn memory_is_bounded() {
        let (failures, start) = (Failures::default(), Instant::now());
        let many = u32::try_from(MAX_ADDRESSES).expect("small");
        for n in 0..many + 10_000 {
            failures.count(IpAddr::from(n.to_be_bytes()), start);
        }
        assert_eq!(failures.window.lock().expect("not poisoned").counts.len(), MAX_ADDRESSES);
        assert_eq!(failures.of(IpAddr::from(many.to_be_bytes()), start), 10_000, "the others share one count");
    }
}
