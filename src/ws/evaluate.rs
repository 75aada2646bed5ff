//! What a reload means for one connection, at the place in the log where it took effect.

use crate::evaluate;
use crate::hub::entry::Mark;
use crate::name::Pattern;
use crate::ws::ending::Ending;
use crate::ws::task::Task;

impl Task {
    /// Looks at everything that the connection may do under the newest configuration, and tells what has changed.
    pub(super) fn evaluate(&mut self, mark: &Mark) -> Result<(), Ending> {
        let snapshot = self.live.snapshot();
        if let Some(principal) = self.principal.as_deref() {
            let registration = self.seat.as_deref().map(|seat| &*seat.registration);
            self.principal = Some(evaluate::renew(&snapshot, registration, principal)?);
        }
        let notices = evaluate::evaluate(&snapshot, self.principal.as_deref(), &mut self.subscriber, mark);
        notices.iter().try_for_each(|notice| self.tell(notice))
    }

    /// Those that the connection may subscribe to.
    pub(super) fn allowed(&self, patterns: &[Pattern]) -> Vec<Pattern> {
        let snapshot = self.live.snapshot();
        let Some(principal) = self.principal.as_deref() else { return Vec::new() };
        patterns.iter().filter(|pattern| evaluate::lost(&snapshot, principal, pattern).is_none()).cloned().collect()
    }
}
