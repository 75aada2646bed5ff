//! Rates: how often callers do something, counted for the current second.
//!
//! Fixed windows rather than a token bucket for each key: everything is forgotten each second, so one second bounds the
//! memory, and no sweep is needed. Around the turn of a second, up to twice the limit may pass.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::lock::lock;
use crate::problem::{Rate, Refusal};

/// Most keys told apart within one second; the others share one count.
pub const MAX_KEYS: usize = 65_536;

/// Counts by key, which start from zero each second.
pub struct PerSecond<K>(Mutex<Second<K>>);

struct Second<K> {
    since: Option<Instant>,
    counts: HashMap<K, u32>,
    others: u32,
}

impl<K> Default for PerSecond<K> {
    fn default() -> Self {
        Self(Mutex::new(Second::default()))
    }
}

impl<K> Default for Second<K> {
    fn default() -> Self {
        Self { since: None, counts: HashMap::new(), others: 0 }
    }
}

impl<K: Hash + Eq> PerSecond<K> {
    /// A key's count.
    pub fn get(&self, key: &K, now: Instant) -> u32 {
        let second = lock(&self.0);
        match second.since {
            Some(since) if now.duration_since(since) < Duration::from_secs(1) => {
                let full = second.counts.len() >= MAX_KEYS;
                second.counts.get(key).copied().unwrap_or(if full { second.others } else { 0 })
            }
            _ => 0,
        }
    }

    /// Adds to a key's count, and returns the sum.
    pub fn add(&self, key: K, n: u32, now: Instant) -> u32 {
        self.change(key, now, |count| {
            *count = count.saturating_add(n);
            *count
        })
    }

    /// Adds to a key's count if the sum stays within the limit; returns whether it did. A refused request is not
    /// counted.
    pub fn add_within(&self, key: K, n: u32, limit: u32, now: Instant) -> bool {
        self.change(key, now, |count| match count.checked_add(n).filter(|sum| *sum <= limit) {
            Some(sum) => {
                *count = sum;
                true
            }
            None => false,
        })
    }

    fn change<T>(&self, key: K, now: Instant, change: impl FnOnce(&mut u32) -> T) -> T {
        let mut second = lock(&self.0);
        if second.since.is_none_or(|since| now.duration_since(since) >= Duration::from_secs(1)) {
            *second = Second { since: Some(now), ..Second::default() };
        }
        let count = if second.counts.len() < MAX_KEYS || second.counts.contains_key(&key) {
            second.counts.entry(key).or_default()
        } else {
            &mut second.others
        };
        change(count)
    }
}

/// Whose rate it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Whose {
    /// A token's, by its name.
    Token(Arc<str>),
    /// An anonymous caller's, by its network.
    Network(IpAddr),
}

/// The rates of callers.
#[derive(Default)]
pub struct Rates {
    publishes: PerSecond<Whose>,
    connections: PerSecond<IpAddr>,
}

impl Rates {
    /// Counts publishes that are within the rate.
    ///
    /// # Errors
    /// 429 over `limits.publish_rate`; 413 for more than a whole second may have, where waiting would not help.
    pub fn publish(&self, whose: Whose, n: usize, limit: u32) -> Result<(), Refusal> {
        let n = u32::try_from(n).unwrap_or(u32::MAX);
        // relay.toml has no rate of 0, but code may. Waiting would not help then, but a single publish is not too many
        // at once.
        if n > limit.max(1) {
            return Err(Refusal::TooMany { what: "the list", limit: "publish_rate", most: limit as usize });
        }
        match self.publishes.add_within(whose, n, limit, Instant::now()) {
            true => Ok(()),
            false => Err(Refusal::RateLimited(Rate::Publishes)),
        }
    }

    /// Counts a connection against `limits.connect_rate`.
    pub fn connect(&self, peer: IpAddr, limit: u32) -> Pace {
        match self.connections.add(network(peer), 1, Instant::now()) {
            count if count <= limit => Pace::Within,
            count if count <= limit.saturating_mul(2) => Pace::Over,
            _ => Pace::FarOver,
        }
    }
}

/// How fast a network connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Within the rate.
    Within,
    /// Over the rate, at most twice as fast.
    Over,
    /// More than twice as fast.
    FarOver,
}

/// The network to count an address by: whoever has one IPv6 address has its /64.
pub fn network(peer: IpAddr) -> IpAddr {
    match peer {
        IpAddr::V4(_) => peer,
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{MAX_KEYS, Pace, PerSecond, Rates, Whose};

    #[test]
    fn counts_begin_anew_each_second() {
        let (counts, start) = (PerSecond::default(), Instant::now());
        assert_eq!(counts.add("a", 2, start), 2);
        assert_eq!(counts.add("b", 1, start), 1);
        assert_eq!((counts.get(&"a", start), counts.get(&"c", start)), (2, 0));
        assert_eq!(counts.add("a", 1, start + Duration::from_millis(999)), 3);
        assert_eq!(counts.get(&"a", start + Duration::from_secs(1)), 0);
        assert_eq!(counts.add("a", 1, start + Duration::from_secs(1)), 1);
    }

    #[test]
    fn memory_is_bounded() {
        let (counts, start) = (PerSecond::default(), Instant::now());
        for n in 0..MAX_KEYS + 1_000 {
            counts.add(n, 1, start);
        }
        assert_eq!(counts.add(MAX_KEYS + 5_000, 1, start), 1_001, "the others share one count");
        assert_eq!(counts.add(0, 1, start), 2);
        assert_eq!((counts.get(&(MAX_KEYS + 6_000), start), counts.get(&0, start)), (1_001, 2));
    }

    #[test]
    fn a_batch_counts_as_what_is_in_it() {
        let (rates, whose) = (Rates::default(), Whose::Token("shop".into()));
        assert!(rates.publish(whose.clone(), 3, 3).is_ok());
        let refusal = rates.publish(whose, 1, 3).expect_err("over the rate");
        assert_eq!(refusal.to_string(), "over `limits.publish_rate`: try again in 1 s");
        // A refused publish does not count.
        let whose = Whose::Token("half".into());
        assert!(rates.publish(whose.clone(), 2, 3).is_ok());
        assert!(rates.publish(whose.clone(), 2, 3).is_err());
        assert!(rates.publish(whose, 1, 3).is_ok(), "there was room for one");
        let refusal = rates.publish(Whose::Token("other".into()), 4, 3).expect_err("more than a second may have");
        assert_eq!(refusal.to_string(), "the list is longer than `limits.publish_rate` allows (3)");
    }

    #[test]
    fn connections_are_counted_for_each_network() {
        let rates = Rates::default();
        let connect = |peer: &str| rates.connect(peer.parse().expect("an address"), 1);
        assert_eq!(connect("2001:db8::1"), Pace::Within);
        assert_eq!(connect("2001:db8::2"), Pace::Over, "whoever has one address has its /64");
        assert_eq!([connect("2001:db8::3"), connect("2001:db8::3")], [Pace::FarOver; 2]);
        assert_eq!([connect("2001:db8:0:1::1"), connect("192.0.2.1")], [Pace::Within; 2]);
    }
}
