//! From what a subscriber pulled to the bytes of one write, for every transport.

use bytes::Bytes;

use crate::close::Close;
use crate::config::model::OnLag;
use crate::hub::batch::Batch;
use crate::hub::entry::Cursor;
use crate::hub::subscriber::{Item, Pulled};
use crate::live::Live;
use crate::name::Pattern;
use crate::notice::{GapReason, Notice};
use crate::plugin::Encoder;
use crate::snapshot::Snapshot;

/// What was pulled, as far as it can be sent in one write.
#[derive(Default)]
pub struct Frames {
    bytes: Vec<(Bytes, Cursor)>,
    /// For each frame, how many items are sent when it is.
    items_behind: Vec<usize>,
    /// How many items can be sent before something else must be done.
    pub sendable: usize,
    /// What that is.
    pub then: Then,
}

/// What comes behind the frames.
#[derive(Default, Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// What will be pulled next.
    #[default]
    GoOn,
    /// The item behind says that a reload took effect.
    Evaluate,
    /// The item behind cannot be told.
    End(Close),
}

impl Frames {
    /// Encodes items until there are `most` bytes of them, or something else must be done.
    pub fn new(live: &Live, encoder: &dyn Encoder, pulled: &Pulled, most: usize) -> Self {
        let mut frames = Self::default();
        let mut size = 0;
        for (item, cursor) in &pulled.items {
            let bytes = match item {
                Item::Message(message) => Some(message.encoded(encoder, live.hub.epoch()).clone()),
                Item::Mark(_) => {
                    frames.then = Then::Evaluate;
                    break;
                }
                Item::Notice(notice) => match tellable(&live.snapshot(), encoder, notice) {
                    Ok(bytes) => bytes,
                    Err(close) => {
                        frames.then = Then::End(close);
                        break;
                    }
                },
            };
            size += bytes.as_ref().map_or(0, Bytes::len);
            if size > most && !frames.bytes.is_empty() {
                break;
            }
            frames.sendable += 1;
            if let Some(bytes) = bytes {
                frames.bytes.push((bytes, *cursor));
                frames.items_behind.push(frames.sendable);
            }
        }
        frames
    }

    /// The frames for one write; `None` when there is nothing to write.
    pub fn batch(&self) -> Option<Batch> {
        let batch = Batch::new(self.bytes.iter().map(|(bytes, cursor)| (bytes, *cursor)));
        (!batch.is_empty()).then_some(batch)
    }

    /// How many items are sent when so many frames are.
    pub fn items_in(&self, frames: usize) -> usize {
        match frames.checked_sub(1) {
            _ if frames == self.bytes.len() => self.sendable,
            Some(last) => self.items_behind[last],
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
pub fn count(live: &Live, pulled: &Pulled, sent: usize) {
    for (item, _) in &pulled.items[..sent] {
        match item {
            Item::Message(message) => {
                if let Some(topic) = &message.topic {
                    topic.delivered.add(1);
                }
            }
            Item::Notice(Notice::Gap { topics, .. }) => match live.hub.containing(topics) {
                Some(topic) => topic.gaps.add(1),
                None => live.stats.gaps.add(1),
            },
            _ => {}
        }
    }
}
