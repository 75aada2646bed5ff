//! Shared by the tests of the hub: a log, an encoding, and members whose peers record what they receive.

use std::net::{IpAddr, Ipv4Addr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

use crate::close::Close;
use crate::directory::Directory;
use crate::hub::connection::NoSocket;
use crate::hub::peer::Peer;
use crate::hub::subscriber::{Item, Subscriber};
use crate::hub::{Hub, Size};
use crate::message::{Epoch, Record, Seq};
use crate::name::{Pattern, TopicName};
use crate::notice::{After, Notice};
use crate::plugin::{
    BoxFuture, Draft, Encoder, Follower, KeyCounts, Page, Query, Receipt, Retention, Store, StoreError, Unavailable,
};
use crate::schema::Payload;
use crate::time::Time;

/// A log that retains nothing: tests call the hub's follower themselves.
pub(super) struct Nothing;

impl Store for Nothing {
    fn epoch(&self) -> Epoch {
        Epoch(1)
    }

    fn head(&self) -> Seq {
        0
    }

    fn append(&self, _: Vec<Draft>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        unreachable!("nobody publishes")
    }

    fn follow(&self, _: Seq, _: Arc<dyn Follower>) {}

    fn read<'a>(&'a self, _: Query<'a>) -> BoxFuture<'a, Result<Page, Unavailable>> {
        unreachable!("the window has everything")
    }

    fn retain(&self, _: Directory<Retention>) {}

    fn remember(&self, _: usize, _: Duration) {}

    fn keys(&self) -> KeyCounts {
        KeyCounts::default()
    }

    fn sweep(&self, _: Time) -> BoxFuture<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    fn retained(&self) -> Vec<(Pattern, usize)> {
        Vec::new()
    }
}

/// Encodes a message as its seq.
pub(super) struct Number;

impl Encoder for Number {
    fn slot(&self) -> usize {
        0
    }

    fn message(&self, _: Epoch, record: &Record) -> Bytes {
        Bytes::copy_from_slice(&record.seq.to_be_bytes())
    }

    fn notice(&self, _: &Notice) -> Result<Option<Bytes>, Close> {
        Ok(None)
    }
}

/// A hub with one shard that yields after so many connections.
pub(super) fn hub(stride: usize) -> Arc<Hub> {
    Hub::new(Arc::new(Nothing), Size { stride, ..Size::default() }, Directory::default())
}

pub(super) fn append(hub: &Hub, topics: &[&str]) {
    let next = hub.head().seq + 1;
    let record = |(seq, topic): (Seq, &&str)| {
        let topic = TopicName::parse(topic).expect("a topic");
        Arc::new(Record { seq, time: Time(0), topic, user: None, payload: Payload::from_log(vec![b'1'].into()) })
    };
    hub.appended(&(next..).zip(topics).map(record).collect::<Vec<_>>());
}

/// A topic of many segments.
pub(super) const DEEP: &str = "d.a.a.a.a.a.a.a.a.a";

/// Up to 512 patterns that match each of its beginnings in a way of their own, and not all of it.
pub(super) fn deep(count: usize) -> Vec<String> {
    let segment = |n: usize, bit: usize| if n >> bit & 1 == 1 { "*." } else { "a." };
    (0..count).map(|n| format!("d.{}z", (0..9).map(|bit| segment(n, bit)).collect::<String>())).collect()
}

/// Somebody whose patterns make it too dear to find out who wants messages to [`DEEP`].
pub(super) fn crowd(hub: &Arc<Hub>) -> Subscriber {
    let mut crowd = hub.subscriber(NoSocket, &Number, peer());
    let pattern = |text: String| (Pattern::parse(&text).expect("a pattern"), After::Live);
    crowd.subscribe(deep(512).into_iter().map(pattern).collect());
    crowd
}

pub(super) fn peer() -> Peer {
    Peer::new("test", IpAddr::V4(Ipv4Addr::LOCALHOST))
}

/// A member, its peer's end of the pipe, and what the peer received.
pub(super) struct Member {
    pub(super) subscriber: Subscriber,
    far: DuplexStream,
    /// The beginning of a message whose rest has not arrived.
    begun: Vec<u8>,
    pub(super) got: Vec<Seq>,
}

impl Member {
    pub(super) fn new(hub: &Arc<Hub>, topics: &[&str]) -> Self {
        Self::with_room(hub, topics, 1 << 16)
    }

    /// A member whose pipe takes this many bytes until its peer reads.
    pub(super) fn with_room(hub: &Arc<Hub>, topics: &[&str], room: usize) -> Self {
        let (near, far) = duplex(room);
        let subscriber = hub.subscriber(near, &Number, peer());
        let mut member = Self { subscriber, far, begun: Vec::new(), got: Vec::new() };
        member.subscribe(topics);
        assert!(member.subscriber.join());
        member
    }

    pub(super) fn subscribe(&mut self, topics: &[&str]) {
        let pattern = |topic: &&str| (Pattern::parse(topic).expect("a name"), After::Live);
        self.subscriber.subscribe(topics.iter().map(pattern).collect());
    }

    /// Reads what was written to it.
    pub(super) fn read(&mut self) {
        let mut bytes = [0; 64];
        while let Some(Ok(n)) = self.far.read(&mut bytes).now_or_never() {
            self.begun.extend_from_slice(&bytes[..n]);
            let (messages, begun) = self.begun.as_chunks();
            self.got.extend(messages.iter().map(|message| u64::from_be_bytes(*message)));
            self.begun = begun.to_vec();
        }
    }

    /// Its own task takes it back, writes what is unsent, and catches up to the head.
    pub(super) fn catch_up(&mut self) {
        self.subscriber.take_back();
        self.read();
        let cx = &mut Context::from_waker(Waker::noop());
        while self
            .subscriber
            .connection()
            .poll_rest(cx, || 0)
            .map(|written| written.expect("its peer is there"))
            .is_pending()
        {
            self.read();
        }
        self.read();
        loop {
            let pulled =
                self.subscriber.pull(usize::MAX).now_or_never().expect("from the window").expect("it can be read");
            let Some(pulled) = pulled else { return };
            let messages = pulled.items.iter().filter_map(|(item, _)| match item {
                Item::Message(message) => Some(message.record.seq),
                _ => None,
            });
            self.got.extend(messages);
            let all = pulled.items.len();
            self.subscriber.settle(pulled, all);
        }
    }
}

pub(super) fn poll<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_ready()
}
