//! What lives across all configurations: the current snapshot, the log, the hub, the registrations.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use tracing::error;
use uuid::Uuid;

use crate::connections::Connections;
use crate::drain::Drain;
use crate::hub::Hub;
use crate::identify::Failures;
use crate::problem::Refusal;
use crate::registrations::Registrations;
use crate::snapshot::Snapshot;
use crate::strangers::Strangers;
use crate::telemetry::stats::Stats;

/// The running server, whatever its configuration is at the moment.
pub struct Live {
    current: ArcSwap<Snapshot>,
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
    /// Places for connections that have not said who they are.
    pub strangers: Strangers,
    appending: AtomicUsize,
}

impl Live {
    /// Starts from a first snapshot.
    pub fn new(snapshot: Snapshot, hub: Arc<Hub>) -> Self {
        Self {
            current: ArcSwap::from_pointee(snapshot),
            hub,
            drain: Drain::default(),
            connections: Connections::default(),
            registrations: Registrations::default(),
            failures: Failures::default(),
            stats: Stats::default(),
            strangers: Strangers::default(),
            appending: AtomicUsize::new(0),
        }
    }

    /// The configuration in force. Take it once for each request, and judge the whole request by it.
    pub fn snapshot(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Announces an append; while the ticket lives, no change of a topic is announced to subscribers.
    pub fn appending(&self) -> Ticket<'_> {
        self.appending.fetch_add(1, Ordering::SeqCst);
        Ticket(self)
    }

    /// Logs a cause under a new id and makes the refusal that names the id.
    pub fn internal(&self, cause: &str) -> Refusal {
        let id = Uuid::new_v4().to_string();
        error!(id, cause, "internal error");
        Refusal::Internal { id }
    }
}

/// An append that is under way.
pub struct Ticket<'a>(&'a Live);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.appending.fetch_sub(1, Ordering::SeqCst);
    }
}
