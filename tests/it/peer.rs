//! The other end of a connection: writes raw bytes, reads HTTP/1.1 answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// How long a test waits before it fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// Header lines of a WebSocket handshake.
pub const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                           Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// One answer.
#[derive(Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header, with names in lower case; repeated fields are joined by a comma.
    pub headers: BTreeMap<String, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header field, or an empty text.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The problem's status, slug and detail, for comparing.
    pub fn problem(&self) -> (u16, String, String) {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status, "{problem}");
        let text = |member: &str| problem[member].as_str().unwrap_or_default().to_owned();
        (self.status, text("type").replace("urn:relay:problem:", ""), text("detail"))
    }
}

/// One connection.
pub struct Peer<S> {
    socket: S,
    /// What was read and not yet consumed.
    pub read: Vec<u8>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Peer<S> {
    /// Wraps a connected socket.
    pub fn new(socket: S) -> Self {
        Self { socket, read: Vec::new() }
    }

    /// Writes, to a server that must read.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.socket.write_all(bytes.as_ref()).await.expect("the server reads");
    }

    /// Writes; an error if the server closes instead of reading.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        tokio::time::timeout(PATIENCE, self.socket.write_all(bytes.as_ref())).await.expect("progress or an end in time")
    }

    /// Closes the sending direction, and keeps reading.
    pub async fn finish(&mut self) {
        self.socket.shutdown().await.expect("an open socket");
    }

    /// Reads one answer; `None` when the server closes the connection instead.
    pub async fn answer(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(true)).await.expect("an answer in time")
    }

    /// Reads the answer to a HEAD.
    pub async fn answer_to_head(&mut self) -> Option<Answer> {
        tokio::time::timeout(PATIENCE, self.read_answer(false)).await.expect("an answer in time")
    }

    /// Reads until the server sends `100 Continue` (RFC 9110, section 10.1.1).
    pub async fn asked_for_body(&mut self) {
        while !self.read.ends_with(b"HTTP/1.1 100 Continue\r\n\r\n") {
            let read = tokio::time::timeout(PATIENCE, self.fill()).await.expect("an interim answer in time");
            assert_ne!(read, 0, "not asked for: {:?}", String::from_utf8_lossy(&self.read));
        }
        self.read.clear();
    }

    /// Reads to the end of the connection.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.read);
        let end = tokio::time::timeout(PATIENCE, self.socket.read_to_end(&mut rest)).await.expect("an end in time");
        if let Err(error) = end {
            panic!("{error} after {:?}", String::from_utf8_lossy(&rest));
        }
        rest
    }

    /// Reads until `is_enough`, or to the end of the connection.
    pub async fn until(&mut self, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        while !is_enough(&self.read) && self.fill().await > 0 {}
        std::mem::take(&mut self.read)
    }

    async fn read_answer(&mut self, has_body: bool) -> Option<Answer> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            if self.fill().await == 0 {
                assert!(self.read.is_empty(), "half an answer: {:?}", String::from_utf8_lossy(&self.read));
                return None;
            }
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).expect("a header is text");
        let mut lines = head.lines();
        let status = lines.next().expect("a status line").split(' ').nth(1).expect("a code").parse().expect("a number");
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            let values = headers.entry(name.to_ascii_lowercase()).or_default();
            let comma = if values.is_empty() { "" } else { ", " };
            *values = format!("{values}{comma}{}", value.trim());
        }
        let length = headers.get("content-length").map_or(0, |n| n.parse().expect("a length"));
        let length = if has_body { length } else { 0 };
        while self.read.len() < length {
            assert_ne!(self.fill().await, 0, "half a body");
        }
        Some(Answer { status, headers, body: self.read.drain(..length).collect() })
    }

    /// Reads what is available; returns the number of bytes, 0 at the end.
    pub async fn fill(&mut self) -> usize {
        self.socket.read_buf(&mut self.read).await.unwrap_or(0)
    }
}

/// A frame as a peer sends it, with a mask of zeros; `first` holds FIN, RSV and the opcode.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = payload.len();
    let mut bytes = vec![first];
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(short @ ..126), _) => bytes.push(0x80 | short),
        (_, Ok(medium)) => {
            bytes.push(0x80 | 126);
            bytes.extend_from_slice(&medium.to_be_bytes());
        }
        _ => {
            bytes.push(0x80 | 127);
            bytes.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(payload);
    bytes
}

/// A socket with a tiny receive buffer, so that the kernel holds little for a peer that does not read.
pub async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4 << 10).expect("a small buffer");
    socket.connect(address).await.expect("the server listens")
}
