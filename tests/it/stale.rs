//! A request that began under one configuration and ends under the next is judged by the next.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use bytes::Bytes;
use relay::config::model::Config;
use relay::ingest::{self, Publication, Publisher};
use relay::message::Time;
use relay::name::TopicName;

use crate::rig::{Rig, snapshot};

const HEAD: &str = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-all\r\n\
                    Content-Type: application/json\r\nContent-Length: 1\r\n";

#[tokio::test]
async fn a_publish_is_judged_by_what_is_in_force_when_its_body_is_there() {
    let without =
        |name: &'static str| move |config: &mut Config| config.topics.retain(|topic| topic.name.as_str() != name);
    let rig = Rig::start(|_| {}).await;
    for (generation, name, expected) in [(2, "sightings", 200), (3, "cats", 404)] {
        let mut peer = rig.connect().await;
        peer.send(format!("{HEAD}Expect: 100-continue\r\n\r\n")).await;
        peer.asked_for_body().await;
        commit(&rig, generation, without(name));
        peer.send("1").await;
        assert_eq!(peer.answer().await.expect("an answer").status, expected, "without {name}");
    }
    let mut peer = rig.connect().await;
    peer.send(format!("{HEAD}Expect: 100-continue\r\n\r\n")).await;
    peer.asked_for_body().await;
    commit(&rig, 4, |config| config.tokens.clear());
    peer.send("1").await;
    assert_eq!(peer.answer().await.expect("an answer").status, 401, "a token that is gone");
    assert_eq!(rig.payloads().await, ["1"]);
}

/// Between the judgement and the log, where no request can be held.
#[tokio::test]
async fn what_was_judged_is_judged_again_when_the_configuration_has_changed() {
    let rig = Rig::start(|_| {}).await;
    let before = rig.live.snapshot();
    let principal = before.auth.authenticate("secret-all", Time::now()).await.expect("it is known");
    let publisher = Publisher { principal: &principal, peer: IpAddr::V4(Ipv4Addr::LOCALHOST) };
    let topic = TopicName::parse("cats").expect("a topic");
    let publication = Publication { topic, user: None, body: Bytes::from_static(b"1"), key: None };
    commit(&rig, 2, |config| config.topics.retain(|topic| topic.name.as_str() != "cats"));
    let refusal = ingest::publish(&rig.live, before, publisher, &publication).await.expect_err("it is gone");
    assert_eq!(refusal.slug(), "unknown-topic");
    assert!(rig.records().await.is_empty());
}

fn commit(rig: &Rig, generation: u64, change: impl FnOnce(&mut Config)) {
    let mut next = snapshot(change);
    next.generation = generation;
    rig.live.commit(Arc::new(next));
}
