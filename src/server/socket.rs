//! The socket of one connection, of any kind.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{SendFlags, send};
use rustls::ServerConfig;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::hub::connection::{Io, LAYER};

/// An accepted socket.
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP. Boxed because it is many times larger.
    Tls(Box<TlsStream<TcpStream>>),
}

impl Socket {
    /// Sets the options of a new socket: no delay, and the size of the kernel's send buffer.
    ///
    /// A TCP peer is given up once for twice `write_stall` it has acknowledged nothing or had no room: an event stream
    /// has no other sign that its reader is gone. Less than 5 s would cut off a peer that is unreachable for a moment,
    /// and more than 15 minutes is longer than the kernel waits anyway.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn tune(&self, send_buffer: usize, write_stall: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => {
                stream.set_nodelay(true)?;
                #[cfg(target_os = "linux")]
                {
                    let (least, most) = (Duration::from_secs(5), Duration::from_secs(15 * 60));
                    // Twice, so that our own timer fires first and the log says why; the kernel gives no reason.
                    let millis = (write_stall * 2).clamp(least, most).as_millis() as u32;
                    // A kernel that only resembles Linux may not have this option.
                    _ = rustix::net::sockopt::set_tcp_user_timeout(stream, millis);
                }
                #[cfg(not(target_os = "linux"))]
                let _ = write_stall;
                SockRef::from(stream).set_send_buffer_size(send_buffer)
            }
            Self::Unix(stream) => SockRef::from(stream).set_send_buffer_size(send_buffer),
            Self::Tls(stream) => SockRef::from(stream.get_ref().0).set_send_buffer_size(send_buffer),
        }
    }

    /// Makes the TLS handshake on TCP. A Unix socket stays as it is: it does not leave the machine.
    ///
    /// # Errors
    /// What the peer or the system says, or that it took longer than `within`.
    pub async fn secure(self, tls: Arc<ServerConfig>, within: Duration) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => {
                let shake = TlsAcceptor::from(tls).accept(stream);
                let shaken = tokio::time::timeout(within, shake).await;
                let mut stream = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
                // Limits what TLS buffers for a slow reader: `limits.outbound` cannot see it.
                stream.get_mut().1.set_buffer_limit(Some(LAYER));
                Ok(Self::Tls(Box::new(stream)))
            }
            other => Ok(other),
        }
    }

    /// Whether it is encrypted.
    pub fn is_secure(&self) -> bool {
        matches!(self, Self::Tls(_))
    }
}

impl Io for Socket {
    fn send(&mut self, bytes: &[u8]) -> Option<io::Result<usize>> {
        match self {
            Self::Tcp(stream) => Some(send_now(stream, bytes)),
            Self::Unix(stream) => Some(send_now(stream, bytes)),
            Self::Tls(_) => None,
        }
    }

    fn is_layered(&self) -> bool {
        self.is_secure()
    }
}

fn send_now(socket: impl AsFd, bytes: &[u8]) -> io::Result<usize> {
    Ok(send(socket, bytes, SendFlags::NOSIGNAL)?)
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
            Self::Tcp(stream) => Pin::new(stream).poll_write(cx, buf),
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rustix::net::sockopt;
    use tokio::net::{TcpListener, TcpStream};

    use super::Socket;

    #[tokio::test]
    async fn a_connection_is_tuned_as_the_limits_say() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let _peer = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("connected");
        let socket = Socket::Tcp(listener.accept().await.expect("accepted").0);
        socket.tune(64 << 10, Duration::from_secs(30)).expect("tuned");
        let Socket::Tcp(stream) = &socket else { unreachable!() };
        assert!(sockopt::tcp_nodelay(stream).expect("read"));
        // Linux counts its own bookkeeping, as much again.
        let held = sockopt::socket_send_buffer_size(stream).expect("read");
        assert!(held == 64 << 10 || held == 64 << 11, "{held}");
        #[cfg(target_os = "linux")]
        for (write_stall, millis) in [(1, 5_000), (30, 60_000), (3_600, 900_000)] {
            socket.tune(64 << 10, Duration::from_secs(write_stall)).expect("tuned");
            assert_eq!(sockopt::tcp_user_timeout(stream).expect("read"), millis, "{write_stall} s");
        }
    }

    #[test]
    fn a_socket_is_small_for_each_delivery_reads_it() {
        // With debug assertions mio keeps another number in it.
        let debugging = if cfg!(debug_assertions) { size_of::<u64>() } else { 0 };
        assert!(size_of::<Socket>() <= size_of::<[u64; 5]>() + debugging);
    }
}
