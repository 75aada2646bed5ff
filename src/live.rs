//! What lives across all configurations: the current snapshot, the log, the hub, the registrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
use tokio::sync::Notify;
use tracing::error;
use uuid::Uuid;

use crate::appending::{Appending, Ticket};
use crate::connections::Connections;
use crate::drain::Drain;
use crate::hub::Hub;
use crate::identify::Failures;
use crate::problem::Refusal;
use crate::rates::Rates;
use crate::registrations::Registrations;
use crate::reloads::Reloads;
use crate::snapshot::Snapshot;
use crate::strangers::Strangers;
use crate::supervisor::Supervisor;
use crate::telemetry::stats::Stats;

/// While publishing is paused the log takes nobody's messages.
const NOBODY: u64 = u64::MAX;

/// The running server, whatever its configuration is at the moment.
pub struct Live {
    current: ArcSwap<Snapshot>,
    /// Generation of the current snapshot, set just before that snapshot is swapped in.
    generation: AtomicU64,
    /// The generation whose judgement the log takes now, or [`NOBODY`].
    admitted: AtomicU64,
    /// Wakes whoever waits for publishing to go on.
    resumed: Notify,
    /// The log's end and everybody who follows it.
    pub hub: Arc<Hub>,
    /// The owner of all tasks, and the signal that ends them.
    pub drain: Drain,
    /// Places on the public listener.
    pub connections: Connections,
    /// Connections registered before they are made.
    pub registrations: Registrations,
    /// Wrong credentials, by address.
    pub failures: Failures,
    /// What is counted of the whole process.
    pub stats: Stats,
    /// How often callers publish and connect.
    pub rates: Rates,
    /// Places for connections that have not said who they are.
    pub strangers: Strangers,
    /// What came of the reloads so far.
    pub reloads: Reloads,
    /// Who started the process.
    pub supervisor: Supervisor,
    appending: Appending,
    sealed: AtomicBool,
    /// Wakes whoever waits for that.
    sealing: Notify,
}

/// The pause between a commit and the mark in the log that says where it took effect: publishes wait. It ends when this
/// is dropped, also by a panic.
pub struct PublishPause(Arc<Live>);

impl Live {
    /// Starts from a first snapshot.
    pub fn new(snapshot: Snapshot, hub: Arc<Hub>) -> Self {
        let registrations = Registrations::default();
        registrations.keep_for(snapshot.config.limits.registration_ttl);
        Self {
            generation: AtomicU64::new(snapshot.generation),
            admitted: AtomicU64::new(snapshot.generation),
            resumed: Notify::new(),
            current: ArcSwap::from_pointee(snapshot),
            hub,
            drain: Drain::default(),
            connections: Connections::default(),
            registrations,
            failures: Failures::default(),
            stats: Stats::default(),
            rates: Rates::default(),
            strangers: Strangers::default(),
            reloads: Reloads::default(),
            supervisor: Supervisor::default(),
            appending: Appending::default(),
            sealed: AtomicBool::new(false),
            sealing: Notify::new(),
        }
    }

    /// The configuration in force. Take it once for each request, and judge the whole request by it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts another configuration in force, at once and for everybody. Publishes wait until what this answers is dropped,
    /// when the log knows where it took effect.
    pub fn commit(self: &Arc<Self>, snapshot: Arc<Snapshot>) -> PublishPause {
        self.admitted.store(NOBODY, Ordering::SeqCst);
        self.generation.store(snapshot.generation, Ordering::SeqCst);
        self.current.store(snapshot);
        PublishPause(self.clone())
    }

    /// Waits until every append has ended that was judged by a configuration before the one in force.
    pub async fn earlier_appends_ended(&self) {
        self.appending.turn().await;
    }

    /// Waits until publishing is not paused.
    pub async fn publishing_resumed(&self) {
        let resumed = self.resumed.notified();
        if self.admitted.load(Ordering::SeqCst) == NOBODY {
            resumed.await;
        }
    }

    /// Whether this is the configuration in force; cheaper than [`Self::snapshot`].
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        self.generation.load(Ordering::SeqCst) == snapshot.generation
    }

    /// Whether what this configuration has judged may be appended. Asked with a ticket in hand, so that the next reload
    /// waits for whoever was told yes.
    pub fn admits(&self, snapshot: &Snapshot) -> bool {
        self.admitted.load(Ordering::SeqCst) == snapshot.generation
    }

    /// Counts an append in; while the ticket lives, no change of a topic is announced to subscribers.
    pub fn appending(&self) -> Ticket<'_> {
        self.appending.enter()
    }

    /// Ends publishing: when this answers, the log has its last message.
    pub async fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
        self.sealing.notify_waiters();
        self.earlier_appends_ended().await;
    }

    /// Resolves when nothing is published any more.
    pub async fn sealed(&self) {
        let sealing = self.sealing.notified();
        if !self.is_sealed() {
            sealing.await;
        }
    }

    /// Whether nothing is published any more. Asked with a ticket in hand, so that [`Live::seal`] waits for whoever was
    /// told no.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::SeqCst)
    }

    /// Logs a cause under a new id and makes the refusal that names the id.
    pub fn internal(&self, cause: &str) -> Refusal {
        let id = Uuid::new_v4().to_string();
        error!(id, cause, "internal error");
        Refusal::Internal { id }
    }
}

impl Drop for PublishPause {
    fn drop(&mut self) {
        let Self(live) = self;
        live.admitted.store(live.generation.load(Ordering::SeqCst), Ordering::SeqCst);
        live.resumed.notify_waiters();
    }
}
