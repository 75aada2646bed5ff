//! The owner of every task of the server, with the one signal that ends them all.
//!
//! Nothing else spawns tasks. A task that panics is logged by its name and takes nobody with it. The drain knows
//! neither sockets nor topics: each task decides what to do when the drain begins.

use std::collections::BTreeMap;
use std::future::{Future, poll_fn};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use futures::FutureExt;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tracing::error;

use crate::lock::lock;
use crate::telemetry::logs;

/// The owner of all tasks. Clones are the same owner.
#[derive(Clone, Default)]
pub struct Drain {
    tasks: TaskTracker,
    begun: CancellationToken,
    requests: TaskTracker,
    names: Arc<Names>,
    /// Names of the tasks that the drain does not wait for.
    detached: Arc<Names>,
}

impl Drain {
    /// Starts a task. The name is for logs: a constant, one for each kind of task.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let named = self.names.enter(name);
        // Combinators, because an async block would hold the task twice: as captured and as awaited.
        let task = AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            if ended.is_err() {
                error!(task = name, "a task panicked");
            }
            drop(named);
        });
        self.tasks.spawn(task);
    }

    /// Starts a task that the drain neither ends nor waits for.
    ///
    /// It lasts as long as the process, which ends if the task panics.
    pub fn detach(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let named = self.detached.enter(name);
        let task = AssertUnwindSafe(task).catch_unwind().map(move |ended| {
            drop(named);
            if ended.is_err() {
                // Otherwise the server would look alive but do only half of its work.
                error!(task = name, "an essential task panicked; ending the process");
                logs::exit(70);
            }
        });
        #[expect(clippy::disallowed_methods, reason = "this is the owner")]
        tokio::spawn(task);
    }

    /// Tells every task to end. Idempotent.
    pub fn begin(&self) {
        // Closed first, so that tasks which are woken find that the drain has begun.
        self.tasks.close();
        self.begun.cancel();
    }

    /// Whether the drain has begun. Takes no lock, since every request asks.
    pub fn has_begun(&self) -> bool {
        self.tasks.is_closed()
    }

    /// Resolves when the drain begins. Cancel-safe.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Waits for what begins with [`Drain::begun`].
    ///
    /// Polls it once, so that the drain wakes this task, and then not before the drain has begun: each time that would
    /// take a lock which all tasks share.
    pub async fn once_begun(&self, then: impl Future<Output = ()>) {
        let (mut then, mut listens) = (pin!(then), false);
        poll_fn(|cx| match std::mem::replace(&mut listens, true) && !self.has_begun() {
            true => Poll::Pending,
            false => then.as_mut().poll(cx),
        })
        .await;
    }

    /// Waits until every task has ended, but no longer than `within`.
    ///
    /// # Errors
    /// The names of the tasks that have not ended, with the number of each.
    pub async fn ended(&self, within: Duration) -> Result<(), BTreeMap<&'static str, usize>> {
        tokio::time::timeout(within, self.tasks.wait()).await.map_err(|_| self.names.list())
    }

    /// Counts a request until the token is dropped: a drain lets it finish before it ends the subscribers.
    pub fn hold(&self) -> TaskTrackerToken {
        self.requests.token()
    }

    /// Waits until no such request is left, but no longer than `within`.
    pub async fn answered(&self, within: Duration) {
        self.requests.close();
        // The drain goes on either way.
        let _ = tokio::time::timeout(within, self.requests.wait()).await;
    }

    /// How many tasks of each name there are.
    pub fn tasks(&self) -> BTreeMap<&'static str, usize> {
        let mut tasks = self.names.list();
        for (name, count) in self.detached.list() {
            *tasks.entry(name).or_default() += count;
        }
        tasks
    }
}

#[derive(Default)]
struct Names(Mutex<BTreeMap<&'static str, usize>>);

impl Names {
    fn enter(self: &Arc<Self>, name: &'static str) -> Named {
        *lock(&self.0).entry(name).or_default() += 1;
        Named { names: self.clone(), name }
    }

    fn list(&self) -> BTreeMap<&'static str, usize> {
        lock(&self.0).clone()
    }
}

/// One running task; counts itself out when dropped, even if it did not finish.
struct Named {
    names: Arc<Names>,
    name: &'static str,
}

impl Drop for Named {
    fn drop(&mut self) {
        let mut names = lock(&self.names.0);
        if let Some(count) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use futures::FutureExt;
    use tokio::sync::oneshot;

    use super::Drain;

    #[tokio::test(start_paused = true)]
    async fn a_drain_waits_for_its_tasks_and_names_those_that_do_not_end() {
        let drain = Drain::default();
        let ends = drain.clone();
        drain.spawn("polite", async move { ends.begun().await });
        let (free, freed) = oneshot::channel::<()>();
        drain.spawn("stuck", freed.map(drop));
        // Tasks that nobody expects to end used to be named too, so the culprit was one of many.
        drain.detach("lasting", std::future::pending());
        drain.begin();
        assert!(drain.has_begun());
        assert_eq!(drain.tasks(), BTreeMap::from([("lasting", 1), ("polite", 1), ("stuck", 1)]));
        assert_eq!(drain.ended(Duration::from_secs(5)).await, Err(BTreeMap::from([("stuck", 1)])));
        drop(free);
        assert_eq!(drain.ended(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(drain.tasks(), BTreeMap::from([("lasting", 1)]));
    }

    #[tokio::test]
    async fn a_panicking_task_is_counted_out() {
        let drain = Drain::default();
        drain.spawn("bad", async { panic!("on purpose") });
        drain.begin();
        assert_eq!(drain.ended(Duration::from_secs(5)).await, Ok(()));
        assert_eq!(drain.tasks(), BTreeMap::new());
    }
}
