//! A publisher: one non-blocking keep-alive connection with one request at a time.

use std::io::{self, Read, Write};
use std::net::{SocketAddrV4, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use memchr::memmem;

use crate::payload::Payloads;
use crate::socket::dial;

/// See the module's documentation.
pub struct Publisher {
    address: SocketAddrV4,
    stream: TcpStream,
    request: Vec<u8>,
    sent: usize,
    answer: Vec<u8>,
    body: Vec<u8>,
    waits: bool,
}

impl Publisher {
    /// Connects.
    ///
    /// # Errors
    /// The server cannot be reached.
    pub fn connect(address: SocketAddrV4) -> io::Result<Self> {
        Ok(Self {
            address,
            stream: open(address)?,
            request: Vec::new(),
            sent: 0,
            answer: Vec::new(),
            body: Vec::new(),
            waits: false,
        })
    }

    /// Whether an answer is outstanding.
    pub fn waits(&self) -> bool {
        self.waits
    }

    /// Begins a request; none may be under way.
    ///
    /// # Errors
    /// The connection failed.
    pub fn publish(&mut self, topic: &str, payloads: &mut Payloads) -> io::Result<()> {
        debug_assert!(!self.waits, "one at a time");
        // A server may close a connection that was idle for long, which happens to a publisher whose fan-outs are slow.
        if matches!(self.stream.read(&mut [0]), Ok(0)) {
            self.stream = open(self.address)?;
        }
        self.body.clear();
        payloads.put(&mut self.body);
        self.request.clear();
        write!(
            self.request,
            "POST /publish/{topic} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n",
            self.body.len()
        )?;
        self.request.extend_from_slice(&self.body);
        (self.sent, self.waits) = (0, true);
        self.answer.clear();
        self.send()
    }

    /// Makes what progress it can without blocking; `true` when the answer has just arrived.
    ///
    /// # Errors
    /// The connection failed, or the answer is not 200.
    pub fn advance(&mut self) -> io::Result<bool> {
        if !self.waits {
            return Ok(false);
        }
        self.send()?;
        let mut part = [0; 4_096];
        match self.stream.read(&mut part) {
            Ok(0) => return Err(io::Error::other("the server has closed a publisher's connection")),
            Ok(n) => self.answer.extend_from_slice(&part[..n]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        }
        self.waits = !is_complete(&self.answer);
        if !self.waits && !self.answer.starts_with(b"HTTP/1.1 200") {
            return Err(io::Error::other(format!("a publish failed: {}", String::from_utf8_lossy(&self.answer))));
        }
        Ok(!self.waits)
    }

    fn send(&mut self) -> io::Result<()> {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn open(address: SocketAddrV4) -> io::Result<TcpStream> {
    let stream = dial(address, 0, None)?;
    stream.set_nonblocking(true)?;
    Ok(stream)
}

impl AsFd for Publisher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// Whether an answer with a `Content-Length` has arrived completely.
fn is_complete(answer: &[u8]) -> bool {
    let Some(end) = memmem::find(answer, b"\r\n\r\n") else { return false };
    let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    answer.len() >= end + 4 + length.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::is_complete;

    #[test]
    fn an_answer_ends_with_its_body() {
        let whole = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert!(is_complete(whole));
        for cut in 0..whole.len() {
            assert!(!is_complete(&whole[..cut]), "{cut}");
        }
    }
}
