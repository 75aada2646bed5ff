use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use futures::FutureExt;
use sha2::{Digest, Sha256};

use super::{Registration, Registrations, Seat};
use crate::auth::tokens::Tokens;
use crate::close::Close;
use crate::config::model::{Limits, Span, TokenConfig};
use crate::hub::connection::{Connection, NoSocket};
use crate::name::UserId;
use crate::plugin::{AuthError, Authenticator, BoxFuture};
use crate::principal::{Grants, Principal, UserPattern};
use crate::problem::Refusal;
use crate::snapshot::Snapshot;
use crate::time::Time;

const TTL: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits { registrations: 2, registration_ttl: TTL, ..Limits::default() }
}

fn anonymous(register: Vec<UserPattern>) -> Arc<Principal> {
    let grants = Grants { register, ..Grants::default() };
    Arc::new(Principal { token: None, user: None, grants, not_after: None, fingerprint: 0 })
}

/// Where anonymous callers may register these.
fn snapshot(register: Vec<UserPattern>) -> Snapshot {
    Snapshot::without_topics(Arc::new(Tokens::new(&[])), anonymous(register))
}

fn attach(registrations: &Registrations, id: &str, now: Instant) -> Option<Seat> {
    let connection = Connection::new(NoSocket, Arc::default());
    registrations.attach(id, &connection, &snapshot(vec![UserPattern::Any]), now).ok().map(|(_, seat)| seat)
}

fn registration() -> Registration {
    Registration::new(anonymous(vec![]), UserId::parse("1").expect("a user"), vec![])
}

fn registrations() -> Registrations {
    let registrations = Registrations::default();
    registrations.keep_for(TTL);
    registrations
}

fn register(registrations: &Registrations, now: Instant) -> String {
    registrations.register(registration(), &limits(), now).expect("there is room").to_string()
}

#[test]
fn a_newer_connection_replaces_the_older() {
    let (registrations, now) = (registrations(), Instant::now());
    let id = register(&registrations, now);
    let first = attach(&registrations, &id, now).expect("a seat");
    let second = attach(&registrations, &id, now).expect("a seat");
    assert_eq!(first.connection.ending(), Some(Close::Replaced));
    // The end of the older one must not free the newer one's seat.
    drop(first);
    assert_eq!(second.connection.ending(), None);
    assert!(registrations.remove(&id, now));
    assert_eq!(second.connection.ending(), Some(Close::Unregistered));
    assert!(!registrations.remove(&id, now), "only once");
    assert!(attach(&registrations, &id, now).is_none());
}

#[test]
fn it_ends_some_time_after_its_last_use() {
    let (registrations, start) = (registrations(), Instant::now());
    let (idle, used) = (register(&registrations, start), register(&registrations, start));
    let seat = attach(&registrations, &used, start).expect("a seat");
    let end = start + TTL;
    assert!(attach(&registrations, &idle, end).is_none(), "nobody came");
    assert!(!registrations.remove(&idle, end));
    assert!(attach(&registrations, &used, end).is_some(), "one that is connected lasts");
    drop(seat);
    let drop_time = Instant::now();
    assert!(attach(&registrations, &used, drop_time + TTL - Duration::from_secs(1)).is_some());
    assert!(attach(&registrations, &used, Instant::now() + TTL).is_none());
}

#[test]
fn there_are_only_so_many_and_what_has_ended_makes_room() {
    let (registrations, start) = (registrations(), Instant::now());
    register(&registrations, start);
    register(&registrations, start);
    let refused = registrations.register(registration(), &limits(), start).expect_err("full");
    assert_eq!(
        refused.to_string(),
        "there are as many registrations as `limits.registrations` allows: try again in 60 s"
    );
    assert!(matches!(refused, Refusal::Overloaded { .. }));
    register(&registrations, start + TTL);
    assert_eq!(registrations.count(), 1);
}

#[test]
fn an_id_has_one_spelling() {
    let (registrations, now) = (registrations(), Instant::now());
    let id = register(&registrations, now);
    for other in ["", "x", &id.to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
        assert!(attach(&registrations, other, now).is_none(), "{other}");
    }
    assert!(attach(&registrations, &id, now).is_some());
}

/// It used to be seated first: the connection that had the seat was sent away for one that was then refused, and each
/// try prolonged the registration's life.
#[test]
fn who_is_refused_takes_no_seat_and_lengthens_nothing() {
    let (registrations, start) = (registrations(), Instant::now());
    let (taken, idle) = (register(&registrations, start), register(&registrations, start));
    let seat = attach(&registrations, &taken, start).expect("a seat");
    let other = Connection::new(NoSocket, Arc::default());
    let refused = |id: &str, now| registrations.attach(id, &other, &snapshot(vec![]), now).err();
    for id in [&taken, &idle] {
        assert_eq!(refused(id, start + TTL / 2), Some(Close::Unregistered));
    }
    assert_eq!(seat.connection.ending(), None);
    assert_eq!(refused(&idle, start + TTL), Some(Close::UnknownRegistration));
}

/// Otherwise a connection that was open for longer could not come back after a hiccup.
#[test]
fn its_time_begins_anew_when_its_connection_ends() {
    let registrations = registrations();
    let start = Instant::now().checked_sub(TTL).expect("the machine has been up for as long");
    let id = register(&registrations, start);
    drop(attach(&registrations, &id, start).expect("a seat"));
    assert!(attach(&registrations, &id, Instant::now()).is_some());
}

#[test]
fn a_connection_lasts_no_longer_than_the_token_that_registered_it() {
    let (name, span, digest) = ("shop".into(), Span { file: 0, bytes: 0..0 }, Sha256::digest("s").into());
    let grants = Grants { register: vec![UserPattern::Any], ..Grants::default() };
    let token = TokenConfig { name, span, digest, grants, user: None, not_after: Some(Time(1_000)) };
    let snapshot = Snapshot { auth: Arc::new(Tokens::new(&[token])), ..snapshot(vec![]) };
    let known = snapshot.auth.authenticate("s", Time(0)).now_or_never().expect("at once");
    let owner = known.expect("it has not ended");
    let registration = Registration::new(owner, UserId::parse("1").expect("a user"), vec![]);
    let connected = registration.principal(&snapshot, Time(999)).expect("it lasts");
    assert_eq!(connected.not_after, Some(Time(1_000)), "who is connected then is closed then");
    assert_eq!(registration.principal(&snapshot, Time(1_000)).err(), Some(Close::TokenExpired));
}

/// Knows no token any more. Another thread looks at the registrations before it says so.
struct Forgetful(Arc<Registrations>);

impl Authenticator for Forgetful {
    fn authenticate<'a>(&'a self, _: &'a str, _: Time) -> BoxFuture<'a, Result<Arc<Principal>, AuthError>> {
        unreachable!("nobody comes")
    }

    fn renew(&self, _: &Principal) -> Option<Arc<Principal>> {
        let (registrations, (done, has_looked)) = (self.0.clone(), mpsc::channel());
        thread::spawn(move || done.send(registrations.count()));
        has_looked.recv_timeout(Duration::from_secs(10)).expect("others need not wait for this");
        None
    }
}

/// Connections that ended gave their seats back under a lock that was held until all registrations had been gone
/// through, and the threads that served them stood still.
#[test]
fn whoever_needs_a_registration_does_not_wait_until_those_of_a_lost_token_have_ended() {
    let (registrations, now) = (Arc::new(registrations()), Instant::now());
    let (token, grants) = (Some("gone".into()), Grants::default());
    let owner = Principal { token, user: None, grants, not_after: None, fingerprint: 0 };
    let user = UserId::parse("1").expect("a user");
    let registration = Registration::new(Arc::new(owner), user, vec![]);
    registrations.register(registration, &limits(), now).expect("there is room");
    let auth = Arc::new(Forgetful(registrations.clone()));
    registrations.end_lost(&Snapshot { auth, ..snapshot(vec![]) }, Time::now());
    assert_eq!(registrations.count(), 0);
}
