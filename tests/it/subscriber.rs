//! A real WebSocket peer, for tests that subscribe.

use std::net::SocketAddr;
use std::time::Duration;

use futures::{FutureExt, SinkExt, StreamExt};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, client_async, connect_async};

use crate::peer::narrow;

/// How long a test waits for something that must come.
const SOON: Duration = Duration::from_secs(10);

/// A WebSocket.
pub struct Subscriber<S = MaybeTlsStream<TcpStream>>(WebSocketStream<S>);

impl Subscriber {
    /// Connects, with additional header lines.
    pub async fn connect(url: &str, headers: &[(&'static str, &str)]) -> Self {
        Self::try_connect(url, headers).await.expect("an upgrade")
    }

    /// The same, or the status if the upgrade is refused.
    pub async fn try_connect(url: &str, headers: &[(&'static str, &str)]) -> Result<Self, u16> {
        let mut request = url.into_client_request().expect("a URL");
        for (name, value) in headers {
            request.headers_mut().insert(*name, value.parse().expect("a header value"));
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(Error::Http(response)) => Err(response.status().as_u16()),
            Err(other) => panic!("neither an upgrade nor an answer: {other}"),
        }
    }

    /// Connects to `/ws` and reads `hello`.
    pub async fn open(address: SocketAddr) -> Self {
        let mut subscriber = Self::connect(&format!("ws://{address}/ws"), &[]).await;
        assert_eq!(subscriber.json().await["type"], "hello");
        subscriber
    }
}

impl Subscriber<TcpStream> {
    /// The same, over a socket with a tiny receive buffer.
    pub async fn narrow(address: SocketAddr) -> Self {
        let socket = narrow(address).await;
        let mut subscriber = Self(client_async(format!("ws://{address}/ws"), socket).await.expect("an upgrade").0);
        assert_eq!(subscriber.json().await["type"], "hello");
        subscriber
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Subscriber<S> {
    /// Wraps a socket that was upgraded elsewhere.
    pub fn over(socket: WebSocketStream<S>) -> Self {
        Self(socket)
    }

    /// Sends a text.
    pub async fn send(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).await.expect("an open socket");
    }

    /// Sends a text; `false` if the socket has ended.
    pub async fn try_send(&mut self, text: &str) -> bool {
        self.0.send(Message::text(text)).await.is_ok()
    }

    /// Takes what has arrived, then sends a ping; `false` if the socket has ended.
    pub async fn try_send_ping(&mut self) -> bool {
        while let Some(next) = self.0.next().now_or_never() {
            if !next.is_some_and(|next| next.is_ok_and(|message| !message.is_close())) {
                return false;
            }
        }
        self.0.send(Message::Ping(Default::default())).await.is_ok()
    }

    /// Sends a message of any kind.
    pub async fn send_message(&mut self, message: Message) {
        self.0.send(message).await.expect("an open socket");
    }

    /// The next message that is neither a ping nor a pong.
    pub async fn next(&mut self) -> Message {
        loop {
            let next = tokio::time::timeout(SOON, self.0.next()).await.expect("something in time");
            match next.expect("an open socket").expect("a sound frame") {
                Message::Ping(_) | Message::Pong(_) => {}
                message => return message,
            }
        }
    }

    /// The next text.
    pub async fn text(&mut self) -> String {
        match self.next().await {
            Message::Text(text) => text.to_string(),
            other => panic!("expected text, got {other:?}"),
        }
    }

    /// The next text, as JSON.
    pub async fn json(&mut self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).unwrap_or_else(|_| panic!("not JSON: {text}"))
    }

    /// The payload of the next message; skips the notices before it.
    pub async fn payload(&mut self) -> Value {
        loop {
            let json = self.json().await;
            if json["type"] == "message" {
                return json["data"].clone();
            }
        }
    }

    /// Reads until the server closes; returns its code and reason.
    pub async fn closed(&mut self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.next().await {
                let frame = frame.expect("a code");
                return (frame.code.into(), frame.reason.to_string());
            }
        }
    }

    /// Closes the sending direction without a close frame, and keeps reading.
    pub async fn half_close(&mut self) {
        self.0.get_mut().shutdown().await.expect("an open socket");
    }

    /// Reads until the server ends the connection, in whatever way.
    pub async fn gone(&mut self) {
        let end = async { while self.0.next().await.is_some_and(|next| next.is_ok()) {} };
        tokio::time::timeout(SOON, end).await.expect("an end in time");
    }

    /// Subscribes to a topic, and waits for `synced`.
    pub async fn subscribe(&mut self, topic: &str) {
        self.send(format!(r#"{{"type":"subscribe","id":"s","topics":["{topic}"]}}"#)).await;
        assert_eq!(self.json().await["type"], "ok");
        assert_eq!(self.json().await["type"], "synced");
    }
}
