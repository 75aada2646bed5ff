//! The log, the encoder, the frame reader and the snapshot, each measured on its own.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use relay::directory::Directory;
use relay::frame::inbound::{Inbound, Item};
use relay::live::Live;
use relay::message::{Epoch, Record};
use relay::name::{Pattern, TopicName};
use relay::plugin::{Draft, Encoder, Retention, Store};
use relay::protocol::relay_v1::RelayV1;
use relay::schema::Payload;
use relay::store::memory::MemoryStore;
use relay::time::Time;

use crate::{TIMES, live, payload};

/// Messages that the topic retains. The ring starts full, so every append evicts one.
const RETAINED: usize = 1_000;

fn topic(name: &str) -> TopicName {
    TopicName::parse(name).expect("a topic")
}

fn draft(topic: &TopicName, text: &Bytes) -> Draft {
    Draft { topic: topic.clone(), user: None, payload: Payload::from_log(text.clone()), key: None }
}

/// A log whose only ring is full, and the drafts to append.
pub fn full_ring() -> (MemoryStore, Vec<Draft>) {
    let store = MemoryStore::default();
    let declared = Pattern::parse("bench").expect("a name");
    let retention = Retention {
        count: RETAINED,
        bytes: 16 << 20,
        age: Duration::from_secs(3_600),
        declared: declared.clone(),
        topics: 1,
    };
    store.retain([(declared, retention)].into_iter().collect::<Directory<_>>());
    let (topic, text) = (topic("bench"), Bytes::from(payload(128)));
    for _ in 0..RETAINED {
        store.append(vec![draft(&topic, &text)]).now_or_never();
    }
    let drafts = (0..TIMES).map(|_| draft(&topic, &text)).collect();
    (store, drafts)
}

/// Appends the drafts one at a time; each evicts a message.
pub fn ring_append((store, drafts): (MemoryStore, Vec<Draft>)) -> MemoryStore {
    for draft in drafts {
        let receipts = store.append(vec![draft]).now_or_never();
        assert!(black_box(receipts).is_some_and(|receipts| receipts.is_ok()), "a log in memory does not wait");
    }
    store
}

/// A message with a payload of `size` bytes.
pub fn record(size: usize) -> Record {
    let payload = Payload::from_log(payload(size).into());
    Record { seq: 1_234_567, time: Time(1_795_000_000_000), topic: topic("bench"), user: None, payload }
}

/// Encodes the message as a frame, [`TIMES`] times.
pub fn encode(record: Record) -> Record {
    for _ in 0..TIMES {
        black_box(RelayV1.message(Epoch(0x9f3c_21aa), black_box(&record)));
    }
    record
}

/// [`TIMES`] text frames, one after the other, as a subscriber sends them.
pub fn frames(size: usize) -> (Inbound, Vec<u8>) {
    (Inbound::new(64 << 10), masked(&payload(size)).repeat(TIMES))
}

/// A masked text frame with a 16-bit length (RFC 6455, section 5.2).
fn masked(text: &str) -> Vec<u8> {
    const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
    let length = u16::try_from(text.len()).ok().filter(|length| *length > 125).expect("a length of two bytes");
    let mut frame = vec![0x81, 0x80 | 126];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&KEY);
    frame.extend(text.bytes().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// Reads the frames in chunks, as a socket would deliver them.
pub fn inbound((mut inbound, mut wire): (Inbound, Vec<u8>)) -> usize {
    let mut texts = 0;
    for part in wire.chunks_mut(8 << 10) {
        let mut part = part;
        while let Ok(Some(item)) = inbound.next(&mut part) {
            texts += usize::from(matches!(black_box(item), Item::Text(_)));
        }
    }
    assert_eq!(texts, TIMES, "each frame is a text");
    texts
}

/// A server with many topics; also the names of an exact topic and of one that belongs to a family.
pub fn directory(topics: usize) -> (Arc<Live>, TopicName, TopicName) {
    (live(topics), topic("bench"), topic("bench.17"))
}

/// Loads the snapshot and resolves both topics, as each request does.
pub fn snapshot_load((live, exact, family): (Arc<Live>, TopicName, TopicName)) -> Arc<Live> {
    for _ in 0..TIMES {
        let snapshot = live.snapshot();
        black_box(snapshot.resolve(black_box(&exact)).is_some());
        black_box(snapshot.resolve(black_box(&family)).is_some());
    }
    live
}
