//! How many writes something takes: each is a system call, and mostly a packet.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::SinkExt;
use relay::assemble::build;
use relay::connections::Connections;
use relay::hub::connection::Io;
use relay::protocol::relay_v1::RelayV1;
use relay::ws::{self, opening::Opening};
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::rig::{Rig, snapshot};
use crate::subscriber::Subscriber;

/// What each write was.
type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

/// The server's end of a connection, which notes what it is told to write.
struct Noting(DuplexStream, Writes);

impl Io for Noting {}

impl AsyncRead for Noting {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Noting {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
        self.1.lock().expect("no panic").push(bytes[..n].to_vec());
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_subscription_is_answered_and_synced_in_one_write() {
    let rig = Rig::serve(build::live(snapshot(|_| {}), 1)).await;
    let (near, far) = duplex(4_096);
    let writes = Writes::default();
    let opening = Opening {
        protocol: &RelayV1,
        bearer: Some("secret-all".into()),
        registration: None,
        peer: [127, 0, 0, 1].into(),
        permit: Connections::default().enter(|| 1).await,
    };
    let task = ws::open(rig.live.clone(), Noting(far, writes.clone()), Bytes::new(), opening).await;
    rig.live.drain.spawn("websocket", task.run());
    let mut socket = WebSocketStream::from_raw_socket(near, Role::Client, None).await;
    socket.send(Message::text(r#"{"type":"subscribe","topics":["cats"]}"#)).await.expect("an open socket");
    let mut subscriber = Subscriber::over(socket);
    let mut types = Vec::new();
    while types.last().is_none_or(|last| last != "synced") {
        types.push(subscriber.json().await["type"].clone());
    }
    assert_eq!(types, ["hello", "ok", "synced"]);
    let written = std::mem::take(&mut *writes.lock().expect("no panic"));
    let texts: Vec<_> = written.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    assert_eq!(texts.len(), 2, "{texts:#?}");
    assert!(texts[1].contains(r#""type":"ok""#) && texts[1].contains(r#""type":"synced""#), "{texts:#?}");
    drop(subscriber);
    rig.end().await;
}
