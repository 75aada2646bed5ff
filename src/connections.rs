//! Places for connections: how many may be open, and what happens to those beyond the limit.
//!
//! A permit moves with its connection, even through an upgrade, and frees the place when its last clone is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;
use tracing::warn;

/// This many connections beyond the limit are accepted, only to be refused. Beyond that nobody is accepted until one
/// leaves.
pub const OVER: usize = 64;
/// The default for `limits.connections`.
pub const MOST: usize = 65_536;

/// Fewer connections than this are probably not what an operator means who leaves `limits.connections` out.
const FEW: usize = 1_000;

/// The places of one listener.
#[derive(Default)]
pub struct Connections(Arc<Places>);

struct Places {
    open: AtomicUsize,
    /// How many connections the descriptors allow.
    room: AtomicUsize,
    left: Notify,
}

impl Default for Places {
    fn default() -> Self {
        Self { open: AtomicUsize::default(), room: AtomicUsize::new(usize::MAX), left: Notify::default() }
    }
}

impl Connections {
    /// Sets how many connections the descriptors allow; `asked` is `limits.connections`.
    pub fn set_room(&self, room: usize, asked: Option<usize>) {
        self.0.room.store(room, Ordering::Release);
        let allowed = self.allowed(asked);
        if asked.is_none() && allowed < FEW {
            warn!(
                allowed,
                "the descriptors allow only a few connections: raise the limit of open files (`LimitNOFILE=` in systemd, \
                 `ulimit -n`), or set `limits.connections` if that is intended"
            );
        }
        self.look_again(asked);
    }

    /// How many may be open if `limits.connections` is `asked`.
    ///
    /// Never more than the descriptors allow: a server without descriptors can neither accept nor open files.
    pub fn allowed(&self, asked: Option<usize>) -> usize {
        asked.unwrap_or(MOST).min(self.0.room.load(Ordering::Acquire))
    }

    /// Takes a place; waits while [`OVER`] connections beyond the limit are open.
    ///
    /// The limit may change meanwhile, see [`Self::look_again`]. Only one task may call this, so that nobody else takes
    /// a place between the check and the taking.
    pub async fn enter(&self, limit: impl Fn() -> usize) -> Permit {
        while self.open() >= limit().saturating_add(OVER) {
            // A place freed since the check is not lost: `notify_one` stores a permit.
            self.0.left.notified().await;
        }
        let before = self.0.open.fetch_add(1, Ordering::AcqRel);
        Permit { _place: Arc::new(Place(self.0.clone())), over: before >= limit() }
    }

    /// Has a task that waits for a place check again, since `limits.connections` may have changed to `asked`.
    ///
    /// Warns if the descriptors allow fewer.
    pub fn look_again(&self, asked: Option<usize>) {
        let allowed = self.allowed(asked);
        if let Some(asked) = asked.filter(|asked| *asked > allowed) {
            warn!(
                asked,
                allowed,
                "the descriptors allow fewer connections than `limits.connections` asks for: raise the limit of open \
                 files (`LimitNOFILE=` in systemd, `ulimit -n`), or lower `limits.connections`"
            );
        }
        self.0.left.notify_one();
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.0.open.load(Ordering::Acquire)
    }
}

/// A place that is taken.
#[derive(Clone)]
pub struct Permit {
    _place: Arc<Place>,
    over: bool,
}

impl Permit {
    /// Whether this connection is beyond the limit, to be refused politely.
    pub fn is_over(&self) -> bool {
        self.over
    }
}

struct Place(Arc<Places>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::{Connections, OVER};

    #[test]
    fn as_many_are_allowed_as_are_asked_for_and_there_is_room_for() {
        let connections = Connections::default();
        assert_eq!((connections.allowed(None), connections.allowed(Some(100_000))), (65_536, 100_000));
        connections.set_room(44, None);
        assert_eq!([None, Some(1_000), Some(10)].map(|asked| connections.allowed(asked)), [44, 44, 10]);
    }

    #[tokio::test]
    async fn one_too_many_is_told_and_many_too_many_wait() {
        let connections = Connections::default();
        let mut permits = Vec::new();
        for n in 0..2 + OVER {
            let permit = connections.enter(|| 2).await;
            assert_eq!(permit.is_over(), n >= 2, "connection {n}");
            permits.push(permit);
        }
        let mut next = Box::pin(connections.enter(|| 2));
        assert!((&mut next).now_or_never().is_none());
        let upgraded = permits[0].clone();
        permits.remove(0);
        assert!((&mut next).now_or_never().is_none(), "a clone still holds the place");
        drop(upgraded);
        assert!(next.await.is_over());
    }
}
