//! Gaps: which connections they close, where they are counted, and what is told when nothing was lost.

use std::time::{Duration, Instant};

use relay::close::Close;
use relay::config::model::OnLag;
use relay::delivery::Step;
use relay::hub::entry::Cursor;
use relay::hub::subscriber::{Item, Pulled};
use relay::message::Position;
use relay::name::Pattern;
use relay::notice::{GapReason, Notice};
use relay::protocol::relay_v1::RelayV1;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::event_stream::EventStream;
use crate::rig::{Rig, grants};
use crate::subscriber::Subscriber;

/// Regression: topics whose messages have all expired are told as one gap, under the pattern of the subscription. Such
/// a gap disconnected nobody.
#[tokio::test]
async fn a_slow_reader_of_a_pattern_is_disconnected_where_its_family_says_so() {
    for (topics, on_lag, ends) in [
        ("orders.*", OnLag::Disconnect, true),
        ("orders.eu", OnLag::Disconnect, true),
        ("orders.*", OnLag::Gap, false),
        ("**", OnLag::Disconnect, false),
    ] {
        let rig = Rig::start(|config| config.topics[1].on_lag = on_lag).await;
        let at = |seq| Position { epoch: rig.live.hub.epoch(), seq };
        let topics = Pattern::parse(topics).expect("a pattern");
        let gap = Notice::Gap { topics: topics.clone(), from: at(1), to: at(2), reason: GapReason::Lag };
        let pulled = Pulled { items: vec![(Item::Notice(gap), Cursor::default())], ..Pulled::default() };
        let step = Step::new(&rig.live, &RelayV1, &pulled, 1_000);
        assert_eq!(matches!(step, Err(Close::Lagging)), ends, "{topics}");
        assert_eq!(matches!(step, Ok(Step::Send(_))), !ends, "{topics}");
        rig.end().await;
    }
}

/// Disconnected, it would resume from the same id again, and never get any further.
#[tokio::test]
async fn who_resumes_too_late_is_told_so_even_where_slow_readers_are_disconnected() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["cats"], &[]);
        config.topics[0].history.count = 1;
        config.topics[0].on_lag = OnLag::Disconnect;
    })
    .await;
    for cat in ["1", "2", "3"] {
        assert_eq!(rig.post("/publish/cats", "", cat).await.status, 200);
    }
    for (after, reasons) in [(&*rig.id(1), &["retention"][..]), ("00000001-1", &["epoch", "retention"])] {
        let mut subscriber = Subscriber::open(rig.public).await;
        subscriber.send(json!({"type": "subscribe", "topics": ["cats"], "after": after}).to_string()).await;
        assert_eq!(subscriber.json().await["type"], "ok");
        let socket = TcpStream::connect(rig.public).await.expect("the server listens");
        let mut stream = EventStream::open(socket, &format!("/events?topic=cats&after={after}"), "").await;
        for reason in reasons {
            assert_eq!(subscriber.json().await["reason"], *reason);
            assert_eq!(stream.expect("gap").await["reason"], *reason);
        }
        assert_eq!((&subscriber.json().await["data"], &stream.expect("message").await["data"]), (&json!(3), &json!(3)));
        assert_eq!(subscriber.json().await["type"], "synced");
        stream.expect("synced").await;
    }
    rig.end().await;
}

/// Regression: a gap that was told under a pattern was not counted.
#[tokio::test]
async fn a_gap_counts_for_the_declared_name_that_it_is_of() {
    let rig = Rig::start(|config| config.anonymous = grants(&[], &["**"], &[])).await;
    let mut subscriber = Subscriber::open(rig.public).await;
    for topics in ["cats", "orders.*", "orders.eu", "**"] {
        let command = json!({"type": "subscribe", "topics": [topics], "after": "00000001-1"});
        subscriber.send(command.to_string()).await;
        for kind in ["ok", "gap", "synced"] {
            assert_eq!(subscriber.json().await["type"], kind, "{topics}");
        }
    }
    let metrics = rig.metrics().await;
    for (topic, gaps) in [("cats", 1), ("orders.{region}", 2), ("sightings", 0), ("", 1)] {
        let line = format!("relay_gaps_total{{topic=\"{topic}\"}} {gaps}");
        assert!(metrics.lines().any(|found| found == line), "{line}");
    }
    drop(subscriber);
    rig.end().await;
}

/// Regression: each of these commands left behind a `synced`, which nothing counted until it was sent.
#[tokio::test]
async fn who_sets_back_his_cursor_again_and_again_is_refused() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&["cats"], &["cats"], &[]);
        config.limits.subscriptions = 2;
        config.limits.frame = 1 << 20;
    })
    .await;
    let filler = json!("x".repeat(60_000)).to_string();
    for _ in 0..30 {
        assert_eq!(rig.post("/publish/cats", "secret-all", &filler).await.status, 200);
    }
    let mut subscriber = Subscriber::open(rig.public).await;
    const COMMANDS: usize = 40;
    for id in 0..COMMANDS {
        let command = json!({"type": "subscribe", "id": id, "topics": ["cats"], "after": "earliest"});
        subscriber.send(command.to_string()).await;
    }
    let (mut made, mut refused, mut synced) = (0, 0, 0);
    while made + refused < COMMANDS || synced < made {
        let told: Value = subscriber.json().await;
        match told["type"].as_str() {
            Some("ok") => made += 1,
            Some("synced") => synced += 1,
            Some("error") => {
                let detail = "too many subscribe commands wait for their `synced` (16): wait for one before the next";
                assert_eq!((&told["problem"]["status"], &told["problem"]["detail"]), (&json!(413), &json!(detail)));
                refused += 1;
            }
            _ => {}
        }
    }
    assert!(made >= 16 && refused > 0, "{made} were made, {refused} refused");
    drop(subscriber);
    rig.end().await;
}

/// Regression: a subscriber that was connected all the time, and got nothing because all messages were for others, was
/// told a gap when it came back.
#[tokio::test]
async fn what_passes_a_reader_by_is_no_gap_when_it_comes_back() {
    let rig = Rig::start(|config| {
        config.anonymous = grants(&[], &["cats"], &[]);
        config.topics[0].history.count = 2;
        config.limits.ping_interval = Duration::from_millis(20);
    })
    .await;
    let events = async |after: &str| {
        let socket = TcpStream::connect(rig.public).await.expect("the server listens");
        EventStream::open(socket, &format!("/events?topic=cats{after}"), "").await
    };
    let mut subscriber = Subscriber::open(rig.public).await;
    subscriber.subscribe("cats").await;
    let mut stream = events("").await;
    stream.expect("synced").await;
    for cat in 1..=3 {
        let envelope = json!({"topic": "cats", "user_id": "somebody", "data": cat}).to_string();
        assert_eq!(rig.post("/publish", "secret-all", &envelope).await.status, 200);
    }
    let passed = rig.id(3);
    loop {
        let told = subscriber.json().await;
        assert_eq!((&told["type"], &told["id"]), (&json!("synced"), &Value::Null), "{told}");
        if told["position"] == passed {
            break;
        }
    }
    while stream.expect("synced").await["position"] != passed {}
    assert_eq!(rig.post("/publish/cats", "secret-all", "4").await.status, 200);
    assert_eq!((&subscriber.json().await["data"], &stream.expect("message").await["data"]), (&json!(4), &json!(4)));

    let mut subscriber = Subscriber::open(rig.public).await;
    subscriber.send(json!({"type": "subscribe", "topics": ["cats"], "after": passed}).to_string()).await;
    assert_eq!(subscriber.json().await["type"], "ok");
    assert_eq!(subscriber.json().await["data"], 4);
    let mut stream = events(&format!("&after={passed}")).await;
    assert_eq!(stream.expect("message").await["data"], 4);
    drop((subscriber, stream));
    rig.end().await;
}

/// Regression: the position came with every look at the connection, even one to answer a ping.
#[tokio::test]
async fn a_reader_is_told_its_position_no_more_often_than_it_is_pinged() {
    let interval = Duration::from_millis(200);
    let rig = Rig::start(|config| {
        config.anonymous = grants(&[], &["cats"], &[]);
        config.limits.ping_interval = interval;
        config.limits.pong_timeout = interval / 2;
    })
    .await;
    let mut subscriber = Subscriber::open(rig.public).await;
    subscriber.subscribe("cats").await;
    let publishing = async {
        loop {
            let envelope = json!({"topic": "cats", "user_id": "somebody", "data": 1}).to_string();
            assert_eq!(rig.post("/publish", "secret-all", &envelope).await.status, 200);
        }
    };
    let began = Instant::now();
    let reading = async {
        for _ in 0..6 {
            assert_eq!(subscriber.json().await["type"], "synced");
        }
    };
    tokio::select! {
        () = reading => {}
        () = publishing => unreachable!("it goes on"),
    }
    // The first one may come at once.
    assert!(began.elapsed() >= interval * 5, "6 within {:?}", began.elapsed());
    rig.end().await;
}
