//! `curl -N`, Python's `websockets`, and the programs of `examples/client`, in Node and in Python.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::server::{Link, Place, Running, free_address, post, publish, relay_toml, start, wait_until};

/// A running program whose output is read line by line.
struct Reader {
    _program: Running,
    lines: BufReader<ChildStdout>,
}

impl Reader {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let lines = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { _program: Running(child), lines }
    }

    /// The rest of the next line that begins with `begin`.
    fn next(&mut self, begin: &str) -> String {
        loop {
            let mut line = String::new();
            assert_ne!(self.lines.read_line(&mut line).expect("text"), 0, "the program has ended");
            if let Some(rest) = line.trim_end().strip_prefix(begin) {
                return rest.to_owned();
            }
        }
    }
}

fn server(name: &str) -> (Place, SocketAddr, Running) {
    server_with(name, "")
}

/// Appends `more` to the configuration, which ends inside `[anonymous]`.
fn server_with(name: &str, more: &str) -> (Place, SocketAddr, Running) {
    let place = Place::new(name);
    let address = free_address();
    let config = place.write("relay.toml", &(relay_toml(address, "http://localhost") + more));
    let relay = start(&config);
    (place, address, relay)
}

/// `curl -N` shows each event as it comes, and a second call with the last id resumes after it.
pub fn curl() {
    let (_place, address, _relay) = server("curl");
    let read = |headers: &[&str]| {
        let mut command = Command::new("curl");
        command.args(["-sN", "--max-time", "40"]).args(headers.iter().flat_map(|header| ["-H", header]));
        command.arg(format!("http://{address}/events?topic=t.a"));
        Reader::start(command)
    };
    let mut stream = read(&[]);
    let position = stream.next("id: ");
    assert!(stream.next("data: ").contains("synced"));
    publish(address, "t.a", 1..=3);
    let mut last = position;
    for number in 1..=3 {
        last = stream.next("id: ");
        let data: Value = serde_json::from_str(&stream.next("data: ")).expect("JSON");
        assert_eq!((&data["data"], data["id"].as_str()), (&number.into(), Some(last.as_str())));
    }
    drop(stream);
    publish(address, "t.a", 4..=5);
    let mut stream = read(&[&format!("Last-Event-ID: {last}")]);
    for number in 4..=5 {
        let data: Value = serde_json::from_str(&stream.next("data: ")).expect("JSON");
        assert_eq!(data["data"], number);
    }
}

const PYTHON: &str = r#"
import json, sys, time
from websockets.sync.client import connect
from websockets.exceptions import WebSocketException
last = "earliest"
while True:
    try:
        with connect(sys.argv[1], subprotocols=["relay.v1"]) as socket:
            socket.send(json.dumps({"type": "subscribe", "topics": ["t.*"], "after": last}))
            for text in socket:
                told = json.loads(text)
                if told["type"] == "message":
                    last = told["id"]
                    print("message", told["topic"], told["data"], flush=True)
                elif told["type"] == "synced":
                    last = told["position"]
                    print("synced", flush=True)
                elif told["type"] == "gap":
                    print("gap", told["reason"], flush=True)
    except (OSError, EOFError, WebSocketException):
        pass
    time.sleep(0.05)
"#;

/// A plain loop around `connect` loses nothing when the connection breaks, and is told when the log is a new one.
pub fn python() {
    let mut command = Command::new("python3");
    command.args(["-c", PYTHON]);
    comes_back("python", command, &[]);
}

/// The same holds for the client that the documents tell readers to copy.
pub fn node() {
    comes_back("node", watch(), &["t.*"]);
}

fn watch() -> Command {
    let watch = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/client/watch.mjs");
    let mut command = Command::new("node");
    command.arg("--experimental-websocket").arg(watch).env_remove("TOKEN");
    command
}

/// Regression: on the URL of a registration, as a page uses it, everything is live before the client can say where it
/// stopped. The client took the server's position for its own, and lost what it had missed.
pub fn node_registered() {
    let (_place, address, _relay) = server_with("node-registered", "register = [\"*\"]\n");
    let path = registered(address, r#"{"user_id": 7, "topics": ["t.*"]}"#);
    publish(address, "t.a", 0..=0);
    let link = Link::to(address);
    let mut command = watch();
    command.args([&format!("ws://{}{path}", link.address), "t.*"]);
    let mut reader = Reader::start(command);
    assert_eq!(reader.next("message "), "t.a 0", "from the earliest");
    loses_the_link(&link, address, &mut reader);
}

/// A page that asks its server for a registration. The answers are, in turn: none, a proxy's error page, a registration
/// that is gone, and a valid one. For `nobody` there is never a valid one, and the first attempt fails at once. The page
/// of `insecure` may not open WebSockets. The client's timeout of 20 s is shortened to one second.
const REGISTERS: &str = r#"
const [client, relay, who] = process.argv.slice(2);
const {follow} = await import(client);
const after = globalThis.setTimeout;
globalThis.setTimeout = (run, ms) => after(run, ms === 20_000 ? 1_000 : ms);
if (who === "insecure") globalThis.WebSocket = class {
    constructor() { throw new DOMException("not from https", "SecurityError"); }
};
let asked = 0;
async function register() {
    console.log("registers");
    if (who === "insecure") return `ws://${relay}/ws`;
    asked += 1;
    if (asked === 1 && who === "nobody") throw new Error("no answer");
    if (asked === 1) return new Promise(() => {});
    if (asked === 2) return "<html>502 Bad Gateway</html>";
    if (asked === 3 || who === "nobody") return `ws://${relay}/ws/00000000-0000-4000-8000-000000000000`;
    const body = JSON.stringify({user_id: 7, topics: ["t.*"]});
    const headers = {"Content-Type": "application/json"};
    return (await (await fetch(`http://${relay}/register`, {method: "POST", headers, body})).json()).url;
}
follow(register, ["t.*"], {
    message: ({topic, data}) => console.log("message", topic, data),
    gap: ({reason}) => console.log("gap", reason),
    ended: ({topic = "everything", reason}) => console.log("ended", topic, reason),
    failed: error => console.log("failed", error.name, error.message),
});
"#;

/// Regression: a registration is gone after a restart, and some time after its last use. A client that registered again
/// and began anew missed what came in between without being told, or got everything twice.
pub fn node_registers_again() {
    let (place, address, mut relay) = server_with("node-registers-again", "register = [\"*\"]\n");
    let script = place.write("registers.mjs", REGISTERS);
    let client = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/client/client.mjs");
    let link = Link::to(address);
    publish(address, "t.a", 0..=0);
    let [mut reader, mut nobody, mut insecure] = ["user", "nobody", "insecure"].map(|who| {
        let mut command = Command::new("node");
        command.arg("--experimental-websocket").arg(&script).arg(&client).arg(link.address.to_string()).arg(who);
        Reader::start(command)
    });
    let late = "failed Error `url` has not answered within 20 s";
    for line in ["registers", late, "registers", "failed SyntaxError ", "registers", "registers", "message t.a 0"] {
        let next = reader.next("");
        assert!(next.starts_with(line), "{line}: {next}");
    }
    for line in ["registers", "failed Error no answer", "registers", "failed SyntaxError ", "registers", "registers"] {
        let next = nobody.next("");
        assert!(next.starts_with(line), "{line}: {next}");
    }
    for line in ["registers", "ended everything SecurityError: not from https"] {
        assert_eq!(insecure.next(""), line);
    }
    let ended = nobody.next("");
    assert!(ended.starts_with("ended everything 4001 unknown registration: "), "{ended}");
    link.cut();
    publish(address, "t.a", 1..=1);
    link.mend();
    assert_eq!(reader.next("message "), "t.a 1");
    relay.kill();
    let _relay = start(&place.path().join("relay.toml"));
    publish(address, "t.a", 2..=2);
    assert_eq!(reader.next("gap "), "epoch");
    assert_eq!(reader.next(""), "message t.a 2");
}

/// The path of a registration.
fn registered(address: SocketAddr, body: &str) -> String {
    let (status, answer) = post(address, "/register", body);
    assert_eq!(status, 200, "{answer}");
    let registration: Value = serde_json::from_str(&answer).expect("JSON");
    format!("/ws/{}", registration["id"].as_str().expect("an id"))
}

/// A topic is removed while the client is disconnected. Regressions: the server refused to subscribe to that topic
/// only, but the client gave up the others too; on the URL of a registration, where a removal is told twice, it also
/// reported a topic that it does not follow.
pub fn node_loses_a_topic() {
    let cats = "register = [\"*\"]\n[topics.cats]\nschema = \"any\"\n";
    let dogs = "[topics.dogs]\nschema = \"any\"\n[topics.ants]\nschema = \"any\"\n";
    let (place, address, _relay) = server_with("node-loses-a-topic", &format!("{cats}{dogs}"));
    let paths = ["/ws".to_owned(), registered(address, r#"{"user_id": 7, "topics": ["ants", "cats", "dogs"]}"#)];
    let link = Link::to(address);
    let mut readers = paths.map(|path| {
        let mut command = watch();
        command.args([&format!("ws://{}{path}", link.address), "cats", "dogs"]);
        Reader::start(command)
    });
    publish(address, "cats", 0..=0);
    readers.iter_mut().for_each(|reader| assert_eq!(reader.next("message "), "cats 0"));
    link.cut();
    place.write("relay.toml", &(relay_toml(address, "http://localhost") + cats));
    wait_until("`dogs` is gone", || (post(address, "/publish/dogs", "1").0 == 404).then_some(()));
    publish(address, "cats", 1..=1);
    link.mend();
    for (reader, why) in readers.iter_mut().zip(["relay.toml declares no topic `dogs`", "topic_removed"]) {
        let ended = reader.next("");
        assert!(ended.starts_with(&format!("ended dogs {why}")), "{ended}");
        assert_eq!(reader.next(""), "message cats 1");
    }
}

/// The timers of a hidden page, a hundred times as fast: a timer that was set by a timer fires once a minute. Each
/// connection gets answers to five pings and to no more.
const HIDDEN: &str = r#"
const {setTimeout: after, setInterval: every, WebSocket: Socket} = globalThis;
const [second, minute] = [10, 600];
const isOurs = () => new Error().stack.includes("client.mjs");
let nested = false;
globalThis.setTimeout = (run, ms) => !isOurs() ? after(run, ms) : after(() => {
    nested = true;
    run();
    nested = false;
}, Math.max(ms / 1000 * second, nested ? minute : 0));
globalThis.setInterval = (run, ms) => every(run, isOurs() ? Math.max(ms / 1000 * second, minute) : ms);
globalThis.WebSocket = class extends Socket {
    pings = 0;
    constructor(...of) {
        super(...of);
        console.log("connects");
    }
    send(text) {
        if (text === "ping") console.log("ping", ++this.pings);
        if (text !== "ping" || this.pings <= 5) super.send(text);
    }
};
"#;

/// Regression: in a hidden tab the pings went out once a minute, so the client left a healthy connection 45 s after an
/// answer. It must still leave a silent one.
pub fn node_hidden() {
    let (place, address, _relay) = server("node-hidden");
    let hidden = place.write("hidden.mjs", HIDDEN);
    let mut command = watch();
    command.args([&format!("ws://{address}/ws"), "t.*"]).env("NODE_OPTIONS", format!("--import {}", hidden.display()));
    let mut reader = Reader::start(command);
    for line in ["connects", "ping 1", "ping 2", "ping 3", "ping 4", "ping 5", "ping 6", "connects"] {
        assert_eq!(reader.next(""), line);
    }
}

/// Regression: a command that was too large was sent again and again, and nothing was reported.
pub fn node_too_large() {
    let (_place, address, _relay) = server_with("node-too-large", "[limits]\nframe = \"1 KiB\"\n");
    let mut command = watch();
    command.arg(format!("ws://{address}/ws")).args((0..9).map(|n| format!("t.{}{n}", "a".repeat(150))));
    let ended = Reader::start(command).next("");
    assert!(ended.starts_with("ended everything 1009 "), "{ended}");
}

/// Breaks the connection of a program that takes a URL and these arguments, then kills and restarts the server.
fn comes_back(name: &str, mut command: Command, arguments: &[&str]) {
    let (place, address, mut relay) = server(name);
    let link = Link::to(address);
    command.arg(format!("ws://{}/ws", link.address)).args(arguments);
    let mut reader = Reader::start(command);
    publish(address, "t.a", 0..=0);
    assert_eq!(reader.next("message "), "t.a 0");
    loses_the_link(&link, address, &mut reader);
    relay.kill();
    let _relay = start(&place.path().join("relay.toml"));
    publish(address, "t.a", 1..=1);
    assert!(reader.next("gap ").starts_with("epoch"));
    assert_eq!(reader.next("message "), "t.a 1");
}

/// Breaks the connection several times, for a program that has received message 0, and waits for every message.
fn loses_the_link(link: &Link, address: SocketAddr, reader: &mut Reader) {
    let mut next = 1;
    for _ in 0..3 {
        publish(address, "t.a", next..=next + 9);
        link.cut();
        publish(address, "t.b", next + 10..=next + 19);
        link.mend();
        for number in next..next + 20 {
            let topic = if number < next + 10 { "t.a" } else { "t.b" };
            assert_eq!(reader.next("message "), format!("{topic} {number}"));
        }
        next += 20;
    }
}

/// A publish is repeated, with the same key, after a proxy's error page and after a truncated answer, but not after a
/// refusal by Relay.
pub fn publisher() {
    let refused = r#"{"type":"urn:relay:problem:forbidden","detail":"no grant"}"#;
    let problem = format!(
        "HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\nContent-Length: {}\r\n\r\n{refused}",
        refused.len()
    );
    let published = b"HTTP/1.1 200 OK\r\nContent-Length: 26\r\n\r\n{\"topic\":\"t\",\"id\":\"9f-1\"}\n";
    let answers: [&[u8]; 10] = [
        b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 6\r\n\r\n<html>",
        b"HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{\"topic\"",
        b"nothing of HTTP\r\n\r\n",
        published,
        // Cut within a character; and an HTTP version that does not exist.
        b"HTTP/1.1 200 OK\r\n\r\n{\"topic\":\"\xc3",
        b"HTTP/3.7 200 OK\r\n\r\n",
        published,
        problem.as_bytes(),
        b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\n\r\n{\"type\":\"\xc3",
    ];
    let answers = answers.map(<[u8]>::to_owned);
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let publish = || {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/client/publish.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(script).args(["t", "1", "the-key"]);
        command.env("RELAY", format!("http://{address}")).env("TOKEN", "t").output().expect("it runs")
    };
    let keys = Arc::new(Mutex::new(Vec::new()));
    let kept = keys.clone();
    // Not joined: if the publisher repeats less than expected, this thread waits forever.
    thread::spawn(move || {
        for answer in answers {
            let (mut socket, _) = listener.accept().expect("a connection");
            let mut request = BufReader::new(socket.try_clone().expect("a socket"));
            let (mut line, mut length) = (String::new(), 0);
            while request.read_line(&mut line).expect("text") > 2 {
                match line.trim_end().split_once(": ") {
                    Some(("Idempotency-Key", key)) => kept.lock().expect("nobody panics").push(key.to_owned()),
                    Some(("Content-Length", bytes)) => length = bytes.parse().expect("a number"),
                    _ => {}
                }
                line.clear();
            }
            request.read_exact(&mut vec![0; length]).expect("the body");
            socket.write_all(&answer).expect("it reads");
        }
    });
    for _ in 0..2 {
        let done = publish();
        assert_eq!(String::from_utf8_lossy(&done.stdout), "9f-1\n", "{}", String::from_utf8_lossy(&done.stderr));
    }
    for expected in ["refused: no grant\n", "refused: 403 Forbidden\n"] {
        assert_eq!(String::from_utf8_lossy(&publish().stderr), expected);
    }
    assert_eq!(*keys.lock().expect("nobody panics"), ["\"the-key\""; 10]);
}

/// Regression: a mistake that only the caller can fix was sent again for eight seconds, and then reported as
/// unanswered.
pub fn publisher_mistakes() {
    const SECRET: &str = "demo-secret-of-the-shop-do-not-use-it-elsewhere";
    let shop = "[tokens.shop]\nsha256 = \"e04401b20c1b77918c520e0c3b294d6278fca704851c0e21b83cba7c94745ae9\"\n\
                publish = [\"**\"]\n";
    let (_place, address, _relay) = server_with("publisher-mistakes", shop);
    let relay = format!("http://{address}");
    let said = |relay: &str, token: &str, topic: &str, key: &str| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/client/publish.py");
        let mut command = Command::new("python3");
        command.arg("-B").arg(script).args([topic, "1", key]);
        let output = command.env("RELAY", relay).env("TOKEN", token).output().expect("it runs");
        String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
    };
    assert!(said(&relay, SECRET, "t.a", r#"a "quoted" \ key"#).ends_with("-1\n"));
    for (relay, token, topic, expected) in [
        (relay.as_str(), SECRET, "t.a b/ü", "refused: `t.a b/ü` is not a topic name: "),
        (&relay, "tökén€", "t.a", "not sent: "),
        ("http://127.0.0.1:1/a b", SECRET, "t.a", "not sent: URL can't contain control characters"),
    ] {
        let said = said(relay, token, topic, "key");
        assert!(said.starts_with(expected), "{said}");
    }
}
