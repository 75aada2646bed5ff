//! Places for connections that have not said who they are: few, so that they cannot crowd out anybody, and of these one
//! network has no more than half, so that it cannot crowd out the others who are about to say.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::lock::lock;
use crate::rates::network;

/// All of them.
#[derive(Default)]
pub struct Unauthenticated(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    /// Of networks that have some.
    by_network: HashMap<IpAddr, usize>,
}

/// One place, free again when dropped.
pub struct Place {
    taken: Arc<Mutex<Taken>>,
    network: IpAddr,
}

impl Unauthenticated {
    /// Takes a place, if fewer than `limit` are taken, and fewer than half of them by the peer's network. All services of
    /// this machine share its loopback address, and are not held to a half.
    pub fn enter(&self, limit: usize, peer: IpAddr) -> Option<Place> {
        let (mut taken, network) = (lock(&self.0), network(peer));
        let own = taken.by_network.get(&network).copied().unwrap_or_default();
        if taken.all >= limit || own >= limit.div_ceil(2) && !peer.is_loopback() {
            return None;
        }
        taken.all += 1;
        taken.by_network.insert(network, own + 1);
        Some(Place { taken: self.0.clone(), network })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.0).all
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        taken.all -= 1;
        match taken.by_network.get_mut(&self.network) {
            Some(own) if *own > 1 => *own -= 1,
            _ => drop(taken.by_network.remove(&self.network)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::Unauthenticated;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn one_too_many_is_not_let_in_and_takes_no_place() {
        let unauthenticated = Unauthenticated::default();
        let first = unauthenticated.enter(1, ip("127.0.0.1"));
        assert!(first.is_some());
        assert!(unauthenticated.enter(1, ip("127.0.0.1")).is_none());
        assert_eq!(unauthenticated.count(), 1);
        drop(first);
        assert_eq!(unauthenticated.count(), 0);
        assert!(unauthenticated.enter(1, ip("127.0.0.1")).is_some());
    }

    #[test]
    fn a_network_has_half_of_the_places_and_this_machine_all_of_them() {
        let unauthenticated = Unauthenticated::default();
        let places = |peers: &[&str]| peers.iter().map(|peer| unauthenticated.enter(5, ip(peer))).collect::<Vec<_>>();
        let mut own = places(&["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"]);
        assert_eq!(own.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false]);
        assert!(unauthenticated.enter(5, ip("192.0.2.1")).is_some());
        own.remove(0);
        assert!(unauthenticated.enter(5, ip("2001:db8::9")).is_some(), "one has left");
        drop(own);
        assert_eq!(unauthenticated.count(), 0);
        assert!(super::lock(&unauthenticated.0).by_network.is_empty(), "nothing is kept of who has left");
        assert!(places(&["::1"; 5]).iter().all(Option::is_some));
    }
}
