//! Many subscribers in one thread: opens them a few at a time, reads and counts messages, and answers pings.
//!
//! Every frame is looked at, so that only messages are counted as messages: a gap, a close or a refusal is trouble and
//! ends the run. The measuring reader must not sleep in epoll. Otherwise each `send` of the server would pay for waking
//! it, which is a cost of loopback and not of the server.

use std::io::{self, Read, Write};
use std::net::SocketAddrV4;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use memchr::memmem;
use rustix::net::sockopt;
use rustls::ClientConfig;

use crate::frame::{CLOSE, Frames, PING, PONG, TEXT, masked};
use crate::payload::Payloads;
use crate::readiness::Readiness;
use crate::socket::Stream;

/// Bytes read at a time.
const READ: usize = 256 << 10;
/// One subscriber in this many records latencies.
const SAMPLED: usize = 8;
/// What the kernel takes in for a subscriber that does not read, in bytes.
const STALLED: usize = 4 << 10;
const UPGRADE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

/// See the module's documentation.
pub struct Subscribers {
    readiness: Readiness,
    list: Vec<Subscriber>,
    scratch: Box<[u8]>,
    receive: Option<usize>,
    /// What has arrived so far.
    pub seen: Seen,
}

/// Counts of what has arrived.
#[derive(Default)]
pub struct Seen {
    /// Messages.
    pub messages: u64,
    /// Subscribers whose subscription was confirmed by `synced`.
    pub synced: usize,
    /// Pings, each answered.
    pub pings: u64,
    /// Connections that ended.
    pub closed: usize,
    /// The first frame that should not have come.
    pub trouble: Option<String>,
    /// Ages of the messages that the sampled subscribers got; `None` while they are not recorded.
    pub ages: Option<Vec<Duration>>,
}

struct Subscriber {
    stream: Stream,
    /// The answer to the upgrade, as far as it has come; `None` once it is complete.
    answer: Option<Vec<u8>>,
    command: String,
    frames: Frames,
    received: u64,
}

impl Subscribers {
    /// No subscribers yet.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Self> {
        let (readiness, scratch) = (Readiness::new()?, vec![0; READ].into());
        Ok(Self { readiness, list: Vec::new(), scratch, receive: None, seen: Seen::default() })
    }

    /// No subscribers yet; those that are opened will not read once they are synced, so the kernel takes in little for
    /// them.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn stalled() -> io::Result<Self> {
        Ok(Self { receive: Some(STALLED), ..Self::new()? })
    }

    /// Opens `count` connections, at most `at_once` in progress at any time; each sends its command once it is
    /// upgraded. Returns how long it took until the last was synced.
    ///
    /// # Errors
    /// A connection fails, there is trouble, or nothing has been synced for ten seconds.
    pub fn open(
        &mut self,
        address: SocketAddrV4,
        tls: Option<&Arc<ClientConfig>>,
        count: usize,
        at_once: usize,
        command: impl Fn(usize) -> String,
        payloads: &Payloads,
    ) -> io::Result<Duration> {
        let began = Instant::now();
        let mut last = (began, 0);
        while self.seen.synced < count {
            if self.list.len() < count && self.list.len() - self.seen.synced < at_once {
                let number = self.list.len();
                let mut stream = Stream::connect(address, number, self.receive, tls)?;
                stream.write_all(UPGRADE)?;
                self.readiness.watch(&stream, number as u64)?;
                let command = command(number);
                let answer = Some(Vec::new());
                self.list.push(Subscriber { stream, answer, command, frames: Frames::default(), received: 0 });
            }
            self.turn(Some(Duration::ZERO), payloads)?;
            self.check()?;
            if self.seen.synced > last.1 {
                last = (Instant::now(), self.seen.synced);
            } else if last.0.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other(format!("only {} of {count} were synced", self.seen.synced)));
            }
        }
        let took = began.elapsed();
        self.list.iter().try_for_each(|subscriber| acknowledge_at_once(&subscriber.stream))?;
        Ok(took)
    }

    /// Reads once from every subscriber that has something to read.
    ///
    /// # Errors
    /// epoll fails, or an upgrade was refused.
    pub fn turn(&mut self, wait: Option<Duration>, payloads: &Payloads) -> io::Result<()> {
        let Self { readiness, list, scratch, seen, .. } = self;
        let mut gone = Vec::new();
        for number in readiness.ready(wait)? {
            let number = number as usize;
            let subscriber = &mut list[number];
            loop {
                match subscriber.stream.read(scratch) {
                    Ok(0) => gone.push(number),
                    Ok(n) => {
                        subscriber.take(&scratch[..n], number.is_multiple_of(SAMPLED), seen, payloads)?;
                        // TLS may hold more decrypted bytes, which epoll does not see.
                        if matches!(subscriber.stream, Stream::Secure(_)) {
                            continue;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => gone.push(number),
                }
                break;
            }
        }
        seen.closed += gone.len();
        gone.into_iter().try_for_each(|number| readiness.forget(&list[number].stream))
    }

    /// Reads until no message has come for `quiet`.
    ///
    /// # Errors
    /// epoll fails, or there is trouble.
    pub fn settle(&mut self, quiet: Duration, payloads: &Payloads) -> io::Result<()> {
        let mut last = (Instant::now(), self.seen.messages);
        while last.0.elapsed() < quiet {
            self.turn(Some(Duration::from_millis(10)), payloads)?;
            if self.seen.messages != last.1 {
                last = (Instant::now(), self.seen.messages);
            }
        }
        self.check()
    }

    /// Checks that no connection has ended and nothing unexpected has come.
    ///
    /// # Errors
    /// One of them has happened.
    pub fn check(&self) -> io::Result<()> {
        match (&self.seen.trouble, self.seen.closed) {
            (Some(trouble), _) => Err(io::Error::other(format!("a subscriber got {trouble}"))),
            (None, 0) => Ok(()),
            (None, closed) => Err(io::Error::other(format!("{closed} connections ended"))),
        }
    }

    /// How many messages each subscriber has received.
    pub fn received(&self) -> impl Iterator<Item = u64> {
        self.list.iter().map(|subscriber| subscriber.received)
    }
}

/// Makes the kernel acknowledge incoming data at once, in the reader's time. Otherwise this depends on whether the
/// opening took an odd or an even number of frames: the kernel may acknowledge only every other message, in the
/// server's time, and a delivery then looks a third more expensive.
fn acknowledge_at_once(socket: impl AsFd) -> io::Result<()> {
    Ok(sockopt::set_tcp_quickack(socket, true)?)
}

impl Subscriber {
    fn take(&mut self, mut bytes: &[u8], sampled: bool, seen: &mut Seen, payloads: &Payloads) -> io::Result<()> {
        if let Some(answer) = &mut self.answer {
            answer.extend_from_slice(bytes);
            let Some(end) = memmem::find(answer, b"\r\n\r\n") else { return Ok(()) };
            if !answer.starts_with(b"HTTP/1.1 101") {
                return Err(io::Error::other(format!("no upgrade: {}", String::from_utf8_lossy(answer))));
            }
            bytes = &bytes[bytes.len() - (answer.len() - end - 4)..];
            self.answer = None;
            self.stream.write_all(&masked(TEXT, self.command.as_bytes()))?;
            self.command = String::new();
        }
        while let Some(frame) = self.frames.next(&mut bytes) {
            let begins = frame.begins;
            match frame.opcode {
                TEXT if begins.starts_with(b"{\"t\":") || begins.starts_with(b"{\"type\":\"message\"") => {
                    self.received += 1;
                    seen.messages += 1;
                    if let Some(ages) = seen.ages.as_mut().filter(|_| sampled) {
                        ages.extend(payloads.age(begins));
                    }
                }
                TEXT if begins.starts_with(b"{\"type\":\"synced\"") => seen.synced += 1,
                TEXT if begins.starts_with(b"{\"type\":\"hello\"") || begins.starts_with(b"{\"type\":\"ok\"") => {}
                PING => {
                    self.stream.write_all(&masked(PONG, begins))?;
                    seen.pings += 1;
                }
                opcode => {
                    let what = if opcode == CLOSE { "a close frame: " } else { "" };
                    seen.trouble.get_or_insert_with(|| format!("{what}{}", String::from_utf8_lossy(begins)));
                }
            }
        }
        Ok(())
    }
}
