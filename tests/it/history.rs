//! `GET /history/{topic}`, over real sockets.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::FutureExt;
use relay::close::Close;
use relay::ingest::{self, Publication, Publisher};
use relay::name::{Pattern, TopicName};
use relay::time::Time;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::peer::{Answer, Peer};
use crate::rig::{Rig, call, spawn, token, until};

async fn publish(rig: &Rig, topic: &str, numbers: std::ops::RangeInclusive<u32>) {
    for n in numbers {
        let answer = rig.post(&format!("/publish/{topic}"), "secret-all", &n.to_string()).await;
        assert_eq!(answer.status, 200, "{}", answer.json());
    }
}

fn numbers(answer: &Answer) -> Vec<u64> {
    assert_eq!(answer.status, 200, "{}", answer.json());
    let json = answer.json();
    let messages = json["messages"].as_array().expect("a list");
    messages.iter().map(|message| message["data"].as_u64().expect("a number")).collect()
}

#[tokio::test]
async fn history_is_read_page_by_page_with_its_gap() {
    let rig = Rig::start(|config| config.topics[0].history.count = 5).await;
    let epoch = rig.live.hub.epoch();
    publish(&rig, "cats", 1..=8).await;
    let all = rig.get("/history/cats", "secret-all").await;
    assert_eq!(numbers(&all), [4, 5, 6, 7, 8]);
    let first = &all.json()["messages"][0];
    assert_eq!(first["id"], format!("{epoch}-4"));
    assert_eq!((&first["type"], &first["topic"]), (&json!("message"), &json!("cats")));
    assert_eq!((&all.json()["gaps"], &all.json()["position"]), (&json!([]), &json!(format!("{epoch}-8"))));
    assert_eq!(all.header("link"), "");

    let mut target = format!("/history/cats?after={epoch}-1&limit=2");
    let mut read = Vec::new();
    let mut gaps = Vec::new();
    loop {
        let page = rig.get(&target, "secret-all").await;
        read.extend(numbers(&page));
        gaps.extend(page.json()["gaps"].as_array().expect("a list").clone());
        match page.header("link").strip_suffix("&limit=2>; rel=\"next\"").map(|next| format!("{next}&limit=2")) {
            // Only a query: whatever a proxy puts before the path stays (RFC 3986, section 5.2.2).
            Some(next) => target = format!("/history/cats{}", next.trim_start_matches('<')),
            None => break,
        }
    }
    assert_eq!(read, [4, 5, 6, 7, 8]);
    let gap = json!({"type": "gap", "topic": "cats", "from": format!("{epoch}-1"), "to": format!("{epoch}-3"),
        "reason": "retention"});
    assert_eq!(gaps, [gap]);
    let other = rig.get("/history/cats?after=00000000-7", "secret-all").await;
    assert_eq!(numbers(&other), [4, 5, 6, 7, 8]);
    let reasons: Vec<Value> =
        other.json()["gaps"].as_array().expect("a list").iter().map(|gap| gap["reason"].clone()).collect();
    assert_eq!(reasons, ["epoch", "retention"]);
    rig.end().await;
}

#[tokio::test]
async fn what_is_older_than_the_history_goes_by_itself() {
    let rig = Rig::start(|config| config.topics[0].history.age = Duration::from_millis(100)).await;
    publish(&rig, "cats", 1..=2).await;
    let held = || rig.live.hub.store().retained().iter().map(|(_, bytes)| bytes).sum::<usize>();
    assert_ne!(held(), 0);
    until("the messages have gone", || held() == 0).await;
    let late = rig.get(&format!("/history/cats?after={}", rig.id(0)), "secret-all").await;
    assert_eq!(numbers(&late), [0; 0]);
    assert_eq!(late.json()["gaps"][0]["to"], rig.id(2));
    rig.end().await;
}

#[tokio::test]
async fn history_is_read_by_pattern_and_hides_messages_for_others() {
    let rig = Rig::start(|config| {
        let mut ops = token("ops", &[], &["orders.*"], &[]);
        ops.user = Some(relay::name::UserId::parse("ops").expect("a user"));
        config.tokens.extend([ops, token("other", &[], &["orders.*", "cats"], &[])]);
    })
    .await;
    for body in [
        json!({"topic": "orders.eu", "data": 1}),
        json!({"topic": "orders.us", "data": 1, "user_id": "ops"}),
        json!({"topic": "orders.eu", "data": 1, "user_id": "ops"}),
    ] {
        assert_eq!(rig.post("/publish", "secret-all", &body.to_string()).await.status, 200);
    }
    for (target, secret, ids) in [
        ("/history/orders.%2A", "secret-ops", vec![1, 2, 3]),
        ("/history/orders.*", "secret-other", vec![1]),
        ("/history/orders.%7Bregion%7D", "secret-ops", vec![1, 2, 3]),
        ("/history/orders.us", "secret-ops", vec![2]),
        ("/history/orders.us", "secret-other", vec![]),
        ("/history/orders.none", "secret-other", vec![]),
    ] {
        let answer = rig.get(target, secret).await;
        let json = answer.json();
        let messages = json["messages"].as_array().unwrap_or_else(|| panic!("{target}: {json}"));
        let found: Vec<u64> = messages
            .iter()
            .map(|m| m["id"].as_str().and_then(|id| id.split('-').nth(1)?.parse().ok()).expect("an id"))
            .collect();
        assert_eq!(found, ids, "{target} as {secret}");
    }
    for (target, secret, status) in [
        ("/history/cats", "secret-ops", 403),
        ("/history/cats", "", 401),
        ("/history/dogs", "secret-all", 404),
        ("/history/a..b", "secret-all", 400),
        ("/history/cats?limit=0", "secret-all", 400),
        ("/history/cats?limit=1001", "secret-all", 400),
        ("/history/cats?wait=61", "secret-all", 400),
        ("/history/cats?after=x", "secret-all", 400),
    ] {
        assert_eq!(rig.get(target, secret).await.status, status, "{target}");
    }
    rig.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[expect(clippy::disallowed_methods, reason = "a caller of its own")]
async fn a_long_poll_waits_for_the_first_message_and_no_longer() {
    let rig = Rig::start(|_| {}).await;
    let epoch = rig.live.hub.epoch();
    let public = rig.public;
    let head = format!("GET /history/cats?after={epoch}-0&wait=30 HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n");
    let poll = tokio::spawn(async move { call(public, &head, "").await });
    until("it waits", || !rig.live.hub.connections().is_empty()).await;
    publish(&rig, "orders.eu", 1..=1).await;
    publish(&rig, "cats", 7..=7).await;
    let answer = poll.await.expect("no panic");
    assert_eq!(numbers(&answer), [7]);
    assert_eq!(answer.json()["position"], format!("{epoch}-2"));
    let since = Instant::now();
    let answer = rig.get(&format!("/history/cats?after={epoch}-2&wait=1"), "secret-all").await;
    assert_eq!(numbers(&answer), Vec::<u64>::new());
    assert!((1..5).contains(&since.elapsed().as_secs()), "{:?}", since.elapsed());
    let since = Instant::now();
    assert_eq!(numbers(&rig.get(&format!("/history/cats?after={epoch}-1&wait=30"), "secret-all").await), [7]);
    assert!(since.elapsed() < Duration::from_secs(5), "there was something already");
    rig.end().await;
}

#[tokio::test]
async fn what_is_known_already_is_not_sent_again() {
    let rig = Rig::start(|_| {}).await;
    publish(&rig, "cats", 1..=2).await;
    let tag = rig.get("/history/cats", "secret-all").await.header("etag").to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    publish(&rig, "orders.eu", 1..=1).await;
    let again = async |known: &str| {
        let head =
            format!("GET /history/cats HTTP/1.1\r\nAuthorization: Bearer secret-all\r\nIf-None-Match: {known}\r\n");
        let answer = rig.call(&head, "").await;
        // RFC 9110, section 15.4.5: a cache that lost the tag would have nothing to revalidate with.
        assert!(answer.status != 304 || answer.header("etag") == tag, "{answer:?}");
        answer.status
    };
    assert_eq!(again(&tag).await, 304, "other topics do not change it");
    assert_eq!(again(&format!("\"x\", {tag}")).await, 304);
    let (_, strong) = tag.split_once('/').expect("a weak tag");
    assert_eq!(again(strong).await, 304, "it is compared weakly (RFC 9110, section 13.1.2)");
    assert_eq!(again("*").await, 304);
    assert_eq!(again("\"x\"").await, 200);
    publish(&rig, "cats", 3..=3).await;
    assert_eq!(again(&tag).await, 200);
    rig.end().await;
}

/// Regression: it was answered with 304, and so stayed before the messages for others, whose eviction became a gap for
/// it in the end.
#[tokio::test]
async fn a_poller_comes_on_while_messages_for_others_pass_it_by() {
    let rig = Rig::start(|config| config.topics[0].history.count = 2).await;
    publish(&rig, "cats", 1..=1).await;
    let poll = async |after: &str, tag: &str| {
        let head = format!(
            "GET /history/cats?after={after} HTTP/1.1\r\nAuthorization: Bearer secret-all\r\nIf-None-Match: {tag}\r\n"
        );
        rig.call(&head, "").await
    };
    let first = poll(&rig.id(1), "\"x\"").await;
    assert_eq!((first.status, first.json()["position"].clone()), (200, json!(rig.id(1))));
    let tag = first.header("etag");
    assert_eq!(poll(&rig.id(1), tag).await.status, 304);
    for cat in 2..=4 {
        let envelope = json!({"topic": "cats", "user_id": "somebody", "data": cat}).to_string();
        assert_eq!(rig.post("/publish", "secret-all", &envelope).await.status, 200);
    }
    let passed = poll(&rig.id(2), tag).await;
    assert_eq!((passed.status, numbers(&passed)), (200, vec![]));
    assert_eq!(passed.json()["position"], rig.id(4));
    assert_eq!(poll(&rig.id(4), passed.header("etag")).await.status, 200, "it stands elsewhere now");
    assert_eq!(poll(&rig.id(4), tag).await.status, 304);
    publish(&rig, "cats", 5..=5).await;
    let next = poll(&rig.id(4), tag).await;
    assert_eq!((numbers(&next), next.json()["gaps"].clone()), (vec![5], json!([])));
    rig.end().await;
}

#[tokio::test]
async fn a_long_poll_ends_with_its_token() {
    let rig = Rig::start(|config| {
        let mut short = token("short", &[], &["cats"], &[]);
        short.not_after = Some(Time(Time::now().0 + 400));
        config.tokens.push(short);
    })
    .await;
    let began = Instant::now();
    let (polled, ()) = tokio::join!(rig.get("/history/cats?wait=5", "secret-short"), async {
        tokio::time::sleep(Duration::from_millis(1_000)).await;
        publish(&rig, "cats", 1..=1).await;
    });
    assert_eq!((polled.status, numbers(&polled)), (200, vec![]));
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    rig.end().await;
}

/// Regression: the poll ended without the message, whose publisher had its receipt, and which was lost with the
/// process.
#[tokio::test]
async fn a_long_poll_gets_what_was_acknowledged_before_the_end() {
    let rig = Rig::start(|_| {}).await;
    let (live, public) = (rig.live.clone(), rig.public);
    let head = "GET /history/cats?wait=30 HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n";
    let poll = spawn(async move { call(public, head, "").await });
    until("it waits", || !live.hub.connections().is_empty() && live.hub.behind.get() == 0).await;
    let snapshot = live.snapshot();
    let principal = snapshot.auth.authenticate("secret-all", Time::now()).await.expect("it is known");
    let publisher = Publisher { principal: &principal, peer: public.ip() };
    let topic = TopicName::parse("cats").expect("a topic");
    let publication = Publication { topic, user: None, body: Bytes::from_static(b"7"), key: None };
    // The runtime is this thread: the poll wakes up before its shard has run, as happens when the shard is busy.
    live.hub.connections().iter().for_each(|connection| connection.end(Close::Draining));
    let published = ingest::publish(&live, snapshot.clone(), publisher, &publication).now_or_never();
    assert!(published.is_some_and(|published| published.is_ok()), "acknowledged while nobody else runs");
    assert_eq!(numbers(&poll.await.expect("no panic")), [7]);
    rig.end().await;
}

/// Regression: a drain answered polls at its beginning. Each poller asked again and again until the listener closed, and
/// what was published meanwhile reached everybody but them.
#[tokio::test]
async fn a_long_poll_in_a_drain_waits_for_what_is_still_published() {
    let rig = Rig::start(|config| config.limits.drain = Duration::from_secs(60)).await;
    let (live, public) = (rig.live.clone(), rig.public);
    let head = "GET /history/cats?wait=30 HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n";
    let poll = spawn(async move { call(public, head, "").await });
    let mut publisher = Peer::new(TcpStream::connect(public).await.expect("it listens"));
    let head = "POST /publish/cats HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret-all\r\n";
    publisher
        .send(format!("{head}Content-Type: application/json\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n"))
        .await;
    publisher.asked_for_body().await;
    until("it waits", || live.hub.connections().len() == 1 && live.hub.behind.get() == 0).await;
    live.drain.begin();
    // Beyond the time in which connections are still accepted.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!poll.is_finished(), "there may be more to come");
    publisher.send("7").await;
    assert_eq!(publisher.answer().await.expect("a receipt").status, 200);
    let polled = poll.await.expect("no panic");
    assert_eq!((numbers(&polled), polled.header("connection")), (vec![7], "close"));
    rig.end().await;
}

/// Regression: polls did not count in the metrics, and no alert saw the gaps that they were told.
#[tokio::test]
async fn what_history_hands_out_is_counted() {
    let rig = Rig::start(|config| config.topics[0].history.count = 5).await;
    publish(&rig, "cats", 1..=8).await;
    let target = format!("/history/cats?after={}&limit=3", rig.id(1));
    assert_eq!(numbers(&rig.get(&target, "secret-all").await), [4, 5, 6]);
    let topic = rig.live.hub.containing(&Pattern::parse("cats").expect("a pattern")).expect("it is declared");
    assert_eq!((topic.delivered.get(), topic.gaps.get()), (3, 1));
    rig.end().await;
}

/// Regression: a page listed a gap for each topic of a family: 140 MB if `limits.family_topics` is a million.
#[tokio::test]
async fn a_page_names_so_many_gaps_and_tells_the_others_as_one() {
    let rig = Rig::start(|config| {
        config.topics[1].history.count = 1;
        config.limits.batch = 5_000;
    })
    .await;
    let all: Vec<_> = (0..2_200).map(|n| json!({"topic": format!("orders.t{}", n % 1_100), "data": n})).collect();
    assert_eq!(rig.post("/publish", "secret-all", &json!(all).to_string()).await.status, 200);
    let page = rig.get(&format!("/history/orders.*?after={}&limit=1", rig.id(0)), "secret-all").await;
    assert_eq!(numbers(&page), [1_100]);
    let page = page.json();
    let mut gaps = page["gaps"].as_array().expect("a list").clone();
    assert_eq!(gaps.len(), 1_001);
    let rest = gaps.pop().expect("the last");
    let mut lost: Vec<Value> = (0..1_100).map(|n| json!([format!("orders.t{n}"), rig.id(n + 1)])).collect();
    lost.retain(|lost| !gaps.iter().any(|gap| json!([gap["topic"], gap["to"]]) == *lost));
    assert_eq!(lost.len(), 100, "the others are told by name");
    let to = lost.iter().map(|lost| lost[1].as_str().expect("an id")).max_by_key(|id| (id.len(), *id));
    let expected = json!({"type": "gap", "topic": "orders.*", "from": rig.id(0), "to": to, "reason": "retention"});
    assert_eq!(rest, expected);
    rig.end().await;
}

/// Otherwise a request for a thousand of the largest messages would be answered with all of them at once.
#[tokio::test]
async fn a_page_ends_at_its_bytes_and_at_a_hundred_messages() {
    let rig = Rig::start(|config| {
        config.limits.body = 1 << 20;
        config.topics[0].history.bytes = 8 << 20;
    })
    .await;
    let large = format!("\"{}\"", "x".repeat(600_000));
    for _ in 0..3 {
        assert_eq!(rig.post("/publish/cats", "secret-all", &large).await.status, 200);
    }
    let page = rig.get("/history/cats?limit=1000", "secret-all").await;
    assert_eq!(page.json()["messages"].as_array().map(Vec::len), Some(2));
    assert_eq!(page.header("link"), format!("<?after={}&limit=1000>; rel=\"next\"", rig.id(2)));
    let all: Vec<_> = (0..101).map(|n| json!({"topic": "orders.eu", "data": n})).collect();
    assert_eq!(rig.post("/publish", "secret-all", &json!(all).to_string()).await.status, 200);
    assert_eq!(numbers(&rig.get("/history/orders.eu", "secret-all").await).len(), 100);
    rig.end().await;
}
