//! A socket while it speaks HTTP: it neither waits for ever for a peer that does not read, nor loses an answer when it
//! is closed.
//!
//! A request may be refused while its body is still arriving. Closing a socket with unread bytes in it resets the
//! connection, and a peer that is told so while it writes does not read the answer any more. So the end of a connection
//! first says that nothing more comes, and then reads for a while what the peer still sends (RFC 9112, section 9.6).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::http::flow::Flow;

/// For so long.
const LINGER: Duration = Duration::from_secs(1);
/// At most so many bytes.
const MOST: usize = 8 << 20;

/// See the module's documentation.
pub struct HttpSocket<S> {
    socket: S,
    /// Told when everything has been written.
    flow: Flow,
    write_stall: Duration,
    /// A write makes no progress: how long it may still take.
    stalled: Option<Pin<Box<Sleep>>>,
    /// The other direction has ended: the time that is left, and the bytes.
    ending: Option<(Pin<Box<Sleep>>, usize)>,
}

impl<S> HttpSocket<S> {
    /// Takes a fresh socket, whose writes fail when they make no progress for so long.
    pub fn new(socket: S, write_stall: Duration, flow: Flow) -> Self {
        Self { socket, flow, write_stall, stalled: None, ending: None }
    }

    /// The socket, for another protocol.
    pub fn into_inner(self) -> S {
        self.socket
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        if self.flow.is_cut(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let stall = self.write_stall;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(stall)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for HttpSocket<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for HttpSocket<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.watch(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes once it has written everything; TLS may still hold some of it then.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        let flushed = this.watch(cx, flushed);
        if flushed.is_ready() {
            this.flow.leave();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending.is_none() {
            // TLS has a word to say, which a peer that does not read never takes.
            let shut = Pin::new(&mut this.socket).poll_shutdown(cx);
            ready!(this.watch(cx, shut))?;
        }
        let (time, left) = this.ending.get_or_insert_with(|| (Box::pin(sleep(LINGER)), MOST));
        let mut ignored = [0; 4096];
        while *left > 0 && time.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut ignored);
            // The peer's end, in whichever way, is what this waits for.
            if ready!(Pin::new(&mut this.socket).poll_read(cx, &mut buf)).is_err() || buf.filled().is_empty() {
                break;
            }
            *left = left.saturating_sub(buf.filled().len());
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::HttpSocket;
    use crate::http::flow::Flow;

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails_in_time_and_progress_starts_anew() {
        let (near, mut far) = duplex(4);
        let flow = Flow::default();
        let mut near = HttpSocket::new(near, Duration::from_secs(30), flow.clone());
        flow.hand_over(4);
        near.write_all(b"1234").await.expect("there is room");
        near.flush().await.expect("nothing to flush");
        let cx = Context::from_waker(Waker::noop());
        assert!(flow.poll_left(&cx).is_ready());
        let mut writing = Box::pin(near.write_all(b"56789abcdef"));
        for _ in 0..2 {
            let late = tokio::time::timeout(Duration::from_secs(29), &mut writing).await;
            assert!(late.is_err(), "not yet");
            far.read_exact(&mut [0; 4]).await.expect("something to read");
        }
        assert_eq!(writing.await.expect_err("nobody reads").kind(), ErrorKind::TimedOut);
    }
}
