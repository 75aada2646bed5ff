//! Standard error that nobody reads: what a stalled log driver, or `| less`, does to a process that logs.

use std::cell::Cell;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use tokio::net::UnixStream;

use crate::peer::Peer;
use crate::program::{Place, Relay};

/// Each is a log line of some 400 bytes; the pipe and the queue before it hold half of them.
const REFUSED: usize = 6_000;

struct Site {
    place: Place,
    relay: Relay,
}

impl Site {
    fn start(name: &str) -> Self {
        let (place, config) = Self::lay_out(name);
        let mut relay = Relay::start(&config);
        relay.wait_for("relay is running");
        Self { place, relay }
    }

    fn lay_out(name: &str) -> (Place, PathBuf) {
        let place = Place::new(name);
        let unix = |name: &str| format!("unix:{}", place.0.join(name).display());
        let text = format!(
            "version = 1\n[server]\nlisten = \"{}\"\nadmin = \"{}\"\n[topics.cats]\nschema = \"any\"\n\
             [anonymous]\npublish = [\"cats\"]\nsubscribe = [\"cats\"]\n[limits]\ndrain = \"2 s\"\n",
            unix("relay.sock"),
            unix("admin.sock"),
        );
        let config = place.write("relay.toml", &text);
        (place, config)
    }

    async fn connect(&self, socket: &str) -> Peer<UnixStream> {
        Peer::new(UnixStream::connect(self.place.0.join(socket)).await.expect("it listens"))
    }

    async fn get(&self, socket: &str, path: &str) -> (u16, String) {
        let mut peer = self.connect(socket).await;
        peer.send(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        let answer = peer.answer().await.expect("an answer");
        (answer.status, String::from_utf8(answer.body).expect("text"))
    }

    async fn publish(&self, topic: &str, times: usize) -> Vec<u16> {
        let mut peer = self.connect("relay.sock").await;
        let head = "Host: x\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1";
        let mut statuses = Vec::new();
        for _ in 0..times {
            peer.send(format!("POST /publish/{topic} HTTP/1.1\r\n{head}")).await;
            statuses.push(peer.answer().await.expect("an answer").status);
        }
        statuses
    }

    /// Publishes without a grant: each refusal is one line of the log.
    async fn be_refused(&self) {
        let statuses = self.publish(&"x".repeat(250), REFUSED).await;
        assert!(statuses.iter().all(|status| *status == 401), "{:?}", statuses.first());
    }
}

/// Regression: each line was written by the thread that logged it. After some 400 lines all threads were blocked: no
/// request was answered, and SIGTERM did not end the process.
#[tokio::test]
async fn a_log_that_nobody_reads_holds_up_neither_requests_nor_the_end() {
    let site = Site::start("stalled");
    site.be_refused().await;
    assert_eq!(site.publish("cats", 1).await, [200]);
    assert_eq!(site.get("relay.sock", "/health").await.0, 200);
    assert!(site.get("relay.sock", "/history/cats?after=earliest").await.1.contains("\"data\":1"));
    assert_eq!(site.get("admin.sock", "/ready").await.0, 200);
    let Site { place: _place, mut relay } = site;
    relay.signal("TERM");
    assert_eq!(relay.exit_unread(Duration::from_secs(5)).await, Some(0));
}

/// Regression: the signal that the system then sends (SIGXFSZ) ended the server.
#[tokio::test]
async fn a_log_file_that_may_not_grow_loses_lines_and_nothing_else() {
    let (place, config) = Site::lay_out("largest");
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -f 8; exec \"$0\" \"$@\" 2>\"$LOG\"", env!("CARGO_BIN_EXE_relay")]);
    shell.env("LOG", place.0.join("log"));
    let relay = Relay::start_as(shell, &config);
    let site = Site { place, relay };
    while UnixStream::connect(site.place.0.join("admin.sock")).await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let refused = site.publish(&"x".repeat(250), 100).await;
    assert!(refused.iter().all(|status| *status == 401), "{refused:?}");
    let Site { place: _place, mut relay } = site;
    relay.signal("TERM");
    assert_eq!(relay.exit_unread(Duration::from_secs(5)).await, Some(0));
}

#[tokio::test]
async fn what_the_log_has_lost_is_told_and_counted() {
    let site = Site::start("lost");
    site.be_refused().await;
    let (_, metrics) = site.get("admin.sock", "/metrics").await;
    let lost = metrics.lines().find_map(|line| line.strip_prefix("relay_log_lines_dropped_total "));
    let lost: usize = lost.and_then(|n| n.parse().ok()).expect("a count");
    assert!(lost > 100, "{lost}");
    let Site { place: _place, mut relay } = site;
    let seen = Cell::new(0);
    let told = relay.wait_until("told", |line| {
        assert!(line.starts_with("20") && line.matches(" relay::").count() == 1, "half a line: {line}");
        seen.set(seen.get() + usize::from(line.contains("a publish was refused")));
        line.contains("were lost")
    });
    let expected = format!(
        " WARN relay::telemetry::logs: log lines were lost: standard error was not read fast enough lines={lost}\n"
    );
    assert!(told.ends_with(&expected), "{told}");
    assert_eq!(seen.get() + lost, REFUSED);
    relay.signal("TERM");
    let (code, log) = relay.end();
    assert_eq!(code, Some(0), "{log}");
    assert!(log.contains("draining") && log.contains("drained"), "{log}");
}
