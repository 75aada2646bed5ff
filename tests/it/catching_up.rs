//! How much the server reads from a peer that is behind.

use std::time::Duration;

use relay::assemble::build;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};
use tokio::time::timeout;

use crate::rig::{Rig, snapshot};
use crate::writes::upgrade;

const MESSAGES: usize = 200;
/// Bytes of each message: more than the pipe holds.
const LARGE: usize = 10_000;
/// Bytes that a pipe holds, in each direction.
const PIPE: usize = 4 << 10;
/// Bytes that the server reads at a time.
const READ: usize = 8 << 10;

const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
/// An opcode that RFC 6455 reserves.
const NO_OPCODE: u8 = 0x83;

/// A frame from the peer, with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let length = u8::try_from(payload.len()).expect("a short one");
    [&[first, 0x80 | length, 0, 0, 0, 0], payload].concat()
}

/// A server whose `cats` retains many large messages, and which accepts any number of commands.
async fn start() -> Rig {
    let live = build::live(
        snapshot(|config| {
            config.limits.commands = u32::MAX;
            config.topics[0].history.bytes = 2 * MESSAGES * LARGE;
        }),
        1,
    );
    let rig = Rig::serve(live).await;
    let body = format!("\"{}\"", "x".repeat(LARGE - 2));
    for _ in 0..MESSAGES {
        assert_eq!(rig.post("/publish/cats", "secret-all", &body).await.status, 200);
    }
    rig
}

/// A peer that has subscribed to all of them and has read none.
async fn behind(rig: &Rig) -> DuplexStream {
    let (near, far) = duplex(PIPE);
    let mut peer = upgrade(rig, near, far).await;
    let subscribe = frame(TEXT, br#"{"type":"subscribe","topics":{"cats":"earliest"}}"#);
    peer.write_all(&subscribe).await.expect("the server reads");
    peer
}

/// Regression: with each message that the peer read, more commands were read from it, of which one was carried out: the
/// others piled up without bound.
#[tokio::test]
async fn what_is_read_of_a_peer_that_catches_up_is_bounded() {
    let rig = start().await;
    let (mut from, mut to) = split(behind(&rig).await);
    let ping = frame(TEXT, b"ping");
    let pings = ping.repeat(1_000);
    let (mut read, mut written) = (0, 0);
    let mut some = [0; 2_048];
    while read < MESSAGES * LARGE {
        tokio::select! {
            biased;
            n = to.write(&pings[written % ping.len()..]) => written += n.expect("the server lives"),
            n = from.read(&mut some) => read += n.expect("the server lives"),
        }
    }
    assert!(written < PIPE + 2 * READ, "{written} bytes of commands were taken");
    drop((from, to));
    rig.end().await;
}

/// Regression: in one turn, a task writes pongs for only some of the pings that it has read. In the next turn it read
/// more pings, and kept 32 bytes for each, as long as the socket accepted pongs.
#[tokio::test]
async fn pings_that_wait_for_their_pongs_are_bounded_too() {
    const WIDE: usize = 64 << 10;
    let rig = Rig::serve(build::live(snapshot(|_| {}), 1)).await;
    let (near, far) = duplex(WIDE);
    let mut peer = upgrade(&rig, near, far).await;
    let ping = frame(PING, b"");
    let pings = ping.repeat(1_000);
    let mut written = 0;
    while let Ok(n) = timeout(Duration::from_millis(200), peer.write(&pings[written % ping.len()..])).await {
        written += n.expect("the server lives");
    }
    // A masked ping is three times as long as its pong.
    assert!(written < 3 * WIDE + WIDE + 2 * READ, "{written} bytes of pings were taken for {WIDE} bytes of pongs");
    drop(peer);
    rig.end().await;
}

/// Regression: the end of the peer's direction overtook what it had sent before: no answer, no echo of its close, no
/// code in the log.
#[tokio::test]
async fn a_peer_that_asks_closes_and_hangs_up_while_it_is_behind_is_answered() {
    let rig = start().await;
    let mut peer = behind(&rig).await;
    let mut some = [0; PIPE];
    peer.read_exact(&mut some).await.expect("the first message has begun");
    let ping = frame(TEXT, b"ping");
    peer.write_all(&[&ping[..], &ping, &frame(CLOSE, &1000_u16.to_be_bytes())].concat()).await.expect("it reads");
    peer.shutdown().await.expect("an open pipe");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(20), peer.read_to_end(&mut rest)).await.expect("an end in time").expect("a pipe");
    let pongs = rest.windows(6).filter(|bytes| bytes == b"\x81\x04pong").count();
    assert_eq!(pongs, 2);
    assert!(rest.ends_with(&[CLOSE, 2, 3, 0xe8]), "{:?}", &rest[rest.len().saturating_sub(20)..]);
    rig.end().await;
}

/// A socket that is closed with unread input sends a reset, which overtakes the close frame.
#[tokio::test]
async fn a_peer_that_goes_on_sending_behind_its_end_is_read_to_its_end() {
    let rig = Rig::serve(build::live(snapshot(|_| {}), 1)).await;
    let (near, far) = duplex(PIPE);
    let mut peer = upgrade(&rig, near, far).await;
    peer.write_all(&frame(NO_OPCODE, b"")).await.expect("the server reads");
    let mut rest = Vec::new();
    timeout(Duration::from_secs(20), peer.read_to_end(&mut rest)).await.expect("an end in time").expect("a pipe");
    assert!(rest.windows(2).any(|code| code == 1002_u16.to_be_bytes()), "{rest:?}");
    peer.write_all(&[0; 4 * PIPE]).await.expect("the server still reads");
    drop(peer);
    rig.end().await;
}
