//! Listening sockets.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::config::model::Listen;
use crate::server::socket::Socket;

/// A listening socket.
pub enum Listener {
    /// TCP.
    Tcp(TcpListener, SocketAddr),
    /// A Unix socket. Its file is removed before the listener closes: a successor takes over a path where nobody
    /// listens.
    Unix(SocketFile, UnixListener),
}

impl Listener {
    /// Binds a listener. The file of a Unix socket that nobody listens to any more is replaced.
    ///
    /// # Errors
    /// What the system says.
    pub async fn bind(listen: &Listen) -> io::Result<Self> {
        match listen {
            Listen::Tcp(address) => {
                let listener = TcpListener::bind(address).await?;
                let address = listener.local_addr()?;
                Ok(Self::Tcp(listener, address))
            }
            Listen::Unix(path) => {
                remove_stale(path).await?;
                let listener = UnixListener::bind(path)?;
                Ok(Self::Unix(SocketFile::of(path), listener))
            }
        }
    }

    /// The next connection and its peer's address; IPv4 addresses are shown as such, even on an IPv6 listener.
    ///
    /// # Errors
    /// What the system says; the listener is still usable. Cancel-safe.
    pub async fn accept(&self) -> io::Result<(Socket, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener, _) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Socket::Tcp(stream), Some(peer.ip().to_canonical())))
            }
            Self::Unix(_, listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Socket::Unix(stream), None))
            }
        }
    }

    /// A connection that waits in the kernel, if there is one. Asks the system, because the runtime may not know of it
    /// yet.
    pub fn waiting(&self) -> Option<(Socket, Option<IpAddr>)> {
        match self {
            Self::Tcp(listener, _) => {
                let (socket, peer) = SockRef::from(listener).accept().ok()?;
                socket.set_nonblocking(true).ok()?;
                let stream = TcpStream::from_std(socket.into()).ok()?;
                Some((Socket::Tcp(stream), peer.as_socket().map(|peer| peer.ip().to_canonical())))
            }
            Self::Unix(_, listener) => {
                let (socket, _) = SockRef::from(listener).accept().ok()?;
                socket.set_nonblocking(true).ok()?;
                Some((Socket::Unix(UnixStream::from_std(socket.into()).ok()?), None))
            }
        }
    }

    /// The address where it is bound, with the actual port where port 0 was asked for.
    pub fn address(&self) -> Listen {
        match self {
            Self::Tcp(_, address) => Listen::Tcp(*address),
            Self::Unix(file, _) => Listen::Unix(file.path.clone()),
        }
    }

    /// Whether it is bound to a loopback address.
    pub fn is_loopback(&self) -> bool {
        matches!(self, Self::Tcp(_, address) if address.ip().to_canonical().is_loopback())
    }
}

/// The file of a bound Unix socket.
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode of the file that was bound, to tell it from later ones. The inode is not reused while the
    /// socket is open.
    bound: Option<(u64, u64)>,
}

impl SocketFile {
    fn of(path: &Path) -> Self {
        Self { path: path.to_owned(), bound: identity(path) }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have removed it, and a successor may have bound a socket of its own in its place.
        if self.bound.is_some() && identity(&self.path) == self.bound {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    std::fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Removes the socket of a process that ended without doing so. If somebody listens, it stays, and binding fails.
async fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(file) if !file.file_type().is_socket() => {
            Err(io::Error::new(io::ErrorKind::AlreadyExists, "the file there is not a socket"))
        }
        Ok(_) if UnixStream::connect(path).await.is_err_and(|e| e.kind() == io::ErrorKind::ConnectionRefused) => {
            std::fs::remove_file(path)
        }
        _ => Ok(()),
    }
}
