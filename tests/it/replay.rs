//! How much memory a reader takes that is behind.

use std::sync::Arc;
use std::time::Duration;

use relay::directory::Directory;
use relay::hub::connection::NoSocket;
use relay::hub::{Hub, Size};
use relay::name::{Pattern, TopicName};
use relay::notice::After;
use relay::plugin::{Draft, Retention, Store};
use relay::protocol::relay_v1::RelayV1;
use relay::schema::Payload;
use relay::store::KINDS;
use tokio::net::TcpStream;

use crate::peer::Peer;
use crate::program::{Place, Relay};
use crate::rig::somebody;
use crate::subscriber::Subscriber;

const MESSAGES: usize = 200;

/// Regression: a whole page of history was encoded and joined for each write, of which the socket took only a little:
/// of 50 MiB, 100 MiB at once, again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_websocket_that_reads_a_long_history_takes_little_memory() {
    let place = Place::new("replay");
    let file = place.write(
        "relay.toml",
        "version = 1\n[server]\nlisten = \"127.0.0.1:0\"\nadmin = \"\"\n[limits]\nwindow = \"1 MiB\"\n\
         [topics.cats]\nschema = \"any\"\nhistory = { bytes = \"64 MiB\" }\n\
         [anonymous]\npublish = [\"cats\"]\nsubscribe = [\"cats\"]\n",
    );
    let mut relay = Relay::start(&file);
    let (public, _) = relay.addresses();
    relay.ignore_log();
    let body = format!("\"{}\"", "x".repeat(250_000));
    let mut peer = Peer::new(TcpStream::connect(&public).await.expect("it listens"));
    for _ in 0..MESSAGES {
        let head = "Content-Type: application/json\r\nHost: localhost\r\n";
        peer.send(format!("POST /publish/cats HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(peer.answer().await.expect("an answer").status, 200);
    }
    let before = relay.status("VmHWM") << 10;
    let mut reader = Subscriber::connect(&format!("ws://{public}/ws"), &[]).await;
    reader.send(r#"{"type":"subscribe","id":1,"topics":["cats"],"after":"earliest"}"#).await;
    let mut read = 0;
    loop {
        let told = reader.json().await;
        match told["type"].as_str() {
            Some("message") => read += 1,
            Some("synced") => break,
            _ => {}
        }
    }
    assert_eq!(read, MESSAGES);
    let more = (relay.status("VmHWM") << 10) - before;
    assert!(more < 8 << 20, "{more} bytes more");
}

/// Regression: hundreds of readers that had been told of thousands of gaps, and then did not read on, took gigabytes
/// that no limit saw.
#[tokio::test]
async fn what_is_remembered_of_gaps_counts_as_what_a_slow_reader_holds_and_goes_as_it_reads() {
    const TOPICS: usize = 1_000;
    let store = (KINDS[0].build)();
    let family = Pattern::parse("f.{x}").expect("a family");
    let age = Duration::from_secs(3_600);
    let rules = Retention { count: 1, bytes: 1_000, age, declared: family.clone(), topics: TOPICS };
    store.retain([(family, rules)].into_iter().collect::<Directory<_>>());
    let hub = Hub::new(store.clone(), Size { window: 0, ..Size::default() }, Directory::default());
    let mut subscriber = hub.subscriber(NoSocket, &RelayV1, somebody());
    subscriber.subscribe(vec![(Pattern::parse("f.*").expect("a pattern"), After::Live)]);
    for _ in 0..3 {
        append(&store, TOPICS).await;
    }
    let first = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("a page");
    assert_eq!(first.items.len(), TOPICS, "a gap for each; the window has the rest");
    subscriber.settle(first, 3);
    assert!(hub.outbound.held() > TOPICS * 24, "three were told, the others wait: {}", hub.outbound.held());
    let again = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("a page");
    assert_eq!(again.items.len(), TOPICS - 3, "those are not told again");
    subscriber.settle(again, TOPICS - 4);
    assert!(hub.outbound.held() > TOPICS * 24, "all but one were told: {}", hub.outbound.held());
    let last = subscriber.pull(usize::MAX).await.expect("memory can be read").expect("a page");
    assert_eq!(last.items.len(), 1);
    subscriber.settle(last, 1);
    while let Some(rest) = subscriber.pull(usize::MAX).await.expect("memory can be read") {
        let all = rest.items.len();
        subscriber.settle(rest, all);
    }
    assert_eq!(hub.outbound.held(), 0, "it has passed them all");
}

async fn append(store: &Arc<dyn Store>, topics: usize) {
    let draft = |n| Draft {
        topic: TopicName::parse(&format!("f.{n}")).expect("a topic"),
        user: None,
        payload: Payload::from_log("1".into()),
        key: None,
    };
    store.append((0..topics).map(draft).collect()).await.expect("it is appended");
}
