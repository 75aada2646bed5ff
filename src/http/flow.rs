//! Tracks whether what was handed to hyper has been sent, and whether a connection waits for its next request.
//!
//! hyper buffers the body of an answer without looking whether the peer reads. A stream without an end therefore asks
//! here first and hands over one chunk at a time, so that a peer that does not read costs no more than one. A large
//! answer counts against `limits.outbound` until it is sent, and may be cut off when the budget is exceeded.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use crate::close::Close;
use crate::hub::answer::Answer;
use crate::hub::connection::Connection;
use crate::lock::lock;

/// Shared by a connection's socket, which knows, and its answer, which asks.
#[derive(Clone, Default)]
pub struct Flow(Arc<State>);

#[derive(Default)]
struct State {
    /// A [`Stage`].
    stage: AtomicU8,
    held: AtomicBool,
    /// The drain's grace is over: an incomplete request is no longer waited for.
    is_last: AtomicBool,
    /// The peer has taken nothing for `limits.write_stall`.
    stalled: AtomicBool,
    /// The request has a body that has not been read to its end.
    unread: AtomicBool,
    stream: AtomicWaker,
    holder: Mutex<Holder>,
}

/// What a connection is doing. Only its own task changes this.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stage {
    /// Waiting for a request.
    Waiting,
    /// A request came.
    Asked,
    /// A request came, and its answer waits for something that may not come.
    Idling,
    /// The answer is complete, but not all of it is sent.
    Answered,
    /// The answer is a stream that has not ended.
    Streaming,
    /// The answer hands the connection over to another protocol.
    Upgrading,
}

/// What counts the bytes that are handed over.
#[derive(Default)]
pub enum Holder {
    /// Nothing: they are not counted in `limits.outbound`.
    #[default]
    Nobody,
    /// A stream, until it ends.
    Stream(Arc<Connection>),
    /// An answer that can be requested again, and is dropped first.
    Answer(Answer),
    /// An answer that is counted but never dropped: it stays until its peer has read it, or has stalled for
    /// `limits.write_stall`. The hub does not know it, so `Hub::shed` cannot pick it.
    MustDeliver(Arc<Connection>),
}

impl Holder {
    fn connection(&self) -> Option<&Connection> {
        match self {
            Self::Nobody => None,
            Self::Stream(connection) | Self::MustDeliver(connection) => Some(connection),
            Self::Answer(answer) => Some(answer.connection()),
        }
    }
}

impl Flow {
    /// Notes that a request came.
    pub fn request_came(&self) {
        self.0.stage.store(Stage::Asked as u8, Ordering::Relaxed);
    }

    /// Notes whether the request has a body that is still to be read.
    pub fn set_unread(&self, unread: bool) {
        self.0.unread.store(unread, Ordering::Relaxed);
    }

    /// Whether the request's body has not been read to its end.
    pub fn is_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// Notes that the answer is there; that of a stream goes on until [`Flow::answer_ended`].
    pub fn answer_came(&self) {
        if self.is(Stage::Asked) || self.is(Stage::Idling) {
            self.answer_ended();
        }
    }

    /// Notes that the answer waits for something that may not come.
    pub fn idle(&self) {
        self.0.stage.store(Stage::Idling as u8, Ordering::Relaxed);
    }

    /// Whether the request is served for as long as the peer is there, so that its leaving matters.
    pub fn lasts(&self) -> bool {
        self.is(Stage::Idling) || self.is(Stage::Streaming)
    }

    /// Notes that this answer is the last in HTTP.
    pub fn upgrade(&self) {
        self.0.stage.store(Stage::Upgrading as u8, Ordering::Relaxed);
    }

    /// Whether what is written now is the answer to an upgrade.
    pub fn is_upgrade(&self) -> bool {
        self.is(Stage::Upgrading)
    }

    /// Notes that everything of the answer is handed over.
    pub fn answer_ended(&self) {
        self.0.stage.store(Stage::Answered as u8, Ordering::Relaxed);
    }

    /// Whether the connection waits for its next request.
    pub fn is_waiting(&self) -> bool {
        self.is(Stage::Waiting)
    }

    /// Waits for no request from now on, even if one has begun.
    pub fn expect_no_request(&self) {
        self.0.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether no request is waited for.
    pub fn expects_no_request(&self) -> bool {
        self.0.is_last.load(Ordering::Relaxed)
    }

    /// Notes that the peer has taken nothing for `limits.write_stall` and is given up.
    pub fn stall(&self) {
        self.0.stalled.store(true, Ordering::Relaxed);
    }

    /// Whether the connection ends because its peer stalled.
    pub fn has_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }

    fn is(&self, stage: Stage) -> bool {
        self.0.stage.load(Ordering::Relaxed) == stage as u8
    }

    /// Counts what is handed over from now on as this stream's.
    pub fn serve(&self, stream: Arc<Connection>) {
        self.0.stage.store(Stage::Streaming as u8, Ordering::Relaxed);
        *lock(&self.0.holder) = Holder::Stream(stream);
    }

    /// Notes that a whole answer is handed over, and counts as held by `holder` until it is sent.
    pub fn keep(&self, holder: Holder, bytes: usize) {
        let before = std::mem::replace(&mut *lock(&self.0.holder), holder);
        drop(before);
        self.hand_over(bytes);
    }

    /// Notes that so many bytes are handed over.
    pub fn hand_over(&self, bytes: usize) {
        if let Some(connection) = lock(&self.0.holder).connection() {
            connection.set_outside_bytes(bytes);
        }
        self.0.held.store(true, Ordering::Release);
    }

    /// Whether the holder is dropped to free memory, so that it must not wait for its peer. Wakes the task when it is.
    pub fn is_cut(&self, cx: &Context<'_>) -> bool {
        let holder = lock(&self.0.holder);
        let connection = holder.connection().filter(|_| !matches!(*holder, Holder::MustDeliver(_)));
        connection.is_some_and(|connection| {
            connection.register(cx);
            connection.ending() == Some(Close::Shed)
        })
    }

    /// Notes that everything was sent; returns whether the connection now waits for its next request.
    pub fn flushed(&self) -> bool {
        if self.0.held.swap(false, Ordering::AcqRel) {
            let mut holder = lock(&self.0.holder);
            if let Holder::Stream(connection) = &*holder
                && !self.is(Stage::Answered)
            {
                connection.set_outside_bytes(0);
            } else {
                let answer = std::mem::take(&mut *holder);
                // Dropping it takes other locks.
                drop(holder);
                drop(answer);
            }
            self.0.stream.wake();
        }
        let all = self.is(Stage::Answered);
        if all {
            self.0.stage.store(Stage::Waiting as u8, Ordering::Relaxed);
        }
        all
    }

    /// Ready once everything is sent.
    pub fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.stream.register(cx.waker());
        if self.0.held.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}
