//! A reader of server-sent events, as a browser is one (HTML, section 9.2.6).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// How long a test waits for something that must come.
const SOON: Duration = Duration::from_secs(10);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name; `message` when it has none.
    pub name: String,
    /// The last id that was told with it or before it.
    pub id: String,
    /// Its data.
    pub data: Value,
}

/// One stream.
pub struct EventStream<S> {
    socket: S,
    /// The header, names in lower case.
    pub headers: BTreeMap<String, String>,
    raw: Vec<u8>,
    text: Vec<u8>,
    last_id: String,
    /// What `retry:` said last, in milliseconds.
    pub retry: Option<u64>,
    /// Comments seen.
    pub comments: usize,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> EventStream<S> {
    /// Asks for a stream on a fresh connection; `headers` are whole lines. An answer other than 200 is a panic.
    pub async fn open(socket: S, target: &str, headers: &str) -> Self {
        match Self::try_open(socket, target, headers).await {
            Ok(stream) => stream,
            Err((status, body)) => panic!("{status}: {body}"),
        }
    }

    /// Asks for a stream; answers the status and what came with it when it is not 200.
    pub async fn try_open(mut socket: S, target: &str, headers: &str) -> Result<Self, (u16, String)> {
        let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).await.expect("the server reads");
        let mut raw = Vec::new();
        let end = loop {
            if let Some(end) = raw.windows(4).position(|w| w == b"\r\n\r\n") {
                break end;
            }
            assert_ne!(socket.read_buf(&mut raw).await.expect("a header"), 0, "a header, not {raw:?}");
        };
        let head = String::from_utf8(raw.drain(..end + 4).collect()).expect("a header is text");
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
        let lines = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        let headers = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
        let (text, last_id) = (Vec::new(), String::new());
        let mut stream = Self { socket, headers, raw, text, last_id, retry: None, comments: 0, ended: false };
        if status == 200 {
            return Ok(stream);
        }
        let length = stream.headers["content-length"].parse().expect("a length");
        while stream.raw.len() < length {
            stream.socket.read_buf(&mut stream.raw).await.expect("a body");
        }
        Err((status, String::from_utf8(stream.raw).expect("a problem is text")))
    }

    /// The next event; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.take_event() {
                return Some(event);
            }
            if self.ended || !self.read().await {
                return None;
            }
        }
    }

    /// The next event, soon.
    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(SOON, self.next()).await.expect("an event in time").expect("no end of the stream")
    }

    /// The next event, which has this name; its data.
    pub async fn expect(&mut self, name: &str) -> Value {
        let event = self.event().await;
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    /// That the stream ends now.
    pub async fn end(&mut self) {
        let next = tokio::time::timeout(SOON, self.next()).await.expect("an end in time");
        assert_eq!(next, None);
    }

    async fn read(&mut self) -> bool {
        let read = self.socket.read_buf(&mut self.raw).await.unwrap_or(0);
        while let Some(line) = self.raw.windows(2).position(|w| w == b"\r\n") {
            let size = str::from_utf8(&self.raw[..line]).expect("a chunk's size is text");
            let size = usize::from_str_radix(size, 16).expect("a chunk's size is hex");
            if self.raw.len() < line + 4 + size {
                break;
            }
            self.text.extend_from_slice(&self.raw[line + 2..line + 2 + size]);
            self.raw.drain(..line + 4 + size);
            self.ended |= size == 0;
        }
        read > 0
    }

    fn take_event(&mut self) -> Option<Event> {
        while self.text.first() == Some(&b':')
            && let Some(end) = self.text.iter().position(|byte| *byte == b'\n')
        {
            self.text.drain(..=end);
            self.comments += 1;
        }
        while let Some(end) = self.text.windows(2).position(|w| w == b"\n\n") {
            let block = String::from_utf8(self.text.drain(..end + 2).collect()).expect("events are text");
            let (mut name, mut data) = ("message".to_owned(), Vec::new());
            for line in block.lines().filter(|line| !line.is_empty()) {
                match line.split_once(": ").unwrap_or((line, "")) {
                    ("event", value) => name = value.to_owned(),
                    ("id", value) => self.last_id = value.to_owned(),
                    ("data", value) => data.push(value.to_owned()),
                    ("retry", value) => self.retry = value.parse().ok(),
                    other => panic!("{other:?} is no field"),
                }
            }
            if !data.is_empty() {
                let data = serde_json::from_str(&data.join("\n")).expect("data is JSON");
                return Some(Event { name, id: self.last_id.clone(), data });
            }
        }
        None
    }
}
