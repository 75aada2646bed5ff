//! What a reader is told that comes to a reload when a later one is in force already.

use relay::evaluate::evaluate;
use relay::hub::subscriber::{Item, Subscriber};
use relay::name::Pattern;
use relay::notice::{After, Notice};
use relay::protocol::relay_v1::RelayV1;
use relay::time::Time;
use tokio::io::duplex;

use super::site::{HEAD, Site, token};
use crate::rig::somebody;

const SCHEMAS: [(&str, &str); 2] = [("0.json", r#"{"const": 0}"#), ("1.json", r#"{"const": 1}"#)];

/// A relay.toml with topics and the numbers of their schemas.
fn with(topics: &[(&str, usize)]) -> String {
    let all = token("all", "publish = [\"**\"]\nsubscribe = [\"**\"]");
    let topics = topics.iter().map(|(name, schema)| format!("[topics.\"{name}\"]\nschema = \"{schema}.json\"\n"));
    format!("{HEAD}{all}{}", topics.collect::<String>())
}

async fn serve(topics: &[(&str, usize)]) -> Site {
    let [zero, one] = SCHEMAS;
    Site::start(&[("relay.toml", &with(topics)), zero, one]).await
}

async fn publish(site: &Site, topic: &str, number: usize) {
    assert_eq!(site.post(&format!("/publish/{topic}"), "all", &number.to_string()).await.status, 200);
}

/// A subscriber that does not read before it is asked to.
async fn subscriber(site: &Site, topics: &str) -> Subscriber {
    let principal = site.live.snapshot().auth.authenticate("all", Time::now()).await.expect("a token");
    let mut subscriber = site.live.hub.subscriber(duplex(1).0, &RelayV1, somebody());
    subscriber.identify(&principal);
    subscriber.subscribe(vec![(Pattern::parse(topics).expect("a pattern"), After::Live)]);
    subscriber
}

/// Reads everything up to the head: payloads, and what a notice says.
async fn read(site: &Site, subscriber: &mut Subscriber) -> Vec<String> {
    let snapshot = site.live.snapshot();
    let principal = snapshot.auth.authenticate("all", Time::now()).await.expect("a token");
    let mut told = Vec::new();
    while let Some(pulled) = subscriber.pull(usize::MAX).await.expect("the store can be read") {
        let sent = pulled.items.len().min(1);
        match pulled.items.first().map(|(item, _)| item) {
            Some(Item::Message(message)) => {
                told.push(String::from_utf8_lossy(message.record.payload.as_bytes()).into())
            }
            Some(Item::Notice(_)) | None => {}
            Some(Item::Mark(mark)) => {
                told.extend(evaluate(&snapshot, &principal, subscriber, Some(mark)).iter().map(
                    |notice| match notice {
                        Notice::TopicChanged { topics, generation } => format!("{topics} changed {generation}"),
                        Notice::Unsubscribed { topics, reason, .. } => format!("{topics} {}", reason.as_str()),
                        other => panic!("{other:?}"),
                    },
                ));
            }
        }
        subscriber.settle(pulled, sent);
    }
    told
}

/// Regression: the mark of the first reload was judged by the second one, in which the topic had left the family.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_family_that_changed_is_told_to_who_reads_a_topic_that_has_left_it_since() {
    let site = serve(&[("f.{x}", 0)]).await;
    let mut behind = subscriber(&site, "f.1").await;
    publish(&site, "f.1", 0).await;
    site.change(&with(&[("f.{x}", 1)])).await;
    publish(&site, "f.1", 1).await;
    site.change(&with(&[("f.{x}", 1), ("f.1", 1)])).await;
    publish(&site, "f.1", 1).await;
    assert_eq!(read(&site, &mut behind).await, ["0", "f.1 changed 2", "1", "1"]);
    // By now it is a topic of its own.
    site.change(&with(&[("f.{x}", 0), ("f.1", 1)])).await;
    publish(&site, "f.1", 1).await;
    assert_eq!(read(&site, &mut behind).await, ["1"]);
    site.end().await;
}

/// Regression: the reader went on as if nothing had happened, with messages of another shape.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_was_removed_and_declared_again_ends_the_subscriptions_from_before() {
    let site = serve(&[("a", 0), ("f.{x}", 0), ("b", 0)]).await;
    let mut readers = Vec::new();
    for topics in ["a", "f.1", "b", "b"] {
        readers.push(subscriber(&site, topics).await);
    }
    for topic in ["a", "f.1", "b"] {
        publish(&site, topic, 0).await;
    }
    site.change(&with(&[("b", 0)])).await;
    site.change(&with(&[("b", 0), ("a", 1), ("f.{x}", 0)])).await;
    // These are behind as well, and at the mark of the removal nothing else has come since.
    for (reader, after) in readers[2..].iter_mut().zip([After::Live, After::Earliest]) {
        reader.subscribe(vec![(Pattern::parse("a").expect("a topic"), after)]);
    }
    publish(&site, "a", 1).await;
    publish(&site, "f.1", 0).await;
    for (reader, expected) in readers.iter_mut().zip([["0", "a topic_removed"], ["0", "f.1 topic_removed"]]) {
        assert_eq!(read(&site, reader).await, expected);
    }
    assert_eq!(read(&site, &mut readers[2]).await, ["0", "1"], "one topic was there all the time, the other is new");
    assert_eq!(read(&site, &mut readers[3]).await, ["0", "0", "1"], "and asked for from its beginning");
    site.end().await;
}

/// A family that matches a topic all the time is as good as the topic itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_whose_family_stood_in_for_it_goes_on() {
    let site = serve(&[("f.{x}", 0), ("f.1", 0)]).await;
    let mut behind = subscriber(&site, "f.1").await;
    publish(&site, "f.1", 0).await;
    site.change(&with(&[("f.{x}", 0)])).await;
    site.change(&with(&[("f.{x}", 0), ("f.1", 1)])).await;
    publish(&site, "f.1", 1).await;
    assert_eq!(read(&site, &mut behind).await, ["0", "f.1 changed 3", "1"]);
    site.end().await;
}
