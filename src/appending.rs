//! The gate of the log: which configuration's judgements may be appended now, and how many appends are under way.
//!
//! Appends under way are counted, so that a reload can wait for those that began before it. There are two counts, one
//! of them in use. A turn switches new appends to the other count and waits for the first to reach zero, so that its
//! wait ends however many appends keep coming. The gate is closed between a commit and its mark in the log, and it is
//! sealed once the log has its last message.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

/// As the admitted generation: nobody's, because the gate is closed.
const NOBODY: u64 = u64::MAX;

/// See the module's documentation.
pub struct Appending {
    sides: [AtomicUsize; 2],
    side: AtomicUsize,
    departed: Notify,
    /// Held for a turn: a reload and the drain may each ask for one at the same time.
    turns: Mutex<()>,
    /// The generation in force.
    newest: AtomicU64,
    /// The generation whose judgements may be appended now, or [`NOBODY`].
    admitted: AtomicU64,
    /// Wakes appends that wait for the gate to open.
    opened: Notify,
    sealed: AtomicBool,
    /// Wakes tasks that wait for the seal.
    sealing: Notify,
}

/// The outcome of an attempt to append.
pub enum Entry<'a> {
    /// It may append now.
    In(Ticket<'a>),
    /// Nothing will be appended any more.
    Sealed,
    /// A newer generation is in force, which has to judge again.
    Outdated,
}

/// An append under way, until this is dropped. Meanwhile a reload does not announce its changes to subscribers.
pub struct Ticket<'a> {
    appending: &'a Appending,
    side: usize,
}

impl Appending {
    /// Creates an open gate for what this generation judges.
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

    /// Enters the gate with what this generation judged; waits while the gate is closed.
    pub async fn enter(&self, generation: u64) -> Entry<'_> {
        loop {
            // Counted before the check, so that a turn waits for every append that passes it.
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

    /// Closes the gate: nobody is let in from now on.
    pub fn close(&self) {
        self.admitted.store(NOBODY, Ordering::SeqCst);
    }

    /// Makes this generation the one in force: what older ones judged is outdated.
    pub fn follow(&self, generation: u64) {
        self.newest.store(generation, Ordering::SeqCst);
    }

    /// Whether a later generation is in force. A generation beyond the newest is about to come into force.
    pub fn is_outdated(&self, generation: u64) -> bool {
        self.newest.load(Ordering::SeqCst) > generation
    }

    /// Opens the gate for what the newest generation judges.
    pub fn open(&self) {
        self.admitted.store(self.newest.load(Ordering::SeqCst), Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    /// Ends publishing: once this returns, the log has its last message.
    pub async fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
        self.sealing.notify_waiters();
        self.turn().await;
    }

    /// Resolves once publishing has ended. Appends that began before may still be under way.
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
            // A turn that switched in between may not have seen this count.
            if self.side.load(Ordering::SeqCst) == side {
                return ticket;
            }
        }
    }

    /// Waits for every append that was counted before the call. Cancel-safe.
    pub async fn turn(&self) {
        let _turn = self.turns.lock().await;
        let side = self.side.load(Ordering::SeqCst);
        // A cancelled turn may have left appends on this side.
        self.emptied(1 - side).await;
        self.side.store(1 - side, Ordering::SeqCst);
        self.emptied(side).await;
    }

    /// Waits until a count that is not in use is zero.
    async fn emptied(&self, side: usize) {
        while self.sides[side].load(Ordering::SeqCst) > 0 {
            // A departure since the check is not lost: `notify_one` stores a permit.
            self.departed.notified().await;
        }
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        let last = self.appending.sides[self.side].fetch_sub(1, Ordering::SeqCst) == 1;
        // Nobody waits for the count that is in use.
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

    /// The next turn used to wait for the other side only, and missed the appends that the cancelled one had waited
    /// for.
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
