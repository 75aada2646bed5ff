//! Debian's nginx in front of the server.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{PATIENCE, Place, Running, free_address, get, post, publish, relay_toml, start, wait_until};

/// A server behind nginx.
struct Scene {
    _place: Place,
    relay: Running,
    _nginx: Running,
    /// Where nginx listens.
    front: SocketAddr,
}

impl Scene {
    /// `http` returns the content of nginx's `http` block, given the addresses of nginx and of the server.
    fn begin(name: &str, http: impl FnOnce(SocketAddr, SocketAddr) -> String) -> Self {
        let place = Place::new(name);
        let (back, front) = (free_address(), free_address());
        let relay = start(&place.write("relay.toml", &relay_toml(back, "http://localhost")));
        let directory = place.path().display().to_string();
        let paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {directory}/{kind};\n"))
            .concat();
        let text = format!(
            "daemon off;\nmaster_process off;\npid {directory}/pid;\nerror_log {directory}/error.log;\n\
             events {{}}\nhttp {{\naccess_log off;\n{paths}{}\n}}\n",
            http(front, back)
        );
        let config = place.write("nginx.conf", &text);
        let mut command = Command::new("nginx");
        command.arg("-p").arg(place.path()).arg("-c").arg(config).stderr(Stdio::null());
        let nginx = Running(command.spawn().expect("nginx starts"));
        wait_until("nginx listens", || TcpStream::connect(front).ok());
        Self { _place: place, relay, _nginx: nginx, front }
    }

    /// Opens a stream, to be read line by line.
    fn stream(&self, headers: &str) -> BufReader<TcpStream> {
        let mut socket = TcpStream::connect(self.front).expect("nginx listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let host = self.front;
        let request = format!("GET /events?topic=t.a HTTP/1.1\r\nHost: {host}\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).expect("nginx reads");
        BufReader::new(socket)
    }

    fn passes_streams_and_long_polls(&self) {
        let mut stream = self.stream("");
        assert!(line(&mut stream, "HTTP/1.1 ").starts_with("200"));
        line(&mut stream, "event: synced");
        line(&mut stream, "data: ");
        let mut last = String::new();
        for number in 1..=5 {
            let since = Instant::now();
            publish(self.front, "t.a", number..=number);
            last = line(&mut stream, "id: ");
            assert!(line(&mut stream, "data: ").contains(&format!("\"data\":{number}}}")));
            assert!(since.elapsed() < Duration::from_secs(5), "an event was held back: {:?}", since.elapsed());
        }
        drop(stream);
        publish(self.front, "t.a", 6..=7);
        let mut stream = self.stream(&format!("Last-Event-ID: {last}\r\n"));
        for number in 6..=7 {
            assert!(line(&mut stream, "data: ").contains(&format!("\"data\":{number}}}")), "resumed");
        }
        let (front, after) = (self.front, last.replace("-5", "-7"));
        let poll = std::thread::spawn(move || get(front, &format!("/history/t.a?after={after}&wait=30")));
        std::thread::sleep(Duration::from_millis(200));
        publish(self.front, "t.a", 8..=8);
        let (status, body) = poll.join().expect("no panic");
        assert!(status == 200 && body.contains("\"data\":8}"), "{status} {body}");
    }

    fn passes_websockets(&self) {
        let mut socket = TcpStream::connect(self.front).expect("nginx listens");
        socket.set_read_timeout(Some(PATIENCE)).expect("a socket");
        let request = format!(
            "GET /ws HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
            self.front
        );
        socket.write_all(request.as_bytes()).expect("nginx reads");
        let mut reader = BufReader::new(socket.try_clone().expect("a socket"));
        assert!(line(&mut reader, "HTTP/1.1 ").starts_with("101"));
        let text = br#"{"type":"subscribe","topics":["t.a"]}"#;
        let mut frame = vec![0x81, 0x80 | text.len().to_le_bytes()[0], 0, 0, 0, 0];
        frame.extend_from_slice(text);
        socket.write_all(&frame).expect("nginx reads");
        let mut read = Vec::new();
        let mut wait_for = |what: &[u8]| {
            while !read.windows(what.len()).any(|window| window == what) {
                let mut chunk = [0; 512];
                let n = reader.read(&mut chunk).expect("more");
                assert_ne!(n, 0, "no {:?} in {:?}", String::from_utf8_lossy(what), String::from_utf8_lossy(&read));
                read.extend_from_slice(&chunk[..n]);
            }
        };
        wait_for(b"synced");
        publish(self.front, "t.a", 77..=77);
        wait_for(br#""data":77}"#);
    }
}

/// The rest of the next line that begins with `begin`.
fn line(stream: &mut impl BufRead, begin: &str) -> String {
    loop {
        let mut line = String::new();
        assert_ne!(stream.read_line(&mut line).expect("a line in time"), 0, "no `{begin}` before the end");
        if let Some(rest) = line.trim_end().strip_prefix(begin) {
            return rest.to_owned();
        }
    }
}

/// Nothing but `proxy_pass`: buffering on, HTTP/1.0 to the server, and a Host of nginx's own.
pub fn defaults() {
    let scene = Scene::begin("nginx-defaults", |front, back| {
        format!("server {{ listen {front}; location / {{ proxy_pass http://{back}; }} }}")
    });
    scene.passes_streams_and_long_polls();
}

/// The block that docs/operating.md shows.
pub fn documented() {
    let scene = Scene::begin("nginx-documented", |front, back| {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
        let page = fs::read_to_string(page).expect("there is one");
        let lines = page.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next()).expect("its lines");
        assert!(lines.contains("http://127.0.0.1:8000;") && lines.contains("listen 80;"), "{lines}");
        lines.replace("127.0.0.1:8000", &back.to_string()).replace("listen 80;", &format!("listen {front};"))
    });
    scene.passes_streams_and_long_polls();
    scene.passes_websockets();
    let body = r#"{"user_id":1,"topics":["t.a"]}"#;
    let (status, answer) = post(scene.front, "/register", body);
    assert_eq!(status, 401, "anonymous callers may not register here: {answer}");
    drop(scene.relay);
    // Any other status would end an EventSource for good.
    assert_eq!(get(scene.front, "/events?topic=t.a"), (200, "retry: 3000\n".into()));
    assert_eq!(get(scene.front, "/topics").0, 502);
}
