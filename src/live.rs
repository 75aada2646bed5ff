//! What lives across all configurations: the current snapshot, the log, the hub, the registrations.

use std::sync::Arc;

use arc_swap::ArcSwap;
use tracing::error;
use uuid::Uuid;

use crate::appending::Appending;
use crate::connections::Connections;
use crate::drain::Drain;
use crate::hub::Hub;
use crate::identify::Failures;
use crate::judging::Judging;
use crate::problem::Refusal;
use crate::rates::Rates;
use crate::registrations::Registrations;
use crate::reloads::Reloads;
use crate::snapshot::Snapshot;
use crate::supervisor::Supervisor;
use crate::telemetry::stats::Stats;
use crate::unauthenticated::Unauthenticated;

/// The running server, whatever its configuration is at the moment.
pub struct Live {
    current: ArcSwap<Snapshot>,
    /// The end of the log, and everybody who follows it.
    pub hub: Arc<Hub>,
    /// The owner of all tasks, and the signal that ends them.
    pub drain: Drain,
    /// Places on the public listener.
    pub connections: Connections,
    /// Connections registered before they are made.
    pub registrations: Registrations,
    /// Wrong credentials, by address.
    pub failures: Failures,
    /// Counters for the whole process.
    pub stats: Stats,
    /// How often callers publish and connect.
    pub rates: Rates,
    /// Places for unauthenticated connections.
    pub unauthenticated: Unauthenticated,
    /// Results of the reloads so far.
    pub reloads: Reloads,
    /// The supervisor that started the process.
    pub supervisor: Supervisor,
    /// The gate of the log.
    pub appending: Appending,
    /// Limits how many large texts are judged at a time.
    pub judging: Judging,
}

/// The pause between a commit and its mark in the log, during which publishes wait.
///
/// It ends when this is dropped, even by a panic.
pub struct PublishPause(Arc<Live>);

impl Live {
    /// Starts with a first snapshot.
    pub fn new(snapshot: Snapshot, hub: Arc<Hub>) -> Self {
        let registrations = Registrations::default();
        registrations.keep_for(snapshot.config.limits.registration_ttl);
        Self {
            appending: Appending::new(snapshot.generation),
            current: ArcSwap::from_pointee(snapshot),
            hub,
            drain: Drain::default(),
            connections: Connections::default(),
            registrations,
            failures: Failures::default(),
            stats: Stats::default(),
            rates: Rates::default(),
            unauthenticated: Unauthenticated::default(),
            reloads: Reloads::default(),
            supervisor: Supervisor::default(),
            judging: Judging::default(),
        }
    }

    /// The configuration in force. Take it once for each request, and judge the whole request by it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Puts another configuration in force, at once and for everybody.
    ///
    /// Publishes wait until the returned pause is dropped, which must be after the mark is in the log.
    pub fn commit(self: &Arc<Self>, snapshot: Arc<Snapshot>) -> PublishPause {
        let generation = snapshot.generation;
        self.current.store(snapshot);
        self.appending.supersede(generation);
        PublishPause(self.clone())
    }

    /// Whether no later configuration than this is in force; cheaper than [`Self::snapshot`].
    pub fn is_current(&self, snapshot: &Snapshot) -> bool {
        !self.appending.is_outdated(snapshot.generation)
    }

    /// Logs a cause under a new id, and returns the refusal that names this id.
    pub fn internal(&self, cause: &str) -> Refusal {
        let id = Uuid::new_v4().to_string();
        error!(id, cause, "internal error");
        Refusal::Internal { id }
    }
}

impl Drop for PublishPause {
    fn drop(&mut self) {
        self.0.appending.open();
    }
}
