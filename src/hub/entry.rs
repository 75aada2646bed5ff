//! What the log holds for the hub: messages with their encodings, and marks where a reload took effect.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::hub::topic::Topic;
use crate::message::{Epoch, Record, Seq};
use crate::name::Pattern;
use crate::plugin::{ENCODERS, Encoder};

/// A place in the log: everything up to it has been seen. A mark stands behind the message with its seq, and marks in
/// the order of their generations, so that places compare as the log runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    /// The last message seen, or where to start after.
    pub seq: Seq,
    /// The last configuration whose effects were seen.
    pub generation: u64,
}

/// A message in the window, encoded at most once for each protocol.
pub struct Message {
    /// As the log holds it.
    pub record: Arc<Record>,
    /// Its declared topic, for counting; `None` when no configuration declares it any more.
    pub topic: Option<Arc<Topic>>,
    encoded: [OnceLock<Bytes>; ENCODERS],
}

impl Message {
    /// A message that nobody has encoded yet.
    pub fn new(record: Arc<Record>, topic: Option<Arc<Topic>>) -> Self {
        Self { record, topic, encoded: Default::default() }
    }

    /// The bytes for the socket, made when first needed.
    pub fn encoded(&self, encoder: &dyn Encoder, epoch: Epoch) -> &Bytes {
        self.encoded[encoder.slot()].get_or_init(|| encoder.message(epoch, &self.record))
    }

    /// What it counts against `limits.window`: text, one encoding, and what surrounds them.
    pub fn cost(&self) -> usize {
        self.record.payload.len() * 2 + 384
    }
}

/// A reload took effect here: subscribers that it affects evaluate themselves again when they come by.
pub struct Mark {
    /// The last message before it.
    pub seq: Seq,
    /// The configuration that took effect.
    pub generation: u64,
    /// Declared names that were removed.
    pub removed: Vec<Pattern>,
    /// Declared names whose schema changed.
    pub changed: Vec<Pattern>,
    /// Tokens that were removed or changed.
    pub tokens: HashSet<Arc<str>>,
    /// Whether the grants of anonymous callers changed.
    pub anonymous: bool,
}

impl Mark {
    /// The cursor of a reader that stood at `cursor` and has now seen this.
    pub fn pass(&self, cursor: Cursor) -> Cursor {
        Cursor { generation: self.generation, ..cursor }
    }

    /// Both reloads as one, at the place of this one.
    pub fn and(&self, earlier: &Self) -> Self {
        let both = |ours: &[Pattern], theirs: &[Pattern]| {
            let mut all = ours.to_vec();
            all.extend(theirs.iter().filter(|other| !ours.contains(other)).cloned());
            all
        };
        Self {
            seq: self.seq,
            generation: self.generation,
            removed: both(&self.removed, &earlier.removed),
            changed: both(&self.changed, &earlier.changed),
            tokens: self.tokens.union(&earlier.tokens).cloned().collect(),
            anonymous: self.anonymous || earlier.anonymous,
        }
    }

    /// Whether a subscriber with this token and these subscriptions has to look.
    pub fn affects(&self, token: Option<&Arc<str>>, subscriptions: &[Pattern]) -> bool {
        token.map_or(self.anonymous, |name| self.tokens.contains(name))
            || subscriptions.iter().any(|mine| self.removed.iter().chain(&self.changed).any(|t| t.overlaps(mine)))
    }
}
