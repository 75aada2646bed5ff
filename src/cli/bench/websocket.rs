//! One subscriber over WebSocket.

use std::pin::pin;

use futures::{SinkExt, StreamExt};
use hyper::StatusCode;
use serde_json::json;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};

use crate::cli::bench::frame::Heard;
use crate::cli::bench::ledger::Member;
use crate::cli::bench::worker::Worker;
use crate::cli::requests::refusal;
use crate::cli::target::Wire;

/// The size of the read buffer that each connection holds, in bytes.
const READ: usize = 4 << 10;

type Socket = WebSocketStream<Box<dyn Wire>>;

/// Subscribes, and reads until the run or the connection ends.
///
/// # Errors
/// It could not subscribe.
pub(super) async fn read(worker: &Worker, member: Member, number: usize) -> Result<(), String> {
    let mut socket = worker.connect(open(worker, number)).await?;
    let mut over = pin!(worker.over.notified());
    worker.subscribed();
    let (code, reason) = loop {
        let next = tokio::select! {
            biased;
            next = socket.next() => next,
            () = &mut over => {
                // Nobody waits for the answer to this close.
                let _ = socket.close(None).await;
                return Ok(());
            }
        };
        match next {
            Some(Ok(Message::Text(text))) => match Heard::read(text.as_bytes()) {
                Heard::Message(seq) => worker.arrived(member, seq, text.len()),
                Heard::Gap(to) => worker.gap(member, to),
                Heard::End(code, reason) => break (code, reason),
                Heard::Subscribed | Heard::Other => {}
            },
            Some(Ok(Message::Close(frame))) => {
                break frame.map_or((0, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => break (0, error.to_string()),
            None => break (0, "the connection ended without a close".to_owned()),
        }
    };
    worker.closed(member, code, reason);
    Ok(())
}

async fn open(worker: &Worker, number: usize) -> Result<Socket, String> {
    let target = &worker.run.target;
    let wire = target.connect(number).await.map_err(|error| error.to_string())?;
    let request = format!("ws://{}/ws", target.host()).into_client_request();
    let mut request = request.map_err(|error| error.to_string())?;
    request.headers_mut().extend(target.headers().clone());
    let config = WebSocketConfig::default().read_buffer_size(READ).write_buffer_size(0);
    let (mut socket, _) = client_async_with_config(request, wire, Some(config)).await.map_err(|error| told(&error))?;
    let command = json!({"type": "subscribe", "id": 1, "topics": [worker.topic(number).as_str()]});
    socket.send(Message::text(command.to_string())).await.map_err(|error| told(&error))?;
    loop {
        match socket.next().await {
            Some(Ok(Message::Text(text))) => match Heard::read(text.as_bytes()) {
                Heard::Subscribed => return Ok(socket),
                Heard::End(_, why) => return Err(why),
                _ => {}
            },
            Some(Ok(Message::Close(frame))) => {
                return Err(frame.map_or_else(
                    || "the connection was closed".to_owned(),
                    |frame| format!("the connection was closed with {}: {}", u16::from(frame.code), frame.reason),
                ));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(told(&error)),
            None => return Err("the connection ended".to_owned()),
        }
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
