//! The Autobahn cases (driven by kosoku, from PyPI) against an echo over our frame reader and writer.
//!
//! Where kosoku is not installed, the test says so and passes nothing off as run. Families 12 and 13 are compression,
//! which is never agreed to.

#![expect(clippy::disallowed_methods, reason = "no server of ours runs here")]

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::{fs, io};

use relay::frame::inbound::{Inbound, Item};
use relay::frame::{self, Opcode};
use relay::ws::handshake;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The largest messages of family 9 have 16 MiB.
const LIMIT: usize = 32 << 20;
const CASES: usize = 301;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_case_of_families_1_to_11_is_ok_and_strict() {
    if !Command::new("kosoku").arg("--help").output().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: kosoku is not installed (pip install kosoku==0.1.0)");
        return;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of the loopback interface");
    let address = listener.local_addr().expect("it is bound");
    let server = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            tokio::spawn(echo(socket));
        }
    });
    let reports = Path::new(env!("CARGO_TARGET_TMPDIR")).join("autobahn");
    // Reports of an earlier run would count too.
    let _ = fs::remove_dir_all(&reports);
    let arguments = ["-m", "fuzzingclient", "-x", "12.*", "-x", "13.*", "-p", "4", "-o"];
    let run = tokio::task::spawn_blocking({
        let reports = reports.clone();
        move || Command::new("kosoku").args(arguments).arg(reports).arg(format!("{address}/")).output()
    });
    let output = run.await.expect("it did not panic").expect("it was there before");
    server.abort();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));

    let index = fs::read_to_string(reports.join("index.json")).expect("kosoku writes an index");
    let index: BTreeMap<String, BTreeMap<String, serde_json::Value>> = serde_json::from_str(&index).expect("of JSON");
    let cases: Vec<_> = index.values().flatten().collect();
    assert_eq!(cases.len(), CASES);
    for (case, result) in cases {
        let (behavior, close) = (result["behavior"].as_str(), result["behaviorClose"].as_str());
        assert!(matches!(behavior, Some("OK" | "INFORMATIONAL")), "{case}: {behavior:?}");
        assert!(matches!(close, Some("OK" | "INFORMATIONAL")), "{case}: closed {close:?}");
    }
}

async fn echo(mut socket: TcpStream) -> io::Result<()> {
    let mut scratch = vec![0; 64 << 10];
    let mut request = Vec::new();
    let end = loop {
        if let Some(at) = request.windows(4).position(|four| four == b"\r\n\r\n") {
            break at + 4;
        }
        match socket.read(&mut scratch).await? {
            0 => return Ok(()),
            n => request.extend_from_slice(&scratch[..n]),
        }
    };
    let head = String::from_utf8_lossy(&request[..end]);
    let mut headers = head.lines().filter_map(|line| line.split_once(": "));
    let key = headers.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key")).map(|(_, key)| key.trim());
    let accept = handshake::accept_key(key.unwrap_or_default());
    let upgrade =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept";
    socket.write_all(format!("{upgrade}: {accept}\r\n\r\n").as_bytes()).await?;

    let mut inbound = Inbound::with_binary(LIMIT);
    let mut bytes = &mut request[end..];
    loop {
        match inbound.next(&mut bytes) {
            Ok(Some(Item::Text(text))) => socket.write_all(&frame::frame(Opcode::Text, text.as_bytes())).await?,
            Ok(Some(Item::Binary(bytes))) => socket.write_all(&frame::frame(Opcode::Binary, &bytes)).await?,
            Ok(Some(Item::Ping(bytes))) => socket.write_all(&frame::frame(Opcode::Pong, &bytes)).await?,
            Ok(Some(Item::Pong(_))) => {}
            Ok(Some(Item::Close { code, .. })) => return finish(socket, &frame::close(code, "")).await,
            Err(close) => return finish(socket, &frame::close(Some(close.code()), close.reason())).await,
            Ok(None) => match socket.read(&mut scratch).await? {
                0 => return Ok(()),
                n => bytes = &mut scratch[..n],
            },
        }
    }
}

/// Sends the last frame, and waits for the peer's end: a socket closed over unread bytes takes what was sent with it.
async fn finish(mut socket: TcpStream, last: &[u8]) -> io::Result<()> {
    socket.write_all(last).await?;
    socket.shutdown().await?;
    tokio::io::copy(&mut socket, &mut tokio::io::sink()).await.map(|_| ())
}
