//! What lives across all configurations: the current snapshot, the log, the hub, the registrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use arc_swap::ArcSwap;
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

/// The running server, whatever its configuration is at the moment.
pub struct Live {
    current: ArcSwap<Snapshot>,
    /// Of the current snapshot, a moment after it has become that.
    generation: AtomicU64,
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
}

impl Live {
    /// Starts from a first snapshot.
    pub fn new(snapshot: Snapshot, hub: Arc<Hub>) -> Self {
        Self {
            generation: AtomicU64::new(snapshot.generation),
            current: ArcSwap::from_pointee(snapshot),
            hub,
            drain: Drain::default(),
            connections: Connections::default(),
            registrations: Registrations::default(),
            failures: Failures::default(),
            stats: Stats::default(),
            rates: Rates::default(),
            strangers: Strangers::default(),
            reloads: Reloads::default(),
            supervisor: Supervisor::default(),
            appending: Appending::default(),
            sealed: AtomicBool::new(false),
        }
    }

    /// The configuration in force. Take it once for each request, and judge the whole request by it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts another configuration in force, at once and for everybody.
    pub fn commit(&self, snapshot: Arc<Snapshot>) {
        let generation = snapshot.generation;
        self.current.store(snapshot);
        self.generation.store(generation, Ordering::SeqCst);
    }

    /// Whether this is still the configuration in force, or was a moment ago; cheaper than [`Self::snapshot`]. Who asks with a
    /// ticket in hand is waited for by the next reload.
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        // One that is newer than the number has just been put in force.
        self.generation.load(Ordering::SeqCst) <= snapshot.generation
    }

    /// Announces an append; while the ticket lives, no change of a topic is announced to subscribers.
    pub fn appending(&self) -> Ticket<'_> {
        self.appending.enter()
    }

    /// Waits until every append has ended that may have been judged by a configuration before the one in force.
    pub async fn settle(&self) {
        self.appending.turn().await;
    }

    /// Ends publishing: when this answers, the log has its last message.
    pub async fn seal(&self) {
        self.sealed.store(true, Ordering::SeqCst);
        self.settle().await;
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
