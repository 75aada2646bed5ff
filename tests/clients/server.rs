//! What the tests here share: the program, a link to it that can be cut, and the simplest HTTP.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long a test waits for something before it fails.
pub const PATIENCE: Duration = Duration::from_secs(40);

/// A directory that is removed with its test.
pub struct Place(PathBuf);

impl Place {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("relay-clients-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().expect("it is in a directory")).expect("a directory");
        fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A process that is killed with its test.
pub struct Running(pub Child);

impl Running {
    pub fn kill(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A free address, chosen beforehand for a server that is started more than once.
pub fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port")
}

/// A relay.toml for a server at `address`, which pages of `origin` may call.
pub fn relay_toml(address: SocketAddr, origin: &str) -> String {
    format!(
        "version = 1\n[server]\nlisten = \"{address}\"\nadmin = \"\"\nallowed_origins = [\"{origin}\"]\n\
         [topics.\"t.{{x}}\"]\nschema = \"any\"\n[anonymous]\npublish = [\"**\"]\nsubscribe = [\"**\"]\n"
    )
}

/// Starts the program and waits until it listens.
pub fn start(config: &Path) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_relay"));
    command.arg("run").arg("--config").arg(config).env_remove("RUST_LOG").stderr(Stdio::piped());
    let mut child = command.spawn().expect("the program starts");
    let mut log = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut seen = String::new();
    while !seen.contains("relay is running") {
        assert_ne!(log.read_line(&mut seen).expect("text"), 0, "it does not run: {seen}");
    }
    thread::spawn(move || io::copy(&mut log, &mut io::sink()));
    Running(child)
}

/// Publishes numbers to a topic.
pub fn publish(address: SocketAddr, topic: &str, numbers: std::ops::RangeInclusive<u32>) {
    for number in numbers {
        let (status, answer) = post(address, &format!("/publish/{topic}"), &number.to_string());
        assert_eq!(status, 200, "{answer}");
    }
}

/// One POST of JSON: status and body.
pub fn post(address: SocketAddr, path: &str, body: &str) -> (u16, String) {
    let length = body.len();
    call(
        address,
        &format!(
            "POST {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n{body}"
        ),
    )
}

/// One GET: status and body.
pub fn get(address: SocketAddr, path: &str) -> (u16, String) {
    call(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"))
}

fn call(address: SocketAddr, request: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).expect("it listens");
    socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
    socket.write_all(request.as_bytes()).expect("it reads");
    let mut reader = BufReader::new(socket);
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a header");
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                length = value.trim().parse().expect("a length");
            }
            None if line.starts_with("HTTP/") => {
                status = line.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status");
            }
            Some(_) => {}
            None => break,
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).expect("a body");
    (status, String::from_utf8(body).expect("text"))
}

/// Polls until `look` finds something.
pub fn wait_until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        match look() {
            Some(found) => return found,
            None => assert!(began.elapsed() < PATIENCE, "it did not come about: {what}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A TCP proxy in front of the server, which can be cut.
pub struct Link {
    pub address: SocketAddr,
    up: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Link {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (up, open) = (Arc::new(AtomicBool::new(true)), Arc::new(Mutex::new(Vec::new())));
        let link = Self { address, up: up.clone(), open: open.clone() };
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let far = TcpStream::connect(server);
                let (true, Ok(far)) = (up.load(Ordering::SeqCst), far) else { continue };
                open.lock().expect("nobody panics").push(near.try_clone().expect("a socket"));
                for (mut from, mut to) in [(near.try_clone(), far.try_clone()), (Ok(far), Ok(near))]
                    .map(|(from, to)| (from.expect("a socket"), to.expect("a socket")))
                {
                    thread::spawn(move || {
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                        let _ = from.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        link
    }

    /// Breaks every connection. From now on new ones are closed at once.
    pub fn cut(&self) {
        self.up.store(false, Ordering::SeqCst);
        for socket in self.open.lock().expect("nobody panics").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub fn mend(&self) {
        self.up.store(true, Ordering::SeqCst);
    }
}
