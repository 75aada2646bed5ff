//! Sockets on loopback, and the resource limits of this process.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, listen, socket_with, sockopt};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

/// Connections from one address of 127.0.0.0/8: fewer than there are ephemeral ports.
const PER_ADDRESS: usize = 20_000;

/// A non-blocking connection, plain or through TLS.
pub enum Stream {
    /// TCP.
    Plain(TcpStream),
    /// TLS over TCP.
    Secure(Box<StreamOwned<ClientConnection, TcpStream>>),
}

impl Stream {
    /// Connects, and completes the TLS handshake. `number` counts the connections of this process and chooses the
    /// source address; `receive` limits what the kernel takes in before it is read, in bytes.
    ///
    /// # Errors
    /// The connection or the TLS handshake fails.
    pub fn connect(
        address: SocketAddrV4,
        number: usize,
        receive: Option<usize>,
        tls: Option<&Arc<ClientConfig>>,
    ) -> io::Result<Self> {
        let tcp = dial(address, number, receive)?;
        let Some(tls) = tls else {
            tcp.set_nonblocking(true)?;
            return Ok(Self::Plain(tcp));
        };
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        let connection = ClientConnection::new(tls.clone(), name).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, tcp);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.sock.set_nonblocking(true)?;
        Ok(Self::Secure(Box::new(stream)))
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.read(into),
            Self::Secure(stream) => stream.read(into),
        }
    }
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(stream) => stream.write(bytes),
            Self::Secure(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(stream) => stream.flush(),
            Self::Secure(stream) => stream.flush(),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Plain(stream) => stream.as_fd(),
            Self::Secure(stream) => stream.sock.as_fd(),
        }
    }
}

/// Opens a blocking TCP connection. Dropping it sends a reset: thousands in TIME_WAIT would leave no ports for the next
/// run.
///
/// # Errors
/// The server cannot be reached.
pub fn dial(address: SocketAddrV4, number: usize, receive: Option<usize>) -> io::Result<TcpStream> {
    let host = u8::try_from(1 + number / PER_ADDRESS).map_err(io::Error::other)?;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    if host > 1 {
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, host), 0))?;
    }
    if let Some(bytes) = receive {
        // Before it connects: a window that has been announced is not taken back.
        sockopt::set_socket_recv_buffer_size(&socket, bytes)?;
    }
    sockopt::set_socket_linger(&socket, Some(Duration::ZERO))?;
    connect(&socket, &address)?;
    sockopt::set_tcp_nodelay(&socket, true)?;
    Ok(TcpStream::from(socket))
}

/// A listener whose `accept` does not block.
///
/// # Errors
/// The port is taken.
pub fn listener(port: u16) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::LOCALHOST, port))?;
    listen(&socket, 4_096)?;
    Ok(socket)
}

/// Raises the limit of open descriptors to the maximum for this process.
///
/// # Errors
/// The kernel refuses.
pub fn raise_descriptors() -> io::Result<()> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// Pins this process to one processor.
///
/// # Errors
/// There is no such processor.
pub fn pin(processor: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    Ok(sched_setaffinity(None, &set)?)
}
