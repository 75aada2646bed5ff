//! What slow readers cost: the memory of the server, and the latency of the other readers.
//!
//! `cargo build --release && cargo run --release --example slow-readers` starts the server as a separate process and
//! acts as the load: 5,000 subscribers that read, 5,000 that stop reading, and 5,000 messages of 1 KiB. It runs once
//! without the slow readers and once with them. The p99 of the second run must stay under twice that of the first, and
//! the server may grow by no more than the window, the rings, and one frame for each slow reader. It takes 12 minutes
//! on two processors, most of them to send 25,000,000 messages at a pace that leaves the machine spare time.
//!
//! `slow-readers <reading> <stalled> <messages> <a second>` sets other numbers. The two processes together need two
//! descriptors for each connection (`ulimit -n`).

#![expect(clippy::disallowed_macros, reason = "what it prints is for whoever runs it")]
#![expect(clippy::disallowed_methods, reason = "a load, no server: its tasks end with the process")]

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// One reader in this many records latencies: enough for a p99, with little work for the load itself.
const SAMPLED: usize = 50;
const PAYLOAD: usize = 1_024;

#[derive(Clone, Copy)]
struct Numbers {
    reading: usize,
    stalled: usize,
    messages: u64,
    rate: u64,
}

/// The results of one run. Memory is in KiB, before the first publish and at the end.
struct Found {
    p50: Duration,
    p99: Duration,
    before: u64,
    after: u64,
}

#[tokio::main]
async fn main() {
    let given: Vec<u64> = std::env::args().skip(1).map(|text| text.parse().expect("a number")).collect();
    let number = |at: usize, default: u64| given.get(at).copied().unwrap_or(default);
    let count = |at, default| usize::try_from(number(at, default)).expect("a number of connections");
    let numbers =
        Numbers { reading: count(0, 5_000), stalled: count(1, 5_000), messages: number(2, 5_000), rate: number(3, 15) };
    let quiet = run(Numbers { stalled: 0, ..numbers }).await;
    show("without slow readers", &quiet);
    let slow = run(numbers).await;
    show("with slow readers", &slow);
    let grown = slow.after.saturating_sub(slow.before);
    // Window and rings fill in both runs. Beyond them a slow reader may cost one frame; the rest is slack for the
    // allocator.
    let allowed = quiet.after.saturating_sub(quiet.before) + numbers.stalled as u64 * 2 + (4 << 10);
    println!("grown by {grown} KiB, allowed {allowed} KiB; p99 {:.2} of the undisturbed", ratio(&slow, &quiet));
    if grown > allowed || ratio(&slow, &quiet) > 2.0 {
        std::process::exit(1);
    }
}

fn ratio(slow: &Found, quiet: &Found) -> f64 {
    slow.p99.as_secs_f64() / quiet.p99.as_secs_f64()
}

fn show(what: &str, found: &Found) {
    let Found { p50, p99, before, after } = found;
    println!(
        "{what}: p50 {p50:.1?}, p99 {p99:.1?}; server's memory {before} KiB when connected, {after} KiB at the end"
    );
}

async fn run(numbers: Numbers) -> Found {
    let server = Server::start();
    let began = Instant::now();
    let (times, delivered) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicU64::new(0)));
    let mut stalled = Vec::new();
    for at in 0..numbers.reading + numbers.stalled {
        let stalls = at >= numbers.reading;
        let socket = subscribe(server.address, stalls).await;
        if stalls {
            stalled.push(socket);
        } else {
            let times = (at % SAMPLED == 0).then(|| times.clone());
            tokio::spawn(read(socket, began, times, delivered.clone()));
        }
    }
    let before = server.memory();
    let mut publisher = TcpStream::connect(server.address).await.expect("the server listens");
    let mut tick = tokio::time::interval(Duration::from_secs(1) / u32::try_from(numbers.rate).expect("a rate"));
    for _ in 0..numbers.messages {
        tick.tick().await;
        publish(&mut publisher, began).await;
    }
    let all = numbers.messages * numbers.reading as u64;
    while delivered.load(Ordering::Relaxed) < all {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let after = server.memory();
    let mut times = times.lock().expect("nobody panics").clone();
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    Found { p50: at(50), p99: at(99), before, after }
}

/// Opens a WebSocket, subscribes it, and waits for `synced`.
async fn subscribe(address: SocketAddr, stalls: bool) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a descriptor: raise `ulimit -n`");
    if stalls {
        socket.set_recv_buffer_size(4_096).expect("a small buffer");
    }
    let mut socket = socket.connect(address).await.expect("the server listens");
    let upgrade = format!(
        "GET /ws HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    let command = br#"{"type":"subscribe","topics":["load"]}"#;
    let mut request = upgrade.into_bytes();
    request.extend_from_slice(&[0x81, 0x80 | command.len().to_le_bytes()[0], 0, 0, 0, 0]);
    request.extend_from_slice(command);
    socket.write_all(&request).await.expect("the server reads");
    let mut answer = Vec::new();
    while !answer.windows(8).any(|window| window == br#""synced""#) {
        assert_ne!(socket.read_buf(&mut answer).await.expect("an answer"), 0, "{}", String::from_utf8_lossy(&answer));
    }
    // `synced` is followed by another member, so the end of the frame may still be on its way.
    while answer.last() != Some(&b'}') {
        socket.read_buf(&mut answer).await.expect("an answer");
    }
    socket
}

/// Counts messages. If `times` is given, also records how long each took from publish to arrival.
async fn read(
    mut socket: TcpStream,
    began: Instant,
    times: Option<Arc<Mutex<Vec<Duration>>>>,
    delivered: Arc<AtomicU64>,
) {
    let mut bytes = Vec::with_capacity(16 << 10);
    let mut own = Vec::new();
    while socket.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {
        let mut at = 0;
        let mut frames = 0;
        while let Some((payload, end)) = frame(&bytes[at..]) {
            if times.is_some() && payload.starts_with(br#"{"type":"message""#) {
                own.push(began.elapsed().saturating_sub(sent(payload)));
            }
            frames += u64::from(payload.starts_with(br#"{"type":"message""#));
            at += end;
        }
        bytes.drain(..at);
        if let Some(times) = &times {
            times.lock().expect("nobody panics").append(&mut own);
        }
        delivered.fetch_add(frames, Ordering::Relaxed);
    }
}

/// The first frame, if complete: its payload, and the offset of its end.
fn frame(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let (start, length) = match *bytes.get(1)? {
        126 => (4, usize::from(u16::from_be_bytes(bytes.get(2..4)?.try_into().ok()?))),
        short => (2, usize::from(short)),
    };
    bytes.get(start..start + length).map(|payload| (payload, start + length))
}

/// When a message was published, on the load's clock.
fn sent(payload: &[u8]) -> Duration {
    let text = str::from_utf8(payload).expect("text");
    let micros = text.split_once("\"at\":").and_then(|(_, rest)| rest.split(',').next()?.parse().ok());
    Duration::from_micros(micros.expect("a time"))
}

async fn publish(socket: &mut TcpStream, began: Instant) {
    let at = began.elapsed().as_micros();
    let body = format!("{{\"at\":{at},\"x\":\"{}\"}}", "x".repeat(PAYLOAD - 30));
    let request = format!(
        "POST /publish/load HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("the server reads");
    let mut answer = Vec::new();
    while !answer.ends_with(b"}") {
        assert_ne!(socket.read_buf(&mut answer).await.expect("an answer"), 0);
    }
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
}

/// The server's process.
struct Server {
    child: Child,
    address: SocketAddr,
    directory: PathBuf,
}

impl Server {
    fn start() -> Self {
        let directory = std::env::temp_dir().join(format!("relay-slow-readers-{}", std::process::id()));
        std::fs::create_dir_all(&directory).expect("a directory");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        // No connection is closed for not reading during the run, which measures what slow readers cost.
        let text = format!(
            "version = 1\n[server]\nlisten = \"{address}\"\nadmin = \"\"\n[log]\nlevel = \"warn\"\n\
             [topics.load]\nschema = \"any\"\n[anonymous]\npublish = [\"load\"]\nsubscribe = [\"load\"]\n\
             [limits]\nwrite_stall = \"1 h\"\nping_interval = \"1 h\"\n"
        );
        let config = directory.join("relay.toml");
        std::fs::write(&config, text).expect("a file");
        let example = std::env::current_exe().expect("this program has a path");
        let relay = example.parent().and_then(Path::parent).expect("it is in examples/").join("relay");
        let mut command = Command::new(&relay);
        command.arg("run").arg("--config").arg(&config).env_remove("RUST_LOG").stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{}: {e}: build it first", relay.display()));
        std::thread::spawn({
            let log = BufReader::new(child.stderr.take().expect("a pipe"));
            move || log.lines().map_while(Result::ok).for_each(|line| eprintln!("relay: {line}"))
        });
        while std::net::TcpStream::connect(address).is_err() {
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, address, directory }
    }

    /// Resident memory in KiB.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.directory);
    }
}
