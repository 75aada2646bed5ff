//! Places for connections that have not said who they are: few, so that strangers cannot crowd out anybody.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// All of them.
#[derive(Default)]
pub struct Strangers(Arc<AtomicUsize>);

/// One place, free again when dropped.
pub struct Stranger(Arc<AtomicUsize>);

impl Strangers {
    /// Takes a place, if fewer than `limit` are taken.
    pub fn enter(&self, limit: usize) -> Option<Stranger> {
        let taken = self.0.fetch_add(1, Ordering::AcqRel);
        let stranger = Stranger(self.0.clone());
        (taken < limit).then_some(stranger)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::Strangers;

    #[test]
    fn one_too_many_is_not_let_in_and_takes_no_place() {
        let strangers = Strangers::default();
        let first = strangers.enter(1);
        assert!(first.is_some());
        assert!(strangers.enter(1).is_none());
        assert_eq!(strangers.len(), 1);
        drop(first);
        assert!(strangers.is_empty());
        assert!(strangers.enter(1).is_some());
    }
}
