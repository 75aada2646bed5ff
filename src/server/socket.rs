//! One connection's socket, of whichever kind.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::coop;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// An accepted socket.
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP. Boxed, for it is many times larger.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Sends what is written at once, and lets the kernel hold so many bytes of it.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn tune(&self, send_buffer: usize) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                SockRef::from(stream).set_send_buffer_size(send_buffer)
            }
            Self::Unix(stream) => SockRef::from(stream).set_send_buffer_size(send_buffer),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0).set_send_buffer_size(send_buffer),
        }
    }

    /// Shakes hands. What is not TCP stays as it is: a Unix socket does not leave the machine.
    ///
    /// # Errors
    /// What the peer or the system says, or that it took longer than `within`.
    pub async fn secure(self, tls: Arc<ServerConfig>, within: Duration) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => {
                let shake = TlsAcceptor::from(tls).accept(stream);
                let shaken = tokio::time::timeout(within, shake).await;
                Ok(Self::Tls(Box::new(shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?)))
            }
            other => Ok(other),
        }
    }

    /// Whether it is encrypted.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => poll_send(stream, cx, buf),
            Self::Unix(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Self::Unix(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}

/// Writes without asking tokio first whether the socket was writable when it last looked: that stands in memory of its
/// own, cold for each of thousands of connections, and mostly it is. A socket that is full is waited for by tokio.
fn poll_send(stream: &mut TcpStream, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
    let turn = ready!(coop::poll_proceed(cx));
    match send(&*stream, buf, SendFlags::NOSIGNAL) {
        Ok(n) => {
            turn.made_progress();
            Poll::Ready(Ok(n))
        }
        Err(Errno::AGAIN | Errno::INTR) => {
            drop(turn);
            Pin::new(stream).poll_write(cx, buf)
        }
        Err(error) => Poll::Ready(Err(error.into())),
    }
}
