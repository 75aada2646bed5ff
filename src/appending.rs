//! The gate of the log: whose judgement may be appended now, and who is appending.
//!
//! Appends under way are counted, so that a reload can wait for those that began before it. Two counts take turns: after a
//! turn new appends count on the other side, so that the wait ends however many come. Between a commit and the mark in the log
//! that says where it took effect the gate is closed, and once the log has its last message it is sealed.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

/// While the gate is closed the log takes nobody's messages.
const NOBODY: u64 = u64::MAX;

/// See the module's documentation.
pub struct Appending {
    sides: [AtomicUsize; 2],
    side: AtomicUsize,
    departed: Notify,
    /// Turns wait for each other: a reload and the drain may come at once.
    turns: Mutex<()>,
    /// The generation that is in force.
    newest: AtomicU64,
    /// The generation whose judgement the log takes now, or [`NOBODY`].
    admitted: AtomicU64,
    /// Wakes whoever waits for the gate to open.
    opened: Notify,
    sealed: AtomicBool,
    /// Wakes whoever waits for that.
    sealing: Notify,
}

/// What became of an attempt to append.
pub enum Entry<'a> {
    /// It may append now.
    In(Ticket<'a>),
    /// Nothing is appended any more.
    Sealed,
    /// Another generation is in force, by which it is to be judged.
    Outdated,
}

/// An append that is under way, until it is dropped: meanwhile no change of a topic is announced to subscribers.
pub struct Ticket<'a> {
    appending: &'a Appending,
    side: usize,
}

impl Appending {
    /// An open gate for what this generation judges.
    pub fn new(generation: u64) -> Self {
        Self {
            sides: Default::default(),
            side: AtomicUsize::new(0),
            departed: Notify::new(),
            turns: Mutex::default(),
            newest: AtomicU64::new(generation),
            admitted: AtomicU64::new(generation),
            opened: Notify::new(),
            sealed: AtomicBool::new(false),
            sealing: Notify::new(),
        }
    }

    /// Enters with what this generation has judged. Waits while the gate is closed.
    pub async fn enter(&self, generation: u64) -> Entry<'_> {
        loop {
            // Counted before it looks, so that a turn waits for whoever was told to go on.
            let ticket = self.count_in();
            if self.is_sealed() {
                return Entry::Sealed;
            }
            if self.admitted.load(Ordering::SeqCst) == generation {
                return Entry::In(ticket);
            }
            drop(ticket);
            if self.is_outdated(generation) {
                return Entry::Outdated;
            }
            let opened = self.opened.notified();
            if self.admitted.load(Ordering::SeqCst) == NOBODY {
                opened.await;
            }
        }
    }

    /// Closes the gate: from now on nobody is let in.
    pub fn close(&self) {
        self.admitted.store(NOBODY, Ordering::SeqCst);
    }

    /// This generation is in force: what others have judged is outdated.
    pub fn follow(&self, generation: u64) {
        self.newest.store(generation, Ordering::SeqCst);
    }

    /// Whether a later generation is in force. One that is later than the newest is about to be followed.
    pub fn is_outdated(&self, generation: u64) -> bool {
        self.newest.load(Ordering::SeqCst) > generation
    }

    /// Opens the gate for what the newest generation judges.
    pub fn open(&self) {
        self.admitted.store(self.newest.load(Ordering::SeqCst), Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    /// Ends publishing: when this answers, the log has its last message.
    pub async fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
        self.sealing.notify_waiters();
        self.turn().await;
    }

    /// Resolves when nothing is appended any more.
    pub async fn sealed(&self) {
        let sealing = self.sealing.notified();
        if !self.is_sealed() {
            sealing.await;
        }
    }

    fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::SeqCst)
    }

    fn count_in(&self) -> Ticket<'_> {
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
            self.departed.notified().await;
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let last = self.appending.sides[self.side].fetch_sub(1, Ordering::SeqCst) == 1;
        // Nobody waits for the side that is in use.
        if last && self.appending.side.load(Ordering::SeqCst) != self.side {
            self.appending.departed.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{Appending, Entry};

    #[tokio::test]
    async fn a_turn_waits_for_earlier_appends_only() {
        let appending = Appending::new(1);
        let early = appending.count_in();
        let mut turn = Box::pin(appending.turn());
        assert!((&mut turn).now_or_never().is_none());
        let late = appending.count_in();
        assert!((&mut turn).now_or_never().is_none());
        drop(early);
        turn.await;
        drop(late);
        appending.turn().await;
    }

    /// The next one waited for the other side only, and passed over what the one that was dropped had waited for.
    #[tokio::test]
    async fn a_turn_that_is_dropped_leaves_its_wait_to_the_next() {
        let appending = Appending::new(1);
        let first = appending.count_in();
        assert!(appending.turn().now_or_never().is_none());
        let second = appending.count_in();
        let mut turn = Box::pin(appending.turn());
        assert!((&mut turn).now_or_never().is_none());
        drop(second);
        assert!((&mut turn).now_or_never().is_none());
        drop(first);
        turn.await;
    }

    #[tokio::test]
    async fn whoever_comes_while_the_gate_is_closed_waits_unless_it_is_outdated() {
        let appending = Appending::new(1);
        assert!(matches!(appending.enter(1).await, Entry::In(_)));
        appending.close();
        let mut early = Box::pin(appending.enter(1));
        assert!((&mut early).now_or_never().is_none());
        assert!(appending.enter(2).now_or_never().is_none(), "it is ahead of the gate, and not outdated");
        appending.follow(2);
        assert!(matches!(appending.enter(1).await, Entry::Outdated), "it may be judged anew meanwhile");
        let mut new = Box::pin(appending.enter(2));
        assert!((&mut new).now_or_never().is_none());
        appending.turn().await;
        appending.open();
        assert!(matches!((early.await, new.await), (Entry::Outdated, Entry::In(_))));
        appending.seal().await;
        assert!(matches!(appending.enter(2).await, Entry::Sealed));
    }
}
