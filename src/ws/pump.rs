//! Serving a connection that is behind: one step from the cursor towards the head.

use std::sync::Arc;
use std::task::{Context, Waker};

use bytes::Bytes;
use tracing::error;

use crate::close::Close;
use crate::config::model::OnLag;
use crate::hub::batch::Batch;
use crate::hub::entry::{Cursor, Message};
use crate::hub::subscriber::{Item, Pulled};
use crate::name::Pattern;
use crate::notice::{GapReason, Notice};
use crate::ws::task::{Ending, Task};

/// What was pulled, as far as it can be sent in one write.
#[derive(Default)]
struct Frames {
    bytes: Vec<(Bytes, Cursor)>,
    /// For each frame, how many items are sent when it is.
    items: Vec<usize>,
    /// How many items there are to send before something else must be done.
    all: usize,
    then: Then,
}

#[derive(Default)]
enum Then {
    #[default]
    GoOn,
    /// The item behind says that a reload took effect.
    Evaluate,
    /// The item behind cannot be told.
    End(Close),
}

impl Task {
    /// One step: sends what comes next, or gives the connection to its shard when nothing does.
    pub(super) async fn pump(&mut self) -> Result<(), Ending> {
        self.answer_ping()?;
        let pulled = match self.subscriber.pull().await {
            Ok(pulled) => pulled,
            Err(error) => {
                error!(connection = %self.id, ?error, "the store could not be read");
                return Err(Close::Internal.into());
            }
        };
        if pulled.head {
            self.subscriber.settle(pulled, 0);
            self.subscriber.join();
            return Ok(());
        }
        let frames = self.encode(&pulled);
        let sent = self.write(&frames)?;
        self.count(&pulled, sent);
        if sent < frames.all {
            self.subscriber.settle(pulled, sent);
            return Ok(());
        }
        match frames.then {
            Then::GoOn => self.subscriber.settle(pulled, sent),
            Then::End(close) => return Err(close.into()),
            Then::Evaluate => {
                let mark = match &pulled.items[sent] {
                    (Item::Mark(mark), _) => Arc::clone(mark),
                    _ => return Ok(()),
                };
                self.evaluate(&mark)?;
                self.subscriber.settle(pulled, sent + 1);
            }
        }
        Ok(())
    }

    fn encode(&self, pulled: &Pulled) -> Frames {
        let mut frames = Frames::default();
        for (item, cursor) in &pulled.items {
            let bytes = match item {
                Item::Message(message) => Some(message.encoded(self.protocol, self.live.hub.epoch()).clone()),
                Item::Mark(_) => {
                    frames.then = Then::Evaluate;
                    break;
                }
                Item::Notice(notice) => match self.tellable(notice) {
                    Ok(bytes) => bytes,
                    Err(close) => {
                        frames.then = Then::End(close);
                        break;
                    }
                },
            };
            frames.all += 1;
            if let Some(bytes) = bytes {
                frames.bytes.push((bytes, *cursor));
                frames.items.push(frames.all);
            }
        }
        frames
    }

    fn tellable(&self, notice: &Notice) -> Result<Option<Bytes>, Close> {
        match notice {
            Notice::Gap { topics, reason: GapReason::Lag, .. } if self.leaves_on_lag(topics) => Err(Close::Lagging),
            _ => self.protocol.notice(notice),
        }
    }

    fn leaves_on_lag(&self, topics: &Pattern) -> bool {
        let snapshot = self.live.snapshot();
        let rules = topics.exact().and_then(|topic| snapshot.resolve(&topic).cloned());
        rules.is_some_and(|rules| snapshot.config.topics[rules.config].on_lag == OnLag::Disconnect)
    }

    /// Answers how many items are sent; the rest of the frame that was begun is kept.
    fn write(&mut self, frames: &Frames) -> Result<usize, Ending> {
        if frames.bytes.is_empty() {
            return Ok(frames.all);
        }
        let batch = Batch::new(frames.bytes.iter().map(|(bytes, cursor)| (bytes, *cursor)));
        let mut cx = Context::from_waker(Waker::noop());
        let taken = self.subscriber.write(&mut cx, &batch)?;
        Ok(if taken == batch.len() { frames.all } else { frames.items[taken - 1] })
    }

    fn count(&self, pulled: &Pulled, sent: usize) {
        for (item, _) in &pulled.items[..sent] {
            match item {
                Item::Message(message) => delivered(message),
                Item::Notice(Notice::Gap { topics, .. }) => {
                    if let Some(topic) = topics.exact().and_then(|topic| self.live.hub.topic(&topic)) {
                        topic.gaps.add(1);
                    }
                }
                _ => {}
            }
        }
    }
}

fn delivered(message: &Message) {
    if let Some(topic) = &message.topic {
        topic.delivered.add(1);
    }
}
