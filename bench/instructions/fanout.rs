//! One pass of a shard over a thousand members whose sockets accept every write and discard it.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use futures::FutureExt;
use relay::hub::connection::Io;
use relay::hub::peer::Peer;
use relay::hub::subscriber::Subscriber;
use relay::live::Live;
use relay::name::{Pattern, TopicName};
use relay::notice::After;
use relay::plugin::Draft;
use relay::protocol::relay_v1::RelayV1;
use relay::schema::Payload;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{live, payload};

const MEMBERS: usize = 1_000;

/// Discards whatever is written, and counts the writes.
struct Sink(Arc<AtomicUsize>);

impl Io for Sink {}

impl AsyncRead for Sink {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Sink {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A shard with messages to write to its members.
pub struct Rig {
    live: Arc<Live>,
    shard: Pin<Box<dyn Future<Output = ()>>>,
    writes: Arc<AtomicUsize>,
    /// Kept because dropping a subscriber removes it from the shard.
    _subscribers: Vec<Subscriber>,
}

impl Rig {
    /// Makes a shard whose members are all live and subscribed to one topic.
    fn new() -> Self {
        let (live, writes) = (live(0), Arc::new(AtomicUsize::new(0)));
        let pattern = Pattern::parse("bench").expect("a topic");
        let peer = Peer::new("bench", [127, 0, 0, 1].into());
        let join = |_| {
            let mut subscriber = live.hub.subscriber(Sink(writes.clone()), &RelayV1, peer);
            subscriber.subscribe(vec![(pattern.clone(), After::Live)]);
            assert!(subscriber.join(), "nothing is new");
            subscriber
        };
        let subscribers = (0..MEMBERS).map(join).collect();
        let shard = live.hub.tasks().next().expect("there is one shard");
        Self { live, shard: Box::pin(shard), writes, _subscribers: subscribers }
    }

    fn append(&self, messages: usize) {
        let topic = TopicName::parse("bench").expect("a topic");
        let text = Bytes::from(payload(128));
        for _ in 0..messages {
            let payload = Payload::from_log(text.clone());
            let draft = Draft { topic: topic.clone(), user: None, payload, key: None };
            let appended = self.live.hub.store().append(vec![draft]).now_or_never();
            assert!(appended.is_some_and(|receipts| receipts.is_ok()), "a log in memory does not wait");
        }
    }

    /// Polls the shard until each member has had `rounds` writes.
    fn run(&mut self, rounds: usize) {
        let mut cx = Context::from_waker(Waker::noop());
        while self.writes.load(Ordering::Relaxed) < MEMBERS * rounds {
            assert!(self.shard.as_mut().poll(&mut cx).is_pending(), "it runs for as long as the hub");
        }
        // The shard also yields after its last members; this poll lets it finish.
        assert!(self.shard.as_mut().poll(&mut cx).is_pending(), "it runs for as long as the hub");
    }
}

/// Prepares a shard with `messages` to deliver. An earlier pass has already made everything that is made only once.
pub fn ready(messages: usize) -> Rig {
    let mut rig = Rig::new();
    rig.append(1);
    rig.run(1);
    rig.append(messages);
    rig
}

/// The measured work: one pass.
pub fn shard_pass(mut rig: Rig) -> Rig {
    rig.run(2);
    rig
}

/// Checks, outside the measured part, that the pass wrote to every member.
pub fn served(rig: Rig) {
    assert_eq!(rig.writes.load(Ordering::Relaxed), 2 * MEMBERS, "one write for each member and batch");
}
