//! What a subscription from the earliest is promised: everything that is retained when it is made, or to be told of it.

use std::sync::Arc;
use std::time::Duration;

use relay::directory::Directory;
use relay::hub::connection::NoSocket;
use relay::hub::entry::FIXED_BYTES;
use relay::hub::subscriber::{Item, Subscriber};
use relay::hub::{Hub, Size};
use relay::name::{Pattern, TopicName};
use relay::notice::{After, GapReason, Notice};
use relay::plugin::{Draft, Retention, Store};
use relay::protocol::relay_v1::RelayV1;
use relay::schema::Payload;
use relay::store::{KINDS, Settings};

/// Messages and gaps, as seqs.
#[derive(Debug, PartialEq)]
enum Told {
    Message(u64),
    Gap(u64, u64, GapReason),
    Synced(u64),
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
        let pulled = subscriber.pull().await.expect("memory can be read");
        if pulled.head {
            return told;
        }
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

/// One read of a socket can carry a subscribe and hundreds of publishes behind it. What those had the topic let go
/// before the first page was read was taken for what had been gone before anybody asked, and nothing was told of it.
#[tokio::test]
async fn what_goes_between_the_subscribe_and_its_first_page_is_told() {
    let settings = Settings { key_window: Duration::from_secs(300), keys: 1 };
    for kind in KINDS {
        let store = (kind.build)(&settings);
        let declared = Pattern::parse("t").expect("a name");
        let rules = Retention {
            count: 1,
            bytes: 1_000,
            age: Duration::from_secs(3_600),
            declared: declared.clone(),
            topics: 1,
        };
        store.retain([(declared.clone(), rules)].into_iter().collect::<Directory<_>>());
        // Three messages of one byte.
        let window = 3 * (FIXED_BYTES + 2 * "t1".len());
        let hub = Hub::new(store.clone(), Size { window, ..Size::default() }, Directory::default());
        publish(&store, 5).await;
        let mut subscriber = hub.subscriber(NoSocket, &RelayV1);
        subscriber.subscribe(vec![(declared, After::Earliest)], Some(None));
        publish(&store, 8).await;
        let told = read(&mut subscriber).await;
        let expected = [
            Told::Synced(5),
            Told::Gap(5, 10, GapReason::Lag),
            Told::Message(11),
            Told::Message(12),
            Told::Message(13),
        ];
        assert_eq!(told, expected, "{}", kind.config.name);
    }
}
