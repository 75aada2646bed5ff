//! What stands in the window: messages with their encodings, and marks where a reload took effect.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::hub::topic::Topic;
use crate::message::{Epoch, Record, Seq};
use crate::name::Pattern;
use crate::plugin::{ENCODERS, Encoder};

/// A place between two entries of the log: everything up to it has been seen. Marks stand behind the message with
/// their seq, in the order of their generations, so that places compare as the log runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    /// The last message seen, or where to start after.
    pub seq: Seq,
    /// The last configuration whose effects were seen.
    pub generation: u64,
}

/// One entry of the window.
#[derive(Clone)]
pub enum Entry {
    /// A message.
    Message(Arc<Message>),
    /// A reload.
    Mark(Arc<Mark>),
}

impl Entry {
    /// The seq it stands at.
    pub fn seq(&self) -> Seq {
        match self {
            Self::Message(message) => message.record.seq,
            Self::Mark(mark) => mark.seq,
        }
    }

    /// Whether a reader at this cursor has not seen it yet.
    pub fn is_after(&self, cursor: Cursor) -> bool {
        match self {
            Self::Message(message) => message.record.seq > cursor.seq,
            Self::Mark(mark) => (mark.seq, mark.generation) > (cursor.seq, cursor.generation),
        }
    }

    /// The cursor of a reader that stood at `cursor` and has now seen this entry.
    pub fn pass(&self, cursor: Cursor) -> Cursor {
        match self {
            Self::Message(message) => Cursor { seq: message.record.seq, generation: cursor.generation },
            Self::Mark(mark) => Cursor { seq: mark.seq, generation: mark.generation.max(cursor.generation) },
        }
    }
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
    /// Whether a subscriber with this token and these subscriptions has to look.
    pub fn affects(&self, token: Option<&Arc<str>>, subscriptions: &[Pattern]) -> bool {
        token.map_or(self.anonymous, |name| self.tokens.contains(name))
            || subscriptions.iter().any(|mine| self.removed.iter().chain(&self.changed).any(|t| t.overlaps(mine)))
    }
}
