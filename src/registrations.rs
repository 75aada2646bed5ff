//! Connections registered before they are made, each with a secret id.
//!
//! A registration says which user its connection will be for and what it subscribes to. What it may do is not stored,
//! but derived from the newest snapshot each time. It ends with DELETE, with its token or the grant by which it was
//! made, some time after its last use, or with the process. The id is a secret, so it is never formatted.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::close::Close;
use crate::config::model::Limits;
use crate::footprint::{allocated, in_list, in_table, text};
use crate::hub::connection::Connection;
use crate::lock::lock;
use crate::name::{MAX_NAME, MAX_USER, Pattern, UserId};
use crate::principal::{Action, Granted, Grants, Principal, authorize};
use crate::problem::Refusal;
use crate::snapshot::Snapshot;
use crate::time::Time;

/// Most bytes that a registration takes, not counting its topics.
pub const REGISTRATION_BYTES: usize = in_table(size_of::<(Uuid, Entry)>())
    + allocated(16 + size_of::<Registration>())
    + allocated(16 + size_of::<Principal>())
    + text(MAX_USER);
/// Most bytes that each of its topics takes.
pub const REGISTERED_TOPIC_BYTES: usize = in_list(size_of::<Pattern>()) + text(MAX_NAME);

/// How many are removed in one critical section.
const IN_A_TURN: usize = 256;

/// The identity of a registered connection.
pub struct Registration {
    /// The principal that registered it: a token, or an anonymous caller.
    owner: Arc<Principal>,
    /// Messages addressed to this user reach the connection.
    pub user: UserId,
    /// The topics it subscribes to when it connects.
    pub topics: Vec<Pattern>,
}

impl Registration {
    /// Creates a registration made by this principal.
    pub fn new(owner: Arc<Principal>, user: UserId, topics: Vec<Pattern>) -> Self {
        Self { owner, user, topics }
    }

    /// The principal of its connection under this snapshot.
    ///
    /// If a token made it, it may only subscribe, and only to those of `topics` that the token still may subscribe to.
    /// If an anonymous caller made it, it may do what `[anonymous]` says.
    ///
    /// # Errors
    /// The close if its token is gone, changed or expired, or its owner may not register this user any more.
    pub fn principal(&self, snapshot: &Snapshot, now: Time) -> Result<Arc<Principal>, Close> {
        let owner = self.owner(snapshot, now)?;
        let user = Some(self.user.clone());
        if owner.token.is_none() {
            let grants = owner.grants.clone();
            return Ok(Arc::new(Principal { token: None, user, grants, not_after: None, fingerprint: 0 }));
        }
        let allowed = |topics: &&Pattern| authorize(&owner, Action::Subscribe, topics);
        let subscribe = self.topics.iter().filter(allowed).cloned().collect();
        Ok(Arc::new(Principal {
            token: owner.token.clone(),
            user,
            grants: Grants { subscribe: Granted::of_connection(subscribe), ..Grants::default() },
            not_after: owner.not_after,
            fingerprint: owner.fingerprint,
        }))
    }

    /// The owner as it is now, if the registration is still valid.
    fn owner(&self, snapshot: &Snapshot, now: Time) -> Result<Arc<Principal>, Close> {
        let owner = snapshot.renew(&self.owner).ok_or(Close::TokenRevoked)?;
        if owner.expired(now) {
            return Err(Close::TokenExpired);
        }
        if !owner.may_register(&self.user) {
            return Err(Close::Unregistered);
        }
        Ok(owner)
    }
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registration(by {}, for {:?}, {:?})", self.owner.name(), self.user, self.topics)
    }
}

/// All registrations of the process.
#[derive(Default)]
pub struct Registrations(Arc<Mutex<Entries>>);

#[derive(Default)]
struct Entries {
    by_id: HashMap<Uuid, Entry>,
    swept: Option<Instant>,
    /// `limits.registration_ttl` as it is now.
    ttl: Duration,
}

struct Entry {
    registration: Arc<Registration>,
    /// The connection that has its seat.
    seat: Option<Arc<Connection>>,
    last_use: Instant,
}

impl Entry {
    fn has_ended(&self, now: Instant, ttl: Duration) -> bool {
        self.seat.is_none() && now.duration_since(self.last_use) >= ttl
    }
}

impl Registrations {
    /// Stores a registration under a new id.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when there are as many as `limits.registrations` allows.
    pub fn register(&self, registration: Registration, limits: &Limits, now: Instant) -> Result<Uuid, Refusal> {
        let mut entries = lock(&self.0);
        entries.sweep(now);
        if entries.by_id.len() >= limits.registrations {
            return Err(Refusal::Overloaded {
                what: "there are as many registrations as `limits.registrations` allows",
                retry_after: Duration::from_secs(60),
            });
        }
        let id = Uuid::new_v4();
        let registration = Arc::new(registration);
        entries.by_id.insert(id, Entry { registration, seat: None, last_use: now });
        Ok(id)
    }

    /// Sets how long a registration lives after its last use, existing ones included.
    pub fn keep_for(&self, ttl: Duration) {
        lock(&self.0).ttl = ttl;
    }

    /// The registration with this id, if there is one. Does not take its seat. The id is a secret.
    pub fn find(&self, id: &str, now: Instant) -> Option<Arc<Registration>> {
        let id = parse(id)?;
        lock(&self.0).get(&id, now).map(|entry| entry.registration.clone())
    }

    /// Gives a connection the seat of a registration, and returns its principal.
    ///
    /// The connection that had the seat is closed with [`Close::Replaced`]. The id is a secret.
    ///
    /// # Errors
    /// [`Close::UnknownRegistration`] if there is no such registration, and else those of [`Registration::principal`].
    /// The seat is not taken then, and the registration's life not prolonged.
    pub fn attach(
        &self,
        id: &str,
        connection: &Arc<Connection>,
        snapshot: &Snapshot,
        now: Instant,
    ) -> Result<(Arc<Principal>, Seat), Close> {
        let id = parse(id).ok_or(Close::UnknownRegistration)?;
        let mut entries = lock(&self.0);
        entries.sweep(now);
        let entry = entries.get(&id, now).ok_or(Close::UnknownRegistration)?;
        let principal = entry.registration.principal(snapshot, Time::now())?;
        if let Some(older) = entry.seat.replace(connection.clone()) {
            older.end(Close::Replaced);
        }
        let registration = entry.registration.clone();
        Ok((principal, Seat { registration, entries: self.0.clone(), id, connection: connection.clone() }))
    }

    /// Removes a registration and closes its connection; returns whether there was one. Knowing the id is enough.
    pub fn remove(&self, id: &str, now: Instant) -> bool {
        let mut entries = lock(&self.0);
        let found = parse(id).filter(|id| entries.get(id, now).is_some());
        let removed = found.and_then(|id| entries.by_id.remove(&id));
        drop(entries);
        if let Some(connection) = removed.as_ref().and_then(|entry| entry.seat.as_ref()) {
            connection.end(Close::Unregistered);
        }
        removed.is_some()
    }

    /// Removes registrations that are not valid under this snapshot, and closes their connections.
    ///
    /// If a later snapshot restores what they depended on, they do not come back.
    pub fn end_lost(&self, snapshot: &Snapshot, now: Time) {
        let all: Vec<_> = lock(&self.0).by_id.iter().map(|(id, entry)| (*id, entry.registration.clone())).collect();
        let lost = |(id, registration): (Uuid, Arc<Registration>)| Some((id, registration.owner(snapshot, now).err()?));
        let lost: Vec<_> = all.into_iter().filter_map(lost).collect();
        // A connection that ends gives its seat back, so whoever serves it waits for the lock.
        for some in lost.chunks(IN_A_TURN) {
            let mut entries = lock(&self.0);
            let gone: Vec<_> = some.iter().map(|(id, close)| (entries.by_id.remove(id), *close)).collect();
            drop(entries);
            for (entry, close) in gone {
                if let Some(connection) = entry.and_then(|entry| entry.seat) {
                    connection.end(close);
                }
            }
        }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        lock(&self.0).by_id.len()
    }
}

impl Entries {
    /// The registration with this id, unless it has ended.
    fn get(&mut self, id: &Uuid, now: Instant) -> Option<&mut Entry> {
        self.by_id.get_mut(id).filter(|entry| !entry.has_ended(now, self.ttl))
    }

    /// Removes those that have ended, at most once a second.
    ///
    /// A call that is due anyway pays for it; whatever has ended is not found even before it is removed.
    fn sweep(&mut self, now: Instant) {
        if self.swept.is_none_or(|swept| now.duration_since(swept) >= Duration::from_secs(1)) {
            self.swept = Some(now);
            self.by_id.retain(|_, entry| !entry.has_ended(now, self.ttl));
        }
    }
}

/// The right to be the connection of a registration; given back when dropped.
pub struct Seat {
    /// The identity of the connection.
    pub registration: Arc<Registration>,
    entries: Arc<Mutex<Entries>>,
    id: Uuid,
    connection: Arc<Connection>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut entries = lock(&self.entries);
        if let Some(entry) = entries.by_id.get_mut(&self.id)
            && entry.seat.as_ref().is_some_and(|connection| Arc::ptr_eq(connection, &self.connection))
        {
            entry.seat = None;
            entry.last_use = Instant::now();
        }
    }
}

/// Parses an id, which has one spelling: 36 characters, lower case.
fn parse(text: &str) -> Option<Uuid> {
    let id = Uuid::try_parse(text).ok()?;
    (id.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some(id)
}

#[cfg(test)]
#[path = "registrations_test.rs"]
mod tests;
