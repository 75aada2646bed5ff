//! A request that begins under one configuration and ends under the next is judged by the next.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use relay::config::model::Config;
use relay::ingest::{self, Publication, Publisher};
use relay::judging::{AT_A_TIME, SMALL};
use relay::name::TopicName;
use relay::time::Time;

use crate::rig::{Rig, snapshot};

const HEAD: &str = "Host: localhost\r\nAuthorization: Bearer secret-all\r\nContent-Type: application/json\r\n\
                    Content-Length: 1\r\n";

#[tokio::test]
async fn a_request_is_judged_by_what_is_in_force_when_its_body_is_there() {
    let rig = Rig::start(|_| {}).await;
    let mut generation = 1;
    for path in ["publish", "validate"] {
        for (change, expected) in
            [(without_sightings as fn(&mut Config), 200), (without_cats, 404), (without_tokens, 401)]
        {
            let mut peer = rig.connect().await;
            peer.send(format!("POST /{path}/cats HTTP/1.1\r\n{HEAD}Expect: 100-continue\r\n\r\n")).await;
            peer.asked_for_body().await;
            rig.commit(generation + 1, change);
            peer.send("1").await;
            assert_eq!(peer.answer().await.expect("an answer").status, expected, "{path}, generation {generation}");
            generation += 2;
            rig.commit(generation, |_| {});
        }
    }
    assert_eq!(rig.payloads().await, ["1"]);
}

/// The configuration changes between the judgement and the append, where no real request can be held.
#[tokio::test]
async fn what_was_judged_is_judged_again_when_the_configuration_has_changed() {
    let rig = Rig::start(|_| {}).await;
    let before = rig.live.snapshot();
    let principal = before.auth.authenticate("secret-all", Time::now()).await.expect("it is known");
    let publisher = Publisher { principal: &principal, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let publication = cats();
    for (generation, change, slug) in
        [(2, without_cats as fn(&mut Config), "unknown-topic"), (3, without_grants, "forbidden")]
    {
        rig.commit(generation, change);
        let published = ingest::publish(&rig.live, before.clone(), publisher, &publication).await;
        assert_eq!(published.expect_err(slug).slug(), slug);
    }
    rig.commit(4, without_sightings);
    ingest::publish(&rig.live, before, publisher, &publication).await.expect("nothing of it has changed");
    assert_eq!(rig.payloads().await, ["1"]);
}

/// Regression: a message of the new shape came before the notice of it, and one of the old shape after such a message.
#[tokio::test]
async fn what_the_new_configuration_judges_waits_until_the_log_knows_where_it_took_effect() {
    let rig = Rig::start(|_| {}).await;
    let before = rig.live.snapshot();
    let principal = before.auth.authenticate("secret-all", Time::now()).await.expect("it is known");
    let publisher = Publisher { principal: &principal, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let publication = cats();
    let mut next = snapshot(|_| {});
    next.generation = 2;
    let pause = rig.live.commit(Arc::new(next));
    let mut late = Box::pin(ingest::publish(&rig.live, before, publisher, &publication));
    let mut early = Box::pin(ingest::publish(&rig.live, rig.live.snapshot(), publisher, &publication));
    assert!((&mut late).now_or_never().is_none(), "what the old one has judged");
    assert!((&mut early).now_or_never().is_none(), "what the new one has judged");
    assert!(rig.payloads().await.is_empty());
    drop(pause);
    late.await.expect("publishing goes on");
    early.await.expect("publishing goes on");
    assert_eq!(rig.payloads().await, ["1", "1"]);
}

fn cats() -> Publication {
    let topic = TopicName::parse("cats").expect("a topic");
    Publication { topic, user: None, body: Bytes::from_static(b"1"), key: None }
}

fn without_sightings(config: &mut Config) {
    config.topics.retain(|topic| topic.name.as_str() != "sightings");
}

fn without_cats(config: &mut Config) {
    config.topics.retain(|topic| topic.name.as_str() != "cats");
}

fn without_tokens(config: &mut Config) {
    config.tokens.clear();
}

fn without_grants(config: &mut Config) {
    config.tokens[0].grants.publish = Vec::new().into();
}

/// Regression: the reload that took away its grant looked for registrations before this one was there.
#[tokio::test]
async fn a_registration_that_waits_for_its_turn_across_a_reload_ends_with_its_grant() {
    // Whether the request waits already cannot be seen from here. If it does not, the new configuration judges it; then
    // the next round gives it more time.
    for patience in [10, 50, 250, 1_000].map(Duration::from_millis) {
        let rig = Rig::start(|_| {}).await;
        let mut turns = Vec::new();
        for _ in 0..AT_A_TIME {
            turns.push(rig.live.judging.turn(SMALL + 1).await.expect("nobody else has one"));
        }
        let body = format!(r#"{{"user_id":"u","topics":["cats"]{}}}"#, " ".repeat(SMALL));
        let (answer, ()) = tokio::join!(rig.post("/register", "secret-all", &body), async {
            tokio::time::sleep(patience).await;
            rig.commit(2, |config| config.tokens[0].grants.register.clear());
            turns.clear();
        });
        if answer.status == 200 {
            assert_eq!(rig.live.registrations.count(), 0);
            return;
        }
        assert_eq!(answer.status, 403);
    }
    panic!("it did not come to its turn in a second");
}
