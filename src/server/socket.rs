//! One connection's socket, of whichever kind.

use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::net::{SendFlags, send, sockopt};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::config::model::Limits;
use crate::hub::connection::{Io, LAYER};

/// An accepted socket.
pub enum Socket {
    /// TCP.
    Tcp(TcpStream),
    /// A Unix socket.
    Unix(UnixStream),
    /// TLS over TCP. Boxed, for it is many times larger.
    Tls(Box<TlsStream<TcpStream>>),
}

/// What the kernel is told of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tuning {
    /// How much it holds of what is written, in bytes.
    pub send_buffer: usize,
    /// When it gives a TCP peer up that has acknowledged, or found room for, nothing of it: an event stream has no other sign
    /// of a reader that is gone. Less than 5 s would cut whoever is out of reach for a moment, and more than 15 minutes is
    /// longer than the kernel waits by itself.
    pub unacknowledged: Duration,
}

impl Tuning {
    /// As the limits say.
    pub fn of(limits: &Limits) -> Self {
        // Twice, so that whoever takes nothing of what is unsent here is let go by what knows why, and says so.
        Self { send_buffer: limits.send_buffer, unacknowledged: limits.write_stall * 2 }
    }

    /// Tunes a connection over TCP, which besides sends at once what is written; or a listener, and with it every connection
    /// that comes from then on.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn tcp(self, socket: impl AsFd) -> io::Result<()> {
        sockopt::set_tcp_nodelay(&socket, true)?;
        #[cfg(target_os = "linux")]
        {
            let (least, most) = (Duration::from_secs(5), Duration::from_secs(15 * 60));
            let millis = self.unacknowledged.clamp(least, most).as_millis() as u32;
            // A kernel that only resembles Linux may not know it.
            _ = sockopt::set_tcp_user_timeout(&socket, millis);
        }
        self.unix(socket)
    }

    /// Tunes a connection over a Unix socket.
    ///
    /// # Errors
    /// The connection has ended.
    pub fn unix(self, socket: impl AsFd) -> io::Result<()> {
        Ok(sockopt::set_socket_send_buffer_size(socket, self.send_buffer)?)
    }
}

impl Socket {
    /// Shakes hands. What is not TCP stays as it is: a Unix socket does not leave the machine.
    ///
    /// # Errors
    /// What the peer or the system says, or that it took longer than `within`.
    pub async fn secure(self, tls: Arc<ServerConfig>, within: Duration) -> io::Result<Self> {
        match self {
            Self::Tcp(stream) => {
                let shake = TlsAcceptor::from(tls).accept(stream);
                let shaken = tokio::time::timeout(within, shake).await;
                let mut stream = shaken.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
                // What a slow reader holds is for `limits.outbound` to count, which does not see into the layer.
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
    use tokio::net::TcpStream;

    use super::{Socket, Tuning};
    use crate::config::model::Listen;
    use crate::server::listener::Listener;

    #[test]
    fn a_socket_is_small_for_each_delivery_reads_it() {
        // Where assertions are on mio keeps another number with it.
        let debugging = if cfg!(debug_assertions) { size_of::<u64>() } else { 0 };
        assert!(size_of::<Socket>() <= size_of::<[u64; 5]>() + debugging);
    }

    /// What the next connection that is accepted is told, and what the kernel then says of it.
    async fn next(listener: &mut Listener, tuning: Tuning) -> Tuning {
        let (socket, _) = listener.accept().await.expect("accepted");
        listener.tune(&socket, tuning).expect("tuned");
        let Socket::Tcp(stream) = socket else { unreachable!() };
        assert!(sockopt::tcp_nodelay(&stream).expect("read"));
        let held = sockopt::socket_send_buffer_size(&stream).expect("read");
        #[cfg(target_os = "linux")]
        let unacknowledged = Duration::from_millis(sockopt::tcp_user_timeout(&stream).expect("read").into());
        #[cfg(not(target_os = "linux"))]
        let unacknowledged = tuning.unacknowledged;
        // Linux keeps its own records in as much again.
        Tuning { send_buffer: if cfg!(target_os = "linux") { held / 2 } else { held }, unacknowledged }
    }

    #[tokio::test]
    async fn each_connection_is_tuned_as_the_limits_say_when_it_comes() {
        let tuning = |kilobytes: usize, seconds| Tuning {
            send_buffer: kilobytes << 10,
            unacknowledged: Duration::from_secs(seconds),
        };
        let (before, after) = (tuning(32, 60), tuning(64, 30));
        let mut listener = Listener::bind(&Listen::Tcp(([127, 0, 0, 1], 0).into()), before).await.expect("bound");
        let Listen::Tcp(address) = listener.address() else { unreachable!() };
        let mut peers = Vec::new();
        for _ in 0..4 {
            peers.push(TcpStream::connect(address).await.expect("it waits in the kernel"));
        }
        assert_eq!(next(&mut listener, before).await, before, "it came before anybody was accepted");
        assert_eq!(next(&mut listener, before).await, before);
        assert_eq!(next(&mut listener, after).await, after);
        assert_eq!(next(&mut listener, after).await, before, "it had come by then");
        peers.push(TcpStream::connect(address).await.expect("connected"));
        assert_eq!(next(&mut listener, after).await, after);
    }
}
