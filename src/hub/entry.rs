//! The entries of the window: messages with their encodings, and marks where a reload took effect.

use std::collections::HashSet;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::hub::topic::Topic;
use crate::message::{Epoch, Record, Seq};
use crate::name::Pattern;
use crate::patterns::Patterns;
use crate::plugin::{ENCODERS, Encoder};

/// At most this many names of topics, and as many of tokens, in a mark that stands for several reloads.
const NAMES_IN_ONE: usize = 4_096;

/// Bytes that [`Message::cost`] counts besides the texts.
pub const FIXED_BYTES: usize = 384;
/// The most that a message in the window takes, in halves of its [`Message::cost`], which counts two of its texts: that
/// of the log and one for each encoder, a quarter of which the allocator may add.
pub const COST_HALVES: usize = (5 * (ENCODERS + 1)).div_ceil(4);

/// A place in the log: everything up to it has been seen.
///
/// A mark comes after the message with its seq, and marks follow each other by generation, so that cursors compare in
/// the order of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Cursor {
    /// The seq of the last message seen, or to start after.
    pub seq: Seq,
    /// The generation of the last configuration whose effects were seen.
    pub generation: u64,
}

/// A message in the window, encoded at most once for each protocol.
pub struct Message {
    /// As the log holds it.
    pub record: Arc<Record>,
    /// Its declared topic, for counters; `None` if no configuration declares it any more.
    pub topic: Option<Arc<Topic>>,
    encoded: [OnceLock<Bytes>; ENCODERS],
}

impl Message {
    /// Creates a message that is not encoded yet.
    pub fn new(record: Arc<Record>, topic: Option<Arc<Topic>>) -> Self {
        Self { record, topic, encoded: Default::default() }
    }

    /// The bytes for the socket, encoded when first needed.
    pub fn encoded(&self, encoder: &dyn Encoder, epoch: Epoch) -> &Bytes {
        self.encoded[encoder.slot()].get_or_init(|| encoder.message(epoch, &self.record))
    }

    /// Counts so many deliveries of it.
    pub fn count_delivered(&self, deliveries: u64) {
        if let Some(topic) = &self.topic {
            topic.delivered.add(deliveries);
        }
    }

    /// The bytes it counts against `limits.window`: its texts, one encoding, and the structures around them. It takes
    /// that much if all subscribers speak one protocol; see [`COST_HALVES`].
    pub fn cost(&self) -> usize {
        let Record { payload, topic, user, .. } = &*self.record;
        let names = topic.as_str().len() + user.as_ref().map_or(0, |user| user.as_str().len());
        (payload.size() + names) * 2 + FIXED_BYTES
    }
}

/// A reload took effect here: subscribers that it affects re-evaluate their subscriptions when they reach it.
pub struct Mark {
    /// The seq of the last message before it.
    pub seq: Seq,
    /// The generation of the configuration that took effect.
    pub generation: u64,
    /// The generation of the earliest reload that it stands for.
    pub first: u64,
    /// Declared names that were removed.
    pub removed: Names,
    /// Declared names whose schema changed.
    pub changed: Names,
    /// Tokens that were removed or changed.
    pub tokens: HashSet<Arc<str>>,
    /// Whether the grants of anonymous callers changed.
    pub anonymous: bool,
}

impl Mark {
    /// The cursor of a reader that was at `cursor` and has now seen this mark.
    pub fn pass(&self, cursor: Cursor) -> Cursor {
        Cursor { generation: self.generation, ..cursor }
    }

    /// How many names it carries.
    pub(super) fn names(&self) -> usize {
        self.removed.names.len() + self.changed.names.len() + self.tokens.len()
    }

    /// Merges two reloads into one mark, at the place of the earlier.
    ///
    /// There a grant that was lost cannot be used until the later one, though the later one's changes are told too
    /// soon. Beyond `NAMES_IN_ONE` names it affects everything, so that what is kept for a reader far behind does not
    /// grow with the number of reloads.
    pub fn and(&self, earlier: &Self) -> Self {
        let both = |ours: &[Pattern], theirs: &[Pattern]| {
            let known: HashSet<&str> = ours.iter().map(Pattern::as_str).collect();
            let mut all = ours.to_vec();
            all.extend(theirs.iter().filter(|other| !known.contains(other.as_str())).cloned());
            if all.len() > NAMES_IN_ONE { vec![Pattern::everything()] } else { all }
        };
        let mut tokens: HashSet<Arc<str>> = self.tokens.union(&earlier.tokens).cloned().collect();
        let mut removed = both(&self.removed.names, &earlier.removed.names);
        if tokens.len() > NAMES_IN_ONE {
            tokens.clear();
            removed = vec![Pattern::everything()];
        }
        Self {
            seq: earlier.seq,
            generation: self.generation,
            first: earlier.first,
            removed: removed.into(),
            changed: both(&self.changed.names, &earlier.changed.names).into(),
            tokens,
            anonymous: self.anonymous || earlier.anonymous,
        }
    }

    /// Whether it names the token or, for `None`, changes the grants of anonymous callers.
    pub(super) fn concerns(&self, token: Option<&str>) -> bool {
        token.map_or(self.anonymous, |name| self.tokens.contains(name))
    }
}

/// Declared names, indexed by the topics they share with a pattern: many subscribers look up each of their subscriptions.
#[derive(Default)]
pub struct Names {
    names: Vec<Pattern>,
    places: OnceLock<Patterns<usize>>,
}

impl From<Vec<Pattern>> for Names {
    fn from(names: Vec<Pattern>) -> Self {
        Self { names, places: OnceLock::new() }
    }
}

impl Names {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Pattern> {
        self.names.iter()
    }

    /// Those that share a topic with `name`, in their order; if there are more than `most`, any `most` of them.
    pub fn overlapping(&self, name: &Pattern, most: usize) -> Vec<&Pattern> {
        let mut places = Vec::new();
        self.places().any_overlapping(&name.canonical(), |place| {
            places.push(*place);
            places.len() >= most
        });
        places.sort_unstable();
        places.into_iter().map(|place| &self.names[place]).collect()
    }

    fn places(&self) -> &Patterns<usize> {
        self.places.get_or_init(|| {
            let mut places = Patterns::default();
            self.names.iter().enumerate().for_each(|(place, name)| places.insert(name.clone(), place));
            places
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, NAMES_IN_ONE, Names};
    use crate::name::Pattern;

    fn mark(removed: &[&str], tokens: &[&str], generation: u64) -> Mark {
        let removed: Vec<_> = removed.iter().map(|name| Pattern::parse(name).expect("a name")).collect();
        let tokens = tokens.iter().map(|name| (*name).into()).collect();
        Mark {
            seq: generation,
            generation,
            first: generation,
            removed: removed.into(),
            changed: Names::default(),
            tokens,
            anonymous: false,
        }
    }

    #[test]
    fn marks_that_were_put_together_do_not_grow_without_end() {
        let mut all = mark(&[], &[], 0);
        for n in 1..=NAMES_IN_ONE as u64 + 10 {
            all = mark(&[&format!("t{n}")], &[&format!("token{n}")], n).and(&all);
        }
        assert!(all.removed.names.len() <= NAMES_IN_ONE && all.tokens.len() <= NAMES_IN_ONE);
        assert!(all.removed.names.contains(&Pattern::everything()), "nothing is forgotten");
        assert_eq!((all.first, all.generation), (0, NAMES_IN_ONE as u64 + 10));
    }
}
