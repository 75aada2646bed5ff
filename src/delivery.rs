//! Turns what a subscriber pulled into the bytes of one write, for every transport.

use std::sync::Arc;

use bytes::Bytes;
use tracing::error;

use crate::close::Close;
use crate::config::model::OnLag;
use crate::hub::batch::Batch;
use crate::hub::entry::Mark;
use crate::hub::subscriber::{Item, Pulled, Subscriber};
use crate::live::Live;
use crate::name::Pattern;
use crate::notice::{GapReason, Notice};
use crate::plugin::Encoder;
use crate::snapshot::Snapshot;

/// What to do with pulled items.
pub enum Step {
    /// Send the items that come before the next mark and can be told.
    Send(Frames),
    /// A reload took effect at the cursor: re-evaluate the subscriptions, and settle that one item.
    Evaluate(Arc<Mark>),
}

/// Pulled items, encoded as far as they can be sent in one write.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<Bytes>,
    /// For each frame, how many items are sent once it is.
    items_by: Vec<usize>,
    /// Number of items that can be sent.
    pub sendable: usize,
}

/// What comes next for a subscriber that is not live, encoded up to `most` bytes or one message; `None` at the head.
///
/// Pass it to [`settle`] afterwards.
///
/// # Errors
/// The close for the subscriber: the store could not be read, or its protocol cannot tell what comes next.
pub async fn next(
    live: &Live,
    subscriber: &mut Subscriber,
    encoder: &dyn Encoder,
    most: usize,
) -> Result<Option<(Step, Pulled)>, Close> {
    let pulled = subscriber.pull(most).await.map_err(|error| {
        error!(connection = %subscriber.peer().connection, %error, "the store could not be read");
        Close::Internal
    })?;
    pulled.map(|pulled| Ok((Step::new(live, encoder, &pulled, most)?, pulled))).transpose()
}

/// Settles what was pulled: its first `sent` items are sent.
pub fn settle(live: &Live, subscriber: &mut Subscriber, pulled: Pulled, sent: usize) {
    count(live, &pulled, sent);
    subscriber.settle(pulled, sent);
}

impl Step {
    /// Encodes items until there are `most` bytes, or something else must be done first.
    ///
    /// # Errors
    /// The close for a subscriber whose protocol cannot tell what comes next.
    pub fn new(live: &Live, encoder: &dyn Encoder, pulled: &Pulled, most: usize) -> Result<Self, Close> {
        let mut frames = Frames::default();
        let mut size = 0;
        for (item, _) in &pulled.items {
            let bytes = match item {
                Item::Message(message) => Some(message.encoded(encoder, live.hub.epoch()).clone()),
                Item::Mark(mark) if frames.sendable == 0 => return Ok(Self::Evaluate(mark.clone())),
                Item::Mark(_) => break,
                Item::Notice(notice) => match tellable(&live.snapshot(), encoder, notice) {
                    Ok(bytes) => bytes,
                    Err(close) if frames.sendable == 0 => return Err(close),
                    Err(_) => break,
                },
            };
            size += bytes.as_ref().map_or(0, Bytes::len);
            if size > most && !frames.bytes.is_empty() {
                break;
            }
            frames.sendable += 1;
            if let Some(bytes) = bytes {
                frames.bytes.push(bytes);
                frames.items_by.push(frames.sendable);
            }
        }
        Ok(Self::Send(frames))
    }
}

impl Frames {
    /// The frames for one write; `None` when there is nothing to write.
    pub fn batch(&self) -> Option<Batch> {
        let batch = Batch::new(self.bytes.iter());
        (!batch.is_empty()).then_some(batch)
    }

    /// How many items are sent once this many frames are.
    pub fn items_in(&self, frames: usize) -> usize {
        match frames.checked_sub(1) {
            _ if frames == self.bytes.len() => self.sendable,
            Some(last) => self.items_by[last],
            None => 0,
        }
    }
}

fn tellable(snapshot: &Snapshot, encoder: &dyn Encoder, notice: &Notice) -> Result<Option<Bytes>, Close> {
    match notice {
        Notice::Gap { topics, reason: GapReason::Lag, .. } if leaves_on_lag(snapshot, topics) => Err(Close::Lagging),
        _ => encoder.notice(notice),
    }
}

fn leaves_on_lag(snapshot: &Snapshot, topics: &Pattern) -> bool {
    snapshot
        .topics
        .containing(topics)
        .is_some_and(|rules| snapshot.config.topics[rules.config].on_lag == OnLag::Disconnect)
}

/// Counts the first `sent` items as delivered.
fn count(live: &Live, pulled: &Pulled, sent: usize) {
    for (item, _) in &pulled.items[..sent] {
        match item {
            Item::Message(message) => message.count_delivered(1),
            Item::Notice(Notice::Gap { topics, .. }) => match live.hub.containing(topics) {
                Some(topic) => topic.gaps.add(1),
                None => live.stats.gaps.add(1),
            },
            _ => {}
        }
    }
}
