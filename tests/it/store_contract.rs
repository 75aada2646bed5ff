//! What every kind of store promises, run over every entry of the table of kinds: a later kind is tested without a line
//! here.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use relay::directory::Directory;
use relay::message::{Record, Seq};
use relay::name::{Pattern, TopicName, UserId};
use relay::plugin::{Draft, Follower, IdempotencyKey, Page, Query, Receipt, Retention, Store, StoreError};
use relay::schema::Payload;
use relay::store::KINDS;
use relay::time::Time;

const HOUR: i64 = 3_600_000;

/// One store of each kind, with rules for `a` and the family `f.{x}`.
fn stores() -> Vec<(&'static str, Arc<dyn Store>)> {
    let stores: Vec<_> = KINDS
        .iter()
        .map(|kind| {
            let store = (kind.build)();
            store.remember(3, Duration::from_secs(300));
            store.retain(rules(&[("a", 10, 1_000), ("f.{x}", 10, 1_000)]));
            (kind.name, store)
        })
        .collect();
    assert!(!stores.is_empty());
    stores
}

/// Rules from names, counts and bytes; all for an hour, and with at most three topics in a family.
fn rules(list: &[(&str, usize, usize)]) -> Directory<Retention> {
    let rules = list.iter().map(|(name, count, bytes)| {
        let (declared, age) = (pattern(name), Duration::from_secs(3_600));
        (declared.clone(), Retention { count: *count, bytes: *bytes, age, declared, topics: 3 })
    });
    rules.collect()
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).expect(text)
}

fn draft(topic: &str, payload: &str) -> Draft {
    let topic = TopicName::parse(topic).expect(topic);
    Draft { topic, user: None, payload: Payload::from_log(payload.to_owned().into()), key: None }
}

fn keyed(topic: &str, payload: &str, principal: &str, key: &str) -> Draft {
    let key = IdempotencyKey { principal: principal.into(), key: key.into() };
    Draft { key: Some(key), ..draft(topic, payload) }
}

async fn append(store: &Arc<dyn Store>, drafts: Vec<Draft>) -> Vec<Receipt> {
    store.append(drafts).await.expect("it is appended")
}

async fn seqs(store: &Arc<dyn Store>, topic: &str, count: usize) -> Vec<Seq> {
    let mut seqs = Vec::new();
    for n in 0..count {
        seqs.extend(append(store, vec![draft(topic, &n.to_string())]).await.iter().map(|receipt| receipt.seq));
    }
    seqs
}

async fn read(store: &Arc<dyn Store>, topics: &[&str], after: Seq, until: Seq, limit: usize) -> Page {
    let topics: Vec<Pattern> = topics.iter().map(|text| pattern(text)).collect();
    let query = Query { topics: &topics, after, until, limit, bytes: usize::MAX, seen: 0 };
    store.read(query).await.expect("it can be read")
}

/// Sets rules, and evicts what exceeds them.
async fn retain(store: &Arc<dyn Store>, rules: Directory<Retention>) {
    store.retain(rules);
    store.sweep(Time::now()).await;
}

/// The seqs that are retained of topics, and the highest seq that each has evicted.
async fn state(store: &Arc<dyn Store>, topics: &[&str]) -> (Vec<Seq>, BTreeMap<String, Seq>) {
    let page = read(store, topics, 0, Seq::MAX, usize::MAX).await;
    let evicted = page.evicted.iter().map(|(topics, seq)| (topics.to_string(), *seq));
    (page.records.iter().map(|record| record.seq).collect(), evicted.collect())
}

fn evicted(list: &[(&str, Seq)]) -> BTreeMap<String, Seq> {
    list.iter().map(|(topics, seq)| ((*topics).to_owned(), *seq)).collect()
}

#[derive(Default)]
struct Told(Mutex<Vec<Arc<Record>>>);

impl Follower for Told {
    fn appended(&self, records: &[Arc<Record>]) {
        self.0.lock().expect("nobody panics").extend_from_slice(records);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a caller of its own")]
async fn everybody_sees_one_order_and_a_batch_stands_together() {
    for (kind, store) in stores() {
        let told = Arc::new(Told::default());
        store.follow(store.head(), told.clone());
        assert_eq!(store.head(), 0, "{kind}");
        let publishers = (0..4).map(|publisher| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut receipts = Vec::new();
                for n in 0..200 {
                    let batch = (0..3).map(|part| draft("a", &format!("[{publisher},{n},{part}]"))).collect();
                    receipts.extend(append(&store, batch).await);
                    tokio::task::yield_now().await;
                }
                receipts
            })
        });
        let mut receipts = Vec::new();
        for publisher in publishers.collect::<Vec<_>>() {
            let own = publisher.await.expect("no panic");
            assert!(own.windows(2).all(|two| two[0].seq < two[1].seq), "{kind}: one publisher's receipts grow");
            receipts.extend(own);
        }
        assert_eq!(receipts.len(), 2_400);
        assert!(receipts.iter().all(|receipt| !receipt.duplicate));
        let told = told.0.lock().expect("nobody panics");
        assert!(told.windows(2).all(|two| two[0].seq < two[1].seq && two[0].time <= two[1].time), "{kind}");
        let mut given: Vec<Seq> = receipts.iter().map(|receipt| receipt.seq).collect();
        given.sort_unstable();
        assert_eq!(told.iter().map(|record| record.seq).collect::<Vec<_>>(), given, "{kind}: no more and no less");
        for batch in told.chunks(3) {
            let parts: Vec<_> =
                batch.iter().map(|r| String::from_utf8_lossy(r.payload.as_bytes()).into_owned()).collect();
            let begin = parts[0].trim_end_matches("0]");
            assert_eq!(parts, [0, 1, 2].map(|part| format!("{begin}{part}]")), "{kind}");
        }
        assert_eq!(store.head(), told.last().expect("there are some").seq);
    }
}

#[tokio::test]
async fn an_append_is_all_or_nothing() {
    for (kind, store) in stores() {
        append(&store, vec![keyed("a", "1", "shop", "k")]).await;
        let refused = store.append(vec![draft("a", "2"), keyed("a", "3", "shop", "k")]).await;
        assert!(matches!(refused, Err(StoreError::KeyReused(1))), "{kind}: {refused:?}");
        append(&store, ["f.1", "f.2"].map(|topic| draft(topic, "1")).into()).await;
        let head = store.head();
        let refused = store.append(["a", "f.3", "f.1", "f.4"].map(|topic| draft(topic, "1")).into()).await;
        assert!(matches!(refused, Err(StoreError::FamilyFull(3))), "{kind}: {refused:?}");
        assert_eq!(store.head(), head, "{kind}");
        let (retained, _) = state(&store, &["**"]).await;
        assert_eq!(retained.len(), 3, "{kind}: {retained:?}");
        store.sweep(Time(Time::now().0 + HOUR)).await;
        append(&store, ["f.3", "f.4", "f.5"].map(|topic| draft(topic, "1")).into()).await;
    }
}

#[tokio::test]
async fn a_key_belongs_to_a_message_for_one_user() {
    for (kind, store) in stores() {
        let to = |user: &str| Draft { user: UserId::parse(user).ok(), ..keyed("a", "1", "shop", "k") };
        let first = append(&store, vec![to("7")]).await[0].seq;
        let again = append(&store, vec![to("7")]).await[0];
        assert_eq!((again.seq, again.duplicate), (first, true), "{kind}");
        let other = store.append(vec![to("8")]).await;
        assert!(matches!(other, Err(StoreError::KeyReused(0))), "{kind}: {other:?}");
    }
}

#[tokio::test]
async fn a_key_appends_once_for_its_principal_and_topic_within_the_window() {
    for (kind, store) in stores() {
        let told = Arc::new(Told::default());
        store.follow(store.head(), told.clone());
        let one =
            async |draft| store.append(vec![draft]).await.map(|receipts| (receipts[0].seq, receipts[0].duplicate));
        let first = one(keyed("a", "1", "shop", "k")).await.expect("it is new");
        assert_eq!(one(keyed("a", "1", "shop", "k")).await.expect("the same again"), (first.0, true), "{kind}");
        assert_eq!(one(keyed("a", "1", "web", "k")).await.expect("another principal's"), (first.0 + 1, false));
        assert_eq!(one(keyed("f.1", "1", "shop", "k")).await.expect("another topic's"), (first.0 + 2, false));
        assert!(matches!(one(keyed("a", "2", "shop", "k")).await, Err(StoreError::KeyReused(0))), "{kind}");
        let addressed = Draft { user: UserId::parse("7").ok(), ..keyed("a", "1", "shop", "k") };
        assert!(matches!(one(addressed).await, Err(StoreError::KeyReused(0))), "{kind}: to somebody else");
        assert_eq!(told.0.lock().expect("nobody panics").len(), 3, "{kind}: nobody is told of it twice");

        // Three keys are remembered: a fourth drops the oldest.
        one(keyed("a", "1", "shop", "k4")).await.expect("it is new");
        assert!(!one(keyed("a", "2", "shop", "k")).await.expect("it was forgotten").1, "{kind}");

        let twice = ["5", "5"].map(|payload| keyed("a", payload, "shop", "k5"));
        let receipts = append(&store, twice.into()).await;
        assert_eq!(receipts.iter().map(|r| r.duplicate).collect::<Vec<_>>(), [false, true], "{kind}");
        assert_eq!(receipts[0].seq, receipts[1].seq);
        let differ = ["6", "7"].map(|payload| keyed("a", payload, "shop", "k6"));
        assert!(matches!(store.append(differ.into()).await, Err(StoreError::KeyReused(1))), "{kind}");

        store.sweep(Time(Time::now().0 + 299_000)).await;
        assert!(matches!(one(keyed("a", "6", "shop", "k5")).await, Err(StoreError::KeyReused(0))), "{kind}: too early");
        store.sweep(Time(Time::now().0 + 300_001)).await;
        assert!(!one(keyed("a", "6", "shop", "k5")).await.expect("the window has passed").1, "{kind}");
    }
}

#[tokio::test]
async fn retention_is_by_count_by_bytes_and_by_age_exactly() {
    for (kind, store) in stores() {
        retain(&store, rules(&[("a", 4, 1_000), ("b", 100, 10), ("last", 1, 1_000)])).await;
        let a = seqs(&store, "a", 7).await;
        assert_eq!(state(&store, &["a"]).await, (a[3..].to_vec(), evicted(&[("a", a[2])])), "{kind}: count");
        let mut b = Vec::new();
        for payload in ["1234", "1234", "12", "1", "123456789"] {
            b.push(append(&store, vec![draft("b", payload)]).await[0].seq);
            let kept = match b.len() {
                1 => 0,
                2 | 3 => 0,
                4 => 1,
                _ => 3,
            };
            assert_eq!(state(&store, &["b"]).await.0, b[kept..], "{kind}: bytes, after {payload}");
        }
        assert_eq!(store.retained().iter().find(|(topics, _)| topics.as_str() == "b").map(|(_, n)| *n), Some(10));
        let last = seqs(&store, "last", 3).await;
        assert_eq!(
            state(&store, &["last"]).await,
            (vec![last[2]], evicted(&[("last", last[1])])),
            "{kind}: last value"
        );
        let page = read(&store, &["a"], 0, Seq::MAX, 10).await;
        let (oldest, newest) = (page.records[0].time.0, page.records[3].time.0);
        store.sweep(Time(oldest + HOUR - 1)).await;
        assert_eq!(state(&store, &["a"]).await.0.len(), 4, "{kind}: age, a millisecond too early");
        store.sweep(Time(newest + HOUR)).await;
        assert_eq!(state(&store, &["a"]).await, (vec![], evicted(&[("a", a[6])])), "{kind}: age");

        let a = seqs(&store, "a", 4).await;
        retain(&store, rules(&[("a", 2, 1_000), ("b", 100, 10), ("last", 1, 1_000)])).await;
        assert_eq!(state(&store, &["a"]).await, (a[2..].to_vec(), evicted(&[("a", a[1])])), "{kind}: less than before");
    }
}

#[tokio::test]
async fn what_was_evicted_is_told_truly_of_topics_that_were_dropped_and_come_back() {
    for (kind, store) in stores() {
        let x = seqs(&store, "f.x", 2).await;
        let y = seqs(&store, "f.y", 1).await;
        store.sweep(Time(Time::now().0 + HOUR)).await;
        assert_eq!(state(&store, &["f.x"]).await, (vec![], evicted(&[("f.x", x[1])])), "{kind}: idle and dropped");
        assert_eq!(state(&store, &["f.*"]).await, (vec![], evicted(&[("f.*", y[0])])), "{kind}: stand together");
        assert_eq!(state(&store, &["f.z"]).await, (vec![], evicted(&[])), "{kind}: was never there");
        let again = seqs(&store, "f.x", 1).await;
        assert_eq!(state(&store, &["f.x"]).await, (again.clone(), evicted(&[("f.x", x[1])])), "{kind}: is back");
        assert_eq!(
            state(&store, &["f.*"]).await,
            (again, evicted(&[("f.x", x[1]), ("f.*", y[0])])),
            "{kind}: one is back"
        );

        let a = seqs(&store, "a", 3).await;
        retain(&store, rules(&[("f.{x}", 10, 1_000)])).await;
        assert_eq!(state(&store, &["a"]).await, (vec![], evicted(&[("a", a[2])])), "{kind}: removed");
        let meanwhile = seqs(&store, "a", 1).await;
        assert_eq!(state(&store, &["a"]).await, (vec![], evicted(&[("a", meanwhile[0])])), "{kind}: not retained");
        retain(&store, rules(&[("a", 10, 1_000), ("f.{x}", 10, 1_000)])).await;
        let again = seqs(&store, "a", 1).await;
        assert_eq!(state(&store, &["a"]).await, (again, evicted(&[("a", meanwhile[0])])), "{kind}: declared again");
    }
}

#[tokio::test]
async fn beyond_a_number_of_dropped_topics_the_truth_is_told_of_their_family() {
    for (kind, store) in stores() {
        let mut last = 0;
        for round in 0..4_000 {
            let batch = (0..3).map(|n| draft(&format!("f.r{round}-{n}"), "1")).collect();
            last = append(&store, batch).await[2].seq;
            store.sweep(Time(Time::now().0 + HOUR)).await;
        }
        let (_, told) = state(&store, &["f.r3999-2"]).await;
        assert_eq!(told, evicted(&[("f.r3999-2", last)]), "{kind}");
        let again = append(&store, vec![draft("f.r3999-1", "1")]).await[0].seq;
        let (retained, told) = state(&store, &["f.r3999-1"]).await;
        assert_eq!(retained, [again]);
        assert!(told["f.r3999-1"] >= last - 1, "{kind}: rather too much than too little: {told:?}");
        let (_, told) = state(&store, &["a"]).await;
        assert_eq!(told, evicted(&[]), "{kind}: another name is none of its");
    }
}

#[tokio::test]
async fn reading_goes_page_by_page_over_several_topics_in_one_order() {
    for (kind, store) in stores() {
        let mut all = Vec::new();
        for topic in ["a", "f.1", "a", "f.2", "f.1", "a", "f.2"] {
            all.extend(seqs(&store, topic, 1).await);
        }
        let (mut after, mut pages) = (0, Vec::new());
        loop {
            let page = read(&store, &["a", "f.*", "f.1"], after, Seq::MAX, 3).await;
            pages.push(page.records.iter().map(|record| record.seq).collect::<Vec<_>>());
            after = page.until;
            if page.until >= store.head() {
                break;
            }
        }
        assert_eq!(after, store.head(), "{kind}: whatever comes next is not in these pages");
        assert_eq!(pages, [&all[..3], &all[3..6], &all[6..]], "{kind}");
        let of = async |topics: &[&str], after, until, limit| {
            let page = read(&store, topics, after, until, limit).await;
            (page.records.iter().map(|record| record.seq).collect::<Vec<_>>(), page.until)
        };
        let head = store.head();
        assert_eq!(of(&["a"], 0, Seq::MAX, 9).await, (vec![all[0], all[2], all[5]], head), "{kind}: a topic");
        assert_eq!(of(&["a"], all[0], all[2], 9).await, (vec![all[2]], all[2]), "{kind}: after is out, until is in");
        assert_eq!(of(&["a"], 0, Seq::MAX, 3).await.1, head, "{kind}: the limit was not what ended it");
        assert_eq!(of(&["a"], all[5], Seq::MAX, 9).await, (vec![], head), "{kind}: nothing after the last");
        assert_eq!(of(&["**"], 0, Seq::MAX, 1).await, (vec![all[0]], all[0]), "{kind}: a pattern");
        assert_eq!(of(&[], 0, all[1], 9).await, (vec![], all[1]), "{kind}: no topics");
    }
}

/// A page used to have as many messages as were asked for, of which a reader of large ones sent the first and read the
/// others again.
#[tokio::test]
async fn a_page_has_no_more_bytes_than_were_asked_for_unless_its_one_message_has() {
    for (kind, store) in stores() {
        retain(&store, rules(&[("a", 10, 9_000), ("f.{x}", 10, 9_000)])).await;
        let payload = format!("\"{}\"", "x".repeat(998));
        for topic in ["a", "f.1", "a", "f.2"] {
            append(&store, vec![draft(topic, &payload)]).await;
        }
        let all = read(&store, &["**"], 0, Seq::MAX, 9).await.records;
        for (topics, of) in [(&["**"][..], &[0, 1, 2, 3][..]), (&["a"], &[0, 2]), (&["f.1", "f.2"], &[1, 3])] {
            let topics: Vec<Pattern> = topics.iter().map(|text| pattern(text)).collect();
            let len = |count: usize| of[..count].iter().map(|place| all[*place].written_len()).sum::<usize>();
            for (bytes, count) in [(0, 1), (len(1), 1), (len(2) - 1, 1), (len(2), 2), (usize::MAX, of.len())] {
                let query = Query { topics: &topics, after: 0, until: store.head(), limit: 9, bytes, seen: 0 };
                let page = store.read(query).await.expect("it can be read");
                let seqs: Vec<Seq> = page.records.iter().map(|record| record.seq).collect();
                let expected: Vec<Seq> = of[..count].iter().map(|place| all[*place].seq).collect();
                assert_eq!(seqs, expected, "{kind}: {bytes} bytes of {topics:?}");
                let until = if count == of.len() { store.head() } else { expected[count - 1] };
                assert_eq!(page.until, until, "{kind}: {bytes} bytes of {topics:?}");
            }
        }
    }
}

/// A store may read in turns. Whatever is appended, evicted, dropped or comes back in between, a page is true: each
/// message up to its end is either in it or told as evicted, and not both.
#[tokio::test]
async fn a_page_is_true_whatever_happens_while_it_is_read() {
    for (_, store) in stores() {
        let few =
            |count| rules(&[("a", count, 1_000), ("f.{x}", count, 1_000)]).map(|r| Retention { topics: 900, ..r });
        let (mut log, mut turns) = (Vec::new(), 0);
        for round in 0..40 {
            retain(&store, few(1 + round % 3)).await;
            for n in 0..700 {
                let topic = if n % 50 == 0 { "a".to_owned() } else { format!("f.{}", n * (round + 1) % 613) };
                let draft = draft(&topic, "1");
                log.push((draft.topic.clone(), append(&store, vec![draft]).await[0].seq));
            }
            let topics = [["a", "f.*", "f.7"], ["f.1", "**", "a"], ["f.*", "f.7", "f.8"]][round % 3].map(pattern);
            let (after, until) = (log[log.len() * (round % 5) / 5].1, store.head() + round as Seq);
            let limit = 100 + 300 * (round % 4);
            let mut read = pin!(store.read(Query { topics: &topics, after, until, limit, bytes: 99_999, seen: 0 }));
            let page = loop {
                if let Poll::Ready(page) = read.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                    break page.expect("it can be read");
                }
                turns += 1;
                match turns % 5 {
                    0 => store.sweep(Time(Time::now().0 + HOUR)).await,
                    1 => retain(&store, rules(&[("a", 1, 1_000)])).await,
                    2 => retain(&store, few(2)).await,
                    n => {
                        let drafts = ["a", "f.7", "f.8"].map(|topic| draft(topic, &n.to_string()));
                        let topics = drafts.each_ref().map(|draft| draft.topic.clone());
                        let receipts = append(&store, drafts.into()).await;
                        log.extend(topics.into_iter().zip(receipts.iter().map(|receipt| receipt.seq)));
                    }
                }
            };
            assert_true(&page, &topics, after, &log);
        }
        retain(&store, few(1)).await;
    }
}

/// Compares a page with what was published.
fn assert_true(page: &Page, topics: &[Pattern], after: Seq, log: &[(TopicName, Seq)]) {
    assert!(page.records.windows(2).all(|two| two[0].seq < two[1].seq));
    let there: BTreeSet<Seq> = page.records.iter().map(|record| record.seq).collect();
    let (exact, families): (Vec<_>, Vec<_>) = page.evicted.iter().partition(|(told, _)| told.is_exact());
    let exact: BTreeMap<String, Seq> = exact.into_iter().map(|(topic, seq)| (topic.to_string(), *seq)).collect();
    for (name, seq) in log.iter().filter(|(_, seq)| after < *seq && *seq <= page.until) {
        let is_told = exact.get(name.as_str()).is_some_and(|highest| seq <= highest);
        match there.contains(seq) {
            true => assert!(topics.iter().any(|p| p.matches(name)) && !is_told, "{seq} of {name} is there and gone"),
            false => {
                let is_gone = is_told || families.iter().any(|(told, highest)| seq <= highest && told.matches(name));
                assert_eq!(is_gone, topics.iter().any(|pattern| pattern.matches(name)), "{seq} of {name}");
            }
        }
    }
}

/// A store need not tell evictions again that an earlier page has seen. What several pages tell together is true all the
/// same, whatever happens while they are read and in between.
#[tokio::test]
async fn pages_that_build_on_each_other_leave_no_eviction_out() {
    for (kind, store) in stores() {
        let few =
            |count| rules(&[("a", count, 1_000), ("f.{x}", count, 1_000)]).map(|r| Retention { topics: 900, ..r });
        let (mut log, mut turns) = (Vec::new(), 0);
        for round in 0..30 {
            retain(&store, few(1 + round % 3)).await;
            for n in 0..700 {
                let topic = if n % 50 == 0 { "a".to_owned() } else { format!("f.{}", n * (round + 1) % 613) };
                let draft = draft(&topic, "1");
                log.push((draft.topic.clone(), append(&store, vec![draft]).await[0].seq));
            }
            let topics = [vec!["a", "f.7"], vec!["a", "f.*", "f.7"], vec!["f.1", "**"], vec!["f.*", "f.8"]];
            let topics: Vec<_> = topics[round % 4].iter().map(|text| pattern(text)).collect();
            let (after, until) = (log[log.len() * (round % 5) / 5].1, store.head());
            let mut told: BTreeMap<String, (Pattern, Seq)> = BTreeMap::new();
            let mut page = Page { until: after, ..Page::default() };
            let mut there: BTreeSet<Seq> = BTreeSet::new();
            while page.until < until {
                let (after, seen) = (page.until, page.seen);
                let query = Query { topics: &topics, after, until, limit: 50, bytes: 9_999, seen };
                let mut read = pin!(store.read(query));
                page = loop {
                    let polled = read.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                    turns += 1;
                    match turns % 61 {
                        0 => store.sweep(Time(Time::now().0 + HOUR)).await,
                        20 => retain(&store, rules(&[("a", 1, 1_000)])).await,
                        30 => retain(&store, few(2)).await,
                        50 => retain(&store, few(1)).await,
                        n => {
                            let topics = ["a".to_owned(), "f.7".to_owned(), format!("f.{}", turns * 7 % 613)];
                            drop(append(&store, topics.map(|topic| draft(&topic, &n.to_string())).into()).await);
                        }
                    }
                    if let Poll::Ready(page) = polled {
                        break page.expect("it can be read");
                    }
                };
                there.extend(page.records.iter().map(|record| record.seq));
                for (topics, seq) in &page.evicted {
                    let highest = &mut told.entry(topics.to_string()).or_insert((topics.clone(), 0)).1;
                    *highest = (*seq).max(*highest);
                }
                let of_page = log.iter().filter(|(_, seq)| after < *seq && *seq <= page.until);
                for (name, seq) in of_page.filter(|(name, _)| topics.iter().any(|pattern| pattern.matches(name))) {
                    let is_gone = told.values().any(|(told, highest)| seq <= highest && told.matches(name));
                    assert!(there.contains(seq) || is_gone, "{kind}: {seq} of {name}");
                }
            }
        }
    }
}

/// Its topic may have been forgotten since, and its family may be full of others.
#[tokio::test]
async fn a_message_that_is_known_already_needs_no_room_in_its_family() {
    for (kind, store) in stores() {
        retain(&store, rules(&[("f.{x}", 10, 1_000)]).map(|rules| Retention { age: Duration::from_secs(1), ..rules }))
            .await;
        let first = append(&store, vec![keyed("f.a", "1", "shop", "k")]).await;
        store.sweep(Time(first[0].time.0 + 1_000)).await;
        append(&store, vec![draft("f.b", "1"), draft("f.c", "1"), draft("f.d", "1")]).await;
        let other = store.append(vec![draft("f.a", "2")]).await;
        assert!(matches!(other, Err(StoreError::FamilyFull(0))), "{kind}: {other:?}");
        let again = append(&store, vec![keyed("f.a", "1", "shop", "k")]).await;
        assert_eq!(again, [Receipt { duplicate: true, ..first[0] }], "{kind}");
    }
}
