use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;

use super::{Registration, Registrations, Seat};
use crate::close::Close;
use crate::config::model::Limits;
use crate::name::UserId;
use crate::principal::{Grants, Principal};
use crate::problem::Refusal;

const TTL: Duration = Duration::from_secs(60);

fn limits() -> Limits {
    Limits { registrations: 2, registration_ttl: TTL, ..Limits::default() }
}

fn registration() -> Registration {
    let owner = Principal { token: None, user: None, grants: Grants::default(), not_after: None, fingerprint: 0 };
    Registration::new(Arc::new(owner), UserId::parse("1").expect("a user"), vec![])
}

fn registrations() -> Registrations {
    let registrations = Registrations::default();
    registrations.keep_for(TTL);
    registrations
}

fn register(registrations: &Registrations, now: Instant) -> String {
    registrations.register(registration(), &limits(), now).expect("there is room").to_string()
}

async fn ended(seat: &mut Seat) -> Close {
    poll_fn(|cx| seat.poll_ended(cx)).await
}

#[tokio::test]
async fn a_newer_connection_replaces_the_older() {
    let (registrations, now) = (registrations(), Instant::now());
    let id = register(&registrations, now);
    let mut first = registrations.attach(&id, now).expect("a seat");
    let mut second = registrations.attach(&id, now).expect("a seat");
    assert_eq!(ended(&mut first).await, Close::Replaced);
    // The older one's going must not give away the newer one's seat.
    drop(first);
    assert!(ended(&mut second).now_or_never().is_none());
    assert!(registrations.remove(&id, now));
    assert_eq!(ended(&mut second).await, Close::Unregistered);
    assert!(!registrations.remove(&id, now), "only once");
    assert!(registrations.attach(&id, now).is_none());
}

#[test]
fn it_ends_some_time_after_its_last_use() {
    let (registrations, start) = (registrations(), Instant::now());
    let (idle, used) = (register(&registrations, start), register(&registrations, start));
    let seat = registrations.attach(&used, start).expect("a seat");
    let end = start + TTL;
    assert!(registrations.attach(&idle, end).is_none(), "nobody came");
    assert!(!registrations.remove(&idle, end));
    assert!(registrations.attach(&used, end).is_some(), "one that is connected lasts");
    drop(seat);
    let drop_time = Instant::now();
    assert!(registrations.attach(&used, drop_time + TTL - Duration::from_secs(1)).is_some());
    assert!(registrations.attach(&used, Instant::now() + TTL).is_none());
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
fn an_id_has_one_spelling_and_is_never_formatted() {
    let (registrations, now) = (registrations(), Instant::now());
    let id = register(&registrations, now);
    for other in ["", "x", &id.to_uppercase(), &id.replace('-', ""), &format!("{{{id}}}"), &format!("urn:uuid:{id}")] {
        assert!(registrations.attach(other, now).is_none(), "{other}");
    }
    let seat = registrations.attach(&id, now).expect("a seat");
    assert!(!format!("{seat:?}").contains(&id[..8]));
}
