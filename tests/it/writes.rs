//! How many writes the server makes (each is a system call, and mostly a packet), and when it lets go of a connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use relay::assemble::build;
use relay::config::model::OnLag;
use relay::connections::Connections;
use relay::hub::connection::{Io, NoSocket};
use relay::protocol::relay_v1::RelayV1;
use relay::time::Time;
use relay::ws;
use relay::ws::opening::{Opening, Upgraded};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::rig::{Rig, snapshot, somebody, until};
use crate::subscriber::Subscriber;

const ANSWER: &str = "HTTP/1.1 101 Switching Protocols\r\n\r\n";

/// The bytes of each write.
type Writes = Arc<Mutex<Vec<Vec<u8>>>>;

/// The server's end of a connection; the test decides how a write to it goes.
struct End<W>(DuplexStream, W);

/// Writes to the pipe, or does not.
trait Write: FnMut(&mut DuplexStream, &mut Context<'_>, &[u8]) -> Poll<io::Result<usize>> + Send + Unpin {}

impl<W: FnMut(&mut DuplexStream, &mut Context<'_>, &[u8]) -> Poll<io::Result<usize>> + Send + Unpin> Write for W {}

impl<W: Write> Io for End<W> {}

impl<W: Write> AsyncRead for End<W> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl<W: Write> AsyncWrite for End<W> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Self(pipe, write) = &mut *self;
        write(pipe, cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Records each write.
fn noting(pipe: DuplexStream, writes: Writes) -> impl Io {
    End(pipe, move |pipe: &mut DuplexStream, cx: &mut Context<'_>, bytes: &[u8]| {
        let n = ready!(Pin::new(pipe).poll_write(cx, bytes))?;
        writes.lock().expect("no panic").push(bytes[..n].to_vec());
        Poll::Ready(Ok(n))
    })
}

/// Each write takes a while, and accepts everything.
fn slow(pipe: DuplexStream) -> impl Io {
    End(pipe, |pipe: &mut DuplexStream, cx: &mut Context<'_>, bytes: &[u8]| {
        #[expect(clippy::disallowed_methods, reason = "a server that is the slow one of the two")]
        std::thread::sleep(Duration::from_millis(8));
        Pin::new(pipe).poll_write(cx, bytes)
    })
}

/// Whether a connection is full, and the waker of the task that waits for room.
#[derive(Default)]
struct Gate {
    shut: bool,
    waits: Option<Waker>,
}

/// Accepts nothing while the gate is shut.
fn gated(pipe: DuplexStream, gate: Arc<Mutex<Gate>>) -> impl Io {
    End(pipe, move |pipe: &mut DuplexStream, cx: &mut Context<'_>, bytes: &[u8]| {
        let mut gate = gate.lock().expect("no panic");
        if gate.shut {
            gate.waits = Some(cx.waker().clone());
            return Poll::Pending;
        }
        Pin::new(pipe).poll_write(cx, bytes)
    })
}

/// A subscriber to `cats` that is synced, and the writes to it.
async fn subscribe(rig: &Rig) -> (Subscriber<DuplexStream>, Writes) {
    let (near, far) = duplex(4_096);
    let writes = Writes::default();
    let mut subscriber = open(rig, near, noting(far, writes.clone())).await;
    subscriber.send(r#"{"type":"subscribe","topics":["cats"]}"#).await;
    for expected in ["hello", "ok", "synced"] {
        assert_eq!(subscriber.json().await["type"], expected);
    }
    (subscriber, writes)
}

/// A WebSocket with this socket as the server's end.
async fn open(rig: &Rig, near: DuplexStream, socket: impl Io + 'static) -> Subscriber<DuplexStream> {
    let near = upgrade(rig, near, socket).await;
    Subscriber::over(WebSocketStream::from_raw_socket(near, Role::Client, None).await)
}

/// The same as raw bytes, after the upgrade.
pub async fn upgrade(rig: &Rig, mut near: DuplexStream, socket: impl Io + 'static) -> DuplexStream {
    let opening = Opening {
        protocol: &RelayV1,
        principal: rig.live.snapshot().auth.authenticate("secret-all", Time::now()).await.ok(),
        registration: None,
        refused: None,
        peer: [127, 0, 0, 1].into(),
        permit: Connections::default().enter(|| 1).await,
    };
    let upgraded = Upgraded { socket, answer: ANSWER.into(), head: Bytes::new() };
    let task = ws::open(rig.live.clone(), upgraded, opening).await;
    rig.live.drain.spawn("websocket", task.expect("it is let in").run());
    let mut answer = [0; ANSWER.len()];
    near.read_exact(&mut answer).await.expect("an answer");
    assert_eq!(answer, ANSWER.as_bytes());
    near
}

#[tokio::test]
async fn an_upgrade_is_answered_with_hello_and_a_subscription_with_what_follows_in_one_write_each() {
    let rig = Rig::serve(build::live(snapshot(|_| {}), 1)).await;
    let (subscriber, writes) = subscribe(&rig).await;
    let written = std::mem::take(&mut *writes.lock().expect("no panic"));
    let texts: Vec<_> = written.iter().map(|bytes| String::from_utf8_lossy(bytes)).collect();
    assert_eq!(texts.len(), 2, "{texts:#?}");
    assert!(texts[0].starts_with(ANSWER) && texts[0].contains(r#""type":"hello""#), "{texts:#?}");
    assert!(texts[1].contains(r#""type":"ok""#) && texts[1].contains(r#""type":"synced""#), "{texts:#?}");
    drop(subscriber);
    rig.end().await;
}

/// The shard remembers whom it has served, but must not keep a socket that nobody needs any more.
#[tokio::test]
async fn a_connection_that_was_served_is_let_go_when_it_ends_and_nothing_is_published() {
    let rig = Rig::serve(build::live(snapshot(|_| {}), 1)).await;
    let (mut stays, _writes) = subscribe(&rig).await;
    let (mut goes, socket) = subscribe(&rig).await;
    for n in 0..3 {
        assert_eq!(rig.post("/publish/cats", "secret-all", &n.to_string()).await.status, 200);
        assert_eq!((stays.payload().await, goes.payload().await), (n.into(), n.into()));
    }
    assert_eq!(Arc::strong_count(&socket), 2, "the server has it");
    drop(goes);
    let_go(&socket).await;
    drop(stays);
    rig.end().await;
}

/// A dead peer must not live on because reloads make its task look for what is new.
#[tokio::test]
async fn being_served_by_the_shard_again_is_no_sign_of_life() {
    let rig = Rig::serve(build::live(snapshot(|_| {}), 1)).await;
    let (mut other, _writes) = subscribe(&rig).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 200);
    assert_eq!(other.payload().await, 1);
    let mut silent = rig.live.hub.subscriber(NoSocket, &RelayV1, somebody());
    assert!(silent.pull(usize::MAX).await.expect("memory can be read").is_none());
    assert!(silent.join() && silent.is_live());
    assert_eq!(silent.connection().progress(), 0);
    drop((silent, other));
    rig.end().await;
}

/// The answers to so many pings are more than a pipe holds.
const PINGS: usize = 60;

/// Asks for answers, and reads none of them.
async fn go_deaf(peer: &mut Subscriber<DuplexStream>) {
    let id = "x".repeat(60);
    for _ in 0..PINGS {
        peer.send(format!(r#"{{"type":"ping","id":"{id}"}}"#)).await;
    }
}

/// Waits until the server has let go of the socket.
async fn let_go(socket: &Writes) {
    until("nobody keeps the socket", || Arc::strong_count(socket) == 1).await;
}

/// Regression: it began at the last delivery, so a connection that had got none for so long was cut off as soon as a
/// reply did not fit.
#[tokio::test]
async fn write_stall_begins_when_something_is_left_unsent() {
    let stall = Duration::from_secs(1);
    let rig = Rig::serve(build::live(snapshot(|config| config.limits.write_stall = stall), 1)).await;
    let (mut peer, socket) = subscribe(&rig).await;
    tokio::time::sleep(stall + Duration::from_millis(200)).await;
    go_deaf(&mut peer).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(Arc::strong_count(&socket), 2, "it has just stopped reading");
    let_go(&socket).await;
    drop(peer);
    rig.end().await;
}

/// Regression: an answer that waits for the next write is unsent from then on, too. A connection that had been quiet
/// for `write_stall` was now and then cut off at its `subscribe`.
#[tokio::test]
async fn write_stall_begins_when_an_answer_is_held_back() {
    let live = build::live(snapshot(|_| {}), 1);
    let subscriber = live.hub.subscriber(NoSocket, &RelayV1, somebody());
    tokio::time::sleep(Duration::from_millis(20)).await;
    let now = live.hub.clock();
    subscriber.hold_back(*b"ok");
    assert!(subscriber.connection().has_rest() && subscriber.connection().progress() >= now);
}

/// Regression: it was closed for giving no sign of life, although it had never been pinged.
#[tokio::test]
async fn whoever_does_not_read_is_not_pinged_but_stalls() {
    let rig = Rig::serve(build::live(
        snapshot(|config| {
            (config.limits.ping_interval, config.limits.pong_timeout) =
                (Duration::from_millis(100), Duration::from_millis(100));
            config.limits.write_stall = Duration::from_millis(1_500);
        }),
        1,
    ))
    .await;
    let (mut peer, _socket) = subscribe(&rig).await;
    go_deaf(&mut peer).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    for _ in 0..PINGS {
        assert_eq!(peer.json().await["type"], "pong");
    }
    go_deaf(&mut peer).await;
    assert_eq!(peer.json().await["type"], "pong", "it may take nothing for `write_stall`");
    drop(peer);
    rig.end().await;
}

/// Regression: while it caught up, nothing that it sent was read, not even its pongs.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_answers_pings_is_not_given_up_however_long_it_catches_up() {
    const MESSAGES: usize = 30_000;
    let rig = Rig::serve(build::live(
        snapshot(|config| {
            (config.limits.ping_interval, config.limits.pong_timeout) =
                (Duration::from_millis(20), Duration::from_millis(400));
            config.topics[0].history.count = MESSAGES;
        }),
        2,
    ))
    .await;
    let list = vec![r#"{"topic":"cats","data":1}"#; 500].join(",");
    for _ in 0..MESSAGES / 500 {
        assert_eq!(rig.post("/publish", "secret-all", &format!("[{list}]")).await.status, 200);
    }
    let (near, far) = duplex(16 << 20);
    let mut peer = open(&rig, near, slow(far)).await;
    peer.send(r#"{"type":"subscribe","topics":{"cats":"earliest"}}"#).await;
    let mut messages = 0;
    while messages < MESSAGES {
        let text = peer.text().await;
        messages += usize::from(text.contains(r#""type":"message""#));
    }
    drop(peer);
    rig.end().await;
}

/// Regression: a ping that found no room left the connection asleep, and a peer that only listens got nothing more.
#[tokio::test]
async fn a_ping_that_finds_no_room_is_sent_when_there_is_some() {
    let rig = Rig::serve(build::live(
        snapshot(|config| {
            config.limits.ping_interval = Duration::from_millis(20);
        }),
        1,
    ))
    .await;
    let (near, far) = duplex(4_096);
    let gate = Arc::new(Mutex::new(Gate::default()));
    let mut peer = open(&rig, near, gated(far, gate.clone())).await;
    peer.send(r#"{"type":"subscribe","topics":["cats"]}"#).await;
    for expected in ["hello", "ok", "synced"] {
        assert_eq!(peer.json().await["type"], expected);
    }
    gate.lock().expect("no panic").shut = true;
    until("a ping finds no room", || gate.lock().expect("no panic").waits.is_some()).await;
    // Long enough for everybody who waits to have left a waker.
    tokio::time::sleep(Duration::from_millis(50)).await;
    let waits = {
        let mut gate = gate.lock().expect("no panic");
        gate.shut = false;
        gate.waits.take()
    };
    waits.expect("somebody waits").wake();
    assert_eq!(rig.post("/publish/cats", "secret-all", "1").await.status, 200);
    assert_eq!(peer.json().await["data"], 1);
    drop(peer);
    rig.end().await;
}

/// Regression: eighty commands in one read make eighty answers, and all of them were kept for a peer that reads none.
#[tokio::test]
async fn a_command_waits_while_an_answer_is_unsent() {
    let rig = Rig::serve(build::live(snapshot(|config| config.limits.commands = 1_000), 1)).await;
    let (mut peer, _socket) = subscribe(&rig).await;
    let wrong = r#"{"type":"publish","topic":"sightings","data":{"age":-1}}"#;
    for _ in 0..80 {
        peer.send(wrong).await;
    }
    tokio::time::sleep(Duration::from_millis(200)).await;
    let held = rig.live.hub.outbound.held();
    assert!((1..2_048).contains(&held), "one answer of some 700 bytes: {held}");
    for _ in 0..80 {
        assert_eq!(peer.json().await["problem"]["type"], "urn:relay:problem:validation-failed");
    }
    drop(peer);
    rig.end().await;
}

/// Regression: it was dropped without a close.
#[tokio::test]
async fn what_ends_a_subscriber_on_the_way_to_the_last_message_is_said_to_it() {
    let live = build::live(
        snapshot(|config| {
            config.topics[0].on_lag = OnLag::Disconnect;
            config.topics[0].history.count = 1;
            config.limits.window = 4_096;
        }),
        1,
    );
    let rig = Rig::serve(live).await;
    let (mut peer, _socket) = subscribe(&rig).await;
    let payload = format!(r#""{}""#, "x".repeat(1_000));
    for _ in 0..50 {
        assert_eq!(rig.post("/publish/cats", "secret-all", &payload).await.status, 200);
    }
    rig.live.drain.begin();
    let connections = rig.live.hub.connections();
    until("all are told", || connections.iter().all(|connection| connection.ending().is_some())).await;
    drop(connections);
    let code = loop {
        if let Message::Close(close) = peer.next().await {
            break close.map(|close| u16::from(close.code));
        }
    };
    assert_eq!(code, Some(4101));
    drop(peer);
    rig.end().await;
}
