//! What is turned away before anything is done with it: how it is told, counted, and what becomes of its connection.

use std::net::SocketAddr;

use tokio::net::TcpStream;

use crate::peer::{Answer, Peer};
use crate::rig::Rig;

/// A header behind which no body comes.
async fn without_body(address: SocketAddr, head: &str) -> Answer {
    let mut peer = Peer::new(TcpStream::connect(address).await.expect("the server listens"));
    peer.send(format!("{head}Host: localhost\r\nContent-Length: 3\r\n\r\n")).await;
    peer.answer().await.expect("an answer")
}

/// Beside those of `raw/requests.txt`: the answer did not say that the connection ends, and what followed on it was lost,
/// behind a proxy the request of somebody else.
#[tokio::test]
async fn what_is_answered_before_its_body_has_come_is_the_last_and_says_so() {
    let rig = Rig::start(|config| config.limits.auth_failures = 1).await;
    let wrong = "POST /publish/cats HTTP/1.1\r\nContent-Type: application/json\r\nAuthorization: Bearer wrong\r\n";
    let mut statuses = Vec::new();
    for _ in 0..3 {
        let answer = without_body(rig.public, wrong).await;
        assert_eq!(answer.header("connection"), "close", "{answer:?}");
        statuses.push(answer.status);
    }
    // The window is one second, and this is faster.
    assert!(statuses.contains(&429), "{statuses:?}");
    for head in ["POST /reload HTTP/1.1\r\n", "POST /reload?x HTTP/1.1\r\n", "GET /metrics HTTP/1.1\r\n"] {
        let answer = without_body(rig.admin, head).await;
        assert_eq!(answer.header("connection"), "close", "{head}: {answer:?}");
    }
    let stream = "GET /events?topic=cats HTTP/1.1\r\nAuthorization: Bearer secret-all\r\n";
    let answer = without_body(rig.public, stream).await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
}
