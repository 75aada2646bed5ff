//! What a subscription from `earliest` promises: each message that is retained when it is made, or a gap in its place.

use std::sync::Arc;
use std::time::Duration;

use relay::directory::Directory;
use relay::hub::connection::NoSocket;
use relay::hub::entry::FIXED_BYTES;
use relay::hub::subscriber::{Item, Subscriber};
use relay::hub::{Hub, Size};
use relay::message::Position;
use relay::name::{Pattern, TopicName};
use relay::notice::{After, GapReason, Notice};
use relay::plugin::{Draft, Retention, Store};
use relay::protocol::relay_v1::RelayV1;
use relay::schema::Payload;
use relay::store::KINDS;

use crate::rig::somebody;

/// What a subscriber was sent, reduced to seqs.
#[derive(Debug, PartialEq)]
enum Told {
    Message(u64),
    Gap(u64, u64, GapReason),
    Synced(u64),
}

/// Makes the store retain `count` messages of `t`, and a hub over it with a tiny window.
fn hub(store: &Arc<dyn Store>, count: usize) -> (Pattern, Arc<Hub>) {
    let declared = Pattern::parse("t").expect("a name");
    let age = Duration::from_secs(3_600);
    let rules = Retention { count, bytes: 1_000_000, age, declared: declared.clone(), topics: 1 };
    store.retain([(declared.clone(), rules)].into_iter().collect::<Directory<_>>());
    // Room for three messages of one byte.
    let window = 3 * (FIXED_BYTES + 2 * "t1".len());
    (declared, Hub::new(store.clone(), Size { window, ..Size::default() }, Directory::default()))
}

async fn publish(store: &Arc<dyn Store>, count: usize) {
    for _ in 0..count {
        let topic = TopicName::parse("t").expect("a topic");
        let draft = Draft { topic, user: None, payload: Payload::from_log("1".into()), key: None };
        store.append(vec![draft]).await.expect("it is appended");
    }
}

async fn read(subscriber: &mut Subscriber) -> Vec<Told> {
    let mut told = Vec::new();
    loop {
        let Some(pulled) = subscriber.pull(usize::MAX).await.expect("memory can be read") else { return told };
        told.extend(pulled.items.iter().filter_map(|(item, _)| match item {
            Item::Message(message) => Some(Told::Message(message.record.seq)),
            Item::Notice(Notice::Gap { from, to, reason, .. }) => Some(Told::Gap(from.seq, to.seq, *reason)),
            Item::Notice(Notice::Synced { position, .. }) => Some(Told::Synced(position.seq)),
            _ => None,
        }));
        let all = pulled.items.len();
        subscriber.settle(pulled, all);
    }
}

/// Regression: one read of a socket can carry a subscribe and hundreds of publishes after it. What these evicted before
/// the first page was read counted as evicted before the subscribe, and no gap was told.
#[tokio::test]
async fn what_goes_between_the_subscribe_and_its_first_page_is_told() {
    for kind in KINDS {
        let store = (kind.build)();
        let (declared, hub) = hub(&store, 1);
        publish(&store, 5).await;
        let mut subscriber = hub.subscriber(NoSocket, &RelayV1, somebody());
        let head = subscriber.subscribe(vec![(declared, After::Earliest)]);
        subscriber.tell_synced(head, None);
        publish(&store, 8).await;
        let told = read(&mut subscriber).await;
        let expected = [
            Told::Synced(5),
            Told::Gap(5, 10, GapReason::Lag),
            Told::Message(11),
            Told::Message(12),
            Told::Message(13),
        ];
        assert_eq!(told, expected, "{}", kind.name);
    }
}

/// Regression: this was told as if it had been gone at the time of the subscribe. So `on_lag` disconnected nobody, and
/// a reader of `relay.raw` was told to give up its position.
#[tokio::test]
async fn what_goes_while_it_is_being_read_is_told_as_lag() {
    for kind in KINDS {
        let store = (kind.build)();
        let (topic, hub) = hub(&store, 400);
        publish(&store, 500).await;
        let mut subscriber = hub.subscriber(NoSocket, &RelayV1, somebody());
        let position = Position { epoch: hub.epoch(), seq: 10 };
        subscriber.subscribe(vec![(topic, After::Position(position))]);
        // The gap is pulled but not sent, so it is kept for the next pull.
        let page = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("a page");
        subscriber.settle(page, 0);
        let page = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("a page");
        let first = match &page.items[0].0 {
            Item::Notice(Notice::Gap { from, to, reason, .. }) => (from.seq, to.seq, *reason),
            _ => panic!("a gap comes first"),
        };
        assert_eq!(first, (10, 100, GapReason::Retention), "{}", kind.name);
        subscriber.settle(page, 1);
        let page = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("a page");
        subscriber.settle(page, 10);
        publish(&store, 400).await;
        let told = read(&mut subscriber).await;
        assert_eq!(told[0], Told::Gap(110, 500, GapReason::Lag), "{}", kind.name);
        assert_eq!(told.len(), 401);
    }
}

/// Regression: a subscriber that connected to an empty log counted as up to date at its subscribe, however much had
/// come in between. What was already gone by then was told as lag, and `on_lag` closed the connection.
#[tokio::test]
async fn what_was_gone_when_it_was_asked_for_is_no_lag_of_who_came_before_the_first_message() {
    for kind in KINDS {
        for (after, before) in [(None, None), (Some(2), Some(Told::Gap(2, 5, GapReason::Retention)))] {
            let store = (kind.build)();
            let (topic, hub) = hub(&store, 4);
            let mut subscriber = hub.subscriber(NoSocket, &RelayV1, somebody());
            publish(&store, 9).await;
            let position = |seq| After::Position(Position { epoch: hub.epoch(), seq });
            let after = after.map_or(After::Earliest, position);
            subscriber.subscribe(vec![(topic, after)]);
            let told = read(&mut subscriber).await;
            let expected: Vec<_> = before.into_iter().chain((6..=9).map(Told::Message)).collect();
            assert_eq!(told, expected, "{}", kind.name);
        }
    }
}

/// The window still held everything at the subscribe, so whatever is lost after it is lag.
#[tokio::test]
async fn what_goes_behind_a_window_that_had_it_all_is_lag() {
    for kind in KINDS {
        let store = (kind.build)();
        let (topic, hub) = hub(&store, 1);
        let mut subscriber = hub.subscriber(NoSocket, &RelayV1, somebody());
        publish(&store, 2).await;
        subscriber.subscribe(vec![(topic, After::Earliest)]);
        let pulled = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("the window has it");
        assert_eq!(pulled.items.len(), 2);
        subscriber.settle(pulled, 1);
        publish(&store, 7).await;
        let told = read(&mut subscriber).await;
        assert_eq!(told[0], Told::Gap(1, 6, GapReason::Lag), "{}", kind.name);
    }
}

/// What was gone when somebody asked for the earliest is not forgiven to the subscription that follows it.
#[tokio::test]
async fn what_one_subscription_was_not_promised_the_next_is_told() {
    for kind in KINDS {
        let store = (kind.build)();
        let (topic, hub) = hub(&store, 4);
        publish(&store, 9).await;
        let mut subscriber = hub.subscriber(NoSocket, &RelayV1, somebody());
        subscriber.subscribe(vec![(topic.clone(), After::Earliest)]);
        let page = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("a page");
        subscriber.settle(page, 0);
        subscriber.unsubscribe(std::slice::from_ref(&topic));
        let position = Position { epoch: hub.epoch(), seq: 2 };
        subscriber.subscribe(vec![(topic, After::Position(position))]);
        let told = read(&mut subscriber).await;
        let gap = Told::Gap(2, 5, GapReason::Retention);
        let expected: Vec<_> = std::iter::once(gap).chain((6..=9).map(Told::Message)).collect();
        assert_eq!(told, expected, "{}", kind.name);
    }
}
