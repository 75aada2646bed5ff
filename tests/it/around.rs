//! A log with hooks around it: every call goes through to a real log, unless the test's hook fails it.

use std::sync::Arc;
use std::time::Duration;

use relay::directory::Directory;
use relay::message::{Epoch, Seq};
use relay::name::Pattern;
use relay::plugin::{
    BoxFuture, Draft, Follower, KeyCounts, Page, Query, Receipt, Retention, Store, StoreError, Unavailable,
};
use relay::store::KINDS;
use relay::time::Time;

/// Hooks that run before the calls of a log; a hook that fails keeps the call from the log.
pub trait Around: Send + Sync {
    /// Before an append.
    fn append(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Before a read.
    fn read(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    /// Before retention is set.
    fn retain(&self) {}

    /// Before the settings of idempotency keys.
    fn remember(&self) {}

    /// Before a sweep.
    fn sweep(&self) {}

    /// Before the retained bytes are read.
    fn retained(&self) {}
}

/// A log in memory with hooks around it.
pub struct Surrounded<A>(Arc<dyn Store>, pub A);

impl<A> Surrounded<A> {
    /// A new, empty log.
    pub fn new(around: A) -> Arc<Self> {
        Arc::new(Self((KINDS[0].build)(), around))
    }
}

impl<A: Around> Store for Surrounded<A> {
    fn epoch(&self) -> Epoch {
        self.0.epoch()
    }

    fn head(&self) -> Seq {
        self.0.head()
    }

    fn append(&self, drafts: Vec<Draft>) -> BoxFuture<'_, Result<Vec<Receipt>, StoreError>> {
        match self.1.append() {
            Ok(()) => self.0.append(drafts),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn follow(&self, after: Seq, follower: Arc<dyn Follower>) {
        self.0.follow(after, follower);
    }

    fn read<'a>(&'a self, query: Query<'a>) -> BoxFuture<'a, Result<Page, Unavailable>> {
        match self.1.read() {
            Ok(()) => self.0.read(query),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn retain(&self, rules: Directory<Retention>) {
        self.1.retain();
        self.0.retain(rules);
    }

    fn keys(&self) -> KeyCounts {
        self.0.keys()
    }

    fn remember(&self, keys: usize, window: Duration) {
        self.1.remember();
        self.0.remember(keys, window);
    }

    fn sweep(&self, now: Time) -> BoxFuture<'_, ()> {
        self.1.sweep();
        self.0.sweep(now)
    }

    fn retained(&self) -> Vec<(Pattern, usize)> {
        self.1.retained();
        self.0.retained()
    }
}
