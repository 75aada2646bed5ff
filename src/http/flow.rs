//! Whether what was handed over for a connection has left for the kernel.
//!
//! hyper takes the body of an answer into a buffer of its own, up to its limit, before it looks whether the other end
//! reads. A stream without an end that asks here first hands over one chunk at a time, so that a reader that does not
//! read costs no more than that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use crate::close::Close;
use crate::hub::connection::Connection;

/// Shared by a connection's socket, which knows, and the stream, which asks.
#[derive(Clone, Default)]
pub struct Flow(Arc<State>);

#[derive(Default)]
struct State {
    held: AtomicBool,
    stream: AtomicWaker,
    /// For whom it is held.
    subscriber: OnceLock<Arc<Connection>>,
}

impl Flow {
    /// What is handed over from now on is this subscriber's; a stream is the last answer on its connection.
    pub fn serve(&self, subscriber: Arc<Connection>) {
        // One connection answers one request at a time, so that nobody else has set it.
        let _ = self.0.subscriber.set(subscriber);
    }

    /// So many bytes were handed over.
    pub fn hand_over(&self, bytes: usize) {
        if let Some(subscriber) = self.0.subscriber.get() {
            subscriber.hold(bytes);
        }
        self.0.held.store(true, Ordering::Release);
    }

    /// Whether the subscriber is dropped for want of memory: then what it holds must not wait for its peer.
    pub fn is_cut(&self) -> bool {
        let subscriber = self.0.subscriber.get();
        subscriber.is_some_and(|subscriber| subscriber.ending() == Some(Close::Lagging))
    }

    /// Everything has left.
    pub fn leave(&self) {
        if self.0.held.swap(false, Ordering::AcqRel) {
            if let Some(subscriber) = self.0.subscriber.get() {
                subscriber.hold(0);
            }
            self.0.stream.wake();
        }
    }

    /// Ready when everything has left.
    pub fn poll_left(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.stream.register(cx.waker());
        if self.0.held.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}
