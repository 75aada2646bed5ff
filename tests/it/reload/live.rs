//! What a reload means for open connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use relay::appending::Entry;
use serde_json::{Value, json};
use tokio::net::TcpStream;

use super::site::{HEAD, Site, token, with_topics};
use crate::event_stream::EventStream;
use crate::rig::spawn;
use crate::subscriber::Subscriber;

const EVERYTHING: &str = "publish = [\"**\"]\nsubscribe = [\"**\"]\nregister = [\"*\"]";

fn config(topics: &str, tokens: &[(&str, &str)]) -> String {
    let tokens: String = tokens.iter().map(|(name, rest)| token(name, rest)).collect();
    format!("{HEAD}{tokens}{topics}")
}

const CATS_AND_DOGS: &str = "[topics.cats]\nschema = \"any\"\n[topics.dogs]\nschema = \"any\"\n";

async fn publish(site: &Site, topic: &str, body: &str) {
    assert_eq!(site.post(&format!("/publish/{topic}"), "all", body).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_token_ends_its_connections_within_a_second_and_nobody_elses() {
    let before = [("all", EVERYTHING), ("gone", EVERYTHING), ("renamed", EVERYTHING), ("other", EVERYTHING)];
    let site = Site::start(&[("relay.toml", &config(CATS_AND_DOGS, &before))]).await;
    let mut kept = site.subscriber("all").await;
    kept.subscribe("cats").await;
    let mut gone = site.subscriber("gone").await;
    gone.subscribe("cats").await;
    let idle = site.subscriber("gone").await;
    let user = site.subscriber("renamed").await;
    let registered = site
        .call(
            "POST /register HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer gone\r\n",
            r#"{"user_id":1,"topics":["cats"]}"#,
        )
        .await
        .json();
    let url = registered["url"].as_str().expect("a URL").to_owned();
    let registered = Subscriber::connect(&url, &[]).await;
    let socket = TcpStream::connect(site.public).await.expect("it listens");
    let mut events = EventStream::open(socket, "/events?topic=cats", "Authorization: Bearer gone\r\n").await;

    let renamed = format!("{EVERYTHING}\nuser = \"somebody\"");
    let began = Instant::now();
    let report =
        site.change(&config(CATS_AND_DOGS, &[("all", EVERYTHING), ("renamed", &renamed), ("other", "")])).await;
    assert_eq!(
        report["plan"],
        json!({"tokens_removed": ["gone"], "tokens_replaced": ["renamed"], "tokens_changed": ["other"]})
    );
    for mut socket in [gone, idle, user, registered] {
        assert_eq!(socket.closed().await.0, 4010);
    }
    while events.next().await.is_some() {}
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    let mut again = Subscriber::connect(&url, &[]).await;
    assert_eq!(again.closed().await.0, 4001, "its registrations went with it");
    publish(&site, "cats", "1").await;
    assert_eq!(kept.json().await["data"], 1, "the first thing that the others hear is the next message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stalled_reader_of_a_lost_token_is_cut_off_too() {
    let site =
        Site::start(&[("relay.toml", &config(CATS_AND_DOGS, &[("all", EVERYTHING), ("slow", EVERYTHING)]))]).await;
    let mut slow = site.subscriber("slow").await;
    slow.subscribe("cats").await;
    let big = format!("\"{}\"", "x".repeat(200_000));
    let mut published = 0;
    while site.live.hub.behind.get() == 0 {
        publish(&site, "cats", &big).await;
        published += 1;
        assert!(published < 1_000, "it never falls behind");
    }
    let began = Instant::now();
    site.change(&config(CATS_AND_DOGS, &[("all", EVERYTHING)])).await;
    publish(&site, "cats", "\"too late\"").await;
    // Only what was written before, and the frame that had begun, may come before the close.
    let mut seen = 0;
    let code = loop {
        match slow.next().await {
            tokio_tungstenite::tungstenite::Message::Close(frame) => break frame.map(|frame| u16::from(frame.code)),
            message => {
                seen += 1;
                assert!(!message.to_text().expect("text").contains("too late"));
            }
        }
    };
    assert_eq!(code, Some(4010));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert!(seen <= published);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_reader_without_its_grant_publishes_no_more() {
    let site =
        Site::start(&[("relay.toml", &config(CATS_AND_DOGS, &[("all", EVERYTHING), ("slow", EVERYTHING)]))]).await;
    let mut slow = site.subscriber("slow").await;
    slow.subscribe("cats").await;
    let big = format!("\"{}\"", "x".repeat(200_000));
    while site.live.hub.behind.get() == 0 {
        publish(&site, "cats", &big).await;
    }
    site.change(&config(CATS_AND_DOGS, &[("all", EVERYTHING), ("slow", "subscribe = [\"cats\"]")])).await;
    slow.send(r#"{"type":"publish","id":7,"topic":"dogs","data":1}"#).await;
    let answer = loop {
        let json = slow.json().await;
        if json["id"] == 7 {
            break json;
        }
    };
    assert_eq!(answer["problem"]["type"], "urn:relay:problem:forbidden", "{answer}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_hears_what_concerns_it_and_nothing_else() {
    let schemas = [("one.json", "{\"type\": \"integer\"}"), ("two.json", "{\"type\": \"number\"}")];
    let topics = "[topics.cats]\nschema = \"one.json\"\n[topics.dogs]\nschema = \"any\"\n\
                  [topics.\"orders.{region}\"]\nschema = \"any\"\n[topics.fish]\nschema = \"any\"\n";
    let text = config(topics, &[("all", EVERYTHING), ("less", "subscribe = [\"cats\", \"fish\"]")]);
    let site = Site::start(&[("relay.toml", &text), schemas[0], schemas[1]]).await;
    let mut sockets = Vec::new();
    for (token, topic) in
        [("all", "cats"), ("all", "dogs"), ("all", "orders.eu"), ("all", "**"), ("less", "fish"), ("all", "fish")]
    {
        let mut socket = site.subscriber(token).await;
        socket.subscribe(topic).await;
        sockets.push(socket);
    }
    // Cats change, dogs go, one order topic gets a schema of its own, and `less` loses fish.
    let topics = "[topics.cats]\nschema = \"two.json\"\n[topics.fish]\nschema = \"any\"\ndescription = \"swim\"\n\
                  [topics.\"orders.{region}\"]\nschema = \"any\"\n[topics.\"orders.eu\"]\nschema = \"one.json\"\n";
    let report = site.change(&config(topics, &[("all", EVERYTHING), ("less", "subscribe = [\"cats\"]")])).await;
    assert_eq!(report["plan"]["schemas_changed"], json!(["cats", "orders.eu"]), "{report}");
    assert_eq!(report["generation"], 2);
    publish(&site, "fish", "1").await;
    let changed = |topic: &str| json!({"type": "topic_changed", "topic": topic, "generation": 2});
    let position = site.id(0);
    let unsubscribed = |topic: &str, reason: &str| json!({"type": "unsubscribed", "topic": topic, "reason": reason, "position": position});
    assert_eq!(sockets[0].json().await, changed("cats"));
    assert_eq!(sockets[1].json().await, unsubscribed("dogs", "topic_removed"));
    assert_eq!(sockets[2].json().await, changed("orders.eu"));
    assert_eq!(sockets[3].json().await, changed("cats"));
    assert_eq!(sockets[3].json().await, changed("orders.eu"));
    assert_eq!(sockets[3].json().await["type"], "message");
    assert_eq!(sockets[4].json().await, unsubscribed("fish", "forbidden"));
    assert_eq!(sockets[5].json().await["type"], "message", "another description is nothing to a subscriber");
    let mut late = site.subscriber("all").await;
    late.subscribe("cats").await;
    let mut hello = Subscriber::connect(&format!("ws://{}/ws", site.public), &[("authorization", "Bearer all")]).await;
    assert_eq!(hello.json().await["generation"], 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_notice_of_a_new_shape_stands_between_the_last_of_the_old_and_the_first_of_the_new() {
    let shape = |n: u64| format!("{{\"const\": {n}}}");
    let text = config("[topics.cats]\nschema = \"cat.json\"\n", &[("all", EVERYTHING)]);
    let site = Arc::new(Site::start(&[("relay.toml", &text), ("cat.json", &shape(1))]).await);
    let (generation, done) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
    // Publishers of the previous, the current and the next shape.
    let publishers: Vec<_> = (0..3_u64)
        .map(|ahead| {
            let (site, generation, done) = (site.clone(), generation.clone(), done.clone());
            spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let n = (generation.load(Ordering::SeqCst) + ahead).saturating_sub(1);
                    let status = site.post("/publish/cats", "all", &n.to_string()).await.status;
                    assert!(matches!(status, 200 | 422), "{status}");
                }
            })
        })
        .collect();
    let mut socket = site.subscriber("all").await;
    socket.subscribe("cats").await;
    let reader = spawn(async move {
        let (mut told, mut messages) = (1, 0);
        while told < 21 {
            let json = socket.json().await;
            if json["type"] == "topic_changed" {
                told = json["generation"].as_u64().expect("a generation");
            } else {
                assert_eq!(json["data"], told, "the shape of what follows the notice");
                messages += 1;
            }
        }
        messages
    });
    for n in 2..=21 {
        site.place.write("cat.json", &shape(n));
        assert_eq!(site.reload().await.status, 200);
        generation.store(n, Ordering::SeqCst);
    }
    assert!(reader.await.expect("no panic") > 0);
    done.store(true, Ordering::SeqCst);
    for publisher in publishers {
        publisher.await.expect("no panic");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_hangs_holds_up_publishes_for_a_second_of_a_reload_and_no_longer() {
    let site = Arc::new(Site::start(&[("relay.toml", &with_topics(&["cats"]))]).await);
    let hangs = site.live.appending.enter(site.live.snapshot().generation).await;
    site.place.write("relay.toml", &with_topics(&["cats", "dogs"]));
    let asked = site.clone();
    let reload = spawn(async move { asked.reload().await.status });
    while !site.has("dogs") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let published = tokio::time::timeout(Duration::from_secs(5), publish(&site, "dogs", "1")).await;
    published.expect("it waits no longer");
    assert!(!reload.is_finished(), "it still waits");
    drop(hangs);
    assert_eq!(reload.await.expect("no panic"), 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_smaller_retention_applies_at_once() {
    let site = Site::start(&[("relay.toml", &with_topics(&["cats"]))]).await;
    for n in 0..10 {
        publish(&site, "cats", &n.to_string()).await;
    }
    site.change(&format!("{}history = {{ count = 3 }}\n", with_topics(&["cats"]))).await;
    let history = site.get("/history/cats", "all").await.json();
    let seen: Vec<&Value> = history["messages"].as_array().expect("a list").iter().map(|m| &m["data"]).collect();
    assert_eq!(seen, [7, 8, 9]);
    let resumed = site.get(&format!("/history/cats?after={}", site.id(2)), "all").await.json();
    assert_eq!(resumed["gaps"][0]["to"], site.id(7), "{resumed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_goes_on_when_nobody_waits_for_it() {
    let site = Site::start(&[("relay.toml", &with_topics(&["cats"]))]).await;
    site.place.write("relay.toml", &with_topics(&["cats", "dogs"]));
    // A caller that hangs up before its request is read has asked for nothing, so try until one is read.
    let ask = async {
        while !site.has("dogs") {
            let mut peer = crate::peer::Peer::new(TcpStream::connect(site.admin).await.expect("it listens"));
            peer.send("POST /reload HTTP/1.1\r\nHost: localhost\r\n\r\n").await;
            drop(peer);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), ask).await.expect("one of them is read and carried out");
}

/// Regression: a connection that was let in by one configuration and arrived under the next was missed by the pass over
/// open connections.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_arrives_in_the_middle_of_a_reload_is_judged_by_it_too() {
    let topics = format!("{CATS_AND_DOGS}[limits]\nauth_failures = 1000\n");
    let with = config(&topics, &[("all", EVERYTHING), ("late", "subscribe = [\"cats\"]")]);
    let without = config(&topics, &[("all", EVERYTHING)]);
    let fewer = config(&topics, &[("all", EVERYTHING), ("late", "subscribe = [\"dogs\"]")]);
    let site = Arc::new(Site::start(&[("relay.toml", &with)]).await);
    for round in 0..30 {
        let arrive = |wait: u64| {
            let site = site.clone();
            spawn(async move {
                // Not a wait for something: the arrivals are spread over the reload.
                tokio::time::sleep(Duration::from_micros(wait)).await;
                let url = format!("ws://{}/ws", site.public);
                let mut socket = Subscriber::try_connect(&url, &[("authorization", "Bearer late")]).await?;
                socket.send(r#"{"type":"subscribe","id":1,"topics":["cats"]}"#).await;
                Ok::<_, u16>(socket)
            })
        };
        let arrivals: Vec<_> = (0..6).map(|n| arrive(n * 1_500)).collect();
        let goes = round % 2 == 0;
        site.change(if goes { &without } else { &fewer }).await;
        publish(&site, "cats", "\"too late\"").await;
        for arrival in arrivals {
            let mut socket = match arrival.await.expect("no panic") {
                Ok(socket) => socket,
                Err(status) => {
                    assert!(goes && status == 401, "{status}");
                    continue;
                }
            };
            if goes {
                assert_eq!(socket.closed().await.0, 4010);
                continue;
            }
            // Either refused, or subscribed and then told that it no longer is.
            loop {
                let json = socket.json().await;
                match json["type"].as_str().expect("a type") {
                    "error" | "unsubscribed" => break,
                    "message" => panic!("it gets what it may not: {json}"),
                    _ => {}
                }
            }
        }
        site.change(&with).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_beside_its_family_is_not_told_of_the_familys_schema() {
    let topics = |family: &str| {
        format!(
            "[topics.\"o.{{r}}\"]\nschema = \"{family}\"\n[topics.\"o.eu\"]\nschema = \"any\"\n[topics.cats]\nschema = \"any\"\n"
        )
    };
    let toml = |family: &str| config(&topics(family), &[("all", EVERYTHING)]);
    let site = Site::start(&[("relay.toml", &toml("any")), ("n.json", r#"{"type":["number","string"]}"#)]).await;
    let (mut exact, mut family) = (site.subscriber("all").await, site.subscriber("all").await);
    exact.subscribe("o.eu").await;
    family.subscribe("o.us").await;
    site.change(&toml("n.json")).await;
    assert_eq!(family.json().await["type"], "topic_changed");
    publish(&site, "o.eu", "1").await;
    assert_eq!(exact.json().await["type"], "message", "nothing of it has changed");
}

/// It does not matter how long the log takes for what was judged before the reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_is_lost_does_not_wait_for_the_log() {
    let all = "publish = [\"**\"]\nsubscribe = [\"**\"]";
    let config = |tokens: &str| format!("{HEAD}{tokens}[topics.cats]\nschema = \"any\"\n");
    let site = Site::start(&[("relay.toml", &config(&token("gone", all)))]).await;
    let mut socket = site.subscriber("gone").await;
    socket.subscribe("cats").await;
    let Entry::In(ticket) = site.live.appending.enter(1).await else { panic!("the gate is open") };
    site.place.write("relay.toml", &config(&token("other", all)));
    let closed = async {
        let closed = socket.closed().await;
        drop(ticket);
        closed
    };
    let ((code, _), report) = tokio::join!(closed, site.reload());
    assert_eq!((code, report.status), (4010, 200));
}
