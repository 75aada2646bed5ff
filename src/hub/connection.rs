//! The part of a subscriber that its shard and its own task share: the write half, and who may write now.
//!
//! Behind one small lock, held for non-blocking calls of the socket only, and while the shard's is taken behind it. While
//! a connection is live its shard writes messages and its task only short replies; while it is behind its task alone
//! writes. Whoever cannot write all keeps the rest of the one frame that was begun, and the cursor behind it.
//!
//! A fan-out finds each connection cold in the processor's caches, and waits for every line of it that it reads. So the
//! order of the fields is given, and a test holds what a delivery needs to one line.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};

use futures::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf};

use crate::close::Close;
use crate::hub::entry::Cursor;
pub use crate::hub::no_socket::NoSocket;
use crate::hub::outbound::Outbound;
use crate::hub::stamp::Stamp;
use crate::lock::lock;
use crate::message::Seq;

/// Bytes that a TLS layer may keep of what it took and could not pass on: about one record.
pub const LAYER: usize = 16 << 10;

/// A socket: TCP, TLS or Unix.
pub trait Io: AsyncRead + AsyncWrite + Send + Unpin {
    /// Writes as much as it takes at once, where that is one system call and nothing else; `None` where it is not.
    ///
    /// # Errors
    /// [`WouldBlock`](io::ErrorKind::WouldBlock): it takes nothing now, and nobody will be woken when it does. Others: it
    /// is dead.
    fn send(&mut self, bytes: &[u8]) -> Option<io::Result<usize>> {
        let _ = bytes;
        None
    }

    /// Whether it keeps some of what it takes, at most [`LAYER`], while it cannot pass it on.
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
    /// How somebody else asks this connection's task to end.
    ending: OnceLock<Close>,
    /// Where in the log it stood when its task last came on.
    stands: AtomicU64,
    /// As of when its own task last served it; a live connection's newer time is in its stamp. See [`Connection::progress`].
    progress: AtomicU64,
    wire: Mutex<Wire<I>>,
}

#[repr(C)]
pub(super) struct Wire<I: ?Sized = dyn Io> {
    /// While the shard serves it: the last pass that did, or that had begun when it came.
    pub(super) live: Option<Stamp>,
    cold: Box<Cold>,
    io: I,
}

/// What a delivery that is taken whole does not need.
struct Cold {
    /// The shard has given it up at this cursor; its task has not noticed yet.
    fallen: Option<Cursor>,
    /// The frame or reply that was begun, or what remains of it.
    rest: Vec<u8>,
    /// Bytes of `rest` already sent. Removed once they are more than half: removing them after each write would move a large frame
    /// for every few bytes.
    sent: usize,
    /// Bytes may still lie in a TLS layer, at most [`LAYER`].
    unflushed: bool,
    /// What was handed over elsewhere and has not left, in bytes.
    outside: usize,
    /// What is remembered of gaps that were told, in bytes.
    remembered: usize,
    /// What of all this stands in `outbound`.
    counted: usize,
    outbound: Arc<Outbound>,
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

    /// Whom to wake; called by the connection's task before it looks at anything else.
    pub fn register(&self, cx: &Context<'_>) {
        self.waker.register(cx.waker());
    }

    /// Has the processor fetch the line that a delivery needs: the flag lies in it, and is read without taking the lock.
    pub(super) fn fetch(&self) {
        std::hint::black_box(self.wire.is_poisoned());
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
        self.progress.fetch_max(now, Ordering::Relaxed);
    }

    /// When the socket last took bytes or, if that is later, when it first did not take all of what it was given: in
    /// milliseconds of the hub's clock.
    pub fn progress(&self) -> u64 {
        let live = self.wire().live;
        self.progress.load(Ordering::Relaxed).max(live.map_or(0, Stamp::served_at))
    }

    /// Has its task serve it from now on; answers the stamp it had, if its shard has served it up to now.
    pub(super) fn retire(&self, wire: &mut Wire) -> Option<Stamp> {
        let last = wire.live.take()?;
        self.progressed(last.served_at());
        Some(last)
    }

    pub(super) fn note_position(&self, seq: Seq) {
        self.stands.store(seq, Ordering::Relaxed);
    }

    /// Where in the log it stands, if it is behind; a live one is at the end of everything. It may just have changed.
    pub fn last_position(&self) -> Seq {
        let wire = self.wire();
        match (wire.live, wire.cold.fallen) {
            (Some(_), _) => Seq::MAX,
            (None, Some(cursor)) => cursor.seq,
            (None, None) => self.stands.load(Ordering::Relaxed),
        }
    }

    /// Says how many bytes were handed over elsewhere for this connection and have not left.
    pub fn set_outside_bytes(&self, bytes: usize) {
        let mut wire = self.wire();
        wire.cold.outside = bytes;
        wire.cold.account();
    }

    /// Says how many bytes its task remembers of gaps that were told to a peer that is behind.
    pub(super) fn set_gap_bytes(&self, bytes: usize) {
        self.wire().set_gap_bytes(bytes);
    }

    /// Bytes that it holds because its peer has not taken them.
    pub fn held(&self) -> usize {
        self.wire().cold.counted
    }

    /// Reads what has arrived, into memory that the caller shares between connections.
    pub fn poll_read(&self, cx: &mut Context<'_>, into: &mut [u8]) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        Pin::new(&mut self.wire().io).poll_read(cx, &mut buffer).map_ok(|()| buffer.filled().len())
    }

    /// Writes what was left over; ready when nothing is. `clock` is the hub's, asked when something was taken: a peer that
    /// takes a long message bit by bit is slow and not dead.
    pub fn poll_rest(&self, cx: &mut Context<'_>, clock: impl FnOnce() -> u64) -> Poll<Result<(), Dead>> {
        let mut wire = self.wire();
        let before = wire.unsent();
        let written = wire.poll_rest(cx);
        if wire.unsent() < before {
            self.progressed(clock());
        }
        written
    }

    /// Whether messages can be written to it.
    pub(super) fn has_socket(&self) -> bool {
        self.wire().io.is_there()
    }

    /// Whether something is left over from an earlier write.
    pub fn has_rest(&self) -> bool {
        !self.wire().is_clear()
    }

    /// Shuts the write half down.
    pub fn poll_shutdown(&self, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.wire().io).poll_shutdown(cx).map(|_| ())
    }
}

/// The socket takes nothing any more.
#[derive(Debug)]
pub struct Dead;

impl Wire {
    /// Whether it is live, and this pass has still to serve it.
    pub(super) fn awaits(&self, pass: Stamp) -> bool {
        self.live.is_some_and(|last| last < pass)
    }

    /// Where the shard has given it up, for its task to go on from.
    pub(super) fn fall(&mut self, at: Cursor) {
        self.cold.fallen = Some(at);
    }

    /// Where the shard has given it up, if its task has not been told yet.
    pub(super) fn take_fallen(&mut self) -> Option<Cursor> {
        self.cold.fallen.take()
    }

    /// As [`Self::write_now`], for a fan-out: by the system call alone, where that is possible. The runtime is not asked first
    /// whether the socket was writable when it last looked: that stands in memory of its own, cold for each of thousands
    /// of connections, and mostly it is. One that is full is its task's to wait for.
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

    /// Writes as much as the socket takes at once. Only tried: whoever finds it full waits in [`Connection::poll_rest`], with a
    /// waker.
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

    /// Keeps a copy of what could not be written, so that it does not pin the batch it was cut from.
    pub(super) fn keep(&mut self, rest: &[u8]) {
        self.cold.rest.extend_from_slice(rest);
        self.cold.account();
    }

    /// Keeps what is to be written later: the memory itself, where nothing is kept yet.
    pub(super) fn take_over(&mut self, bytes: Vec<u8>) {
        if self.cold.rest.is_empty() {
            self.cold.rest = bytes;
            self.cold.account();
        } else {
            self.keep(&bytes);
        }
    }

    /// What was kept, for whoever writes it now.
    pub(super) fn release(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.cold.rest);
        if rest.capacity() > 0 {
            rest.drain(..std::mem::take(&mut self.cold.sent));
            self.cold.account();
        }
        rest
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

    /// Bytes that were kept; what a TLS layer holds counts as one.
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

/// A pipe in memory, for whoever embeds the hub without a network.
impl Io for DuplexStream {}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
