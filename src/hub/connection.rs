//! The part of a subscriber that its shard and its own task share: the write half, and who may write now.
//!
//! Behind one small lock, held for one non-blocking write at the most. While a connection is live its shard writes
//! messages and its task only short replies; while it is behind its task alone writes. Whoever cannot write all keeps
//! the rest of the one frame that was begun, and the cursor behind it.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::close::Close;
use crate::hub::entry::Cursor;
use crate::hub::outbound::Outbound;
use crate::message::Seq;

/// A socket: TCP, TLS or Unix.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// See the module's documentation.
pub struct Connection {
    wire: Mutex<Wire>,
    waker: AtomicWaker,
    /// How somebody else asks this connection's task to end.
    ending: OnceLock<Close>,
    /// When a write last made progress, in the hub's clock.
    progress: AtomicU64,
    /// Where in the log it stood when its task last came on.
    stands: AtomicU64,
}

pub(super) struct Wire {
    /// `None` for a subscriber that its own task serves (SSE, long poll): the shard only wakes it.
    io: Option<Box<dyn Io>>,
    /// What is left of the frame or reply that was begun.
    rest: Vec<u8>,
    /// What was handed over elsewhere and has not left, in bytes.
    outside: usize,
    /// What of all this stands in `outbound`.
    counted: usize,
    outbound: Arc<Outbound>,
    /// Bytes may still lie in a TLS layer.
    unflushed: bool,
    pub(super) phase: Phase,
    /// Counts the changes of `phase`, so that a shard's work list can tell that its item is stale.
    pub(super) turn: u64,
    /// The last pass of the shard that served it.
    pub(super) served: u64,
}

/// Who serves the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// The shard.
    Live,
    /// The shard has just given it up, at this cursor; its task has not noticed yet.
    Fallen(Cursor),
    /// Its task.
    Behind,
}

/// How far a write came.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it, and out of our hands.
    All,
    /// So many bytes, possibly all but not flushed; the socket takes no more now.
    Part(usize),
    /// The socket is dead.
    Broken,
}

impl Connection {
    /// A connection that its task serves for now.
    pub fn new(io: Option<Box<dyn Io>>, outbound: Arc<Outbound>) -> Self {
        let wire = Wire {
            io,
            rest: Vec::new(),
            outside: 0,
            counted: 0,
            outbound,
            unflushed: false,
            phase: Phase::Behind,
            turn: 0,
            served: 0,
        };
        Self {
            wire: Mutex::new(wire),
            waker: AtomicWaker::new(),
            ending: OnceLock::new(),
            progress: AtomicU64::new(0),
            stands: AtomicU64::new(0),
        }
    }

    pub(super) fn wire(&self) -> MutexGuard<'_, Wire> {
        self.wire.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Whom to wake; called by the connection's task before it looks at anything else.
    pub fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Asks the connection's task to end like this; the first one asked for stays.
    pub fn end(&self, close: Close) {
        if self.ending.set(close).is_ok() {
            self.wake();
        }
    }

    /// How somebody asked it to end.
    pub fn ending(&self) -> Option<Close> {
        self.ending.get().copied()
    }

    pub(super) fn progressed(&self, now: u64) {
        self.progress.store(now, Ordering::Relaxed);
    }

    /// When a write last made progress, in milliseconds of the hub's clock.
    pub fn progress(&self) -> u64 {
        self.progress.load(Ordering::Relaxed)
    }

    pub(super) fn stand(&self, seq: Seq) {
        self.stands.store(seq, Ordering::Relaxed);
    }

    /// Where in the log it stands, if it is behind; for choosing, for it may just have changed.
    pub fn stands(&self) -> Seq {
        match self.wire().phase {
            Phase::Live => Seq::MAX,
            Phase::Fallen(cursor) => cursor.seq,
            Phase::Behind => self.stands.load(Ordering::Relaxed),
        }
    }

    /// Says how many bytes were handed over elsewhere for this connection and have not left.
    pub fn hold(&self, bytes: usize) {
        let mut wire = self.wire();
        wire.outside = bytes;
        wire.account();
    }

    /// Bytes that it holds because its peer has not taken them.
    pub fn held(&self) -> usize {
        self.wire().counted
    }

    /// Reads what has arrived, into memory that the caller shares between connections.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<std::io::Result<usize>> {
        let mut wire = self.wire();
        let Some(io) = wire.io.as_mut() else { return Poll::Pending };
        let mut buffer = ReadBuf::new(into);
        Pin::new(io).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    /// Writes what was left over; ready when nothing is.
    pub fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<Result<(), Dead>> {
        self.wire().poll_rest(cx)
    }

    /// Whether something is left over from an earlier write.
    pub fn has_rest(&self) -> bool {
        let wire = self.wire();
        !wire.rest.is_empty() || wire.unflushed
    }

    /// Shuts the write half down.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        match self.wire().io.as_mut() {
            Some(io) => Pin::new(io).poll_shutdown(cx).map(|_| ()),
            None => Poll::Ready(()),
        }
    }
}

/// The socket takes nothing any more.
#[derive(Debug)]
pub struct Dead;

impl Wire {
    /// Writes as much as the socket takes without waiting.
    pub(super) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Written {
        let Some(io) = self.io.as_mut() else { return Written::Part(0) };
        let mut done = 0;
        while done < bytes.len() {
            match Pin::new(&mut *io).poll_write(cx, &bytes[done..]) {
                Poll::Ready(Ok(0) | Err(_)) => return Written::Broken,
                Poll::Ready(Ok(n)) => done += n,
                Poll::Pending => return Written::Part(done),
            }
        }
        match Pin::new(io).poll_flush(cx) {
            Poll::Ready(Ok(())) => Written::All,
            Poll::Ready(Err(_)) => Written::Broken,
            Poll::Pending => {
                self.unflushed = true;
                Written::Part(done)
            }
        }
    }

    /// Keeps a copy of what could not be written, so that it does not pin the batch it was cut from.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.rest.extend_from_slice(rest);
        self.account();
    }

    fn account(&mut self) {
        let now = self.rest.capacity() + self.outside;
        self.outbound.change(std::mem::replace(&mut self.counted, now), now);
    }

    pub(super) fn is_clear(&self) -> bool {
        self.rest.is_empty() && !self.unflushed
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Dead>> {
        if self.is_clear() {
            return Poll::Ready(Ok(()));
        }
        let rest = std::mem::take(&mut self.rest);
        self.unflushed = false;
        let written = match self.write(cx, &rest) {
            Written::All => Poll::Ready(Ok(())),
            Written::Broken => Poll::Ready(Err(Dead)),
            Written::Part(n) => {
                self.rest = rest;
                self.rest.drain(..n);
                Poll::Pending
            }
        };
        self.account();
        written
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.outbound.change(self.counted, 0);
    }
}
