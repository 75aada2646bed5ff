//! Which members a reload affects.

use std::collections::HashSet;
use std::ops::ControlFlow;

use crate::hub::entry::Mark;
use crate::hub::members::{Members, SlotId};
use crate::patterns::{Meter, Patterns};

impl Members {
    /// Live members that a reload affects.
    pub(in crate::hub) fn affected(&self, mark: &Mark) -> Vec<SlotId> {
        let named = self.named(mark);
        let live = self.iter().filter(|(_, slot)| slot.live);
        let affected = live.filter(|(id, slot)| {
            let token = slot.principal.as_ref().and_then(|principal| principal.token.as_deref());
            named.as_ref().is_none_or(|named| named[*id as usize]) || mark.concerns(token)
        });
        affected.map(|(id, _)| id).collect()
    }

    /// For each member, whether it subscribes to something that the mark names.
    ///
    /// `None` if that takes too long to find out: members that join, leave or subscribe in this shard wait meanwhile.
    fn named(&self, mark: &Mark) -> Option<Vec<bool>> {
        let mut named = vec![false; self.slots.len()];
        let (mut meter, mut seen, mut families) = (Meter(self.visits.reload), HashSet::new(), Patterns::default());
        let mut note = |ids: &Vec<SlotId>| ids.iter().for_each(|id| named[*id as usize] = true);
        for name in mark.removed.iter().chain(mark.changed.iter()) {
            match name.exact() {
                Some(topic) => self.index.exact.get(&topic).into_iter().for_each(&mut note),
                None => families.insert(name.clone(), ()),
            }
            // Many of the names may fall under one pattern with many subscribers: visit its list once.
            let once = |ids| {
                if seen.insert(std::ptr::from_ref(ids)) {
                    note(ids);
                }
                ControlFlow::Continue(())
            };
            if self.index.patterns.overlapping(&name.canonical(), &mut meter, once).is_break() {
                return None;
            }
        }
        if families.is_empty() {
            return Some(named);
        }
        meter.0 = meter.0.checked_sub(self.index.exact.len())?;
        for (topic, ids) in &self.index.exact {
            if families.any_containing_metered(topic.as_str(), &mut meter, |()| true)? {
                note(ids);
            }
        }
        Some(named)
    }
}
