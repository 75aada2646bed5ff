use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::directory::Directory;
use crate::name::{Pattern, TopicName};
use crate::plugin::{Draft, Page, Query, Retention, Store};
use crate::schema::Payload;
use crate::stopwatch::Stopwatch;
use crate::store::memory::MemoryStore;
use crate::time::Time;

const TOPICS: usize = 10_000;

/// Ten thousand topics with some messages each, of which this many are kept.
fn store(messages: usize, count: usize) -> MemoryStore {
    let store = MemoryStore::default();
    let declared = Pattern::parse("f.{x}.{y}").expect("a family");
    let age = Duration::from_secs(3_600);
    let rules = Retention { count, bytes: 1_000, age, declared: declared.clone(), topics: TOPICS };
    store.retain([(declared, rules)].into_iter().collect::<Directory<_>>());
    for _ in 0..messages {
        append(&store, (0..TOPICS).map(|n| format!("f.{}.{n}", n % 100)));
    }
    store
}

fn append(store: &MemoryStore, topics: impl Iterator<Item = String>) {
    let draft = |topic: String| Draft {
        topic: TopicName::parse(&topic).expect("a topic"),
        user: None,
        payload: Payload::from_log("1".into()),
        key: None,
    };
    drop(store.append(topics.map(draft).collect()));
}

/// Returns the number of critical sections.
fn page(store: &MemoryStore, topics: &str, after: u64, limit: usize) -> (usize, Page) {
    let topics = [Pattern::parse(topics).expect("a pattern")];
    poll(store, Query { topics: &topics, after, until: store.head(), limit, bytes: usize::MAX, seen: 0 })
}

fn poll(store: &MemoryStore, query: Query<'_>) -> (usize, Page) {
    poll_beside(store, query, || ())
}

/// Runs something after the first critical section.
fn poll_beside(store: &MemoryStore, query: Query<'_>, beside: impl FnOnce()) -> (usize, Page) {
    let mut read = pin!(store.read(query));
    let mut beside = Some(beside);
    for turns in 1.. {
        if let Poll::Ready(page) = read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return (turns, page.expect("memory can be read"));
        }
        if let Some(beside) = beside.take() {
            beside();
        }
    }
    unreachable!("it ends")
}

/// However many topics a query names, publishers do not wait for all of them.
#[test]
fn many_exact_topics_are_read_in_turns_too() {
    let store = store(3, 2);
    let topics: Vec<_> = (0..600).map(|n| Pattern::parse(&format!("f.{}.{n}", n % 100)).expect("a topic")).collect();
    for (count, turns) in [(200, 1..=1), (600, 2..=usize::MAX)] {
        let query =
            Query { topics: &topics[..count], after: 0, until: store.head(), limit: 2_000, bytes: usize::MAX, seen: 0 };
        let (took, page) = poll(&store, query);
        assert!(turns.contains(&took), "{took} turns for {count}");
        assert_eq!((page.records.len(), page.evicted.len()), (count * 2, count));
    }
}

/// Every page of a wildcard used to visit every ring in one critical section: twenty readers of so many topics held up
/// every publisher for sixteen seconds.
#[test]
fn a_page_takes_as_many_turns_as_it_has_messages_and_not_as_there_are_rings() {
    let store = store(5, 5);
    let (mut after, mut turns, mut messages) = (0, 0, 0);
    while after < store.head() {
        let (more, page) = page(&store, "f.**", after, 256);
        (after, turns, messages) = (page.until, turns + more, messages + page.records.len());
    }
    assert_eq!(messages, 5 * TOPICS);
    assert!(turns <= 2 * (messages / 256 + 1), "{turns} turns");
    assert_eq!(page(&store, "f.*.*", 0, 1).0, 1);
    assert_eq!(page(&store, "f.*.*", store.head() - 10, 256).0, 1);
}

#[test]
fn a_pattern_that_covers_little_looks_at_each_ring_and_not_at_each_message() {
    let store = store(20, 20);
    let (turns, page) = page(&store, "f.7.*", 0, 256);
    assert_eq!(page.records.len(), 256);
    assert!(page.records.iter().all(|record| record.topic.as_str().starts_with("f.7.")));
    assert!(page.records.windows(2).all(|two| two[0].seq < two[1].seq));
    let rings = TOPICS.div_ceil(256);
    assert!(turns > rings && turns <= 2 * rings + 5, "{turns} turns for {rings} blocks of rings");
}

#[test]
fn what_ten_thousand_topics_have_evicted_is_told_once_for_each_in_turns() {
    let store = store(3, 1);
    let (turns, first) = page(&store, "f.**", 0, 1);
    assert_eq!((first.records.len(), first.evicted.len()), (1, TOPICS));
    assert!(turns <= TOPICS.div_ceil(256) + 2, "{turns} turns");
    let (turns, last) = page(&store, "f.**", 2 * TOPICS as u64, 256);
    assert_eq!((last.records.len(), last.evicted.len(), turns), (256, 0, 1));
}

/// A subscription to as many patterns as are allowed used to look up the families of all of them at once, while all
/// publishers waited.
#[tokio::test(start_paused = true)]
async fn the_families_of_many_patterns_are_looked_through_in_turns() {
    let store = store(2, 1);
    store.retain(Directory::default());
    store.sweep(Time(0)).await;
    append(&store, ["forgotten.beyond.them".to_owned()].into_iter());
    let topics: Vec<_> = (0..128).map(|n| Pattern::parse(&format!("*.a{n}")).expect("a pattern")).collect();
    let one = poll(
        &store,
        Query { topics: &topics[..1], after: 0, until: store.head(), limit: 1, bytes: usize::MAX, seen: 0 },
    )
    .0;
    let all =
        poll(&store, Query { topics: &topics, after: 0, until: store.head(), limit: 1, bytes: usize::MAX, seen: 0 }).0;
    assert!(all >= one + 7, "{all} turns, {one} for one pattern");
}

/// Once anything was evicted meanwhile, all of them used to be looked up at once, while all publishers waited.
#[test]
fn many_exact_topics_are_looked_at_again_in_turns_too() {
    let store = store(1, 1);
    let topics: Vec<_> = (0..9_000).map(|n| Pattern::parse(&format!("f.{}.{n}", n % 100)).expect("a topic")).collect();
    let query = Query { topics: &topics, after: 0, until: store.head(), limit: 300, bytes: usize::MAX, seen: 0 };
    let (without, _) = poll(&store, query);
    let (with, page) = poll_beside(&store, query, || append(&store, ["f.0.0".to_owned()].into_iter()));
    assert_eq!(page.evicted, [(topics[0].clone(), 1)]);
    assert!(with >= without + 9_000 / 256, "{with} turns, {without} when nothing has gone");
}

/// Each page of a long replay used to look at everything that had been evicted since its start.
#[test]
fn evictions_that_an_earlier_page_has_seen_are_not_looked_at_again() {
    let store = store(2, 1);
    let topics = [Pattern::parse("f.**").expect("a pattern")];
    let query = Query { topics: &topics, after: 0, until: store.head(), limit: 1, bytes: usize::MAX, seen: 0 };
    let (_, first) = poll(&store, query);
    assert_eq!(first.evicted.len(), TOPICS);
    let query = Query { seen: first.seen, ..query };
    let (turns, next) = poll(&store, query);
    assert_eq!((next.evicted.len(), next.seen), (0, first.seen));
    assert!(turns <= 2, "{turns} turns");
    append(&store, ["f.7.7".to_owned()].into_iter());
    let (turns, next) = poll(&store, query);
    assert!(turns <= 3, "{turns} turns");
    let gone = (Pattern::parse("f.7.7").expect("a topic"), TOPICS as u64 + 8);
    assert!(next.evicted.contains(&gone) && next.evicted.len() <= 256, "{} told", next.evicted.len());
}

/// Each message used to be compared with each wildcard.
#[test]
fn a_page_for_many_wildcards_does_not_cost_as_many_comparisons_for_each_message() {
    let store = store(1, 1);
    let took = |wildcards: usize| {
        let pattern = |n: usize| Pattern::parse(&format!("f.{n}.*")).expect("a pattern");
        let topics: Vec<_> = (0..wildcards).map(|n| pattern(n + 99)).collect();
        let query = Query { topics: &topics, after: 0, until: store.head(), limit: TOPICS, bytes: usize::MAX, seen: 0 };
        let began = Stopwatch::start();
        assert_eq!(poll(&store, query).1.records.len(), TOPICS / 100);
        began.elapsed()
    };
    let (few, many) = (took(10), took(1_000));
    assert!(many < few * 8, "{few:?} for ten, {many:?} for a thousand");
}
