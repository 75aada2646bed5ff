//! A connection whose task is driven by the seed. It pulls, writes and joins one step at a time, so that a publish, a
//! pass of the shard or a command may come between any two steps. Real tasks meet some of these orders once in a
//! million times.

use std::sync::Arc;
use std::task::{Context, Waker};

use relay::delivery::Step;
use relay::evaluate;
use relay::hub::subscriber::{Pulled, Subscriber};
use relay::live::Live;
use relay::name::Pattern;
use relay::notice::{After, Notice};
use relay::plugin::Encoder;
use relay::principal::Principal;
use relay::protocol::relay_v1::RelayV1;
use relay::time::Time;
use serde_json::Value;
use tokio::io::duplex;

use crate::model::wire::WebSocket;
use crate::rig::somebody;

/// See the module's documentation.
pub struct Direct {
    live: Arc<Live>,
    principal: Arc<Principal>,
    subscriber: Subscriber,
    doing: Doing,
    pulls: usize,
    /// The peer's end of the connection.
    pub peer: WebSocket,
}

/// Bytes that a pull asks for, in turn: for one message, a few, or as many as there are.
const MOST: [usize; 3] = [0, 400, usize::MAX];

enum Doing {
    Nothing,
    Sending(Pulled),
    Joining,
}

impl Direct {
    pub async fn connect(live: &Arc<Live>, user: usize, buffer: usize) -> Self {
        let secret = format!("secret-u{user}");
        let principal = live.snapshot().auth.authenticate(&secret, Time::now()).await.expect("a known user");
        let (near, far) = duplex(buffer);
        let mut subscriber = live.hub.subscriber(far, &RelayV1, somebody());
        subscriber.identify(&principal);
        let peer = WebSocket::new(Box::new(near));
        Self { live: live.clone(), principal, subscriber, doing: Doing::Nothing, pulls: 0, peer }
    }

    /// Carries out a command as the real task does: what was pulled but not sent is given up first.
    pub fn subscribe(&mut self, id: u64, list: Vec<(Pattern, After)>) {
        self.abandon();
        let head = self.subscriber.subscribe(list);
        self.subscriber.tell_synced(head, Some(id.into()));
        self.tell(&Notice::Ok { id: Some(id.into()), message: None });
    }

    pub fn unsubscribe(&mut self, id: u64, patterns: &[Pattern]) {
        self.abandon();
        self.subscriber.unsubscribe(patterns);
        self.tell(&Notice::Ok { id: Some(id.into()), message: None });
    }

    /// Gives back what was pulled but not sent, so that it is pulled again.
    fn abandon(&mut self) {
        if let Doing::Sending(pulled) = std::mem::replace(&mut self.doing, Doing::Nothing) {
            self.subscriber.settle(pulled, 0);
        }
    }

    /// One step of the task, if there is one to take.
    pub async fn step(&mut self) {
        let mut cx = Context::from_waker(Waker::noop());
        match std::mem::replace(&mut self.doing, Doing::Nothing) {
            Doing::Nothing => {
                let waits =
                    self.subscriber.is_live() || self.subscriber.connection().poll_rest(&mut cx, || 0).is_pending();
                if !waits {
                    self.pulls += 1;
                    let most = MOST[self.pulls % MOST.len()];
                    let pulled = self.subscriber.pull(most).await.expect("memory can be read");
                    self.doing = pulled.map_or(Doing::Joining, Doing::Sending);
                }
            }
            Doing::Sending(pulled) => self.send(pulled),
            Doing::Joining => {
                self.subscriber.join();
            }
        }
    }

    fn send(&mut self, pulled: Pulled) {
        match Step::new(&self.live, &RelayV1, &pulled, usize::MAX).expect("it tells everything") {
            Step::Evaluate(mark) => {
                let snapshot = self.live.snapshot();
                let told = evaluate::evaluate(&snapshot, &self.principal, &mut self.subscriber, Some(&mark));
                told.iter().for_each(|notice| self.tell(notice));
                self.subscriber.settle(pulled, 1);
            }
            Step::Send(frames) => {
                let sent = match frames.batch() {
                    None => frames.sendable,
                    Some(batch) => frames.items_in(self.subscriber.write(&batch).expect("nobody hangs up")),
                };
                self.subscriber.settle(pulled, sent);
            }
        }
    }

    fn tell(&mut self, notice: &Notice) {
        let bytes = RelayV1.notice(notice).expect("it tells everything").expect("it tells everything");
        self.subscriber.reply(&bytes);
    }

    /// The next message or notice to arrive; takes steps until one does.
    pub async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some(told) = self.peer.ready() {
                return told;
            }
            self.step().await;
            tokio::task::yield_now().await;
        }
    }
}
