use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::Instant;

use super::{Digests, Log, MemoryStore, PAUSE};
use crate::name::{Pattern, TopicName};
use crate::plugin::{Draft, IdempotencyKey, KeyCounts, Page, Query, Receipt, Retention, Store};
use crate::schema::Payload;
use crate::stopwatch::Stopwatch;
use crate::store::log::{FORGET, SWEEP};
use crate::time::Time;

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// A log that keeps messages of `a` and of the family `f.{x}` for an hour, and keys for five minutes.
pub(super) fn store() -> MemoryStore {
    store_of(100)
}

/// The same, with this many messages for each topic.
pub(super) fn store_of(count: usize) -> MemoryStore {
    let store = MemoryStore::default();
    store.remember(100, Duration::from_secs(300));
    let age = Duration::from_secs(3_600);
    let rules = ["a", "f.{x}"].map(|name| {
        let declared = Pattern::parse(name).expect("a name");
        (declared.clone(), Retention { count, bytes: 10 * count, age, declared, topics: 100_000 })
    });
    store.retain(rules.into_iter().collect());
    store
}

pub(super) fn draft(topic: &str) -> Draft {
    let topic = TopicName::parse(topic).expect("a topic");
    Draft { topic, user: None, payload: Payload::from_log("1".into()), key: None }
}

pub(super) fn append(log: &mut Log, key: &str, now: i64) -> Receipt {
    let key = IdempotencyKey { principal: "p".into(), key: key.into() };
    append_all(log, vec![Draft { key: Some(key), ..draft("a") }], now)[0]
}

pub(super) fn append_all(log: &mut Log, drafts: Vec<Draft>, now: i64) -> Vec<Receipt> {
    let digests = Digests::of(&drafts).expect("no key is used twice");
    log.append(drafts, &digests, Time(now)).expect("there is room").0
}

pub(super) fn family(topics: usize) -> Vec<Draft> {
    (0..topics).map(|n| draft(&format!("f.{n}"))).collect()
}

pub(super) fn retained(log: &Log) -> Vec<u64> {
    log.rings.order.after(0).map(|record| record.seq).collect()
}

pub(super) fn patterns<const N: usize>(texts: [&str; N]) -> [Pattern; N] {
    texts.map(|text| Pattern::parse(text).expect("a pattern"))
}

/// Reads to the end; `meanwhile` runs between the first critical section and the second.
fn read(store: &MemoryStore, topics: &[Pattern], after: u64, meanwhile: impl FnOnce(&mut Log)) -> Page {
    let mut read =
        pin!(store.read(Query { topics, after, until: store.head(), limit: 1_000, bytes: usize::MAX, seen: 0 }));
    let cx = &mut Context::from_waker(Waker::noop());
    let mut meanwhile = Some(meanwhile);
    loop {
        if let Poll::Ready(page) = read.as_mut().poll(cx) {
            return page.expect("memory can be read");
        }
        if let Some(meanwhile) = meanwhile.take() {
            meanwhile(&mut store.log());
        }
    }
}

fn turns_of_keys(store: &MemoryStore, now: i64) -> usize {
    1 + (0..).take_while(|_| store.log().keys.forget_some(Time(now))).count()
}

pub(super) fn sweep(log: &mut Log, now: i64) {
    let mut next = Some(0);
    while let Some(place) = next {
        next = log.sweep(place, Time(now));
    }
}

/// All aged messages used to be evicted at once, and publishers waited for a hundred thousand of them.
#[test]
fn what_has_aged_goes_in_turns() {
    let many = SWEEP + 1;
    let store = store_of(many);
    let mut log = store.log();
    append_all(&mut log, (0..many).map(|_| draft("f.t")).collect(), HOUR);
    assert_eq!(log.sweep(0, Time(2 * HOUR)), Some(0));
    assert_eq!(retained(&log), [many as u64]);
    assert_eq!(log.sweep(0, Time(2 * HOUR)), None);
    assert!(retained(&log).is_empty());
    append_all(&mut log, family(many), 3 * HOUR);
    assert_eq!(log.sweep(0, Time(3 * HOUR)), Some(SWEEP), "to look at a topic counts as well");
    assert_eq!(log.sweep(SWEEP, Time(3 * HOUR)), None);
}

/// It takes longer than to evict its messages: two thousand topics went in one turn.
#[test]
fn fewer_topics_are_forgotten_in_a_turn_than_messages_evicted() {
    let store = store();
    let mut log = store.log();
    append_all(&mut log, family(SWEEP), HOUR);
    let each = 2 + FORGET;
    assert_eq!(log.sweep(0, Time(2 * HOUR)), Some(SWEEP.div_ceil(each)));
    assert_eq!(retained(&log).len(), SWEEP - SWEEP.div_ceil(each));
    sweep(&mut log, 2 * HOUR);
    assert!(retained(&log).is_empty() && log.rings.place("f.0").is_none());
}

/// Places are never given back. Those without a ring did not count: all of them were looked at in one turn.
#[test]
fn places_that_are_free_are_looked_at_in_turns() {
    let store = store();
    let mut log = store.log();
    append_all(&mut log, family(30_000), HOUR);
    sweep(&mut log, 2 * HOUR);
    let free = (0..log.rings.count()).filter(|place| log.rings.ring(*place).is_none()).count();
    assert_eq!(free, 20_000, "ten thousand are remembered one by one");
    let mut turns = vec![0];
    while let Some(place) = log.sweep(turns[turns.len() - 1], Time(2 * HOUR)) {
        turns.push(place);
    }
    assert_eq!(turns, (0..30_000).step_by(SWEEP).collect::<Vec<_>>());
}

/// The lock was free only for a moment between the turns. Who waited for it could not wake up in time, for up to a quarter
/// of a second with a million messages.
#[tokio::test(start_paused = true)]
async fn whoever_waits_for_a_sweep_has_time_to_wake_up_between_its_turns() {
    let store = store_of(3 * SWEEP);
    append_all(&mut store.log(), (0..3 * SWEEP).map(|_| draft("f.t")).collect(), HOUR);
    let began = Instant::now();
    store.sweep(Time(2 * HOUR)).await;
    assert!(retained(&store.log()).is_empty());
    assert!(began.elapsed() >= 3 * PAUSE, "{:?}", began.elapsed());
    store.remember(3_000, Duration::from_secs(300));
    (0..3_000).for_each(|n| _ = append(&mut store.log(), &n.to_string(), 3 * HOUR));
    let began = Instant::now();
    store.sweep(Time(4 * HOUR)).await;
    assert!(began.elapsed() >= 3 * PAUSE && store.keys().remembered == 0, "{:?} for keys", began.elapsed());
}

/// Each took its turns in the pauses of the other: publishers waited for a third of a second while a reload swept a million
/// messages and the sweep of every second began.
#[tokio::test(start_paused = true)]
async fn two_sweeps_at_once_do_not_use_each_others_pauses() {
    let store = store_of(8 * SWEEP);
    append_all(&mut store.log(), (0..8 * SWEEP).map(|_| draft("f.t")).collect(), HOUR);
    let began = Instant::now();
    tokio::join!(store.sweep(Time(2 * HOUR)), store.sweep(Time(2 * HOUR)));
    assert!(retained(&store.log()).is_empty());
    assert!(began.elapsed() >= 8 * PAUSE, "{:?}", began.elapsed());
}

/// All keys were moved when their table grew: a publisher, and all behind it, waited for half a second with a million of
/// them.
#[test]
fn no_key_pays_for_all_others() {
    let store = store();
    store.remember(100_000, Duration::from_secs(300));
    let mut log = store.log();
    let append = |n: usize| {
        let began = Stopwatch::start();
        append(&mut log, &n.to_string(), HOUR);
        began.elapsed()
    };
    let took: Vec<_> = (0..60_000).map(append).collect();
    let (all, longest) = (took.iter().sum::<Duration>(), took.iter().max().expect("some"));
    assert!(*longest * 100 < all, "one took {longest:?}, all of them {all:?}");
}

/// Each used to be compared with every other new one while nobody could publish: a quarter of a minute for 50,000.
#[test]
fn a_batch_of_new_topics_costs_about_as_much_as_one_of_known_ones() {
    let store = store();
    let mut log = store.log();
    let mut took = || {
        let began = Stopwatch::start();
        append_all(&mut log, family(20_000), HOUR);
        began.elapsed()
    };
    let (new, known) = (took(), took());
    assert!(new < known * 30, "{new:?} for new ones, {known:?} for known ones");
}

/// Its evictions are known only for its family. It opens again during the reading, in a block that was read already.
#[test]
fn a_topic_that_opens_behind_the_back_of_a_reading_has_its_gap_told() {
    let store = store();
    let mut log = store.log();
    append_all(&mut log, vec![draft("f.t")], 10 * HOUR);
    append_all(&mut log, family(10_000), 10 * HOUR);
    append_all(&mut log, vec![draft("f.t")], 12 * HOUR);
    sweep(&mut log, 11 * HOUR);
    sweep(&mut log, 13 * HOUR);
    let [family] = patterns(["f.*"]);
    assert!(log.rings.evicted_of_families(&family) > 0, "ten thousand are remembered one by one");
    drop(log);
    let topics = patterns(["f.t", "a.*"]);
    let page = read(&store, &topics, 0, |log| {
        append_all(log, vec![draft("f.t")], 13 * HOUR);
    });
    assert_eq!(page.evicted, [(topics[0].clone(), 10_002)]);
}

/// The evictions of removed topics are reported together, as the pattern of the query; the message stayed in the page
/// all the same.
#[test]
fn a_message_whose_topic_goes_while_it_is_read_is_told_and_not_shown() {
    for again in [false, true] {
        let store = store();
        append_all(&mut store.log(), vec![draft("f.t")], 10 * HOUR);
        append_all(&mut store.log(), family(600), 11 * HOUR);
        let topics = patterns(["f.*"]);
        let page = read(&store, &topics, 0, |log| {
            sweep(log, 11 * HOUR);
            if again {
                append_all(log, vec![draft("f.t")], 11 * HOUR);
            }
        });
        let shown = page.records.iter().map(|record| record.seq).collect::<Vec<_>>();
        assert_eq!(shown, (2..=601).collect::<Vec<_>>());
        let told = if again { "f.t" } else { "f.*" };
        assert_eq!(page.evicted, [(Pattern::parse(told).expect("a pattern"), 1)]);
    }
}

/// The evictions of its family, which stood for too many topics, were taken for its own: it was told of their gaps for
/// ever.
#[test]
fn a_topic_that_is_remembered_is_told_no_gaps_of_its_family() {
    let store = store();
    let mut log = store.log();
    append_all(&mut log, vec![draft("f.t")], 10 * HOUR);
    sweep(&mut log, 11 * HOUR);
    append_all(&mut log, family(10_000), 11 * HOUR);
    sweep(&mut log, 12 * HOUR);
    let [family, topic, other] = patterns(["f.*", "f.t", "a.*"]);
    assert!(log.rings.evicted_of_families(&family) > 0, "ten thousand are remembered one by one");
    drop(log);
    for topics in [vec![topic.clone()], vec![topic.clone(), other]] {
        assert_eq!(read(&store, &topics, 1, |_| {}).evicted, [], "{topics:?}");
        assert_eq!(read(&store, &topics, 0, |_| {}).evicted, [(topic.clone(), 1)], "{topics:?}");
    }
}

/// It used to be summed up ring by ring at each scrape, while all publishers waited.
#[test]
fn how_much_is_retained_is_known_without_a_look_at_each_topic() {
    let took = |topics: usize| {
        let store = store();
        append_all(&mut store.log(), family(topics), HOUR);
        let once = |_| {
            let began = Stopwatch::start();
            let retained = store.retained();
            assert!(retained.iter().any(|(name, bytes)| name.as_str() == "f.{x}" && *bytes == topics));
            began.elapsed()
        };
        (0..5).map(once).min().expect("it was asked")
    };
    let (few, many) = (took(10), took(50_000));
    assert!(many < few * 100, "{few:?} with ten topics, {many:?} with 50,000");
}

/// A reload that shrank `limits.idempotency_keys` used to block all publishers until the last surplus key was gone.
#[test]
fn surplus_keys_are_forgotten_in_turns() {
    let store = store();
    store.remember(6_000, Duration::from_secs(300));
    let mut log = store.log();
    (0..6_000).for_each(|n| _ = append(&mut log, &n.to_string(), HOUR));
    drop(log);
    for (seconds, still_known, forgotten) in [(300, Some("3000"), "2999"), (1, None, "5999")] {
        store.remember(3_000, Duration::from_secs(seconds));
        assert!(append(&mut store.log(), "5999", HOUR).duplicate, "the newest is known");
        let turns = turns_of_keys(&store, HOUR + 2_000);
        assert!(turns > 2, "{turns} turns");
        let mut is_known = |key: &str| append(&mut store.log(), key, HOUR).duplicate;
        assert!(still_known.is_none_or(&mut is_known) && !is_known(forgotten));
    }
}

/// The keys of one token can push out those of another, which nothing showed.
#[test]
fn keys_that_are_forgotten_for_want_of_room_are_counted_and_those_that_have_aged_are_not() {
    let store = store();
    store.remember(3, Duration::from_secs(300));
    let mut log = store.log();
    (0..5).for_each(|n| _ = append(&mut log, &n.to_string(), HOUR));
    assert_eq!(log.keys.counts(), KeyCounts { remembered: 3, forgotten_early: 2 });
    (5..9).for_each(|n| _ = append(&mut log, &n.to_string(), HOUR + 5 * MINUTE));
    assert_eq!(log.keys.counts(), KeyCounts { remembered: 3, forgotten_early: 3 });
    log.keys.resize(1, Duration::from_secs(300), Time(HOUR + 6 * MINUTE));
    assert_eq!(log.keys.counts(), KeyCounts { remembered: 1, forgotten_early: 5 }, "a reload wants fewer");
}

/// A publisher that came before the sweeper used to forget everything aged since its last tick, while everybody waited.
#[test]
fn keys_that_have_aged_are_unknown_at_once_and_forgotten_in_turns() {
    // By age, and by a reload.
    for (seconds, now) in [(300, HOUR + 5 * MINUTE), (1, HOUR + 1_000)] {
        let store = store();
        store.remember(6_000, Duration::from_secs(300));
        let mut log = store.log();
        (0..6_000).for_each(|n| _ = append(&mut log, &n.to_string(), HOUR));
        log.keys.resize(6_000, Duration::from_secs(seconds), Time(now));
        assert!(!append(&mut log, "5999", now).duplicate, "it has aged");
        assert!(append(&mut log, "5999", now).duplicate, "it is known anew");
        drop(log);
        let turns = turns_of_keys(&store, now);
        assert!(turns > 4, "{turns} turns");
        assert!(append(&mut store.log(), "5999", now).duplicate, "what went was the older one");
    }
}

/// As many forgotten topics as are remembered used to be compared with as many names as one may subscribe to.
#[test]
fn what_was_forgotten_is_found_among_many_names_without_a_look_at_each() {
    let names: Vec<_> = family(9_000).iter().map(|draft| Pattern::from(&draft.topic)).collect();
    let took = |is_forgotten: bool| {
        let store = store();
        if is_forgotten {
            append_all(&mut store.log(), family(9_000), HOUR);
            sweep(&mut store.log(), 3 * HOUR);
        }
        let began = Stopwatch::start();
        let page = read(&store, &names, 0, |_| {});
        assert_eq!(page.evicted.len(), if is_forgotten { 9_000 } else { 0 });
        began.elapsed()
    };
    let (without, with) = (took(false), took(true));
    assert!(with < without * 30, "{without:?} when nothing was forgotten, {with:?} when everything was");
}
