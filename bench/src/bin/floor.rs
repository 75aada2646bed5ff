//! The floor of a delivery: the same work by bare system calls, with one thread and one `send` for each subscriber and
//! message.
//!
//! It accepts every upgrade and keeps a list of subscribers for each topic that a text frame names. It answers a POST
//! first, then writes its body to the subscribers of the topic. It parses just enough for that, checks nothing, and
//! keeps nothing.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use memchr::memmem;
use relay_bench::frame::{TEXT, put_header, unmask};
use relay_bench::readiness::Readiness;
use relay_bench::socket;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send, sockopt};

const LISTENER: u64 = u64::MAX;
const UPGRADED: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
const PUBLISHED: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
const SYNCED: &[u8] = b"{\"type\":\"synced\"}";

#[derive(Default)]
struct Floor {
    /// Indexed by the number under which epoll knows them. Four bytes each, so that a fan-out reads little memory.
    sockets: Vec<Option<OwnedFd>>,
    peers: Vec<Peer>,
    free: Vec<usize>,
    topics: HashMap<Vec<u8>, Vec<usize>>,
}

#[derive(Default)]
struct Peer {
    is_subscriber: bool,
    /// Bytes of an incomplete request or frame.
    pending: Vec<u8>,
}

fn main() -> io::Result<()> {
    let port = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(28_702);
    socket::raise_descriptors()?;
    let listener = socket::listener(port)?;
    let mut readiness = Readiness::new()?;
    readiness.watch(&listener, LISTENER)?;
    let (mut floor, mut scratch, mut ready) = (Floor::default(), vec![0; 64 << 10], Vec::new());
    loop {
        ready.extend(readiness.ready(None)?);
        for number in ready.drain(..) {
            if number == LISTENER {
                if let Ok(socket) = accept_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                    sockopt::set_tcp_nodelay(&socket, true)?;
                    let number = floor.take_in(socket);
                    readiness.watch(floor.socket(number), number as u64)?;
                }
                continue;
            }
            let number = number as usize;
            match recv(floor.socket(number), &mut scratch[..], RecvFlags::empty()) {
                Ok((_, n)) if n > 0 => {
                    floor.peers[number].pending.extend_from_slice(&scratch[..n]);
                    floor.answer(number);
                }
                Err(Errno::AGAIN) => {}
                _ => floor.let_go(number),
            }
        }
    }
}

impl Floor {
    fn socket(&self, number: usize) -> &OwnedFd {
        self.sockets[number].as_ref().expect("epoll forgets a socket when it is closed")
    }

    fn take_in(&mut self, socket: OwnedFd) -> usize {
        let number = self.free.pop().unwrap_or_else(|| {
            self.sockets.push(None);
            self.peers.push(Peer::default());
            self.sockets.len() - 1
        });
        self.sockets[number] = Some(socket);
        number
    }

    fn let_go(&mut self, number: usize) {
        self.sockets[number] = None;
        if std::mem::take(&mut self.peers[number]).is_subscriber {
            self.topics.values_mut().for_each(|list| list.retain(|other| *other != number));
        }
        self.free.push(number);
    }

    /// Carries out every complete request or frame.
    fn answer(&mut self, number: usize) {
        let Peer { is_subscriber, pending } = &mut self.peers[number];
        if *is_subscriber {
            while let Some((opcode, text, length)) = unmask(&self.peers[number].pending) {
                self.peers[number].pending.drain(..length);
                if opcode == TEXT {
                    self.subscribe(number, &text);
                }
            }
        } else if pending.starts_with(b"GET") && pending.ends_with(b"\r\n\r\n") {
            *is_subscriber = true;
            *pending = Vec::new();
            send_all(self.socket(number), UPGRADED);
        } else if pending.starts_with(b"POST") {
            self.publish(number);
        }
    }

    fn subscribe(&mut self, number: usize, text: &[u8]) {
        let list = memmem::find(text, b"\"topics\":[").map_or(&text[..0], |at| &text[at + 10..]);
        let list = &list[..memchr::memchr(b']', list).unwrap_or(0)];
        for topic in list.split(|byte| *byte == b',') {
            let topic = topic.trim_ascii();
            let name = topic.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(topic);
            self.topics.entry(name.to_vec()).or_default().push(number);
        }
        let mut frame = Vec::new();
        put_header(&mut frame, TEXT, false, SYNCED.len());
        frame.extend_from_slice(SYNCED);
        send_all(self.socket(number), &frame);
    }

    fn publish(&mut self, number: usize) {
        const PATH: usize = b"POST /publish/".len();
        let pending = &self.peers[number].pending;
        let Some(end) = memmem::find(pending, b"\r\n\r\n") else { return };
        let Some(length) = content_length(&pending[..end]) else { return };
        let Some(body) = pending.get(end + 4..end + 4 + length) else { return };
        let mut frame = Vec::with_capacity(10 + length);
        put_header(&mut frame, TEXT, false, length);
        frame.extend_from_slice(body);
        // Answer first, as Relay does, which never makes its publisher wait: in both cases the reader is then awake
        // during the fan-out.
        send_all(self.socket(number), PUBLISHED);
        let path = pending.get(PATH..end).unwrap_or_default();
        let topic = &path[..memchr::memchr(b' ', path).unwrap_or(0)];
        for subscriber in self.topics.get(topic).into_iter().flatten() {
            send_all(self.socket(*subscriber), &frame);
        }
        self.peers[number].pending.clear();
    }
}

fn content_length(head: &[u8]) -> Option<usize> {
    const NAME: &[u8] = b"Content-Length: ";
    let value = &head[memmem::find(head, NAME)? + NAME.len()..];
    let digits = value.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(value.len());
    str::from_utf8(&value[..digits]).ok()?.parse().ok()
}

/// Sends with one `send`, and waits only if the socket is full. It is a function because the C library's `send` is one:
/// with the system call inlined into the loop, a delivery costs a sixth less, an advantage that no program has that
/// calls a function to send.
#[inline(never)]
fn send_all(socket: impl AsFd, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match send(&socket, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => bytes = &bytes[n..],
            Err(Errno::AGAIN) => {
                let room = Timespec { tv_sec: 1, tv_nsec: 0 };
                let _ = poll(&mut [PollFd::new(&socket, PollFlags::OUT)], Some(&room));
            }
            Err(_) => return,
        }
    }
}
