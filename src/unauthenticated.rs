//! Places for unauthenticated connections: few, so that these cannot crowd out others.
//!
//! One network may have at most half of them, so that it cannot crowd out other connections that are about to
//! authenticate.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::close::Close;
use crate::hub::connection::Connection;
use crate::lock::lock;
use crate::rates::network;

/// All places of the server.
#[derive(Default)]
pub struct Unauthenticated(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    all: usize,
    /// By network, the connections that have places, oldest first.
    by_network: HashMap<IpAddr, VecDeque<Arc<Connection>>>,
}

/// One place, freed when dropped.
pub struct Place {
    taken: Arc<Mutex<Taken>>,
    network: IpAddr,
    connection: Arc<Connection>,
}

impl Unauthenticated {
    /// Takes a place for a connection, if its network has fewer than half of the `limit`.
    ///
    /// The half does not apply to the loopback address, which all services of this machine share. If all places are
    /// taken, the network with the most loses its oldest connection, but only if it still has at least as many as the
    /// newcomer's then. So a few networks cannot shut out the others.
    pub fn enter(&self, limit: usize, peer: IpAddr, connection: &Arc<Connection>) -> Option<Place> {
        let (mut taken, network) = (lock(&self.0), network(peer));
        let own = taken.by_network.get(&network).map_or(0, VecDeque::len);
        let has_half = own >= limit.div_ceil(2) && !peer.is_loopback();
        if has_half || taken.all >= limit && !taken.make_room(own) {
            return None;
        }
        taken.all += 1;
        taken.by_network.entry(network).or_default().push_back(connection.clone());
        Some(Place { taken: self.0.clone(), network, connection: connection.clone() })
    }

    /// Number of places taken.
    pub fn count(&self) -> usize {
        lock(&self.0).all
    }
}

impl Taken {
    /// Frees a place for a network that has `own` places; returns whether one could be taken away.
    fn make_room(&mut self, own: usize) -> bool {
        let most = self.by_network.values_mut().max_by_key(|places| places.len()).filter(|most| most.len() > own + 1);
        let Some(oldest) = most.and_then(VecDeque::pop_front) else { return false };
        oldest.end(Close::OverCapacity);
        self.all -= 1;
        true
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = lock(&self.taken);
        let Some(places) = taken.by_network.get_mut(&self.network) else { return };
        let before = places.len();
        places.retain(|other| !Arc::ptr_eq(other, &self.connection));
        let freed = before - places.len();
        if places.is_empty() {
            taken.by_network.remove(&self.network);
        }
        taken.all -= freed;
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::sync::Arc;

    use super::Unauthenticated;
    use crate::close::Close;
    use crate::hub::connection::{Connection, NoSocket};
    use crate::hub::outbound::Outbound;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    fn connection() -> Arc<Connection> {
        Connection::new(NoSocket, Arc::new(Outbound::default()))
    }

    #[test]
    fn one_too_many_is_not_let_in_and_takes_no_place() {
        let unauthenticated = Unauthenticated::default();
        let enter = || unauthenticated.enter(1, ip("127.0.0.1"), &connection());
        let first = enter();
        assert!(first.is_some());
        assert!(enter().is_none());
        assert_eq!(unauthenticated.count(), 1);
        drop(first);
        assert_eq!(unauthenticated.count(), 0);
        assert!(enter().is_some());
    }

    #[test]
    fn a_network_has_half_of_the_places_and_this_machine_all_of_them() {
        let unauthenticated = Unauthenticated::default();
        let enter = |peer: &str| unauthenticated.enter(5, ip(peer), &connection());
        let mut own =
            ["2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8::4"].map(enter).into_iter().collect::<Vec<_>>();
        assert_eq!(own.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, true, false]);
        assert!(enter("192.0.2.1").is_some());
        own.remove(0);
        assert!(enter("2001:db8::9").is_some(), "one has left");
        drop(own);
        assert_eq!(unauthenticated.count(), 0);
        assert!(super::lock(&unauthenticated.0).by_network.is_empty(), "nothing is kept of who has left");
        let places = ["::1"; 5].map(enter);
        assert!(places.iter().all(Option::is_some));
    }

    /// Two networks of six, each with half of the places, used to shut out everybody else.
    #[test]
    fn where_all_are_taken_the_network_that_has_most_gives_its_oldest() {
        let unauthenticated = Unauthenticated::default();
        let crowd: Vec<_> = (0..6).map(|_| connection()).collect();
        let taken: Vec<_> = crowd
            .iter()
            .zip(0..)
            .map(|(connection, n)| {
                unauthenticated.enter(6, ip(&format!("192.0.2.{}", n % 2)), connection).expect("a place")
            })
            .collect();
        let enter = || unauthenticated.enter(6, ip("198.51.100.1"), &connection());
        let newcomers: Vec<_> = (0..2).map(|_| enter().expect("room was made")).collect();
        let ended: Vec<_> = crowd.iter().map(|connection| connection.ending()).collect();
        assert_eq!(ended.iter().filter(|ending| **ending == Some(Close::OverCapacity)).count(), 2, "{ended:?}");
        assert!(ended[..2].iter().all(Option::is_some), "the oldest of each: {ended:?}");
        assert!(enter().is_none(), "nobody has more than it would have");
        assert_eq!(unauthenticated.count(), 6);
        drop(taken);
        assert_eq!(unauthenticated.count(), 2, "what was taken away is not given back twice");
        drop(newcomers);
        assert_eq!(unauthenticated.count(), 0);
    }
}
