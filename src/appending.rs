//! Appends that are under way, counted so that a reload can wait for those that began before it.
//!
//! Two counts take turns: after a turn new appends count on the other side, so that the wait ends however many come.

use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

/// The counts.
#[derive(Default)]
pub struct Appending {
    sides: [AtomicUsize; 2],
    side: AtomicUsize,
    left: Notify,
    /// Turns wait for each other: a reload and the drain may come at once.
    turns: Mutex<()>,
}

/// An append that is under way, until it is dropped.
pub struct Ticket<'a> {
    appending: &'a Appending,
    side: usize,
}

impl Appending {
    /// Counts an append in.
    pub fn enter(&self) -> Ticket<'_> {
        loop {
            let side = self.side.load(Ordering::SeqCst);
            self.sides[side].fetch_add(1, Ordering::SeqCst);
            let ticket = Ticket { appending: self, side };
            // A turn between the look and the count could have missed it.
            if self.side.load(Ordering::SeqCst) == side {
                return ticket;
            }
        }
    }

    /// Waits for every append that was counted before the call. Safe to drop.
    pub async fn turn(&self) {
        let _turn = self.turns.lock().await;
        let side = self.side.load(Ordering::SeqCst);
        // What a turn that was dropped had waited for is still there.
        self.emptied(1 - side).await;
        self.side.store(1 - side, Ordering::SeqCst);
        self.emptied(side).await;
    }

    /// Waits until nobody is left of a side that is not in use.
    async fn emptied(&self, side: usize) {
        while self.sides[side].load(Ordering::SeqCst) > 0 {
            // One that left since the look is remembered by `notify_one`.
            self.left.notified().await;
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let last = self.appending.sides[self.side].fetch_sub(1, Ordering::SeqCst) == 1;
        // Nobody waits for the side that is in use.
        if last && self.appending.side.load(Ordering::SeqCst) != self.side {
            self.appending.left.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::Appending;

    #[tokio::test]
    async fn a_turn_waits_for_earlier_appends_only() {
        let appending = Appending::default();
        let early = appending.enter();
        let mut turn = Box::pin(appending.turn());
        assert!((&mut turn).now_or_never().is_none());
        let late = appending.enter();
        assert!((&mut turn).now_or_never().is_none());
        drop(early);
        turn.await;
        drop(late);
        appending.turn().await;
    }

    /// The next one waited for the other side only, and passed over what the one that was dropped had waited for.
    #[tokio::test]
    async fn a_turn_that_is_dropped_leaves_its_wait_to_the_next() {
        let appending = Appending::default();
        let first = appending.enter();
        assert!(appending.turn().now_or_never().is_none());
        let second = appending.enter();
        let mut turn = Box::pin(appending.turn());
        assert!((&mut turn).now_or_never().is_none());
        drop(second);
        assert!((&mut turn).now_or_never().is_none());
        drop(first);
        turn.await;
    }
}
