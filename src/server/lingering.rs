//! A socket that is closed without losing the answer.
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

use crate::server::socket::Socket;

/// For so long.
const LINGER: Duration = Duration::from_secs(1);
/// At most so many bytes.
const MOST: usize = 8 << 20;

/// A socket while it speaks HTTP.
pub struct Lingering {
    socket: Socket,
    /// The other direction has ended: the time that is left, and the bytes.
    ending: Option<(Pin<Box<Sleep>>, usize)>,
}

impl Lingering {
    /// Takes a fresh socket.
    pub fn new(socket: Socket) -> Self {
        Self { socket, ending: None }
    }

    /// The socket, for another protocol.
    pub fn into_inner(self) -> Socket {
        self.socket
    }
}

impl AsyncRead for Lingering {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.ending.is_none() {
            ready!(Pin::new(&mut this.socket).poll_shutdown(cx))?;
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
