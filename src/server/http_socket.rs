//! A socket that speaks HTTP: it waits for ever neither for a request nor for a peer that does not read, and loses no
//! answer when it is closed.
//!
//! The header's timer restarts with each request and almost never fires. So its entry in the runtime's timer wheel
//! stays where an earlier request put it, and is moved on only when it fires.
//!
//! A peer may end its direction after a request and wait for the answer, which hyper then finishes. But while a stream
//! or a long poll is answered hyper does not read, so it would not notice a peer that is gone, and hold the answer for
//! ever. Therefore one byte is read ahead here: end of file ends the connection, and a byte is kept for hyper.
//!
//! A request may be refused while its body is still arriving. Closing a socket with unread bytes resets the connection,
//! and a peer that is reset while it writes does not read the answer. So a connection ends by first shutting down its
//! write side and then reading for a while what the peer still sends (RFC 9112, section 9.6).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::http::flow::Flow;

/// How long a connection that ends is still read.
const LINGER: Duration = Duration::from_secs(1);
/// How much of it is read, in bytes.
const MOST: usize = 8 << 20;
/// Answers of up to this many bytes are copied together: one buffer costs the kernel less than gathering two.
const SMALL: usize = 512;
/// Capacity for the answer to an upgrade and what a WebSocket usually says first, in bytes.
const OPENING: usize = 1024;

/// See the module's documentation.
pub struct HttpSocket<S> {
    socket: S,
    /// Told when everything is written.
    flow: Flow,
    /// The answer to an upgrade, not written here: it leaves with what the next protocol says first.
    upgrade: Vec<u8>,
    /// A byte that the peer sent after the request of a stream, still to be read by hyper.
    ahead: Option<u8>,
    header_timeout: Duration,
    /// When it began to wait for the header of a request, while it does.
    waits_since: Instant,
    /// Fires at or before the header's deadline, and is then moved to it: resetting it for each request costs more.
    overdue: Option<Pin<Box<Sleep>>>,
    write_stall: Duration,
    /// While a write makes no progress: how long it still may.
    stalled: Option<Pin<Box<Sleep>>>,
    /// While the connection lingers, with its write side shut down: the time and the bytes that are left.
    ending: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> HttpSocket<S> {
    /// Takes a new socket.
    ///
    /// Its reads fail if a header takes longer than `header_timeout`; its writes fail if they make no progress for
    /// `write_stall`.
    pub fn new(socket: S, header_timeout: Duration, write_stall: Duration, flow: Flow) -> Self {
        let waits_since = Instant::now();
        Self {
            socket,
            flow,
            upgrade: Vec::new(),
            ahead: None,
            header_timeout,
            waits_since,
            overdue: None,
            write_stall,
            stalled: None,
            ending: None,
        }
    }

    /// The socket, for another protocol, and the answer to the upgrade, which must be written to it first.
    pub fn into_parts(self) -> (S, Vec<u8>) {
        (self.socket, self.upgrade)
    }

    /// Ready once the header has taken too long.
    fn poll_overdue(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due = self.waits_since + self.header_timeout;
        let overdue = self.overdue.get_or_insert_with(|| Box::pin(sleep_until(due)));
        loop {
            ready!(overdue.as_mut().poll(cx));
            if overdue.deadline() >= due {
                return Poll::Ready(());
            }
            overdue.as_mut().reset(due);
        }
    }

    /// Fails if the peer is gone, while the answer lasts as long as the peer is there.
    fn look_for_peer(&mut self, cx: &mut Context<'_>) -> io::Result<()>
    where
        S: AsyncRead + Unpin,
    {
        if self.ahead.is_some() || !self.flow.lasts() {
            return Ok(());
        }
        let mut byte = [0];
        let mut buf = ReadBuf::new(&mut byte);
        if Pin::new(&mut self.socket).poll_read(cx, &mut buf)?.is_pending() {
            return Ok(());
        }
        self.ahead = buf.filled().first().copied();
        self.ahead.map(|_| ()).ok_or_else(|| io::ErrorKind::ConnectionAborted.into())
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>>
    where
        S: AsyncRead + Unpin,
    {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        if self.flow.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        self.look_for_peer(cx)?;
        let stall = self.write_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        stalled.as_mut().poll(cx).map(|()| {
            self.flow.stall();
            Err(io::ErrorKind::TimedOut.into())
        })
    }
}

/// Copies all parts into `whole` if they fit.
fn join<'w>(parts: &[IoSlice<'_>], whole: &'w mut [u8]) -> Option<&'w [u8]> {
    let mut len = 0;
    for part in parts {
        whole.get_mut(len..len + part.len())?.copy_from_slice(part);
        len += part.len();
    }
    Some(&whole[..len])
}

impl<S: AsyncRead + Unpin> AsyncRead for HttpSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if let Some(byte) = this.ahead.take_if(|_| buf.remaining() > 0) {
            buf.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        let read = Pin::new(&mut this.socket).poll_read(cx, buf);
        if read.is_ready() || !this.flow.is_waiting() {
            return read;
        }
        // Fails only a read that waits for a request: after an answer hyper ends the connection by itself, and lingers.
        if this.flow.expects_no_request() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        this.poll_overdue(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HttpSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.flow.is_upgrade() {
            this.upgrade.reserve(OPENING);
            this.upgrade.extend_from_slice(buf);
            return Poll::Ready(Ok(buf.len()));
        }
        let written = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.flow.is_upgrade() {
            this.upgrade.reserve(OPENING);
            bufs.iter().for_each(|buf| this.upgrade.extend_from_slice(buf));
            return Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()));
        }
        let mut whole = [0; SMALL];
        let socket = Pin::new(&mut this.socket);
        let written = match join(bufs, &mut whole) {
            Some(whole) => socket.poll_write(cx, whole),
            None => socket.poll_write_vectored(cx, bufs),
        };
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes once it has written everything; TLS may still hold some of it.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        let flushed = this.watch(cx, flushed);
        this.look_for_peer(cx)?;
        if flushed.is_ready() && this.flow.flushed() {
            this.waits_since = Instant::now();
            if this.ahead.is_some() {
                // hyper does not know of the byte read ahead, and may be waiting for one.
                cx.waker().wake_by_ref();
            }
            // hyper may have tried to read before the answer was written, and then does not read again before something
            // comes.
            let is_watched = this.overdue.as_ref().is_some_and(|overdue| !overdue.is_elapsed());
            if !is_watched && this.poll_overdue(cx).is_ready() {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending.is_none() {
            // TLS sends a last record, which a peer that does not read never takes.
            let shut = Pin::new(&mut this.socket).poll_shutdown(cx);
            ready!(this.watch(cx, shut))?;
        }
        let (time, remaining) = this.ending.get_or_insert_with(|| (Box::pin(sleep(LINGER)), MOST));
        let mut ignored = [0; 4096];
        while *remaining > 0 && time.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut ignored);
            // The end of the peer, clean or not, is what this waits for.
            if ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                break;
            }
            *remaining = remaining.saturating_sub(buf.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{ErrorKind, IoSlice};
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex};

    use super::HttpSocket;
    use crate::http::flow::Flow;

    const HEADER: Duration = Duration::from_secs(10);

    /// Flushes once, and then waits until the flush wakes its task, without reading.
    async fn flush_and_wait(near: &mut HttpSocket<DuplexStream>) {
        let mut flushed = false;
        poll_fn(|cx| {
            // The second poll means that the task was woken.
            if std::mem::replace(&mut flushed, true) {
                return Poll::Ready(());
            }
            assert!(Pin::new(&mut *near).poll_flush(cx).is_ready());
            Poll::Pending
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_has_all_of_its_time_and_an_answer_is_not_counted() {
        let (near, mut far) = duplex(64);
        let flow = Flow::default();
        let mut near = HttpSocket::new(near, HEADER, Duration::from_secs(30), flow.clone());
        let mut byte = [0];
        for _ in 0..3 {
            let waited = tokio::time::timeout(Duration::from_secs(9), near.read(&mut byte)).await;
            assert!(waited.is_err(), "not yet");
            far.write_all(b"x").await.expect("there is room");
            near.read_exact(&mut byte).await.expect("a request");
            flow.request_came();
            let busy = tokio::time::timeout(Duration::from_secs(60), near.read(&mut byte)).await;
            assert!(busy.is_err(), "a request that is being answered has no header to wait for");
            flow.answer_came();
            near.flush().await.expect("nothing to flush");
        }
        let began = tokio::time::Instant::now();
        assert_eq!(near.read(&mut byte).await.expect_err("no request").kind(), ErrorKind::TimedOut);
        assert_eq!(began.elapsed(), HEADER);
    }

    /// hyper does not read again after an answer if it tried to before.
    #[tokio::test(start_paused = true)]
    async fn the_time_of_the_next_header_runs_behind_an_answer_though_nobody_reads() {
        let (near, _far) = duplex(64);
        let flow = Flow::default();
        let mut near = HttpSocket::new(near, HEADER, HEADER, flow.clone());
        flow.request_came();
        flow.answer_came();
        let began = tokio::time::Instant::now();
        flush_and_wait(&mut near).await;
        assert_eq!(began.elapsed(), HEADER, "it is woken");
    }

    /// It used to be taken for a header past its time: the socket was dropped with the rest of the request unread, and
    /// the reset overtook the answer.
    #[tokio::test(start_paused = true)]
    async fn the_last_answer_of_a_drain_is_no_error_however_long_it_took() {
        let (near, mut far) = duplex(64);
        let flow = Flow::default();
        let mut near = HttpSocket::new(near, HEADER, Duration::from_secs(30), flow.clone());
        let mut byte = [0];
        assert!(tokio::time::timeout(Duration::from_secs(1), near.read(&mut byte)).await.is_err(), "not yet");
        far.write_all(b"x").await.expect("there is room");
        near.read_exact(&mut byte).await.expect("a request");
        flow.request_came();
        tokio::time::sleep(HEADER + Duration::from_secs(2)).await;
        flow.expect_no_request();
        flow.answer_came();
        near.write_all(b"503").await.expect("there is room");
        near.flush().await.expect("all of it has left");
        assert_eq!(near.read(&mut byte).await.expect_err("no request is waited for").kind(), ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn the_answer_to_an_upgrade_is_for_the_other_protocol_to_write() {
        let (near, mut far) = duplex(64);
        let flow = Flow::default();
        let mut near = HttpSocket::new(near, HEADER, HEADER, flow.clone());
        near.write_all(b"before").await.expect("there is room");
        flow.request_came();
        flow.upgrade();
        flow.answer_came();
        near.write_all(b"101, ").await.expect("it is kept");
        let parts = [IoSlice::new(b"and "), IoSlice::new(b"so on")];
        assert_eq!(near.write_vectored(&parts).await.expect("it is kept"), 9);
        near.flush().await.expect("nothing to flush");
        let (socket, upgrade) = near.into_parts();
        assert_eq!(upgrade, b"101, and so on");
        drop(socket);
        let mut written = Vec::new();
        far.read_to_end(&mut written).await.expect("an end");
        assert_eq!(written, b"before");
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails_in_time_and_progress_starts_anew() {
        let (near, mut far) = duplex(4);
        let flow = Flow::default();
        let mut near = HttpSocket::new(near, HEADER, Duration::from_secs(30), flow.clone());
        flow.hand_over(4);
        near.write_all(b"1234").await.expect("there is room");
        near.flush().await.expect("nothing to flush");
        let cx = Context::from_waker(Waker::noop());
        assert!(flow.poll_flushed(&cx).is_ready());
        let mut writing = Box::pin(near.write_all(b"56789abcdef"));
        for _ in 0..2 {
            let late = tokio::time::timeout(Duration::from_secs(29), &mut writing).await;
            assert!(late.is_err(), "not yet");
            far.read_exact(&mut [0; 4]).await.expect("something to read");
        }
        assert_eq!(writing.await.expect_err("nobody reads").kind(), ErrorKind::TimedOut);
    }

    /// A pipelined request may have begun while the stream before it was still being sent.
    #[tokio::test(start_paused = true)]
    async fn a_byte_that_was_read_ahead_wakes_who_waits_for_a_request() {
        let (near, mut far) = duplex(64);
        let flow = Flow::default();
        let mut near = HttpSocket::new(near, HEADER, HEADER, flow.clone());
        flow.request_came();
        flow.idle();
        far.write_all(b"G").await.expect("there is room");
        near.flush().await.expect("the peer is there");
        flow.answer_ended();
        let began = tokio::time::Instant::now();
        flush_and_wait(&mut near).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "at once");
        let mut byte = [0];
        near.read_exact(&mut byte).await.expect("what was read ahead");
        assert_eq!(&byte, b"G");
    }
}
