//! The gate of the log: which configuration's judgements may be appended now, and how many appends are under way.
//!
//! Appends under way are counted, so that a reload can wait for those that began before it. There are two counts, one
//! of them in use. The wait switches new appends to the other count until the first has reached zero, so that it
//! ends however many appends keep coming. The gate is closed between a commit and its mark in the log, and it is
//! sealed once the log has its last message.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::{Mutex, Notify};

/// See the module's documentation.
pub struct Appending {
    sides: [AtomicUsize; 2],
    side: AtomicUsize,
    departed: Notify,
    /// Held by [`Appending::quiesce`]: a reload and the drain may call it at the same time.
    quiescing: Mutex<()>,
    /// The generation in force.
    newest: AtomicU64,
    /// The generation for which the gate was last opened: it is closed while this is not the newest.
    opened_for: AtomicU64,
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
            quiescing: Mutex::default(),
            newest: AtomicU64::new(generation),
            opened_for: AtomicU64::new(generation),
            opened: Notify::new(),
            sealed: AtomicBool::new(false),
            sealing: Notify::new(),
        }
    }

    /// Enters the gate with what this generation judged; waits while the gate is closed.
    pub async fn enter(&self, generation: u64) -> Entry<'_> {
        loop {
            // Counted before the check, so that `quiesce` waits for every append that passes it.
            let ticket = self.count_in();
            if self.is_sealed() {
                return Entry::Sealed;
            }
            if self.is_outdated(generation) {
                return Entry::Outdated;
            }
            if self.is_open_for(generation) {
                return Entry::In(ticket);
            }
            drop(ticket);
            let opened = self.opened.notified();
            // By now a later reload may have opened it and passed, which wakes nobody who comes after.
            if !self.is_open_for(generation) && !self.is_outdated(generation) {
                opened.await;
            }
        }
    }

    /// Makes this generation the one in force, and closes the gate: what older ones judged is outdated, and what this one
    /// judges waits.
    pub fn supersede(&self, generation: u64) {
        self.newest.store(generation, Ordering::SeqCst);
    }

    /// Whether a later generation is in force. A generation beyond the newest is about to come into force.
    pub fn is_outdated(&self, generation: u64) -> bool {
        self.newest.load(Ordering::SeqCst) > generation
    }

    fn is_open_for(&self, generation: u64) -> bool {
        self.opened_for.load(Ordering::SeqCst) == generation
    }

    /// Opens the gate for what the newest generation judges.
    pub fn open(&self) {
        self.opened_for.store(self.newest.load(Ordering::SeqCst), Ordering::SeqCst);
        self.opened.notify_waiters();
    }

    /// Ends publishing: once this returns, the log has its last message.
    pub async fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
        self.sealing.notify_waiters();
        self.quiesce().await;
    }

    /// Resolves once [it is sealed](Self::is_sealed).
    pub async fn sealed(&self) {
        let sealing = self.sealing.notified();
        if !self.is_sealed() {
            sealing.await;
        }
    }

    /// Whether publishing has ended. Appends that began before may still be under way.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::SeqCst)
    }

    fn count_in(&self) -> Ticket<'_> {
        loop {
            let side = self.side.load(Ordering::SeqCst);
            self.sides[side].fetch_add(1, Ordering::SeqCst);
            let ticket = Ticket { appending: self, side };
            // A switch in between may not have seen this count.
            if self.side.load(Ordering::SeqCst) == side {
                return ticket;
            }
        }
    }

    /// Waits for every append that was counted before the call. Cancel-safe.
    pub async fn quiesce(&self) {
        let _quiescing = self.quiescing.lock().await;
        let side = self.side.load(Ordering::SeqCst);
        // A cancelled call may have left appends on this side.
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
    async fn it_waits_for_earlier_appends_only() {
        let appending = Appending::new(1);
        let early = appending.count_in();
        let mut wait = Box::pin(appending.quiesce());
        assert!((&mut wait).now_or_never().is_none());
        let late = appending.count_in();
        assert!((&mut wait).now_or_never().is_none());
        drop(early);
        wait.await;
        drop(late);
        appending.quiesce().await;
    }

    /// The next one used to wait for the other side only, and missed the appends that the cancelled one had waited
    /// for.
    #[tokio::test]
    async fn a_wait_that_is_dropped_leaves_its_wait_to_the_next() {
        let appending = Appending::new(1);
        let first = appending.count_in();
        assert!(appending.quiesce().now_or_never().is_none());
        let second = appending.count_in();
        let mut wait = Box::pin(appending.quiesce());
        assert!((&mut wait).now_or_never().is_none());
        drop(second);
        assert!((&mut wait).now_or_never().is_none());
        drop(first);
        wait.await;
    }

    #[tokio::test]
    async fn whoever_comes_while_the_gate_is_closed_waits_unless_it_is_outdated() {
        let appending = Appending::new(1);
        assert!(matches!(appending.enter(1).await, Entry::In(_)));
        let mut ahead = Box::pin(appending.enter(2));
        assert!((&mut ahead).now_or_never().is_none(), "it is ahead of the gate, and not outdated");
        appending.supersede(2);
        assert!(matches!(appending.enter(1).await, Entry::Outdated), "it may be judged anew meanwhile");
        let mut new = Box::pin(appending.enter(2));
        assert!((&mut ahead).now_or_never().is_none() && (&mut new).now_or_never().is_none());
        appending.quiesce().await;
        appending.open();
        assert!(matches!((ahead.await, new.await), (Entry::In(_), Entry::In(_))));
        appending.seal().await;
        assert!(matches!(appending.enter(2).await, Entry::Sealed));
    }
}
