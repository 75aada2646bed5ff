//! Probes are answered whatever other callers do, and operators can always reach the server.

use serde_json::json;
use tokio::net::TcpStream;

use crate::peer::Peer;
use crate::rig::{Rig, call};

/// Regression: publishers with the kubelet's address made it restart a healthy server, and kept operators from finding
/// out.
#[tokio::test]
async fn probes_and_operators_are_answered_whoever_else_connects() {
    let rig = Rig::start(|config| config.limits.connect_rate = Some(2)).await;
    let is_over_rate = async || rig.get("/topics", "secret-all").await.status == 429;
    let public = ["/health", "/ready"].map(|path| (rig.public, path, "close"));
    let admin = ["/health", "/ready", "/metrics", "/config"].map(|path| (rig.admin, path, ""));
    for (address, path, connection) in public.into_iter().chain(admin) {
        // Again, if a second began in between: its rate is not used up.
        for attempt in 0.. {
            assert!(attempt < 100, "the rate is never used up");
            if !is_over_rate().await {
                continue;
            }
            let answer = call(address, &format!("GET {path} HTTP/1.1\r\n"), "").await;
            if is_over_rate().await {
                assert_eq!((answer.status, answer.header("connection")), (200, connection), "{path}");
                break;
            }
        }
    }
}

/// A scraper on this machine has the same address as publishers on it.
#[tokio::test]
async fn scrapes_are_not_counted_as_connections_of_publishers() {
    let rig = Rig::start(|config| config.limits.connect_rate = Some(1)).await;
    for _ in 0..8 {
        assert_eq!(call(rig.admin, "GET /health HTTP/1.1\r\n", "").await.status, 200);
    }
    assert_eq!(rig.get("/topics", "secret-all").await.status, 200);
}

/// This is how HAProxy's `option httpchk` asks: HTTP/1.0 has no Host.
#[tokio::test]
async fn a_probe_in_http_1_0_needs_no_host() {
    let rig = Rig::start(|config| config.server.allowed_hosts = Some(vec!["relay.example".into()])).await;
    for address in [rig.public, rig.admin] {
        let ask = async |request: &str| {
            let mut peer = Peer::new(TcpStream::connect(address).await.expect("the server listens"));
            peer.send(request).await;
            peer.answer().await.expect("an answer")
        };
        let health = ask("GET /health HTTP/1.0\r\n\r\n").await;
        assert_eq!((health.status, health.json()), (200, json!({"status": "ok"})));
        let ready = ask("GET /ready HTTP/1.0\r\n\r\n").await;
        assert_eq!((ready.status, ready.json()), (200, json!({"status": "ready"})), "to whom, nobody knows");
        for (request, status) in [
            ("GET /ready HTTP/1.1\r\n\r\n", 400),
            ("GET /ready HTTP/1.0\r\nHost: a b\r\n\r\n", 400),
            ("GET /ready HTTP/1.0\r\nOrigin: http://evil.example\r\n\r\n", 400),
            ("GET /topics HTTP/1.0\r\n\r\n", 400),
            ("GET /config HTTP/1.0\r\n\r\n", 400),
        ] {
            assert_eq!(ask(request).await.status, status, "{request}");
        }
    }
}
