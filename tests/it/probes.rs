//! Who asks how the server is, is told, whatever others do; and operators reach it.

use crate::rig::{Rig, call};

/// Publishers of the kubelet's own address had it restart a server that was well, and kept operators from finding out.
#[tokio::test]
async fn probes_and_operators_are_answered_whoever_else_connects() {
    let rig = Rig::start(|config| config.limits.connect_rate = Some(2)).await;
    // More often than a second has room for, so that whichever second the next ones fall into is used up.
    let exhaust = async || while rig.get("/topics", "secret-all").await.status != 429 {};
    for path in ["/health", "/ready"] {
        exhaust().await;
        let answer = rig.get(path, "").await;
        assert_eq!((answer.status, answer.header("connection")), (200, "close"), "{path}");
    }
    for path in ["/health", "/ready", "/metrics", "/config"] {
        exhaust().await;
        let answer = call(rig.admin, &format!("GET {path} HTTP/1.1\r\n"), "").await;
        assert_eq!((answer.status, answer.header("connection")), (200, ""), "{path}");
    }
}

/// A scraper on this machine shares the address of those who publish from it.
#[tokio::test]
async fn scrapes_are_not_counted_as_connections_of_publishers() {
    let rig = Rig::start(|config| config.limits.connect_rate = Some(1)).await;
    for _ in 0..8 {
        assert_eq!(call(rig.admin, "GET /health HTTP/1.1\r\n", "").await.status, 200);
    }
    assert_eq!(rig.get("/topics", "secret-all").await.status, 200);
}
