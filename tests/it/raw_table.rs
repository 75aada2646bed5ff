//! The table of raw requests (`raw/requests.txt`): each has a connection of its own to one server, which must answer
//! `/health` after each of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::peer::{Answer, Peer};
use crate::rig::Rig;

const TABLE: &str = include_str!("raw/requests.txt");
const HOST: &str = "Host: localhost\r\n";
const JSON: &str = "Host: localhost\r\nAuthorization: Bearer secret-all\r\nContent-Type: application/json\r\n";
const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";
/// The least number of cases in the table: an empty one would pass.
const CASES: usize = 200;

#[tokio::test]
async fn every_raw_request_is_answered_as_the_table_says() {
    let rig = Rig::start(|config| {
        config.limits.uri = 200;
        config.limits.header = 4_000;
        config.limits.body = 1_000;
        // No case may end because of a timeout.
        config.limits.header_timeout = Duration::from_secs(60);
        config.limits.body_timeout = Duration::from_secs(60);
    })
    .await;
    let rig = Arc::new(rig);
    let mut cases = JoinSet::new();
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let table: Vec<(&str, &str)> = lines.map(|line| line.split_once(" | ").expect("two columns")).collect();
    for (expected, request) in table.iter().copied() {
        let rig = rig.clone();
        cases.spawn(async move {
            let found = crate::rig::spawn(answers(rig.public, expected.trim_end(), request)).await;
            let found = found.unwrap_or_else(|e| format!("{e}"));
            assert_eq!(rig.get("/health", "").await.status, 200, "it lives, after {request}");
            (expected.trim_end() != found).then(|| format!("{request}\n  expected {expected}\n  found    {found}\n"))
        });
    }
    let failures: Vec<String> = cases.join_all().await.into_iter().flatten().collect();
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), table.len(), failures.concat());
    assert!(table.len() >= CASES, "{} cases", table.len());
    eprintln!("{} raw requests", table.len());
}

/// Sends the request, reads as many answers as are expected, and reports what becomes of the connection.
async fn answers(server: SocketAddr, expected: &str, request: &str) -> String {
    let mut peer = Peer::new(TcpStream::connect(server).await.expect("the server listens"));
    // The server may refuse, and close the connection, before all of it is sent.
    let _ = peer.try_send(bytes(request)).await;
    let (statuses, end) = expected.rsplit_once(' ').unwrap_or(("", expected));
    let mut found = Vec::new();
    // An HTTP/1.0 connection ends after its answer anyway.
    let mut is_told = request.contains(" HTTP/1.0");
    for _ in statuses.split_whitespace() {
        let answer = if request.starts_with("HEAD") { peer.answer_to_head().await } else { peer.answer().await };
        match answer {
            Some(answer) => {
                is_told |= answer.header("connection").contains("close");
                found.push(shown(&answer));
            }
            None => return format!("{} close", found.join(" ")),
        }
    }
    let end = match end {
        "close" if !found.is_empty() && !is_told => "close without a word of it".to_owned(),
        "close" => match peer.rest().await {
            rest if rest.is_empty() => "close".to_owned(),
            rest => format!("more: {}", String::from_utf8_lossy(&rest)),
        },
        "waits" => "waits".to_owned(),
        _ => {
            let _ = peer.try_send(HEALTH).await;
            match peer.answer().await {
                Some(answer) if answer.body == br#"{"status":"ok"}"# => "open".to_owned(),
                Some(answer) => format!("more: {answer:?}"),
                None => "close".to_owned(),
            }
        }
    };
    found.push(end);
    found.join(" ")
}

fn shown(answer: &Answer) -> String {
    match answer.header("content-type") {
        "application/problem+json" => format!("{}/{}", answer.status, answer.problem().1),
        _ => answer.status.to_string(),
    }
}

/// The bytes that a text of the table stands for.
fn bytes(text: &str) -> Vec<u8> {
    let text = text.replace("${H}", HOST).replace("${J}", JSON).replace("$H", HOST).replace("$J", JSON);
    let mut bytes = Vec::new();
    let mut rest = text.as_str();
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        match first {
            '¶' => bytes.extend_from_slice(b"\r\n"),
            '\\' => rest = escape(rest, &mut bytes),
            '{' => match repetition(rest) {
                Some((n, inner, after)) => {
                    bytes.extend(self::bytes(inner).repeat(n));
                    rest = after;
                }
                None => bytes.push(b'{'),
            },
            other => bytes.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    bytes
}

/// Parses `N*text}`; returns `N`, the text, and what follows.
fn repetition(text: &str) -> Option<(usize, &str, &str)> {
    let (n, rest) = text.split_once('*')?;
    let (inner, after) = rest.split_once('}')?;
    Some((n.parse().ok()?, inner, after))
}

fn escape<'a>(text: &'a str, bytes: &mut Vec<u8>) -> &'a str {
    let (byte, used) = match text.as_bytes() {
        [b'r', ..] => (b'\r', 1),
        [b'n', ..] => (b'\n', 1),
        [b't', ..] => (b'\t', 1),
        [b'0', ..] => (0, 1),
        [b'x', ..] => (u8::from_str_radix(&text[1..3], 16).expect("two hex digits"), 3),
        _ => panic!("an unknown escape: \\{text}"),
    };
    bytes.push(byte);
    &text[used..]
}
