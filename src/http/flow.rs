//! Whether what was handed over for a connection has left for the kernel, and whether it waits for its next request.
//!
//! hyper takes the body of an answer into a buffer of its own before it looks whether the other end reads. A stream
//! without an end asks here first and hands over one chunk at a time, so that a reader that does not read costs no more
//! than that; a large answer stands in `limits.outbound` until it has left, and may be cut for want of room.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

use crate::close::Close;
use crate::hub::answer::Answer;
use crate::hub::connection::Connection;
use crate::lock::lock;

/// Shared by a connection's socket, which knows, and the answer, which asks.
#[derive(Clone, Default)]
pub struct Flow(Arc<State>);

#[derive(Default)]
struct State {
    /// A [`Stage`].
    stage: AtomicU8,
    held: AtomicBool,
    /// The drain's grace is over: a request that has not arrived whole is no longer waited for.
    is_last: AtomicBool,
    /// Its peer has taken nothing for `limits.write_stall`.
    stalled: AtomicBool,
    /// The request has a body that nobody has read.
    unread: AtomicBool,
    stream: AtomicWaker,
    holder: Mutex<Holder>,
}

/// Where a connection stands with its request. Its task alone moves it.
#[derive(Clone, Copy)]
#[repr(u8)]
enum Stage {
    /// None has come.
    Waiting,
    /// One has.
    Asked,
    /// One has, whose answer waits for something that may not come.
    Idling,
    /// Its answer is there, and has not all left.
    Answered,
    /// Its answer is a stream that has not ended.
    Streaming,
    /// Its answer hands the connection to another protocol.
    Upgrading,
}

/// For whom it is held.
#[derive(Default)]
pub enum Holder {
    /// Nobody's: not counted in `limits.outbound`.
    #[default]
    Nobody,
    /// A stream, until it has ended.
    Stream(Arc<Connection>),
    /// One answer that can be asked for again, and is the first to be cut.
    Answer(Answer),
    /// An answer that is counted, and stays until its peer has taken it or has stood still for `limits.write_stall`: the hub does
    /// not know it, so that `Hub::shed` does not pick it.
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
    /// A request has come.
    pub fn request_came(&self) {
        self.0.stage.store(Stage::Asked as u8, Ordering::Relaxed);
    }

    /// Whether it has a body that is still to be read.
    pub fn set_unread(&self, unread: bool) {
        self.0.unread.store(unread, Ordering::Relaxed);
    }

    /// Whether there is a body of which nobody has read all.
    pub fn is_unread(&self) -> bool {
        self.0.unread.load(Ordering::Relaxed)
    }

    /// Its answer is there; a stream's goes on until [`Flow::answer_ended`].
    pub fn answer_came(&self) {
        if self.is(Stage::Asked) || self.is(Stage::Idling) {
            self.answer_ended();
        }
    }

    /// Its answer waits for something that may not come.
    pub fn idle(&self) {
        self.0.stage.store(Stage::Idling as u8, Ordering::Relaxed);
    }

    /// Whether the peer is served for as long as it is there, so that it matters when it has gone.
    pub fn lasts(&self) -> bool {
        self.is(Stage::Idling) || self.is(Stage::Streaming)
    }

    /// Its answer will be the last in HTTP.
    pub fn upgrade(&self) {
        self.0.stage.store(Stage::Upgrading as u8, Ordering::Relaxed);
    }

    /// Whether what is written from now on is the answer to an upgrade.
    pub fn is_upgrade(&self) -> bool {
        self.is(Stage::Upgrading)
    }

    /// There is nothing behind what was handed over.
    pub fn answer_ended(&self) {
        self.0.stage.store(Stage::Answered as u8, Ordering::Relaxed);
    }

    /// Whether the next request is waited for.
    pub fn is_waiting(&self) -> bool {
        self.is(Stage::Waiting)
    }

    /// From now on no request is waited for, also if it has begun.
    pub fn expect_no_request(&self) {
        self.0.is_last.store(true, Ordering::Relaxed);
    }

    /// Whether no request is waited for.
    pub fn expects_no_request(&self) -> bool {
        self.0.is_last.load(Ordering::Relaxed)
    }

    /// The peer has taken nothing for `limits.write_stall`, and is given up.
    pub fn stall(&self) {
        self.0.stalled.store(true, Ordering::Relaxed);
    }

    /// Whether that is why the connection ends.
    pub fn has_stalled(&self) -> bool {
        self.0.stalled.load(Ordering::Relaxed)
    }

    fn is(&self, stage: Stage) -> bool {
        self.0.stage.load(Ordering::Relaxed) == stage as u8
    }

    /// What is handed over from now on is this stream's.
    pub fn serve(&self, stream: Arc<Connection>) {
        self.0.stage.store(Stage::Streaming as u8, Ordering::Relaxed);
        *lock(&self.0.holder) = Holder::Stream(stream);
    }

    /// A whole answer is handed over, and counts as what `holder` holds until it has left.
    pub fn keep(&self, holder: Holder, bytes: usize) {
        let before = std::mem::replace(&mut *lock(&self.0.holder), holder);
        drop(before);
        self.hand_over(bytes);
    }

    /// So many bytes were handed over.
    pub fn hand_over(&self, bytes: usize) {
        if let Some(connection) = lock(&self.0.holder).connection() {
            connection.set_outside_bytes(bytes);
        }
        self.0.held.store(true, Ordering::Release);
    }

    /// Whether whoever holds it is dropped for want of memory: then it must not wait for its peer. Wakes when it is.
    pub fn is_cut(&self, cx: &Context<'_>) -> bool {
        let holder = lock(&self.0.holder);
        let connection = holder.connection().filter(|_| !matches!(*holder, Holder::MustDeliver(_)));
        connection.is_some_and(|connection| {
            connection.register(cx);
            connection.ending() == Some(Close::Shed)
        })
    }

    /// Everything has left; whether the next request is waited for from now on.
    pub fn flushed(&self) -> bool {
        if self.0.held.swap(false, Ordering::AcqRel) {
            let mut holder = lock(&self.0.holder);
            if let Holder::Stream(connection) = &*holder
                && !self.is(Stage::Answered)
            {
                connection.set_outside_bytes(0);
            } else {
                let answer = std::mem::take(&mut *holder);
                // It takes other locks to go.
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

    /// Ready when everything has left.
    pub fn poll_flushed(&self, cx: &Context<'_>) -> Poll<()> {
        self.0.stream.register(cx.waker());
        if self.0.held.load(Ordering::Acquire) { Poll::Pending } else { Poll::Ready(()) }
    }
}
