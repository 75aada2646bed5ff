//! A reader of server-sent events that parses them as a browser does (HTML, section 9.2.6).

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::peer::{Answer, Peer};

/// How long a test waits for something that must come.
const SOON: Duration = Duration::from_secs(10);

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Its name; `message` when it has none.
    pub name: String,
    /// The last id, sent with this event or an earlier one.
    pub id: String,
    /// Its data.
    pub data: Value,
}

/// One stream.
pub struct EventStream<S> {
    peer: Peer<S>,
    /// The header, with names in lower case.
    pub headers: BTreeMap<String, String>,
    text: Vec<u8>,
    last_id: String,
    /// The latest `retry:`, in milliseconds.
    pub retry: Option<u64>,
    /// Comments seen.
    pub comments: usize,
    ended: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> EventStream<S> {
    /// Opens a stream on a fresh connection; panics if the status is not 200. `headers` are whole lines.
    pub async fn open(socket: S, target: &str, headers: &str) -> Self {
        match Self::try_open(socket, target, headers).await {
            Ok(stream) => stream,
            Err((status, body)) => panic!("{status}: {body}"),
        }
    }

    /// Opens a stream; returns the status and the body of the answer if the status is not 200.
    pub async fn try_open(socket: S, target: &str, headers: &str) -> Result<Self, (u16, String)> {
        let mut peer = Peer::new(socket);
        let accept = "Accept: text/event-stream\r\n";
        peer.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{accept}{headers}\r\n")).await;
        let Answer { status, headers, body } = peer.answer().await.expect("an answer");
        if status != 200 {
            return Err((status, String::from_utf8(body).expect("a problem is text")));
        }
        let (text, last_id) = (Vec::new(), String::new());
        Ok(Self { peer, headers, text, last_id, retry: None, comments: 0, ended: false })
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

    /// The next event, which must come soon.
    pub async fn event(&mut self) -> Event {
        tokio::time::timeout(SOON, self.next()).await.expect("an event in time").expect("no end of the stream")
    }

    /// The data of the next event, which must have this name.
    pub async fn expect(&mut self, name: &str) -> Value {
        let event = self.event().await;
        assert_eq!(event.name, name, "{event:?}");
        event.data
    }

    /// Asserts that the stream ends now.
    pub async fn end(&mut self) {
        let next = tokio::time::timeout(SOON, self.next()).await.expect("an end in time");
        assert_eq!(next, None);
    }

    async fn read(&mut self) -> bool {
        let read = self.peer.fill().await;
        let raw = &mut self.peer.read;
        while let Some(line) = raw.windows(2).position(|w| w == b"\r\n") {
            let size = str::from_utf8(&raw[..line]).expect("a chunk's size is text");
            let size = usize::from_str_radix(size, 16).expect("a chunk's size is hex");
            if raw.len() < line + 4 + size {
                break;
            }
            self.text.extend_from_slice(&raw[line + 2..line + 2 + size]);
            raw.drain(..line + 4 + size);
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
