use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::executor::block_on;

use super::GAPS;
use crate::directory::Directory;
use crate::hub::connection::NoSocket;
use crate::hub::rig::{Number, append, hub, peer};
use crate::hub::subscriber::Item;
use crate::hub::{Hub, Size};
use crate::message::Position;
use crate::name::{Pattern, TopicName};
use crate::notice::{After, Notice};
use crate::plugin::{Draft, Retention, Store};
use crate::schema::Payload;
use crate::stopwatch::Stopwatch;
use crate::store::KINDS;

/// Each message of a page used to be compared with each subscription at once: with a hundred thousand, for a third of a
/// second.
#[test]
fn a_page_for_many_subscriptions_does_not_cost_as_many_comparisons_for_each_message() {
    let took = |messages: usize| {
        let hub = hub(1);
        let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
        let pattern = |n: usize| Pattern::parse(&format!("t{n}")).expect("a name");
        subscriber.subscribe((0..9_000).map(|n| (pattern(n), After::Live)).collect());
        let topics: Vec<_> = (0..messages).map(|n| if n % 2 == 0 { "t8999" } else { "other" }).collect();
        append(&hub, &topics);
        let mut once = || {
            let began = Stopwatch::start();
            let Some(Ok(Some(pulled))) = subscriber.pull(usize::MAX).now_or_never() else { panic!("from the window") };
            assert_eq!(pulled.items.len(), messages.div_ceil(2));
            began.elapsed()
        };
        (0..3).map(|_| once()).min().expect("it was done")
    };
    let (one, many) = (took(1), took(256));
    assert!(many < one * 100, "{one:?} for one message, {many:?} for 256");
}

/// However many they are, and so in whichever way they are looked for.
#[test]
fn of_many_subscriptions_none_begins_with_the_message_before_it() {
    for subscriptions in [1, 1_000] {
        let hub = hub(1);
        let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
        append(&hub, &["t0"; 40]);
        let pattern = |n: usize| Pattern::parse(&format!("t{n}")).expect("a name");
        subscriber.subscribe((0..subscriptions).map(|n| (pattern(n), After::Live)).collect());
        append(&hub, &["t0"; 40]);
        let pulled = subscriber.pull(usize::MAX).now_or_never().expect("from the window").expect("it can be read");
        let items = pulled.expect("there is something").items;
        let seqs = items.iter().filter_map(|(item, _)| match item {
            Item::Message(message) => Some(message.record.seq),
            _ => None,
        });
        assert_eq!(seqs.collect::<Vec<_>>(), (41..=80).collect::<Vec<_>>(), "{subscriptions}");
    }
}

/// All of them used to be made anew for each write that took some; then all were kept, and a reader that had stalled held
/// megabytes.
#[test]
fn gaps_that_do_not_fit_into_one_write_are_kept_up_to_some_thousands() {
    tell_gaps_of(4_000, 1);
    tell_gaps_of(30_000, 8);
}

/// A store that keeps so many messages of each topic of a family.
fn family(topics: usize, count: usize) -> Arc<dyn Store> {
    let store = (KINDS[0].build)();
    let declared = Pattern::parse("f.{x}").expect("a family");
    let age = Duration::from_secs(3_600);
    let rules = Retention { count, bytes: 1_000, age, declared: declared.clone(), topics };
    store.retain([(declared, rules)].into_iter().collect::<Directory<_>>());
    store
}

fn draft(n: usize) -> Draft {
    let topic = TopicName::parse(&format!("f.{n}")).expect("a topic");
    Draft { topic, user: None, payload: Payload::from_log(vec![b'1'].into()), key: None }
}

/// Has a subscriber told of a family of which each topic has lost a message; it takes so many pages to see all.
fn tell_gaps_of(topics: usize, looks: usize) {
    let store = family(topics, 1);
    let hub = Hub::new(store.clone(), Size::default(), Directory::default());
    for _ in 0..2 {
        drop(block_on(store.append((0..topics).map(draft).collect())).expect("memory takes it"));
    }
    let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
    let after = After::Position(Position { epoch: hub.epoch(), seq: 0 });
    subscriber.subscribe(vec![(Pattern::parse("f.*").expect("a pattern"), after)]);
    let (mut gaps, mut pages) = (Vec::new(), 0);
    while gaps.len() < topics {
        let mut pull = Box::pin(subscriber.pull(usize::MAX));
        let kept = pull.as_mut().now_or_never();
        pages += usize::from(kept.is_none());
        let pulled = kept.unwrap_or_else(|| block_on(pull)).expect("memory can be read").expect("there is more");
        assert!(pulled.items.len() <= GAPS);
        // Not all that it takes are sent.
        let sent = pulled.items.len().min(1_000);
        gaps.extend(pulled.items[..sent].iter().map(|(item, _)| match item {
            Item::Notice(Notice::Gap { from, to, .. }) => (from.seq, to.seq),
            _ => panic!("a message before all gaps are told"),
        }));
        subscriber.settle(pulled, sent);
        let held = subscriber.connection().held();
        assert!(held < 200_000 + 100 * gaps.len(), "{held} bytes with {} gaps told", gaps.len());
    }
    assert_eq!(pages, looks, "only these read what was evicted");
    assert!(gaps.into_iter().eq((1..=topics as u64).map(|seq| (0, seq))), "in order, each once");
    let next = block_on(subscriber.pull(usize::MAX)).expect("memory can be read").expect("there is more");
    assert!(next.items.iter().all(|(item, _)| matches!(item, Item::Message(_))), "no gap is told again");
}

/// 256 messages used to be read for each write, which took one of them if they were large.
#[test]
fn no_more_is_read_from_the_store_than_can_be_sent() {
    let store = family(1, 100);
    let hub = Hub::new(store.clone(), Size::default(), Directory::default());
    drop(block_on(store.append((0..100).map(|_| draft(0)).collect())).expect("memory takes it"));
    let mut subscriber = hub.subscriber(NoSocket, &Number, peer());
    let pattern = Pattern::parse("f.0").expect("a topic");
    subscriber.subscribe(vec![(pattern, After::Position(Position { epoch: hub.epoch(), seq: 0 }))]);
    // Each is written in about 128 bytes, its topic's three and its own.
    for (most, count) in [(0, 1), (400, 3), (usize::MAX, 100)] {
        let pulled = block_on(subscriber.pull(most)).expect("memory can be read").expect("there is more");
        assert_eq!(pulled.items.len(), count, "{most}");
    }
}
