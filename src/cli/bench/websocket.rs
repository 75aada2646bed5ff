//! One subscriber over WebSocket.

use futures::{SinkExt, StreamExt};
use hyper::StatusCode;
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::cli::bench::frame::Heard;
use crate::cli::requests::refusal;
use crate::cli::target::{Target, Wire};
use crate::name::TopicName;

/// The size of the read buffer that each connection holds, in bytes.
const READ: usize = 4 << 10;

/// A connection that has subscribed.
pub(super) struct Socket(WebSocketStream<Box<dyn Wire>>);

impl Socket {
    /// Connects the subscriber with this number, and subscribes to a topic.
    ///
    /// # Errors
    /// It could not.
    pub(super) async fn open(target: &Target, topic: &TopicName, number: usize) -> Result<Self, String> {
        let wire = target.connect(number).await.map_err(|error| error.to_string())?;
        let request = format!("ws://{}/ws", target.host()).into_client_request();
        let mut request = request.map_err(|error| error.to_string())?;
        request.headers_mut().extend(target.headers().clone());
        let config = WebSocketConfig::default().read_buffer_size(READ).write_buffer_size(0);
        let (socket, _) = client_async_with_config(request, wire, Some(config)).await.map_err(|error| told(&error))?;
        let mut socket = Self(socket);
        let command = json!({"type": "subscribe", "id": 1, "topics": [topic.as_str()]});
        socket.0.send(Message::text(command.to_string())).await.map_err(|error| told(&error))?;
        loop {
            match socket.next().await.0 {
                Heard::Subscribed => return Ok(socket),
                Heard::End(0, why) => return Err(why),
                Heard::End(code, why) => return Err(format!("the connection was closed with {code}: {why}")),
                Heard::Message(_) | Heard::Gap(_) | Heard::Other => {}
            }
        }
    }

    /// What comes next, and its size in bytes.
    pub(super) async fn next(&mut self) -> (Heard, usize) {
        let heard = match self.0.next().await {
            Some(Ok(Message::Text(text))) => return (Heard::read(text.as_bytes()), text.len()),
            Some(Ok(Message::Close(Some(frame)))) => Heard::End(frame.code.into(), frame.reason.to_string()),
            Some(Ok(Message::Close(None))) => Heard::End(0, "the connection was closed without a code".to_owned()),
            Some(Ok(_)) => Heard::Other,
            Some(Err(error)) => Heard::End(0, error.to_string()),
            None => Heard::End(0, "the connection ended without a close".to_owned()),
        };
        (heard, 0)
    }

    /// Says goodbye. Nobody waits for the answer.
    pub(super) async fn close(mut self) {
        let _ = self.0.close(None).await;
    }
}

fn told(error: &Error) -> String {
    match error {
        Error::Http(response) => {
            let status = StatusCode::from_u16(response.status().as_u16()).unwrap_or_default();
            refusal(status, response.body().as_deref().unwrap_or_default())
        }
        _ => error.to_string(),
    }
}
