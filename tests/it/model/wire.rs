//! The client's end of a transport: it yields one message or notice at a time, waiting or not.

use futures::FutureExt;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split};

use crate::event_stream::EventStream;
use crate::model::direct::Direct;

/// The client's end of a socket of any kind.
pub trait Peer: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Peer for T {}

/// One connection.
pub enum Wire {
    WebSocket(Box<WebSocket>),
    Events(Box<EventStream<Box<dyn Peer>>>),
    Direct(Box<Direct>),
}

impl Wire {
    /// The next thing that was told, with its id if it came by an event stream; `None` at the end.
    pub async fn next(&mut self) -> Option<(Value, Option<String>)> {
        match self {
            Self::WebSocket(socket) => socket.next().await.map(|value| (value, None)),
            Self::Direct(direct) => direct.next().await.map(|value| (value, None)),
            Self::Events(stream) => stream.next().await.map(|event| (event.data, Some(event.id))),
        }
    }

    /// What has already arrived, if anything; `Some(None)` at the end.
    pub fn ready(&mut self) -> Option<Option<(Value, Option<String>)>> {
        self.next().now_or_never()
    }
}

/// A WebSocket after its upgrade.
pub struct WebSocket {
    reader: ReadHalf<Box<dyn Peer>>,
    writer: WriteHalf<Box<dyn Peer>>,
    read: Vec<u8>,
}

impl WebSocket {
    pub fn new(socket: Box<dyn Peer>) -> Self {
        let (reader, writer) = split(socket);
        Self { reader, writer, read: Vec::new() }
    }

    /// Sends a text frame, with a mask of zeros.
    pub async fn send(&mut self, json: &Value) {
        let text = json.to_string();
        let mut frame = vec![0x81];
        match u16::try_from(text.len()).expect("commands are short") {
            short @ ..126 => frame.push(0x80 | short.to_le_bytes()[0]),
            long => {
                frame.push(0x80 | 126);
                frame.extend_from_slice(&long.to_be_bytes());
            }
        }
        frame.extend_from_slice(&[0; 4]);
        frame.extend_from_slice(text.as_bytes());
        // The server does not read while an answer is unsent, so read on while writing.
        let mut sent = 0;
        while sent < frame.len() {
            tokio::select! {
                biased;
                n = self.writer.write(&frame[sent..]) => sent += n.unwrap_or(frame.len()),
                n = self.reader.read_buf(&mut self.read) => assert_ne!(n.unwrap_or(0), 0, "the server hung up"),
            }
        }
    }

    /// What has already arrived, if anything; `Some(None)` at the end.
    pub fn ready(&mut self) -> Option<Option<Value>> {
        self.next().now_or_never()
    }

    async fn next(&mut self) -> Option<Value> {
        loop {
            if let Some((opcode, payload)) = self.take_frame() {
                match opcode {
                    1 => return Some(serde_json::from_slice(&payload).expect("JSON")),
                    8 => return Some(json!({"type": "close", "code": u16::from_be_bytes([payload[0], payload[1]])})),
                    _ => continue,
                }
            }
            if self.reader.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    fn take_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let [first, second] = *self.read.first_chunk()?;
        assert!(first & 0x80 != 0 && second & 0x80 == 0, "a whole unmasked frame: {first:x} {second:x}");
        let (length, head) = match second {
            126 => (usize::from(u16::from_be_bytes(self.read.get(2..4)?.try_into().ok()?)), 4),
            127 => panic!("too long for this model"),
            short => (usize::from(short), 2),
        };
        if self.read.len() < head + length {
            return None;
        }
        let payload = self.read[head..head + length].to_vec();
        self.read.drain(..head + length);
        Some((first & 0xf, payload))
    }
}
