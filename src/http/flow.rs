//! Whether what was handed over for a connection has left for the kernel.
//!
//! hyper takes the body of an answer into a buffer of its own, up to its limit, before it looks whether the other end
//! reads. A stream without an end that asks here first hands over one chunk at a time, so that a reader that does not
//! read costs no more than that.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

/// Shared by a connection's socket, which knows, and the stream, which asks.
#[derive(Clone, Default)]
pub struct Flow(Arc<State>);

#[derive(Default)]
struct State {
    held: AtomicBool,
    stream: AtomicWaker,
}

impl Flow {
    /// Something was handed over.
    pub fn hand_over(&self) {
        self.0.held.store(true, Ordering::Release);
    }

    /// Everything has left.
    pub fn leave(&self) {
        if self.0.held.swap(false, Ordering::AcqRel) {
            self.0.stream.wake();
        }
    }

    /// Ready when everything has left.
    pub fn poll_left(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.stream.register(cx.waker());
        if self.0.held.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}
