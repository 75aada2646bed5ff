//! What a reload means for one connection: at its mark in the log, and at the connection's next command.

use std::sync::Arc;

use tracing::debug;

use crate::close::Close;
use crate::evaluate::{self, Remaining};
use crate::hub::entry::Mark;
use crate::notice::After;
use crate::principal::Principal;
use crate::snapshot::Snapshot;
use crate::ws::ending::Ending;
use crate::ws::task::Task;

impl Task {
    /// Makes the connection this principal's, unless a reload has taken that back since it was admitted.
    pub(super) fn become_principal(&mut self, principal: Arc<Principal>) -> Result<(), Close> {
        self.subscriber.identify(&principal);
        self.principal = Some(principal);
        self.may_authenticate = false;
        self.place = None;
        self.generation = 0;
        self.renew(&self.live.snapshot())
    }

    /// Re-evaluates everything that the connection may do under the newest configuration, and tells what has changed.
    pub(super) fn evaluate(&mut self, mark: Option<&Mark>) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        self.renew(&snapshot)?;
        // An unauthenticated connection has no subscriptions.
        let Some(principal) = self.principal.as_deref() else { return Ok(()) };
        let notices = evaluate::evaluate(&snapshot, principal, &mut self.subscriber, mark);
        notices.iter().try_for_each(|notice| self.tell(notice))
    }

    /// Brings the principal up to date with this configuration.
    ///
    /// # Errors
    /// The close for a connection whose principal is lost.
    pub(super) fn renew(&mut self, snapshot: &Snapshot) -> Result<(), Close> {
        if self.generation == snapshot.generation {
            return Ok(());
        }
        if let Some(principal) = self.principal.as_deref() {
            let registration = self.seat.as_deref().map(|seat| &*seat.registration);
            self.principal = Some(evaluate::renew(snapshot, registration, principal)?);
        }
        self.generation = snapshot.generation;
        Ok(())
    }

    /// Re-evaluates a subscription that was judged by one configuration and made under another, whose mark it may have
    /// passed.
    pub(super) fn evaluate_again(&mut self) -> Result<(), Ending> {
        if self.generation == self.live.snapshot().generation { Ok(()) } else { self.evaluate(None) }
    }

    /// Subscribes to what was registered, as far as that is still granted. If nothing is left the connection stays
    /// open, as it would if that happened later: a reload may give the grants back.
    pub(super) fn take_up(&mut self) -> Result<(), Ending> {
        let Some(registration) = self.seat.as_ref().map(|seat| seat.registration.clone()) else { return Ok(()) };
        let snapshot = self.live.snapshot();
        let Some(principal) = self.principal.as_deref() else { return Ok(()) };
        let remaining = Remaining::new(&snapshot, principal, &registration.topics);
        let position = self.subscriber.position();
        remaining.told(position).try_for_each(|notice| self.tell(&notice))?;
        if remaining.kept.is_empty() {
            return Ok(());
        }
        debug!(connection = %self.subscriber.peer().connection, topics = ?remaining.kept, "subscribed to the registered topics");
        let list = remaining.kept.into_iter().map(|topics| (topics, After::Live)).collect();
        let head = self.subscriber.subscribe(list);
        self.subscriber.tell_synced(head, None);
        self.evaluate_again()
    }
}
