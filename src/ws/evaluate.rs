//! What a reload means for one connection, at the place in the log where it took effect.

use std::sync::Arc;

use crate::close::Close;
use crate::hub::entry::Mark;
use crate::message::Time;
use crate::name::Pattern;
use crate::notice::{Notice, UnsubscribedReason};
use crate::principal::{Action, Principal, authorize};
use crate::snapshot::Snapshot;
use crate::ws::task::{Ending, Task};

impl Task {
    /// Looks at everything that the connection may do under the newest configuration, and tells what has changed.
    pub(super) fn evaluate(&mut self, mark: &Mark) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        if let Some(principal) = self.renew(&snapshot)? {
            self.principal = Some(principal);
        }
        let position = self.subscriber.position();
        let patterns: Vec<Pattern> = self.subscriber.subscriptions().cloned().collect();
        let mut gone = Vec::new();
        for pattern in &patterns {
            let Some(reason) = self.lost(&snapshot, pattern) else { continue };
            gone.push(pattern.clone());
            self.subscriber.unsubscribe(std::slice::from_ref(pattern));
            self.tell(&Notice::Unsubscribed { topics: pattern.clone(), reason, position })?;
        }
        for pattern in patterns.iter().filter(|pattern| !gone.contains(pattern)) {
            for changed in mark.changed.iter().filter(|changed| changed.overlaps(pattern)) {
                // A wildcard is told what of it has changed.
                let topics = if pattern.is_exact() { pattern } else { changed };
                let generation = mark.generation;
                self.tell(&Notice::TopicChanged { topics: topics.clone(), generation })?;
            }
        }
        Ok(())
    }

    /// Who the connection is now.
    fn renew(&self, snapshot: &Snapshot) -> Result<Option<Arc<Principal>>, Close> {
        match (&self.seat, &self.principal) {
            (Some(seat), _) => seat.registration.principal(snapshot, Time::now()).map(Some),
            (None, Some(principal)) if principal.token.is_some() => {
                snapshot.auth.renew(principal).map(Some).ok_or(Close::TokenRevoked)
            }
            (None, Some(_)) => Ok(Some(snapshot.anonymous.clone())),
            (None, None) => Ok(None),
        }
    }

    fn lost(&self, snapshot: &Snapshot, pattern: &Pattern) -> Option<UnsubscribedReason> {
        if pattern.exact().is_some_and(|topic| snapshot.resolve(&topic).is_none()) {
            return Some(UnsubscribedReason::TopicRemoved);
        }
        let allowed = self.principal.as_deref().is_some_and(|p| authorize(p, Action::Subscribe, pattern));
        (!allowed).then_some(UnsubscribedReason::Forbidden)
    }

    /// Those that the connection may subscribe to.
    pub(super) fn allowed(&self, patterns: &[Pattern]) -> Vec<Pattern> {
        let snapshot = self.live.snapshot();
        patterns.iter().filter(|pattern| self.lost(&snapshot, pattern).is_none()).cloned().collect()
    }
}
