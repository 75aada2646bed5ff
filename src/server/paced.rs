//! A socket under HTTP: tells when everything has been written, and gives up on an other end that takes nothing.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::http::flow::Flow;

/// A socket as hyper sees it.
pub struct Paced<S> {
    socket: S,
    flow: Flow,
    /// `limits.write_stall`
    patience: Duration,
    /// Runs while the socket takes nothing.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Paced<S> {
    /// Takes a socket; a write that makes no progress for `patience` fails.
    pub fn new(socket: S, flow: Flow, patience: Duration) -> Self {
        Self { socket, flow, patience, stalled: None }
    }

    /// Gives it back, for who looks after it in another way.
    pub fn into_inner(self) -> S {
        self.socket
    }

    fn judge(&mut self, written: Poll<io::Result<usize>>, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(self.patience)));
        stalled.as_mut().poll(cx).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write(cx, buf);
        this.judge(written, cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.socket).poll_write_vectored(cx, bufs);
        this.judge(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    /// hyper flushes once it has written everything.
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = Pin::new(&mut this.socket).poll_flush(cx);
        if flushed.is_ready() {
            this.flow.leave();
        }
        flushed
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::task::{Context, Waker};
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::Paced;
    use crate::http::flow::Flow;

    #[tokio::test(start_paused = true)]
    async fn a_write_without_progress_fails_in_time_and_progress_starts_anew() {
        let (near, mut far) = duplex(4);
        let flow = Flow::default();
        let mut near = Paced::new(near, flow.clone(), Duration::from_secs(30));
        flow.hand_over();
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
