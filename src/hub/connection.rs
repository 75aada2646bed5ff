//! The part of a subscriber that its shard and its own task share: the write half, and who may write now.
//!
//! One small lock guards both. It is held only for non-blocking socket calls, and while the shard's lock is taken
//! inside it. While a connection is live its shard writes messages and its task only short replies; while it is behind
//! only its task writes. A writer that cannot write everything leaves the rest of the frame it began, and the cursor
//! after it.
//!
//! During a fan-out no connection is in the processor's caches, and each cache line that is read costs a wait. So the
//! order of the fields is fixed, and a test keeps everything that a delivery needs within one line.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::close::Close;
use crate::hub::entry::Cursor;
pub use crate::hub::no_socket::NoSocket;
use crate::hub::outbound::Outbound;
use crate::hub::stamp::Stamp;
use crate::lock::lock;
use crate::message::Seq;

/// Bytes that a TLS layer may buffer after accepting them, while the socket below takes nothing: about one record.
pub const LAYER: usize = 16 << 10;

/// A socket: TCP, TLS or Unix.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// Writes as much as the socket takes at once, where that is a single system call; `None` where it is not.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): it takes nothing now, and no waker is registered for when it does.
    /// Any other: it is dead.
    fn send(&mut self, bytes: &[u8]) -> Option<io::Result<usize>> {
        let _ = bytes;
        None
    }

    /// Whether it buffers some of what it accepts, at most [`LAYER`], while the socket below takes nothing.
    fn is_layered(&self) -> bool {
        false
    }

    /// Whether anything can be written to it.
    fn is_there(&self) -> bool {
        true
    }
}

/// See the module's documentation.
#[repr(C)]
pub struct Connection<I: ?Sized = dyn Io> {
    waker: AtomicWaker,
    /// How another task asks this connection's task to end.
    ending: OnceLock<Close>,
    /// Its place in the log when its own task last moved it.
    stands: AtomicU64,
    /// When its own task last made progress; while it is live, its stamp may be newer. See [`Connection::progress`].
    progress: AtomicU64,
    wire: Mutex<Wire<I>>,
}

#[repr(C)]
pub(super) struct Wire<I: ?Sized = dyn Io> {
    /// While live: the last pass that served it, or the one that was running when it joined.
    pub(super) live: Option<Stamp>,
    cold: Box<Cold>,
    io: I,
}

/// What a delivery that is written whole does not touch.
struct Cold {
    /// The cursor at which the shard handed it over, until its task notices.
    fallen: Option<Cursor>,
    /// The unsent rest of a frame or reply, and the replies queued behind it.
    rest: Vec<u8>,
    /// Bytes of `rest` that are sent. They are removed once they are more than half: removing them after every write
    /// would move the rest of a large frame each time.
    sent: usize,
    /// Bytes may still be buffered in a TLS layer, at most [`LAYER`].
    unflushed: bool,
    /// Bytes that another layer accepted for this connection and has not sent yet.
    outside: usize,
    /// Bytes that the gaps it was told, and those that are due, take in memory.
    remembered: usize,
    /// What it has added to `outbound`.
    counted: usize,
    outbound: Arc<Outbound>,
}

/// How far a write came.
#[derive(Debug, PartialEq, Eq)]
pub enum Written {
    /// All of it, flushed.
    All,
    /// So many bytes, or all of them but not flushed; the socket takes no more now.
    Part(usize),
    /// The socket is dead.
    Broken,
}

impl Connection {
    /// Creates a connection that is served by its own task for now.
    pub fn new(io: impl Io + 'static, outbound: Arc<Outbound>) -> Arc<Self> {
        let cold = Cold {
            fallen: None,
            rest: Vec::new(),
            sent: 0,
            unflushed: false,
            outside: 0,
            remembered: 0,
            counted: 0,
            outbound,
        };
        let wire = Wire { live: None, cold: Box::new(cold), io };
        Arc::new(Connection {
            waker: AtomicWaker::new(),
            ending: OnceLock::new(),
            stands: AtomicU64::new(0),
            progress: AtomicU64::new(0),
            wire: Mutex::new(wire),
        })
    }

    pub(super) fn wire(&self) -> MutexGuard<'_, Wire> {
        lock(&self.wire)
    }

    /// Wakes the connection's task.
    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Sets the task to wake; called by the connection's task before it looks at anything else.
    pub fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Has the processor prefetch the line that a delivery needs: reads a flag in it, without taking the lock.
    pub(super) fn fetch(&self) {
        std::hint::black_box(self.wire.is_poisoned());
    }

    /// Asks the connection's task to end with this close; the first request counts.
    pub fn end(&self, close: Close) {
        if self.ending.set(close).is_ok() {
            self.wake();
        }
    }

    /// The close that somebody asked for.
    pub fn ending(&self) -> Option<Close> {
        self.ending.get().copied()
    }

    pub(super) fn progressed(&self, now: u64) {
        self.progress.fetch_max(now, Ordering::Relaxed);
    }

    /// When the socket last took bytes or, if later, when it first failed to take everything: in milliseconds of the
    /// hub's clock.
    pub fn progress(&self) -> u64 {
        let live = self.wire().live;
        self.progress.load(Ordering::Relaxed).max(live.map_or(0, Stamp::served_at))
    }

    /// Takes it from the shard, so that its own task serves it; returns its last stamp if it was live.
    pub(super) fn retire(&self, wire: &mut Wire) -> Option<Stamp> {
        let last = wire.live.take()?;
        self.progressed(last.served_at());
        Some(last)
    }

    pub(super) fn note_position(&self, seq: Seq) {
        self.stands.store(seq, Ordering::Relaxed);
    }

    /// Its place in the log if it is behind, and the largest seq if it is live; it may have changed since.
    pub fn last_position(&self) -> Seq {
        let wire = self.wire();
        match (wire.live, wire.cold.fallen) {
            (Some(_), _) => Seq::MAX,
            (None, Some(cursor)) => cursor.seq,
            (None, None) => self.stands.load(Ordering::Relaxed),
        }
    }

    /// Records how many bytes another layer has accepted for this connection and not sent yet.
    pub fn set_outside_bytes(&self, bytes: usize) {
        let mut wire = self.wire();
        wire.cold.outside = bytes;
        wire.cold.account();
    }

    /// Records how many bytes the gaps that it was told, and those that are due, take in memory.
    pub(super) fn set_gap_bytes(&self, bytes: usize) {
        self.wire().set_gap_bytes(bytes);
    }

    /// Bytes that it holds because its peer has not read them.
    pub fn held(&self) -> usize {
        self.wire().cold.counted
    }

    /// Reads what has arrived, into a buffer that the caller shares between connections.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        Pin::new(&mut self.wire().io).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    /// Writes the rest of an earlier write; ready once there is none.
    ///
    /// `clock`, the hub's, is read whenever the socket takes something: a peer that takes a long message bit by bit is
    /// slow, not dead.
    pub fn poll_rest(&self, cx: &mut Context<'_>, clock: impl FnOnce() -> u64) -> Poll<Result<(), Dead>> {
        let mut wire = self.wire();
        let before = wire.unsent();
        let written = wire.poll_rest(cx);
        if wire.unsent() < before {
            self.progressed(clock());
        }
        written
    }

    /// Whether its shard can write messages to it.
    pub(super) fn has_socket(&self) -> bool {
        self.wire().io.is_there()
    }

    /// Whether the rest of an earlier write is still unsent.
    pub fn has_rest(&self) -> bool {
        !self.wire().is_clear()
    }

    /// Shuts the write half down.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.wire().io).poll_shutdown(cx).map(|_| ())
    }
}

/// The socket is dead: nothing can be written any more.
#[derive(Debug)]
pub struct Dead;

impl Wire {
    /// Whether it is live and this pass has not served it yet.
    pub(super) fn awaits(&self, pass: Stamp) -> bool {
        self.live.is_some_and(|last| last < pass)
    }

    /// Sets the cursor at which the shard hands it over, for its task to go on from.
    pub(super) fn fall(&mut self, at: Cursor) {
        self.cold.fallen = Some(at);
    }

    /// Takes the cursor at which the shard handed it over, if there is one its task has not seen.
    pub(super) fn take_fallen(&mut self) -> Option<Cursor> {
        self.cold.fallen.take()
    }

    /// As [`Self::write_now`], for a fan-out: by a bare system call, where that is possible.
    ///
    /// It skips the runtime's readiness check. That state lies in other memory, cold for each of thousands of
    /// connections, and nearly always says writable. If the socket is full, the connection's task waits for it.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Written {
        use io::ErrorKind::{Interrupted, WouldBlock};
        match self.io.send(bytes) {
            Some(Ok(n)) if n == bytes.len() => Written::All,
            Some(Ok(n)) => Written::Part(n),
            Some(Err(error)) if matches!(error.kind(), Interrupted | WouldBlock) => Written::Part(0),
            Some(Err(_)) => Written::Broken,
            None => self.write_now(bytes),
        }
    }

    /// Writes as much as the socket takes at once, without registering a waker: to wait for a full socket, use
    /// [`Connection::poll_rest`].
    pub(super) fn write_now(&mut self, bytes: &[u8]) -> Written {
        self.write(&mut Context::from_waker(Waker::noop()), bytes)
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Written {
        let mut done = 0;
        while done < bytes.len() {
            match Pin::new(&mut self.io).poll_write(cx, &bytes[done..]) {
                Poll::Ready(Ok(0) | Err(_)) => return Written::Broken,
                Poll::Ready(Ok(n)) => done += n,
                Poll::Pending => {
                    self.cold.unflushed = self.io.is_layered();
                    return Written::Part(done);
                }
            }
        }
        match Pin::new(&mut self.io).poll_flush(cx) {
            Poll::Ready(Ok(())) => Written::All,
            Poll::Ready(Err(_)) => Written::Broken,
            Poll::Pending => {
                self.cold.unflushed = true;
                Written::Part(done)
            }
        }
    }

    /// Keeps a copy of what could not be written: a slice would keep the whole batch in memory. No room is spared, which
    /// for a few more bytes could be as much again.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.cold.rest.reserve_exact(rest.len());
        self.cold.rest.extend_from_slice(rest);
        self.cold.account();
    }

    /// Keeps these bytes to be written later, without a copy if nothing else is kept.
    pub(super) fn take_over(&mut self, bytes: Vec<u8>) {
        if self.cold.rest.is_empty() {
            self.cold.rest = bytes;
            self.cold.account();
        } else {
            self.keep(&bytes);
        }
    }

    /// Takes the unsent bytes out, for a caller that writes them itself.
    pub(super) fn release(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.cold.rest);
        if rest.capacity() > 0 {
            rest.drain(..std::mem::take(&mut self.cold.sent));
            self.cold.account();
        }
        rest
    }

    /// Lets go of what is unsent and of the memory of gaps: nothing more is sent.
    pub(super) fn discard(&mut self) {
        let cold = &mut *self.cold;
        (self.live, cold.rest, cold.sent, cold.unflushed, cold.remembered) = (None, Vec::new(), 0, false, 0);
        cold.account();
    }

    /// As [`Connection::set_gap_bytes`].
    pub(super) fn set_gap_bytes(&mut self, bytes: usize) {
        if self.cold.remembered != bytes {
            self.cold.remembered = bytes;
            self.cold.account();
        }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.cold.rest.is_empty() && !self.cold.unflushed
    }

    /// Number of bytes kept; whatever a TLS layer buffers counts as one.
    fn unsent(&self) -> usize {
        self.cold.rest.len() - self.cold.sent + usize::from(self.cold.unflushed)
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Dead>> {
        if self.is_clear() {
            return Poll::Ready(Ok(()));
        }
        let mut rest = std::mem::take(&mut self.cold.rest);
        let mut sent = std::mem::take(&mut self.cold.sent);
        self.cold.unflushed = false;
        let written = match self.write(cx, &rest[sent..]) {
            Written::All => Poll::Ready(Ok(())),
            Written::Broken => Poll::Ready(Err(Dead)),
            Written::Part(n) => {
                sent += n;
                if sent > rest.len() / 2 {
                    rest.drain(..std::mem::take(&mut sent));
                }
                (self.cold.rest, self.cold.sent) = (rest, sent);
                Poll::Pending
            }
        };
        self.cold.account();
        written
    }
}

impl Cold {
    fn account(&mut self) {
        let layer = if self.unflushed { LAYER } else { 0 };
        let now = self.rest.capacity() + layer + self.outside + self.remembered;
        self.outbound.change(std::mem::replace(&mut self.counted, now), now);
    }
}

impl Drop for Cold {
    fn drop(&mut self) {
        self.outbound.change(self.counted, 0);
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
